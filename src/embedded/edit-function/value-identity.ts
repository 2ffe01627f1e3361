/** Whether two values would be written alike. Unlike `==`, numbers of different kinds differ. */
import { valueJson } from './value-json.ts'
import type { Value } from './values.ts'

export function areSame(left: Value, right: Value): boolean {
  if (left instanceof Map && right instanceof Map)
    return (
      left.size === right.size && [...left].every(([name, value]) => right.has(name) && areSame(value, right.get(name)))
    )
  if (Array.isArray(left) && Array.isArray(right))
    return left.length === right.length && left.every((item, index) => areSame(item, right[index]))
  if (typeof left !== 'object' && typeof right !== 'object') return Object.is(left, right)
  return valueJson(left) === valueJson(right)
}
