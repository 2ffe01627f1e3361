/** Cuts the text of JSON objects and arrays into the texts of what they hold, so that numbers keep their last digit. */
import { assert } from './assert.ts'

/** Top-level members: name → JSON text of the value. A repeated name keeps the last value. */
export type Members = Map<string, string>

const quote = 34
const backslash = 92
const openList = 91
const closeList = 93
const openObject = 123
const closeObject = 125

/** @param text  a valid JSON object. */
export function splitMembers(text: string): Members {
  return cutMembers(text, undefined, [])
}

/** The members of an object, and in place of one that is a list, its items: in one pass. @throws AssertionError without it. */
export function splitAround(
  text: string,
  list: string,
): { readonly members: Members; readonly items: readonly string[] } {
  const items: string[] = []
  const members = cutMembers(text, list, items)
  assert(members.delete(list), `an object with a list ${list}`)
  return { members, items }
}

/** @param list  name of the member whose items go to `items`. */
function cutMembers(text: string, list: string | undefined, items: string[]): Members {
  const members: Members = new Map()
  let at = skipSpace(text, 0)
  assert(text[at] === '{', 'a document is a JSON object')
  at = skipSpace(text, at + 1)
  while (text.charCodeAt(at) === quote) {
    const nameEnd = stringEnd(text, at)
    const raw = text.slice(at + 1, nameEnd - 1)
    const name = raw.includes('\\') ? (JSON.parse(text.slice(at, nameEnd)) as string) : raw
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1)
    let end: number
    if (name === list && text.charCodeAt(start) === openList) {
      items.length = 0
      end = cutItems(text, start, items)
      members.set(name, '')
    } else {
      end = valueEnd(text, start)
      members.set(name, text.slice(start, end))
    }
    at = skipSpace(text, end)
    if (text[at] !== ',') break
    at = skipSpace(text, at + 1)
  }
  return members
}

/** @param text  a valid JSON array. */
export function splitItems(text: string): string[] {
  const items: string[] = []
  cutItems(text, skipSpace(text, 0), items)
  return items
}

/** Behind the list that begins at `from`. */
function cutItems(text: string, from: number, items: string[]): number {
  assert(text[from] === '[', 'a list is a JSON array')
  let at = skipSpace(text, from + 1)
  while (text[at] !== ']') {
    const end = valueEnd(text, at)
    items.push(text.slice(at, end))
    at = skipSpace(text, end)
    if (text[at] !== ',') break
    at = skipSpace(text, at + 1)
  }
  return at + 1
}

/** JSON text with the members in the given order. */
export function joinMembers(members: Iterable<readonly [string, string]>): string {
  let text = '{'
  for (const [name, value] of members) text += `${text.length > 1 ? ',' : ''}${JSON.stringify(name)}:${value}`
  return `${text}}`
}

/** The same for every order of members; values as they are written. */
export function canonicalText(text: string): string {
  const first = text[skipSpace(text, 0)]
  if (first === '[') return `[${splitItems(text).map(canonicalText).join(',')}]`
  if (first !== '{') return text.trim()
  const members = [...splitMembers(text)].sort(([a], [b]) => (a < b ? -1 : 1))
  return joinMembers(members.map(([name, value]) => [name, canonicalText(value)] as const))
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
    if (text.charCodeAt(at - 1) !== backslash) return at + 1
    let slashes = 1
    while (text.charCodeAt(at - 1 - slashes) === backslash) slashes += 1
    if (slashes % 2 === 0) return at + 1
    at = text.indexOf('"', at + 1)
  }
  assert(false, 'unclosed string in a document')
}

/** Behind the value that begins at `from`. */
function valueEnd(text: string, from: number): number {
  const first = text.charCodeAt(from)
  if (first === quote) return stringEnd(text, from)
  let at = from
  if (first !== openObject && first !== openList) {
    while (at < text.length && !isValueEnd(text.charCodeAt(at))) at += 1
    return at
  }
  let depth = 0
  while (at < text.length) {
    const code = text.charCodeAt(at)
    if (code === quote) {
      at = stringEnd(text, at)
      continue
    }
    at += 1
    if (code === openObject || code === openList) depth += 1
    else if (code === closeObject || code === closeList) {
      depth -= 1
      if (depth === 0) return at
    }
  }
  assert(false, 'unclosed value in a document')
}

const isValueEnd = (code: number): boolean => code <= 32 || code === 44 || code === 93 || code === 125
