/**
 * One word or phrase of a query with all that it may stand for (M-F4, M-F5): itself, words it begins, synonyms, words one
 * or two typos away, and its two halves as neighbours. Typo derivations are found when first needed, since most queries
 * are answered before.
 */
import type { IndexSettings } from '../index-settings.ts'
import { normaliseAlone } from '../text/normalise.ts'
import type { Tokenizer } from '../text/tokenize.ts'
import type { Postings } from './postings.ts'

/** Words that must follow each other; null = a stop word, which stands for any word. */
export interface Phrase {
  readonly key: string
  readonly words: readonly (string | null)[]
}

export function makePhrase(words: readonly (string | null)[]): Phrase {
  return { key: words.map((word) => word ?? '\u0000').join(' '), words }
}

export interface TermOptions {
  readonly maxTypos: number
  readonly isPrefix: boolean
  readonly ngramWords: readonly string[] | null
  readonly phrase: Phrase | null
  readonly synonyms: readonly Phrase[]
}

const prefixWordsMax = 1000
const synonymPhrasesMax = 50
const synonymWordsMax = 100
export const wordBytesMax = 250

export class QueryTerm {
  /** Unique within the query. */
  readonly id: number
  readonly original: string
  readonly maxTypos: number
  readonly isPrefix: boolean
  readonly ngramWords: readonly string[] | null
  readonly phrase: Phrase | null
  readonly synonyms: readonly Phrase[]
  /** The word itself, when the index has it. */
  readonly exact: string | null
  /** Words it begins, unless it is a wide prefix. */
  readonly prefixOf: readonly string[]
  readonly isWidePrefix: boolean
  readonly #postings: Postings
  #typos:
    | { readonly one: readonly string[]; readonly two: readonly string[]; readonly split: Phrase | null }
    | undefined

  constructor(id: number, original: string, postings: Postings, options: TermOptions) {
    this.id = id
    this.original = original
    this.#postings = postings
    this.ngramWords = options.ngramWords
    this.phrase = options.phrase
    this.synonyms = options.synonyms
    const isTooLong = options.phrase === null && Buffer.byteLength(original) > wordBytesMax
    this.maxTypos = isTooLong ? 0 : options.maxTypos
    this.isPrefix = options.isPrefix && !isTooLong
    const isWord = options.phrase === null && !isTooLong
    this.exact = isWord && postings.exists(original) ? original : null
    this.isWidePrefix = isWord && this.isPrefix && postings.isWidePrefix(original)
    this.prefixOf = isWord && this.isPrefix && !this.isWidePrefix ? beginnings(original, postings) : []
    if (isTooLong) this.#typos = { one: [], two: [], split: null }
  }

  get allowsSplit(): boolean {
    return this.phrase === null
  }

  /** Highest typo count that a path may take for the term, as a whole. */
  get typos(): { readonly one: readonly string[]; readonly two: readonly string[]; readonly split: Phrase | null } {
    this.#typos ??= this.#findTypos()
    return this.#typos
  }

  /** What has been found so far: highlighting shows no more than ranking looked at. */
  get computed(): { readonly words: readonly string[]; readonly phrases: readonly Phrase[] } {
    const words = new Set([...(this.exact === null ? [] : [this.exact]), ...this.prefixOf])
    const phrases = [...(this.phrase === null ? [] : [this.phrase]), ...this.synonyms]
    // Both levels come from one walk through the vocabulary, and its order decides which of two likely words is shown.
    for (const word of [...(this.#typos?.one ?? []), ...(this.#typos?.two ?? [])].sort(compareBytes)) words.add(word)
    if (this.#typos?.split) phrases.push(this.#typos.split)
    return { words: [...words], phrases }
  }

  #findTypos(): { readonly one: readonly string[]; readonly two: readonly string[]; readonly split: Phrase | null } {
    const { reader, vocabulary } = this.#postings
    const split = this.allowsSplit ? this.#findSplit() : null
    if (this.maxTypos === 0 || this.original === '') return { one: [], two: [], split }
    if (this.maxTypos === 1) return { one: vocabulary.likeByOne(reader, this.original, this.isPrefix), two: [], split }
    const { one, two } = vocabulary.likeByTwo(reader, this.original, this.isPrefix)
    return { one, two, split }
  }

  /** The two halves that are neighbours in the most documents; not the words that the query already had apart. */
  #findSplit(): Phrase | null {
    const { reader, vocabulary } = this.#postings
    const characters = [...this.original]
    let best: { readonly size: number; readonly left: string; readonly right: string } | undefined
    for (let at = 1; at < characters.length; at += 1) {
      const left = characters.slice(0, at).join('')
      // Most beginnings are no words: that is known without a look into the pairs.
      if (!vocabulary.has(reader, left)) continue
      const right = characters.slice(at).join('')
      const size = this.#postings.pair(left, right, 1).size
      if (size > (best?.size ?? 0)) best = { size, left, right }
    }
    if (best === undefined) return null
    const restores =
      this.maxTypos < 2 &&
      this.ngramWords?.length === 2 &&
      this.ngramWords[0] === best.left &&
      this.ngramWords[1] === best.right
    return restores ? null : makePhrase([best.left, best.right])
  }
}

function compareBytes(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right))
}

function beginnings(prefix: string, postings: Postings): readonly string[] {
  const found: string[] = []
  for (const word of postings.wordsFrom(prefix)) {
    if (word === prefix) continue
    found.push(word)
    if (found.length >= prefixWordsMax) break
  }
  return found
}

/** Typos that a word may have (M-F4). `word` is normalised. */
export function allowedTypos(word: string, settings: IndexSettings): number {
  const { enabled, minWordSizeForTypos } = settings.typoTolerance
  const length = [...word].length
  if (!enabled || length < minWordSizeForTypos.oneTypo || strictWords(settings).has(word)) return 0
  return length < minWordSizeForTypos.twoTypos ? 1 : 2
}

const strictBySettings = new WeakMap<IndexSettings, ReadonlySet<string>>()

/** Normal forms of the words that allow no typo. */
export function strictWords(settings: IndexSettings): ReadonlySet<string> {
  let known = strictBySettings.get(settings)
  if (known === undefined) {
    known = new Set(settings.typoTolerance.disableOnWords.map(normaliseAlone))
    strictBySettings.set(settings, known)
  }
  return known
}

/** Synonyms by their words, tokenised and normalised; stop words are no part of them. */
export class Synonyms {
  readonly #phrases = new Map<string, Phrase[]>()

  constructor(settings: IndexSettings, tokenizer: Tokenizer) {
    const wordsOf = (text: string): string[] =>
      tokenizer
        .tokenize(text)
        .filter((token) => token.kind === 'word')
        .map((token) => token.normalised)
        .filter((word) => word !== '')
    for (const [key, values] of Object.entries(settings.synonyms)) {
      const words = wordsOf(key)
      if (words.length === 0) continue
      const phrases = this.#phrases.get(words.join(' ')) ?? []
      for (const value of values) {
        const alternative = wordsOf(value)
        if (alternative.length > 0) phrases.push(makePhrase(alternative))
      }
      this.#phrases.set(words.join(' '), phrases)
    }
  }

  /** Alternatives of one word, within the bounds of M-F5. */
  of(word: string): readonly Phrase[] {
    let count = 0
    return (this.#phrases.get(word) ?? []).slice(0, synonymPhrasesMax).filter(({ words }) => {
      if (count + words.length > synonymWordsMax) return false
      count += words.length
      return true
    })
  }

  /** Alternatives of several words in a row. */
  ofWords(words: readonly string[]): readonly Phrase[] {
    return this.#phrases.get(words.join(' ')) ?? []
  }
}
