/**
 * Parsing of JSON bodies with the reference's syntax messages (M-B5, 12 to 14): V8's parser does the work, and only when
 * it refuses a text, or takes what the reference does not, do we walk it again to say where and why in the usual words.
 */
import type { Json } from '../lib/json.ts'
import { ApiError } from './errors.ts'
import { jsonDepthMax, jsonMistake, placeIn } from './json-mistake.ts'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** What V8 takes and the reference does not: lone surrogates, and numbers beyond a double. */
const suspicious = [/\\u[dD][89a-fA-F]/, /[0-9.][eE]\+?[0-9]{3}/]
/** Digits of a number that may be beyond a double. */
const manyDigits = 300

export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError'
}

/**
 * Parses a request body.
 * @throws ApiError `missing_payload` when empty, `malformed_payload` when it is no JSON, no UTF-8 or too deep.
 */
export function parseJsonBody(bytes: Uint8Array): Json {
  if (bytes.length === 0) throw new ApiError('missing_payload', 'A json payload is missing.')
  try {
    return parseJsonBytes(bytes)
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error
    throw new ApiError('malformed_payload', `The json payload provided is malformed. \`${error.message}\`.`)
  }
}

/** @throws JsonSyntaxError with the reference's parser message. */
export function parseJsonBytes(bytes: Uint8Array): Json {
  let text: string
  try {
    text = decoder.decode(bytes)
  } catch {
    // The reference notices at the end of the string.
    const end = bytes.indexOf(0x22, firstBadByte(bytes))
    throw new JsonSyntaxError(`invalid unicode code point ${placeIn(bytes, end < 0 ? bytes.length : end + 1)}`)
  }
  return parseJsonText(text)
}

/** @throws JsonSyntaxError with the reference's parser message. */
export function parseJsonText(text: string): Json {
  // A run of brackets is refused before V8 builds a tree that later recursion could not walk.
  const doubtful = (text.length > jsonDepthMax && isTooDeep(text)) || isSuspicious(text)
  const mistake = doubtful ? jsonMistake(Buffer.from(text)) : undefined
  if (mistake !== undefined) throw new JsonSyntaxError(mistake)
  try {
    return JSON.parse(text) as Json
  } catch {
    throw new JsonSyntaxError(jsonMistake(Buffer.from(text)) ?? 'invalid JSON')
  }
}

function isSuspicious(text: string): boolean {
  if (suspicious.some((pattern) => pattern.test(text))) return true
  const isDigit = (at: number) => text.charCodeAt(at) >= 0x30 && text.charCodeAt(at) <= 0x39
  // A run of so many digits covers one of every so many places.
  for (let at = manyDigits - 1; at < text.length; at += manyDigits) {
    if (!isDigit(at)) continue
    let [start, end] = [at, at + 1]
    while (start > 0 && isDigit(start - 1)) start -= 1
    while (end < text.length && isDigit(end)) end += 1
    if (end - start >= manyDigits) return true
  }
  return false
}

function isTooDeep(text: string): boolean {
  let depth = 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === 0x22) {
      at = closingQuote(text, at)
      if (at < 0) return false
    } else if (code === 0x5b || code === 0x7b) {
      depth += 1
      if (depth > jsonDepthMax) return true
    } else if (code === 0x5d || code === 0x7d) depth -= 1
  }
  return false
}

/** Index of the quote that ends the string opened at `open`; -1 = none. */
function closingQuote(text: string, open: number): number {
  let at = open
  for (;;) {
    at = text.indexOf('"', at + 1)
    if (at < 0) return -1
    let slashes = 0
    while (text.charCodeAt(at - 1 - slashes) === 0x5c) slashes += 1
    if (slashes % 2 === 0) return at
  }
}

function firstBadByte(bytes: Uint8Array): number {
  let low = 0
  let high = bytes.length
  while (low < high) {
    const middle = (low + high + 1) >> 1
    try {
      // A decoder of its own for each try: half a character stays behind in one.
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, middle), { stream: true })
      low = middle
    } catch {
      high = middle - 1
    }
  }
  return low
}
