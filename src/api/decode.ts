/**
 * Decoders of JSON bodies, with the reference's messages byte for byte (M-B4). The first error is the only one told:
 * fields are looked at in the order in which the client sent them, missing ones last.
 */
import type { Json, JsonObject } from '../lib/json.ts'
import { isObject } from '../lib/json.ts'
import { ApiError, type ErrorCode } from './errors.ts'

/** Where a value stands: its path (`.a.b[0]`, empty at the root) and the code of its mistakes. */
export interface At {
  readonly path: string
  readonly code: ErrorCode
}

export type Decoder<T> = (value: Json, at: At) => T

export const bodyRoot: At = { path: '', code: 'bad_request' }

/** One field of an object. `fallback` given = may be absent; `null` is for the decoder to judge. */
export interface Field<T> {
  readonly decode: Decoder<T>
  /** Of every mistake inside; absent = the code of the object around. */
  readonly code?: ErrorCode
  readonly fallback?: () => T
  /** Code of the missing field. Default: that of the object around. */
  readonly missing?: ErrorCode
}

export type Fields<T> = { readonly [K in keyof T]-?: Field<T[K]> }

export type Kind = 'null' | 'boolean' | 'positive' | 'negative' | 'number' | 'string' | 'array' | 'object'

const kindOrder: readonly Kind[] = ['null', 'boolean', 'positive', 'negative', 'number', 'string', 'array', 'object']
const kindWords: Record<Kind, string> = {
  null: 'null',
  boolean: 'a boolean',
  positive: 'a positive integer',
  negative: 'a negative integer',
  number: 'a number',
  string: 'a string',
  array: 'an array',
  object: 'an object',
}

export function kindOf(value: Json): Kind {
  if (value === null) return 'null'
  if (typeof value === 'boolean') return 'boolean'
  // Integers beyond 64 bits are numbers like any other.
  if (typeof value === 'number')
    return !Number.isInteger(value) || Math.abs(value) >= 2 ** 64 ? 'number' : value < 0 ? 'negative' : 'positive'
  if (typeof value === 'string') return 'string'
  return Array.isArray(value) ? 'array' : 'object'
}

/** "a string", "an integer", "a string, an array, or an object". */
export function describeKinds(kinds: readonly Kind[]): string {
  const has = (kind: Kind) => kinds.includes(kind)
  const words = kindOrder.filter(has).flatMap((kind) => {
    if (kind === 'positive' && has('number')) return []
    if (kind === 'negative' && (has('number') || has('positive'))) return []
    if (kind === 'positive' && has('negative')) return ['an integer']
    return [kindWords[kind]]
  })
  if (words.length <= 1) return words.join('')
  if (words.length === 2) return `${words[0]} or ${words[1]}`
  return `${words.slice(0, -1).join(', ')}, or ${words.at(-1)}`
}

/** "a string: `"x"`"; null prints no value. */
export function describeValue(value: Json): string {
  const kind = kindOf(value)
  if (kind === 'null') return 'null'
  // Integers beyond 64 bits are shown as the doubles that they became.
  const isHuge = typeof value === 'number' && kind === 'number' && Number.isInteger(value)
  return `${kindWords[kind]}: \`${isHuge ? value.toExponential() : JSON.stringify(value)}\``
}

function located(word: string, path: string): string {
  return path === '' ? '' : `${word} \`${path}\``
}

export function wrongType(value: Json, at: At, ...kinds: Kind[]): ApiError {
  const place = located(' at', at.path)
  return new ApiError(
    at.code,
    `Invalid value type${place}: expected ${describeKinds(kinds)}, but found ${describeValue(value)}`,
  )
}

/** "Invalid value at `.a`: …" */
export function invalidValue(message: string, at: At): ApiError {
  return new ApiError(at.code, `Invalid value${located(' at', at.path)}: ${message}`)
}

export function missingField(field: string, at: At): ApiError {
  return new ApiError(at.code, `Missing field \`${field}\`${located(' inside', at.path)}`)
}

export function unknownField(field: string, accepted: readonly string[], at: At): ApiError {
  return new ApiError(
    at.code,
    `Unknown field \`${field}\`${located(' inside', at.path)}: ${didYouMean(field, accepted)}expected one of ${listOf(accepted)}`,
  )
}

export function unknownValue(value: string, accepted: readonly string[], at: At): ApiError {
  return new ApiError(
    at.code,
    `Unknown value \`${value}\`${located(' at', at.path)}: ${didYouMean(value, accepted)}expected one of ${listOf(accepted)}`,
  )
}

/** "`a`, `b`" */
export function listOf(words: readonly string[]): string {
  return words.map((word) => `\`${word}\``).join(', ')
}

export const string: Decoder<string> = (value, at) => {
  if (typeof value !== 'string') throw wrongType(value, at, 'string')
  return value
}

export const boolean: Decoder<boolean> = (value, at) => {
  if (typeof value !== 'boolean') throw wrongType(value, at, 'boolean')
  return value
}

export const number: Decoder<number> = (value, at) => {
  if (typeof value !== 'number') throw wrongType(value, at, 'positive', 'negative', 'number')
  return value
}

/** An integer of 0 or more. */
export const integer: Decoder<number> = (value, at) => {
  if (typeof value !== 'number' || kindOf(value) !== 'positive') throw wrongType(value, at, 'positive')
  return value
}

export const json: Decoder<Json> = (value) => value

export const jsonObject: Decoder<JsonObject> = (value, at) => {
  if (!isObject(value)) throw wrongType(value, at, 'object')
  return value
}

export function nullable<T>(decode: Decoder<T>): Decoder<T | null> {
  return (value, at) => (value === null ? null : decode(value, at))
}

export function array<T>(decode: Decoder<T>): Decoder<readonly T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) throw wrongType(value, at, 'array')
    return value.map((item: Json, index) => decode(item, { path: `${at.path}[${index}]`, code: at.code }))
  }
}

/** An object with free names. */
export function record<T>(decode: Decoder<T>): Decoder<Readonly<Record<string, T>>> {
  return (value, at) => {
    if (!isObject(value)) throw wrongType(value, at, 'object')
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [name, decode(item, { path: `${at.path}.${name}`, code: at.code })]),
    )
  }
}

/** One of a few words. */
export function oneOf<const T extends string>(...words: readonly T[]): Decoder<T> {
  return (value, at) => {
    if (typeof value !== 'string') throw wrongType(value, at, 'string')
    const word = words.find((candidate) => candidate === value)
    if (word === undefined) throw unknownValue(value, words, at)
    return word
  }
}

/** A field that must be there. */
export function required<T>(decode: Decoder<T>, code?: ErrorCode, missing?: ErrorCode): Field<T> {
  return { decode, ...(code === undefined ? {} : { code }), ...(missing === undefined ? {} : { missing }) }
}

/** A field that is `fallback` when absent; `null` goes to the decoder. */
export function optional<T>(decode: Decoder<T>, fallback: T, code?: ErrorCode): Field<T> {
  return { decode, fallback: () => fallback, ...(code === undefined ? {} : { code }) }
}

/** A field that is null when absent or null. */
export function orNull<T>(decode: Decoder<T>, code?: ErrorCode): Field<T | null> {
  return optional<T | null>(nullable(decode), null, code)
}

export interface ObjectOptions {
  /** false = unknown fields are ignored. Default true: refused. */
  readonly strict?: boolean
  /** Read-only fields and the code of each; named neither in lists nor in suggestions. */
  readonly immutable?: Readonly<Record<string, ErrorCode>>
  /** `null` counts as absent. */
  readonly nullIsAbsent?: boolean
}

/** An object with known fields. */
export function object<T extends object>(fields: Fields<T>, options: ObjectOptions = {}): Decoder<T> {
  const entries = Object.entries(fields) as [string, Field<T[keyof T]>][]
  const table = new Map(entries)
  const accepted = [...table.keys()]
  /** Copied for each value: a copy costs less than an object that is made of its fields. */
  const absent = Object.fromEntries(entries.map(([name, { fallback }]) => [name, fallback?.() as T[keyof T]]))
  const needed = entries.filter(([, { fallback }]) => fallback === undefined)
  return (value, at) => {
    if (!isObject(value)) throw wrongType(value, at, 'object')
    const decoded = { ...absent }
    for (const [name, item] of Object.entries(value)) {
      const field = table.get(name)
      if (field !== undefined) {
        if (item === null && options.nullIsAbsent && field.fallback !== undefined) continue
        decoded[name] = field.decode(item, { path: `${at.path}.${name}`, code: field.code ?? at.code })
        continue
      }
      const immutable = options.immutable?.[name]
      if (immutable !== undefined)
        throw new ApiError(
          immutable,
          `Immutable field \`${name}\`${located(' inside', at.path)}: expected one of ${listOf(accepted)}`,
        )
      if (options.strict !== false) throw unknownField(name, accepted, at)
    }
    for (const [name, field] of needed)
      if (!Object.hasOwn(value, name)) throw missingField(name, { path: at.path, code: field.missing ?? at.code })
    return decoded as T
  }
}

/** `did you mean `x`? ` when an accepted word is close, else nothing. */
export function didYouMean(word: string, accepted: readonly string[]): string {
  const bytes = Buffer.byteLength(word)
  if (bytes <= 3) return ''
  const allowed = bytes <= 7 ? 1 : bytes <= 12 ? 2 : bytes <= 17 ? 3 : bytes <= 24 ? 4 : 5
  let best: string | undefined
  let bestDistance = allowed + 1
  for (const candidate of accepted) {
    if (Math.abs(candidate.length - word.length) > allowed) continue
    const distance = editDistance(word, candidate)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best === undefined ? '' : `did you mean \`${best}\`? `
}

/** Damerau-Levenshtein (adjacent transposition counts one). Inputs are about as long as field names. */
function editDistance(a: string, b: string): number {
  let before: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let cost = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + same)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2]! + 1)
      row.push(cost)
    }
    before = previous
    previous = row
  }
  return previous[b.length]!
}
