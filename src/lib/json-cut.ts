/** Cuts the text of JSON objects and arrays into the texts of what they hold, so that numbers keep their last digit. */
import { assert } from './assert.ts'

/** Top-level members: name → JSON text of the value. A repeated name keeps the last value. */
export type Members = Map<string, string>

const quote = 34
const comma = 44
const backslash = 92
const openList = 91
const closeList = 93
const openObject = 123
const closeObject = 125

/** @param text  a valid JSON object. */
export function splitMembers(text: string): Members {
  const members: Members = new Map()
  cutMembers(text, firstMember(text), (name, value) => members.set(name, value))
  return members
}

/** Every member in turn, where they need not be kept. @param text  a valid JSON object. */
export function forEachMember(text: string, take: (name: string, value: string) => void): void {
  cutMembers(text, firstMember(text), take)
}

function firstMember(text: string): number {
  const at = skipSpace(text, 0)
  assert(text.charCodeAt(at) === openObject, 'a document is a JSON object')
  return skipSpace(text, at + 1)
}

/**
 * The members of an object, but for one that is a list: that is left for `cutItems`.
 *
 * @param list  a member. When it is the first one and `next` follows it, as nodes write answers, it is not read through.
 * @throws AssertionError without it.
 */
export function splitAround(
  text: string,
  list: string,
  next: string,
): { readonly members: Members; readonly items: Iterable<string> } {
  const first = `{"${list}":[`
  // A name stands between quotes that no string can hold: behind the last `],"next":` there is nothing but members of ours.
  const at = text.startsWith(first) ? text.lastIndexOf(`],"${next}":`) : -1
  if (at > 0) {
    const members: Members = new Map()
    // Were it a member of something within the list, more than one object would end behind it.
    const end = cutMembers(text, at + 2, (name, value) => members.set(name, value))
    if (end === text.length - 1) return { members, items: cutItems(text, first.length) }
  }
  const members = splitMembers(text)
  const items = members.get(list)
  assert(members.delete(list) && items?.startsWith('[') === true, `an object with a list ${list}`)
  return { members, items: cutItems(items, 1) }
}

/** Behind the last member. @param from  where the first name begins, or what follows the last one. */
function cutMembers(text: string, from: number, take: (name: string, value: string) => void): number {
  let at = from
  while (text.charCodeAt(at) === quote) {
    const nameEnd = stringEnd(text, at)
    const raw = text.slice(at + 1, nameEnd - 1)
    const name = raw.includes('\\') ? (JSON.parse(text.slice(at, nameEnd)) as string) : raw
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1)
    const end = valueEnd(text, start)
    take(name, text.slice(start, end))
    at = skipSpace(text, end)
    if (text.charCodeAt(at) !== comma) break
    at = skipSpace(text, at + 1)
  }
  return at
}

/** @param text  a valid JSON array. */
export function splitItems(text: string): string[] {
  const at = skipSpace(text, 0)
  assert(text.charCodeAt(at) === openList, 'a list is a JSON array')
  return [...cutItems(text, at + 1)]
}

/** The items of a list, each cut when it is asked for. @param from  behind the opening bracket. */
function cutItems(text: string, from: number): Iterable<string> {
  return { [Symbol.iterator]: () => eachItem(text, from) }
}

function* eachItem(text: string, from: number): Generator<string> {
  let at = skipSpace(text, from)
  while (text.charCodeAt(at) !== closeList) {
    const end = valueEnd(text, at)
    yield text.slice(at, end)
    at = skipSpace(text, end)
    if (text.charCodeAt(at) !== comma) break
    at = skipSpace(text, at + 1)
  }
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

const isValueEnd = (code: number): boolean => code <= 32 || code === comma || code === closeList || code === closeObject
