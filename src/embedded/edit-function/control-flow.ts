/** How loops and functions are left, what loops walk through, and which cases of a switch fit. */
import { areEqual } from './operators.ts'
import { Character, Range, Sequence, typeName, type Value } from './values.ts'

/** Leaves a loop. */
export class LoopEnd {
  readonly isBreak: boolean
  readonly value: Value
  constructor(isBreak: boolean, value: Value) {
    this.isBreak = isBreak
    this.value = value
  }
}

/** Leaves a function (`return`) or the script (`exit`). */
export class Returned {
  readonly value: Value
  readonly isExit: boolean
  constructor(value: Value, isExit: boolean) {
    this.value = value
    this.isExit = isExit
  }
}

/** undefined = the value cannot be walked through. */
export function iterate(value: Value, charge: (count: number) => void): Iterable<Value> | undefined {
  if (Array.isArray(value)) return value
  if (value instanceof Sequence) return value.items
  if (typeof value === 'string') {
    charge(value.length)
    return Array.from(value, (char) => new Character(char))
  }
  return value instanceof Range ? numbersOf(value) : undefined
}

function* numbersOf({ start, end, isInclusive }: Range): Generator<bigint> {
  for (let number = start; isInclusive ? number <= end : number < end; number += 1n) yield number
}

/** Cases are of the value's very type. */
export function isSameCase(literal: Value, value: Value): boolean {
  return !(literal instanceof Range) && typeName(literal) === typeName(value) && areEqual(literal, value)
}

export function isWithin(literal: Value, value: Value): boolean {
  if (!(literal instanceof Range) || (typeof value !== 'bigint' && typeof value !== 'number')) return false
  return value >= literal.start && (literal.isInclusive ? value <= literal.end : value < literal.end)
}
