/**
 * A part of what a query term may stand for. Ranking rules narrow it: once a bucket holds documents that match with one
 * typo, the next rules see only the one-typo words (M-F7.4).
 */
import type { Phrase, QueryTerm } from './query-term.ts'

/** Of one typo level: all derivations, none, or the listed ones. */
export type Selection =
  | 'all'
  | 'none'
  | { readonly words: ReadonlySet<string>; readonly phrases: ReadonlySet<string>; readonly key: string }

export interface Derivations {
  /** `isOriginal`: counts as typed, so that exact-only occurrences match too (M-F4). */
  readonly words: readonly { readonly word: string; readonly isOriginal: boolean }[]
  readonly phrases: readonly Phrase[]
  /** The term is a wide prefix and still selected as one. */
  readonly prefix: { readonly word: string; readonly isOriginal: boolean } | null
}

export type ExactTerm =
  | { readonly kind: 'word'; readonly word: string }
  | { readonly kind: 'phrase'; readonly phrase: Phrase }

export class TermSubset {
  readonly term: QueryTerm
  readonly zero: Selection
  readonly one: Selection
  readonly two: Selection
  readonly isMandatory: boolean
  /** Equal for equal subsets within a query. */
  readonly key: string
  #derivations: Derivations | undefined

  private constructor(term: QueryTerm, zero: Selection, one: Selection, two: Selection, isMandatory: boolean) {
    this.term = term
    this.zero = zero
    this.one = one
    this.two = two
    this.isMandatory = isMandatory
    this.key = `${term.id}${selectionKey(zero)}${selectionKey(one)}${selectionKey(two)}${isMandatory ? '!' : ''}`
  }

  static full(term: QueryTerm): TermSubset {
    return new TermSubset(term, 'all', 'all', 'all', false)
  }

  /** Only the derivations of one typo level. */
  atTypos(typos: number): TermSubset {
    return new TermSubset(
      this.term,
      typos === 0 ? this.zero : 'none',
      typos === 1 ? this.one : 'none',
      typos === 2 ? this.two : 'none',
      this.isMandatory,
    )
  }

  intersect(other: TermSubset): TermSubset {
    return new TermSubset(
      this.term,
      intersect(this.zero, other.zero),
      intersect(this.one, other.one),
      intersect(this.two, other.two),
      this.isMandatory,
    )
  }

  /** Only the exact word or phrase, which from now on must match. */
  onlyExact(): TermSubset {
    const exact = this.exactTerm
    if (exact === null) return new TermSubset(this.term, this.zero, this.one, this.two, true)
    const word = exact.kind === 'word' ? [exact.word] : []
    const phrase = exact.kind === 'phrase' ? [exact.phrase.key] : []
    const zero: Selection = { words: new Set(word), phrases: new Set(phrase), key: `=${[...word, ...phrase].join()}` }
    return new TermSubset(this.term, zero, 'none', 'none', true)
  }

  /** The word or phrase as typed, if the index has it and it is selected. */
  get exactTerm(): ExactTerm | null {
    const { ngramWords, phrase, exact } = this.term
    if (ngramWords !== null) return null
    if (phrase !== null) return hasPhrase(this.zero, phrase) ? { kind: 'phrase', phrase } : null
    return exact !== null && hasWord(this.zero, exact) ? { kind: 'word', word: exact } : null
  }

  get originalPhrase(): Phrase | null {
    const { phrase } = this.term
    return phrase !== null && hasPhrase(this.zero, phrase) ? phrase : null
  }

  /** The highest number of typos that a path through the term may cost. */
  get maxTypoCost(): number {
    if (this.term.maxTypos === 0) return this.term.allowsSplit ? 1 : 0
    if (this.term.maxTypos === 2 && !isEmpty(this.two)) return 2
    return isEmpty(this.one) ? 0 : 1
  }

  get derivations(): Derivations {
    this.#derivations ??= this.#derive()
    return this.#derivations
  }

  #derive(): Derivations {
    const { term } = this
    const isOriginal = term.ngramWords === null
    const found = new Map<string, boolean>()
    if (term.exact !== null && hasWord(this.zero, term.exact)) found.set(term.exact, isOriginal)
    if (this.zero !== 'none')
      for (const word of term.prefixOf) if (hasWord(this.zero, word)) found.set(word, isOriginal)
    const words = [...found].map(([word, original]) => ({ word, isOriginal: original }))
    const addLike = (like: readonly string[], selection: Selection) => {
      for (const word of like) if (hasWord(selection, word)) words.push({ word, isOriginal: false })
    }
    if (!isEmpty(this.one)) addLike(term.typos.one, this.one)
    if (!isEmpty(this.two)) addLike(term.typos.two, this.two)
    // The phrase and the synonyms stay at every level, as in the reference.
    const phrases = [...(term.phrase === null ? [] : [term.phrase]), ...term.synonyms]
    const split = isEmpty(this.one) ? null : term.typos.split
    if (split !== null && hasPhrase(this.one, split)) phrases.push(split)
    const prefix = term.isWidePrefix && hasWord(this.zero, term.original) ? { word: term.original, isOriginal } : null
    return { words, phrases: unique(phrases), prefix }
  }
}

/** A term subset at its place in the query. */
export interface Located {
  readonly subset: TermSubset
  /** Word positions in the query, inclusive. */
  readonly start: number
  readonly end: number
  /** Numbers of the query's terms that it covers, inclusive: more than one for an n-gram. */
  readonly firstTerm: number
  readonly lastTerm: number
}

export function termCount(located: Located): number {
  return located.lastTerm - located.firstTerm + 1
}

export function locatedKey({ subset, start, end, firstTerm, lastTerm }: Located): string {
  return `${subset.key}@${start},${end},${firstTerm},${lastTerm}`
}

function selectionKey(selection: Selection): string {
  if (selection === 'all') return '*'
  return selection === 'none' ? '-' : selection.key
}

function isEmpty(selection: Selection): boolean {
  return selection === 'none' || (selection !== 'all' && selection.words.size === 0 && selection.phrases.size === 0)
}

function hasWord(selection: Selection, word: string): boolean {
  return selection === 'all' || (selection !== 'none' && selection.words.has(word))
}

function hasPhrase(selection: Selection, phrase: Phrase): boolean {
  return selection === 'all' || (selection !== 'none' && selection.phrases.has(phrase.key))
}

function intersect(left: Selection, right: Selection): Selection {
  if (left === 'all') return right
  if (right === 'all') return left
  if (left === 'none' || right === 'none') return 'none'
  const words = new Set([...left.words].filter((word) => right.words.has(word)))
  const phrases = new Set([...left.phrases].filter((key) => right.phrases.has(key)))
  return { words, phrases, key: `=${[...words, ...phrases].join()}` }
}

function unique(phrases: readonly Phrase[]): readonly Phrase[] {
  return [...new Map(phrases.map((phrase) => [phrase.key, phrase])).values()]
}
