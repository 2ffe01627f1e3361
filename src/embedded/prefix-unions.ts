/**
 * Postings of all words with a common beginning: gathered from those of the words, or as they are stored for beginnings of
 * many words (`prefix-table.ts`).
 */
import { Bitmap } from '../lib/bitmap.ts'
import { BitmapUnion } from '../lib/bitmap-union.ts'
import type { IndexEnv, Table } from './index-env.ts'
import { type KeyBuilder, keyAfter, numberAtEnd, postingKind } from './index-keys.ts'

/** A wide prefix has at most this many bytes, and begins at least `widePrefixWordsMin` words: the bounds of the reference. */
export const widePrefixBytesMax = 4
export const widePrefixWordsMin = 100

export type WordKind = typeof postingKind.word | typeof postingKind.exact
export type NumberedKind = typeof postingKind.field | typeof postingKind.position

/** Characters of a prefix that is stored: keeping longer ones up to date costs more than gathering their few words. */
const storedCharactersMax = 2

/** The beginnings of a word that may be stored, shortest first. */
export function shortPrefixes(word: string): string[] {
  const found: string[] = []
  let byteCount = 0
  for (let end = 0; end < word.length && found.length < storedCharactersMax; ) {
    const point = word.codePointAt(end)!
    byteCount += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4
    if (byteCount > widePrefixBytesMax) break
    end += point < 0x10000 ? 1 : 2
    found.push(word.slice(0, end))
  }
  return found
}

export function uniteWords(env: IndexEnv, keys: KeyBuilder, kind: WordKind, prefix: string): Bitmap {
  const union = new BitmapUnion()
  for (const { value } of wordsFrom(env.postings, keys, kind, prefix)) union.add(value)
  return union.build()
}

/** By the number at the end of the keys: field or position bucket. */
export function uniteByNumber(
  env: IndexEnv,
  keys: KeyBuilder,
  kind: NumberedKind,
  prefix: string,
): ReadonlyMap<number, Bitmap> {
  const unions = new Map<number, BitmapUnion>()
  for (const { key, value } of wordsFrom(env.postings, keys, kind, prefix)) {
    const number = numberAtEnd(key)
    let union = unions.get(number)
    if (union === undefined) {
      union = new BitmapUnion()
      unions.set(number, union)
    }
    union.add(value)
  }
  return new Map([...unions].map(([number, union]) => [number, union.build()]))
}

export function isStoredPrefix(env: IndexEnv, keys: KeyBuilder, prefix: string): boolean {
  return env.prefixes.getBinaryFast(keys.word(postingKind.word, prefix)) !== undefined
}

/** By position bucket. Only of a prefix that is stored, as the next one. */
export function storedPositions(env: IndexEnv, keys: KeyBuilder, prefix: string): ReadonlyMap<number, Bitmap> {
  const start = Buffer.from(keys.wordNumber(postingKind.position, prefix, 0))
  const found = new Map<number, Bitmap>()
  for (const { key, value } of env.prefixes.getRange({ start, end: keyAfter(start.subarray(0, -2)) }))
    found.set(numberAtEnd(key), Bitmap.deserialize(value))
  return found
}

/** Undefined when some words are exact: then it takes the words' own lists to tell which documents have a tolerant one. */
export function storedTolerant(env: IndexEnv, keys: KeyBuilder, prefix: string): Bitmap | undefined {
  if (env.prefixes.getBinaryFast(keys.word(postingKind.exact, prefix)) !== undefined) return undefined
  return Bitmap.union([...storedPositions(env, keys, prefix).values()])
}

type Entries = Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }>

function wordsFrom(table: Table, keys: KeyBuilder, kind: number, prefix: string): Entries {
  const start = Buffer.from(keys.word(kind, prefix))
  return table.getRange({ start, end: keyAfter(start) })
}
