/**
 * Words of the index that are like a typed one (M-F4). The vocabulary is walked in its order, in blocks by first
 * character; blocks are kept in memory, and follow the words that come and go.
 *
 * Distance is Levenshtein's with a swap of neighbours counted once. A prefix is compared with the candidate character by
 * character, and the distance is settled as soon as the whole prefix is no farther than any part of it: what follows
 * cannot bring it nearer.
 */
import type { IndexReader } from '../index-reader.ts'

export interface LikeWords {
  /** At one typo, in vocabulary order. */
  readonly one: readonly string[]
  /** At two typos, or at one with another first character. */
  readonly two: readonly string[]
}

export const oneTypoWordsMax = 150
export const twoTypoWordsMax = 50
/** Words kept in memory per index; blocks beyond are read each time. */
const wordsKeptMax = 400_000
/** Typed words whose like words are kept per index. */
const askedMax = 500
/** Pairs of a typed and a changed word that are compared; beyond, what was found for typed words is forgotten. */
const followedMax = 100_000

export class Vocabulary {
  readonly #blocks = new Map<string, string[]>()
  /** Those of `#blocks` that were asked for single words. */
  readonly #sets = new Map<string, Set<string>>()
  readonly #asked = new Map<string, LikeWords>()
  #kept = 0
  #firsts: readonly string[] | undefined

  has(reader: IndexReader, word: string): boolean {
    const first = firstCharacter(word)
    const words = this.#blocks.get(first)
    // One word is not worth the reading of a block.
    if (words === undefined) return firstFrom(reader, word) === word
    let known = this.#sets.get(first)
    if (known === undefined) {
      known = new Set(words)
      this.#sets.set(first, known)
    }
    return known.has(word)
  }

  /** Words at exactly one typo that share the first character. */
  likeByOne(reader: IndexReader, word: string, isPrefix: boolean): readonly string[] {
    return this.#remember(`1${isPrefix ? '*' : ' '}${word}`, () => ({
      one: this.#findByOne(reader, word, isPrefix),
      two: [],
    })).one
  }

  /** Words at one or two typos. */
  likeByTwo(reader: IndexReader, word: string, isPrefix: boolean): LikeWords {
    return this.#remember(`2${isPrefix ? '*' : ' '}${word}`, () => this.#findByTwo(reader, word, isPrefix))
  }

  #remember(key: string, find: () => LikeWords): LikeWords {
    const known = this.#asked.get(key)
    if (known !== undefined) return known
    const found = find()
    const oldest = this.#asked.size >= askedMax ? this.#asked.keys().next().value : undefined
    if (oldest !== undefined) this.#asked.delete(oldest)
    this.#asked.set(key, found)
    return found
  }

  #findByOne(reader: IndexReader, word: string, isPrefix: boolean): readonly string[] {
    const found: string[] = []
    const first = firstCharacter(word)
    const allowsTypos = typoTest(reader)
    walk(this.#block(reader, first), word, 1, isPrefix, (candidate, distance) => {
      if (distance === 1 && allowsTypos(candidate)) found.push(candidate)
      return found.length < oneTypoWordsMax
    })
    return found
  }

  #findByTwo(reader: IndexReader, word: string, isPrefix: boolean): LikeWords {
    const one: string[] = []
    const two: string[] = []
    const first = firstCharacter(word)
    const allowsTypos = typoTest(reader)
    for (const start of this.#firstCharacters(reader)) {
      if (one.length >= oneTypoWordsMax && two.length >= twoTypoWordsMax) break
      if (start === first)
        walk(this.#block(reader, start), word, 2, isPrefix, (candidate, distance) => {
          if (distance > 0 && allowsTypos(candidate)) {
            if (distance === 1 && one.length < oneTypoWordsMax) one.push(candidate)
            if (distance === 2 && two.length < twoTypoWordsMax) two.push(candidate)
          }
          return one.length < oneTypoWordsMax || two.length < twoTypoWordsMax
        })
      else
        for (const candidate of this.#otherFirst(reader, word, start, isPrefix)) {
          if (!allowsTypos(candidate)) continue
          // The reference's order of tests: once the second list is full, such a word joins the first.
          if (two.length < twoTypoWordsMax) two.push(candidate)
          else if (one.length < oneTypoWordsMax) one.push(candidate)
        }
    }
    return { one, two }
  }

  /**
   * Words beginning with `start`, another character than the typed word's first, that are one typo away. That one typo is
   * used up at the front, so the rest must be equal.
   */
  #otherFirst(reader: IndexReader, word: string, start: string, isPrefix: boolean): readonly string[] {
    const [first = '', second = '', ...others] = [...word]
    const rest = others.join('')
    const forms = new Set([start + second + rest, start + word])
    if (start === second) {
      forms.add(second + rest)
      forms.add(second + first + rest)
    }
    const found = new Set<string>()
    for (const form of forms) {
      for (const candidate of reader.words(form)) {
        if (!(isPrefix ? candidate.startsWith(form) : candidate === form)) break
        found.add(candidate)
      }
    }
    return found.size < 2 ? [...found] : [...found].sort()
  }

  /** Before: `reader` sees the changed words already. What was found for typed words stays where no changed word is like them. */
  follow(reader: IndexReader, changes: ReadonlyMap<string, boolean>): void {
    if (changes.size === 0) return
    for (const [word, isThere] of changes) {
      const first = firstCharacter(word)
      const block = this.#blocks.get(first)
      if (block !== undefined) this.#kept += change(block, word, isThere)
      if (isThere) this.#sets.get(first)?.add(word)
      else this.#sets.get(first)?.delete(word)
      const begins = isThere || firstFrom(reader, first)?.startsWith(first) === true
      if (this.#firsts?.includes(first) !== begins) this.#firsts = undefined
    }
    if (this.#asked.size * changes.size > followedMax) this.#asked.clear()
    const words = [...changes.keys()].sort()
    for (const asked of this.#asked.keys()) {
      const isPrefix = asked[1] === '*'
      walk(words, asked.slice(2), Number(asked[0]), isPrefix, () => {
        this.#asked.delete(asked)
        return false
      })
    }
  }

  #block(reader: IndexReader, first: string): readonly string[] {
    const known = this.#blocks.get(first)
    if (known !== undefined) return known
    const words: string[] = []
    for (const word of reader.words(first)) {
      if (!word.startsWith(first)) break
      words.push(word)
    }
    if (this.#kept + words.length <= wordsKeptMax) {
      this.#blocks.set(first, words)
      this.#kept += words.length
    }
    return words
  }

  #firstCharacters(reader: IndexReader): readonly string[] {
    if (this.#firsts !== undefined) return this.#firsts
    const firsts: string[] = []
    let start: string | undefined = ''
    while (start !== undefined) {
      const next = firstFrom(reader, start)
      if (next === undefined) break
      const first = firstCharacter(next)
      firsts.push(first)
      start = first.codePointAt(0) === 0x10ffff ? undefined : String.fromCodePoint(nextCodePoint(first))
    }
    this.#firsts = firsts
    return firsts
  }
}

/** Puts a word into its place in a block, or takes it out; answers by how many words the block grew. */
function change(block: string[], word: string, isThere: boolean): number {
  const bytes = Buffer.from(word)
  let low = 0
  let high = block.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (Buffer.compare(Buffer.from(block[middle]!), bytes) < 0) low = middle + 1
    else high = middle
  }
  const wasThere = block[low] === word
  if (wasThere === isThere) return 0
  block.splice(low, isThere ? 0 : 1, ...(isThere ? [word] : []))
  return isThere ? 1 : -1
}

/** The loop ends the iteration, which else would keep its state of the index, and the pages of it, for ever. */
function firstFrom(reader: IndexReader, start: string): string | undefined {
  for (const word of reader.words(start)) return word
  return undefined
}

/** Whether a word may be found by its likeness: not when it only occurs where no typo is allowed (M-F4). */
export function typoTest(reader: IndexReader): (word: string) => boolean {
  const { disableOnAttributes, disableOnNumbers } = reader.settings.typoTolerance
  if (disableOnAttributes.length === 0 && !disableOnNumbers) return () => true
  return (word) => !reader.wordDocids(word).isEmpty()
}

function nextCodePoint(character: string): number {
  const next = character.codePointAt(0)! + 1
  return next >= 0xd800 && next <= 0xdfff ? 0xe000 : next
}

export function firstCharacter(word: string): string {
  return String.fromCodePoint(word.codePointAt(0) ?? 0)
}

/**
 * Visits the words within `max` of `word`, in order, with their distance, until `visit` answers false. Rows of the distance
 * table are shared between words with a common beginning, and words that begin hopelessly are skipped together.
 */
export function walk(
  words: readonly string[],
  word: string,
  max: number,
  isPrefix: boolean,
  visit: (candidate: string, distance: number) => boolean,
): void {
  const target = [...word].map((character) => character.codePointAt(0)!)
  const width = target.length + 1
  /** rows[d][j]: distance of the candidate's first d characters to the target's first j. */
  const rows: Uint8Array[] = [Uint8Array.from({ length: width }, (_, index) => Math.min(index, 255))]
  /** settled[d]: the distance that the first d characters settle, or -1. */
  const settled: number[] = [target.length === 0 && isPrefix ? 0 : -1]
  const path: number[] = []
  let at = 0
  while (at < words.length) {
    const candidate = words[at]!
    let shared = 0
    let unit = 0
    while (shared < path.length && unit < candidate.length) {
      const point = candidate.codePointAt(unit)!
      if (point !== path[shared]) break
      shared += 1
      unit += point > 0xffff ? 2 : 1
    }
    path.length = shared
    let isDead = false
    while (unit < candidate.length && settled[path.length] === -1 && !isDead) {
      const point = candidate.codePointAt(unit)!
      const depth = path.length + 1
      const smallest = fillRow(rows, target, path, depth, point)
      const whole = rows[depth]![width - 1]!
      path.push(point)
      unit += point > 0xffff ? 2 : 1
      settled[depth] = isPrefix && whole <= max && whole === smallest ? whole : -1
      isDead = smallest > max
    }
    if (isDead) {
      at = skip(words, at, candidate.slice(0, unit))
      continue
    }
    const depth = path.length
    const distance = settled[depth] === -1 ? rows[depth]![width - 1]! : settled[depth]!
    if (distance <= max && !visit(candidate, distance)) return
    at += 1
  }
}

function fillRow(
  rows: Uint8Array[],
  target: readonly number[],
  path: readonly number[],
  depth: number,
  point: number,
): number {
  const width = target.length + 1
  const before = rows[depth - 1]!
  let row = rows[depth]
  if (row === undefined) {
    row = new Uint8Array(width)
    rows[depth] = row
  }
  row[0] = depth
  let smallest: number = depth
  const beforeLast = depth > 1 ? rows[depth - 2]! : undefined
  const last = depth > 1 ? path[depth - 2]! : -1
  for (let index = 1; index < width; index += 1) {
    const wanted = target[index - 1]!
    let cost = before[index - 1]! + (wanted === point ? 0 : 1)
    const removed = before[index]! + 1
    if (removed < cost) cost = removed
    const added = row[index - 1]! + 1
    if (added < cost) cost = added
    if (beforeLast !== undefined && index > 1 && wanted === last && target[index - 2] === point) {
      const swapped = beforeLast[index - 2]! + 1
      if (swapped < cost) cost = swapped
    }
    row[index] = cost
    if (cost < smallest) smallest = cost
  }
  return smallest
}

/** The first index after `at` whose word does not begin with `prefix`. */
function skip(words: readonly string[], at: number, prefix: string): number {
  let low = at + 1
  let step = 1
  while (low + step < words.length && words[low + step]!.startsWith(prefix)) {
    low += step
    step *= 2
  }
  let high = Math.min(words.length, low + step)
  while (low < high) {
    const middle = (low + high) >>> 1
    if (words[middle]!.startsWith(prefix)) low = middle + 1
    else high = middle
  }
  return low
}
