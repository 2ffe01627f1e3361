/**
 * What decides the order of hits: one key for each thing that an engine's ranking rules compare, read from
 * `_rankingScoreDetails` (merge findings, section 6). The score alone would not do: sorts and places do not enter it.
 */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'

/** Doubles that differ by less are equal, as the engine compares scores. */
const equalWithin = 2.2e-16

/** A value of a `field:asc` or `field:desc` rule. */
export interface SortKey {
  readonly value: Json
  readonly ascending: boolean
}

/** A number is better when it is larger. */
export type ScoreKey = number | SortKey

export interface ScoreDetail {
  /** `words`, `price:asc`, `_geoPoint(1, 2):asc` … */
  readonly name: string
  readonly fields: JsonObject
}

const matchTypes: Readonly<Record<string, number>> = { exactMatch: 2, matchesStart: 1, noExactMatch: 0 }

const numberOf = (value: Json | undefined): number => (typeof value === 'number' ? value : 0)

export const isGeo = (name: string): boolean => name.startsWith('_geoPoint(')
export const isAscending = (name: string): boolean => !name.endsWith(':desc')
/** A rule that compares values of documents, not how well words match. */
export const isSort = ({ fields }: ScoreDetail): boolean => 'value' in fields

/** The details in the order of their rules. */
export function orderedDetails(details: JsonObject): ScoreDetail[] {
  const ordered: ScoreDetail[] = []
  for (const name in details) {
    const fields = details[name]
    if (fields !== undefined && isObject(fields)) ordered.push({ name, fields })
  }
  return ordered.sort((a, b) => numberOf(a.fields.order) - numberOf(b.fields.order))
}

export function keysOf(details: readonly ScoreDetail[]): ScoreKey[] {
  const keys: ScoreKey[] = []
  for (const { name, fields } of details) addKeys(keys, name, fields)
  return keys
}

function addKeys(keys: ScoreKey[], name: string, fields: JsonObject): void {
  switch (name) {
    // The score depends on which words the shard knows, the count does not.
    case 'typo':
      keys.push(-numberOf(fields.typoCount))
      return
    case 'attribute':
      keys.push(numberOf(fields.attributeRankingOrderScore), numberOf(fields.queryWordDistanceScore))
      return
    case 'exactness':
      keys.push(matchTypes[String(fields.matchType)] ?? 0, numberOf(fields.score))
      return
    case 'vectorSort':
      keys.push(numberOf(fields.similarity))
      return
    case 'skipped':
      keys.push(Number.NEGATIVE_INFINITY)
      return
  }
  if (isGeo(name)) keys.push(geoKey(fields.distance ?? null, isAscending(name)))
  else if ('value' in fields) keys.push({ value: fields.value ?? null, ascending: isAscending(name) })
  else keys.push(numberOf(fields.score))
}

/** Without a place is last in both directions. */
export function geoKey(distance: Json, ascending: boolean): number {
  if (typeof distance !== 'number') return Number.NEGATIVE_INFINITY
  return ascending ? -distance : distance
}

/** Negative when `a` comes first. What one list has beyond the other wins. */
export function compareKeys(a: readonly ScoreKey[], b: readonly ScoreKey[]): number {
  if (a === b) return 0
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at += 1) {
    const order = compareKey(a[at]!, b[at]!)
    if (order !== 0) return order
  }
  return b.length - a.length
}

export function compareKey(a: ScoreKey, b: ScoreKey): number {
  if (typeof a === 'number') {
    if (typeof b !== 'number') return a === Number.NEGATIVE_INFINITY ? 1 : 0
    return a === b || Math.abs(a - b) <= equalWithin ? 0 : b - a
  }
  if (typeof b === 'number') return b === Number.NEGATIVE_INFINITY ? -1 : 0
  return compareValues(a.value, b.value, a.ascending)
}

const kindOf = (value: Json): number => (typeof value === 'number' ? 0 : typeof value === 'string' ? 1 : 2)

/** Numbers before strings before nothing, in both directions; strings by their bytes (T4). */
export function compareValues(a: Json, b: Json, ascending: boolean): number {
  const kind = kindOf(a)
  if (kind !== kindOf(b)) return kind - kindOf(b)
  const order =
    typeof a === 'number' && typeof b === 'number'
      ? a - b
      : typeof a === 'string' && typeof b === 'string'
        ? compareBytes(a, b)
        : 0
  return ascending ? order : -order
}

/** Order of UTF-8 bytes: that of code points. */
export function compareBytes(a: string, b: string): number {
  if (a === b) return 0
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at += 1) {
    const left = a.charCodeAt(at)
    const right = b.charCodeAt(at)
    if (left === right) continue
    // Halves of pairs stand for code points above all others.
    const isLeftHalf = left >= 0xd800 && left <= 0xdfff
    const isRightHalf = right >= 0xd800 && right <= 0xdfff
    return isLeftHalf === isRightHalf ? left - right : isLeftHalf ? 1 : -1
  }
  return a.length - b.length
}
