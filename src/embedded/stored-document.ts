/**
 * Documents as stored: their id and their JSON text, with top-level members in the order of field numbers. Values keep the
 * text in which they were sent, so that numbers survive to the last digit.
 */
import { assert } from '../lib/assert.ts'

/** Top-level members: name → JSON text of the value. A repeated name keeps the last value. */
export type Members = Map<string, string>

const quote = 34
const backslash = 92

/** @param text  a valid JSON object. */
export function splitMembers(text: string): Members {
  const members: Members = new Map()
  let at = skipSpace(text, 0)
  assert(text[at] === '{', 'a document is a JSON object')
  at = skipSpace(text, at + 1)
  while (text.charCodeAt(at) === quote) {
    const nameEnd = stringEnd(text, at)
    const raw = text.slice(at + 1, nameEnd - 1)
    const name = raw.includes('\\') ? (JSON.parse(text.slice(at, nameEnd)) as string) : raw
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1)
    const end = valueEnd(text, start)
    members.set(name, text.slice(start, end))
    at = skipSpace(text, end)
    if (text[at] !== ',') break
    at = skipSpace(text, at + 1)
  }
  return members
}

/** JSON text with the members in the given order. */
export function joinMembers(members: Iterable<readonly [string, string]>): string {
  let text = '{'
  for (const [name, value] of members) text += `${text.length > 1 ? ',' : ''}${JSON.stringify(name)}:${value}`
  return `${text}}`
}

function skipSpace(text: string, from: number): number {
  let at = from
  while (text.charCodeAt(at) <= 32) at += 1
  return at
}

/** Behind the closing quote of the string that opens at `from`. */
function stringEnd(text: string, from: number): number {
  let at = text.indexOf('"', from + 1)
  while (at >= 0) {
    let slashes = 0
    while (text.charCodeAt(at - 1 - slashes) === backslash) slashes += 1
    if (slashes % 2 === 0) return at + 1
    at = text.indexOf('"', at + 1)
  }
  assert(false, 'unclosed string in a document')
}

/** Behind the value that begins at `from`. */
function valueEnd(text: string, from: number): number {
  const first = text[from]
  if (first === '"') return stringEnd(text, from)
  let at = from
  if (first !== '{' && first !== '[') {
    while (at < text.length && !isValueEnd(text.charCodeAt(at))) at += 1
    return at
  }
  let depth = 0
  while (at < text.length) {
    const char = text[at]
    if (char === '"') {
      at = stringEnd(text, at)
      continue
    }
    if (char === '{' || char === '[') depth += 1
    if (char === '}' || char === ']') depth -= 1
    at += 1
    if (depth === 0) return at
  }
  assert(false, 'unclosed value in a document')
}

const isValueEnd = (code: number): boolean => code <= 32 || code === 44 || code === 93 || code === 125

export interface StoredDocument {
  readonly id: string
  /** JSON text, without `_vectors` of embedders. */
  readonly text: string
}

export function encodeDocument(document: StoredDocument): Uint8Array {
  const idBytes = Buffer.byteLength(document.id)
  const bytes = Buffer.allocUnsafe(2 + idBytes + Buffer.byteLength(document.text))
  bytes.writeUInt16LE(idBytes, 0)
  bytes.write(document.id, 2)
  bytes.write(document.text, 2 + idBytes)
  return bytes
}

export function decodeDocument(bytes: Uint8Array): StoredDocument {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const start = 2 + buffer.readUInt16LE(0)
  return { id: buffer.toString('utf8', 2, start), text: buffer.toString('utf8', start) }
}

export function decodeDocumentId(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return buffer.toString('utf8', 2, 2 + buffer.readUInt16LE(0))
}
