/**
 * Decoders of query strings, with the reference's messages (M-B4): every value is text, lists are comma separated, and an
 * element of a list is located `name[i]` when there are several.
 */
import { didYouMean, listOf } from './decode.ts'
import { ApiError, type ErrorCode } from './errors.ts'

export interface ParameterAt {
  /** `limit`, or `uids[1]`. */
  readonly name: string
  readonly code: ErrorCode
}

export type ParameterDecoder<T> = (text: string, at: ParameterAt) => T

export interface Parameter<T> {
  readonly decode: ParameterDecoder<T>
  readonly code: ErrorCode
  /** Absent = the parameter is required. */
  readonly fallback?: () => T
  readonly missing?: ErrorCode
}

export type Parameters<T> = { readonly [K in keyof T]-?: Parameter<T[K]> }

/** "Invalid value in parameter `limit`: …" */
export function invalidParameter(message: string, at: ParameterAt): ApiError {
  return new ApiError(at.code, `Invalid value in parameter \`${at.name}\`: ${message}`)
}

export function parameter<T>(decode: ParameterDecoder<T>, fallback: T, code: ErrorCode): Parameter<T> {
  return { decode, code, fallback: () => fallback }
}

export function parameterOrNull<T>(decode: ParameterDecoder<T>, code: ErrorCode): Parameter<T | null> {
  return parameter<T | null>(decode, null, code)
}

export function requiredParameter<T>(decode: ParameterDecoder<T>, code: ErrorCode, missing: ErrorCode): Parameter<T> {
  return { decode, code, missing }
}

export const textParameter: ParameterDecoder<string> = (text) => text

export const integerParameter: ParameterDecoder<number> = (text, at) => {
  const value = /^\+?[0-9]+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw invalidParameter(`could not parse \`${text}\` as a positive integer`, at)
  return value
}

export const numberParameter: ParameterDecoder<number> = (text, at) => {
  const value = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(value)) throw invalidParameter('invalid float literal', at)
  return value
}

export const booleanParameter: ParameterDecoder<boolean> = (text, at) => {
  if (text !== 'true' && text !== 'false')
    throw invalidParameter(`could not parse \`${text}\` as a boolean, expected either \`true\` or \`false\``, at)
  return text === 'true'
}

export function oneOfParameter<const T extends string>(...words: readonly T[]): ParameterDecoder<T> {
  return (text, at) => {
    const word = words.find((candidate) => candidate === text)
    if (word === undefined)
      throw new ApiError(
        at.code,
        `Unknown value \`${text}\` for parameter \`${at.name}\`: ${didYouMean(text, words)}expected one of ${listOf(words)}`,
      )
    return word
  }
}

/** Comma separated. */
export function listParameter<T>(decode: ParameterDecoder<T>): ParameterDecoder<readonly T[]> {
  return (text, at) => {
    // Empty items are none: `1,,2` has two, and an empty text has none.
    const items = text.split(',').filter((item) => item !== '')
    return items.map((item, index) =>
      decode(item, { name: items.length > 1 ? `${at.name}[${index}]` : at.name, code: at.code }),
    )
  }
}

/** Comma separated; a `*` among the items = no restriction, answered as null. */
export function starOrListParameter<T>(decode: ParameterDecoder<T>): ParameterDecoder<readonly T[] | null> {
  const list = listParameter<T | '*'>((text, at) => (text === '*' ? '*' : decode(text, at)))
  return (text, at) => {
    const items = list(text, at)
    const plain: T[] = []
    for (const item of items) {
      if (item === '*') return null
      plain.push(item)
    }
    return plain
  }
}

/** `name=value&…` to pairs: the last of equal names wins. Invalid escapes stay as they are. */
export function queryPairs(search: string): Map<string, string> {
  return new Map(new URLSearchParams(search.startsWith('?') ? search.slice(1) : search))
}

/** Decodes a whole query string (with or without its `?`). Unknown names are refused. */
export function decodeParameters<T extends object>(search: string, parameters: Parameters<T>): T {
  const entries = Object.entries(parameters) as [string, Parameter<T[keyof T]>][]
  const table = new Map(entries)
  const decoded = new Map<string, T[keyof T]>()
  for (const [name, text] of queryPairs(search)) {
    const known = table.get(name)
    if (known === undefined) {
      const accepted = [...table.keys()]
      throw new ApiError(
        'bad_request',
        `Unknown parameter \`${name}\`: ${didYouMean(name, accepted)}expected one of ${listOf(accepted)}`,
      )
    }
    decoded.set(name, known.decode(text, { name, code: known.code }))
  }
  const result: [string, T[keyof T]][] = []
  for (const [name, known] of entries) {
    if (decoded.has(name)) result.push([name, decoded.get(name) as T[keyof T]])
    else if (known.fallback !== undefined) result.push([name, known.fallback()])
    else throw new ApiError(known.missing ?? known.code, `Missing parameter \`${name}\``)
  }
  return Object.fromEntries(result) as T
}
