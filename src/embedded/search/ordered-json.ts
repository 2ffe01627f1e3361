/**
 * JSON whose key order holds whatever the keys are. Facet values are keys, their order means something to clients, and a
 * JavaScript object would move keys that look like numbers to the front.
 */
import type { Json } from '../../lib/json.ts'

export interface OrderedObject extends ReadonlyMap<string, OrderedJson> {}
export type OrderedJson = Json | OrderedObject | readonly OrderedObject[]

export function orderedText(value: OrderedJson): string {
  if (value instanceof Map) {
    const members = [...(value as OrderedObject)].map(
      ([key, member]) => `${JSON.stringify(key)}:${orderedText(member)}`,
    )
    return `{${members.join(',')}}`
  }
  if (Array.isArray(value) && value.some((item) => item instanceof Map))
    return `[${value.map((item: OrderedJson) => orderedText(item)).join(',')}]`
  return JSON.stringify(value)
}
