/**
 * Parsing of JSON bodies with the reference's syntax messages (M-B5, 12 to 14): V8's parser does the work, and only when
 * it refuses a text do we walk it again to say where and why in the usual words.
 */
import type { Json } from '../lib/json.ts'
import { ApiError } from './errors.ts'

/** Arrays and objects within one another; the reference's own parser stops here too. */
export const jsonDepthMax = 127

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

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
    throw new JsonSyntaxError(`invalid unicode code point ${place(bytes, firstBadByte(bytes))}`)
  }
  return parseJsonText(text)
}

/** @throws JsonSyntaxError with the reference's parser message. */
export function parseJsonText(text: string): Json {
  // A lone bracket run is refused before V8 builds a tree that later recursion could not walk.
  if (text.length > jsonDepthMax && tooDeep(text)) throw new JsonSyntaxError(diagnose(text))
  try {
    return JSON.parse(text) as Json
  } catch {
    throw new JsonSyntaxError(diagnose(text))
  }
}

function tooDeep(text: string): boolean {
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

function place(bytes: Uint8Array, at: number): string {
  let line = 1
  let start = 0
  for (let index = 0; index < at; index += 1) {
    if (bytes[index] === 0x0a) {
      line += 1
      start = index + 1
    }
  }
  return `at line ${line} column ${at - start}`
}

function firstBadByte(bytes: Uint8Array): number {
  let low = 0
  let high = bytes.length
  const lenient = new TextDecoder('utf-8', { fatal: true })
  while (low < high) {
    const middle = (low + high + 1) >> 1
    try {
      lenient.decode(bytes.subarray(0, middle), { stream: true })
      low = middle
    } catch {
      high = middle - 1
    }
    lenient.decode(new Uint8Array(), {}) // forget what is left over
  }
  return low
}

/** Says where `text` stops being JSON, in the words of serde_json. Iterative: depth costs no stack. */
function diagnose(text: string): string {
  const bytes = Buffer.from(text)
  let at = 0
  const stack: ('[' | '{')[] = []
  const fail = (message: string, position: number) => `${message} ${place(bytes, position)}`
  const skip = () => {
    while (at < bytes.length && (bytes[at] === 0x20 || bytes[at] === 0x09 || bytes[at] === 0x0a || bytes[at] === 0x0d))
      at += 1
  }
  const word = (literal: string): string | undefined => {
    for (let index = 0; index < literal.length; index += 1) {
      if (at + index >= bytes.length) return fail('EOF while parsing a value', bytes.length)
      if (bytes[at + index] !== literal.charCodeAt(index)) return fail('expected ident', at + index + 1)
    }
    at += literal.length
    return undefined
  }
  const string = (): string | undefined => {
    at += 1
    for (;;) {
      if (at >= bytes.length) return fail('EOF while parsing a string', bytes.length)
      const byte = bytes[at]!
      if (byte === 0x22) {
        at += 1
        return undefined
      }
      if (byte < 0x20)
        return fail('control character (\\u0000-\\u001F) found while parsing a string', byte === 0x0a ? at + 1 : at + 1)
      if (byte === 0x5c) {
        const next = bytes[at + 1]
        if (next === undefined) return fail('EOF while parsing a string', bytes.length)
        if (next === 0x75) {
          const hex = bytes.subarray(at + 2, at + 6).toString('latin1')
          if (hex.length < 4) return fail('EOF while parsing a string', bytes.length)
          if (!/^[0-9a-fA-F]{4}$/.test(hex)) return fail('invalid escape', at + 6)
          at += 6
          continue
        }
        if (!'"\\/bfnrt'.includes(String.fromCharCode(next))) return fail('invalid escape', at + 2)
        at += 2
        continue
      }
      at += 1
    }
  }
  const number = (): string | undefined => {
    const digit = () => at < bytes.length && bytes[at]! >= 0x30 && bytes[at]! <= 0x39
    const digits = () => {
      while (digit()) at += 1
    }
    const needDigit = () =>
      digit()
        ? undefined
        : at >= bytes.length
          ? fail('EOF while parsing a value', bytes.length)
          : fail('invalid number', at + 1)
    if (bytes[at] === 0x2d) {
      at += 1
      const missing = needDigit()
      if (missing) return missing
    }
    if (bytes[at] === 0x30) {
      at += 1
      if (digit()) return fail('invalid number', at + 1)
    } else digits()
    if (bytes[at] === 0x2e) {
      at += 1
      const missing = needDigit()
      if (missing) return missing
      digits()
    }
    if (bytes[at] === 0x65 || bytes[at] === 0x45) {
      at += 1
      if (bytes[at] === 0x2b || bytes[at] === 0x2d) at += 1
      const missing = needDigit()
      if (missing) return missing
      digits()
    }
    return undefined
  }

  /** `value`: a value must follow. `after`: one has just ended. `key`: a key must follow; `first`: or the end. */
  let expect: 'value' | 'first-item' | 'key' | 'first-key' | 'after' = 'value'
  for (;;) {
    skip()
    const byte = bytes[at]
    const top = stack.at(-1)
    if (byte === undefined) {
      if (expect === 'after' && top === undefined) return fail('invalid JSON', at)
      const inside = expect === 'after' || expect === 'first-item' || expect === 'first-key'
      const what = !inside ? 'a value' : top === '[' ? 'a list' : 'an object'
      return fail(`EOF while parsing ${what}`, at)
    }
    if (expect === 'after') {
      if (top === undefined) return fail('trailing characters', at + 1)
      if (byte === 0x2c) {
        at += 1
        skip()
        if (top === '[' && bytes[at] === 0x5d) return fail('trailing comma', at + 1)
        expect = top === '[' ? 'value' : 'key'
      } else if ((top === '[' && byte === 0x5d) || (top === '{' && byte === 0x7d)) {
        at += 1
        stack.pop()
      } else return fail(top === '[' ? 'expected `,` or `]`' : 'expected `,` or `}`', at + 1)
      continue
    }
    if (expect === 'key' || expect === 'first-key') {
      if (byte === 0x7d) {
        if (expect === 'key') return fail('trailing comma', at + 1)
        at += 1
        stack.pop()
        expect = 'after'
        continue
      }
      if (byte !== 0x22) return fail('key must be a string', at + 1)
      const bad = string()
      if (bad) return bad
      skip()
      if (at >= bytes.length) return fail('EOF while parsing an object', at)
      if (bytes[at] !== 0x3a) return fail('expected `:`', at + 1)
      at += 1
      expect = 'value'
      continue
    }
    if (expect === 'first-item' && byte === 0x5d) {
      at += 1
      stack.pop()
      expect = 'after'
      continue
    }
    if (byte === 0x5b || byte === 0x7b) {
      if (stack.length >= jsonDepthMax) return fail('recursion limit exceeded', at + 1)
      stack.push(byte === 0x5b ? '[' : '{')
      at += 1
      expect = byte === 0x5b ? 'first-item' : 'first-key'
      continue
    }
    let bad: string | undefined
    if (byte === 0x22) bad = string()
    else if (byte === 0x2d || (byte >= 0x30 && byte <= 0x39)) bad = number()
    else if (byte === 0x74) bad = word('true')
    else if (byte === 0x66) bad = word('false')
    else if (byte === 0x6e) bad = word('null')
    else bad = fail('expected value', at + 1)
    if (bad) return bad
    expect = 'after'
  }
}
