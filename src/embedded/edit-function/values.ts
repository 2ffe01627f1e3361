/** Values of edit functions. Whole numbers are 64-bit and exact; arrays and maps are copied when they are assigned. */
import type { FunctionDefinition } from './syntax.ts'

export type Value =
  | undefined
  | boolean
  /** A whole number of 64 bits. */
  | bigint
  /** A floating-point number. */
  | number
  | string
  | Character
  | Value[]
  | ValueMap
  | Range
  | Sequence
  | FunctionPointer

export type ValueMap = Map<string, Value>

/** One Unicode character, which is not a string. */
export class Character {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

export class Range {
  readonly start: bigint
  readonly end: bigint
  readonly isInclusive: boolean
  constructor(start: bigint, end: bigint, isInclusive: boolean) {
    this.start = start
    this.end = end
    this.isInclusive = isInclusive
  }
}

/** What `chars`, `bits` and steps of numbers give: it can only be walked. */
export class Sequence {
  readonly items: readonly Value[]
  constructor(items: readonly Value[]) {
    this.items = items
  }
}

/** A variable: closures share it with the scope where they were made. */
export interface Cell {
  readonly name: string
  value: Value
  readonly isConstant: boolean
}

export class FunctionPointer {
  readonly name: string
  /** null = found by its name when it is called. */
  readonly definition: FunctionDefinition | null
  /** Arguments that go before those of the call; cells are shared variables. */
  readonly curried: readonly (Value | SharedCell)[]
  constructor(name: string, definition: FunctionDefinition | null, curried: readonly (Value | SharedCell)[]) {
    this.name = name
    this.definition = definition
    this.curried = curried
  }
}

export class SharedCell {
  readonly cell: Cell
  constructor(cell: Cell) {
    this.cell = cell
  }
}

export const integerMax = 2n ** 63n - 1n
export const integerMin = -(2n ** 63n)

export const isInteger64 = (value: bigint): boolean => value >= integerMin && value <= integerMax

/** As `type_of` and messages name it. */
export function typeName(value: Value): string {
  switch (typeof value) {
    case 'undefined':
      return '()'
    case 'boolean':
      return 'bool'
    case 'bigint':
      return 'i64'
    case 'number':
      return 'f64'
    case 'string':
      return 'string'
  }
  if (Array.isArray(value)) return 'array'
  if (value instanceof Map) return 'map'
  if (value instanceof Character) return 'char'
  if (value instanceof Range) return value.isInclusive ? 'range=' : 'range'
  if (value instanceof Sequence) return 'range'
  return 'Fn'
}

/** A deep copy of arrays and maps. `charge` is told of every container and how much it holds. */
export function copyOf(value: Value, charge: (count: number) => void): Value {
  if (Array.isArray(value)) {
    charge(value.length + 1)
    return value.map((item) => copyOf(item, charge))
  }
  if (value instanceof Map) {
    charge(value.size * 2 + 1)
    const copy: ValueMap = new Map()
    for (const [name, item] of value) copy.set(name, copyOf(item, charge))
    return copy
  }
  return value
}

/** Names of a map in its order, which is that of their UTF-8 bytes. */
export function sortedNames(map: ValueMap): string[] {
  return [...map.keys()].sort(compareTexts)
}

/** Order of Unicode characters; that of UTF-16 units differs beyond the basic plane. */
export function compareTexts(left: string, right: string): number {
  const length = Math.min(left.length, right.length)
  for (let at = 0; at < length; at += 1) {
    const [a, b] = [left.charCodeAt(at), right.charCodeAt(at)]
    if (a === b) continue
    const [isHighA, isHighB] = [a >= 0xd800 && a <= 0xdfff, b >= 0xd800 && b <= 0xdfff]
    return isHighA === isHighB ? a - b : isHighA ? 1 : -1
  }
  return left.length - right.length
}
