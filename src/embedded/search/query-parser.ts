/** From the text of a query to its terms (M-F3): words, phrases in double quotes, and what must not occur. */
import type { IndexSettings } from '../index-settings.ts'
import type { Token, Tokenizer } from '../text/tokenize.ts'
import type { Postings } from './postings.ts'
import { allowedTypos, makePhrase, type Phrase, QueryTerm, Synonyms, wordBytesMax } from './query-term.ts'

const tokensMax = 1000
/** Terms read from a query; a phrase is one. */
const termsMax = 10
/** What a hard separator adds to the position of the next word. */
const hardStep = 7

/** A term at its word positions in the query, both ends included. */
export interface LocatedTerm {
  readonly term: QueryTerm
  readonly start: number
  readonly end: number
}

export interface ParsedQuery {
  readonly terms: readonly LocatedTerm[]
  readonly negativeWords: readonly string[]
  readonly negativePhrases: readonly Phrase[]
}

/** Makes the terms of one query. */
export class TermFactory {
  readonly #postings: Postings
  readonly #settings: IndexSettings
  readonly #synonyms: Synonyms
  #count = 0

  constructor(postings: Postings, settings: IndexSettings, tokenizer: Tokenizer) {
    this.#postings = postings
    this.#settings = settings
    this.#synonyms = synonymsOf(settings, tokenizer)
  }

  word(word: string, isPrefix: boolean): QueryTerm {
    return this.#make(word, {
      maxTypos: allowedTypos(word, this.#settings),
      isPrefix,
      ngramWords: null,
      phrase: null,
      synonyms: this.#synonyms.of(word),
    })
  }

  phrase(phrase: Phrase): QueryTerm {
    return this.#make(phrase.key, { maxTypos: 0, isPrefix: false, ngramWords: null, phrase, synonyms: [] })
  }

  /** The term that two or three neighbours form when written together, or null when they cannot (M-F5). */
  ngram(terms: readonly LocatedTerm[]): LocatedTerm | null {
    const words: string[] = []
    for (const [index, { term, start }] of terms.entries()) {
      const before = terms[index - 1]
      if (term.phrase !== null || term.ngramWords !== null) return null
      if (before !== undefined && before.end + 1 !== start) return null
      words.push(term.original)
    }
    const joined = words.join('')
    const last = terms.at(-1)
    const first = terms[0]
    if (first === undefined || last === undefined || Buffer.byteLength(joined) > wordBytesMax) return null
    const term = this.#make(joined, {
      maxTypos: Math.max(0, allowedTypos(joined, this.#settings) - (terms.length - 1)),
      isPrefix: last.term.isPrefix,
      ngramWords: words,
      phrase: null,
      synonyms: [...this.#synonyms.of(joined), ...this.#synonyms.ofWords(words)],
    })
    return { term, start: first.start, end: last.end }
  }

  #make(original: string, options: ConstructorParameters<typeof QueryTerm>[3]): QueryTerm {
    const term = new QueryTerm(this.#count, original, this.#postings, options)
    this.#count += 1
    return term
  }
}

const synonymsBySettings = new WeakMap<IndexSettings, Synonyms>()

/** Tokenised once, and kept as long as the settings. */
function synonymsOf(settings: IndexSettings, tokenizer: Tokenizer): Synonyms {
  const known = synonymsBySettings.get(settings)
  if (known !== undefined) return known
  const made = new Synonyms(settings, tokenizer)
  synonymsBySettings.set(settings, made)
  return made
}

interface OpenPhrase {
  readonly words: (string | null)[]
  start: number
  end: number
}

export function parseQuery(tokens: readonly Token[], factory: TermFactory, allowsPrefix: boolean): ParsedQuery {
  const terms: LocatedTerm[] = []
  const negativeWords: string[] = []
  const negativePhrases: Phrase[] = []
  let phrase: OpenPhrase | null = null
  let phraseIsNegative = false
  let negatesNext = false
  let afterSpace = true
  let position = -1

  const closePhrase = (open: OpenPhrase) => {
    if (open.words.every((word) => word === null)) return false
    const made = makePhrase(open.words)
    if (phraseIsNegative) negativePhrases.push(made)
    else terms.push({ term: factory.phrase(made), start: open.start, end: open.end })
    return true
  }

  const read = tokens.slice(0, tokensMax)
  for (const [index, token] of read.entries()) {
    if (token.normalised === '') continue
    if (terms.length >= termsMax) return { terms, negativeWords, negativePhrases }
    const isLast = index === read.length - 1
    if (token.kind === 'word' || token.kind === 'stop') {
      position += 1
      if (phrase !== null) {
        if (phrase.words.every((word) => word === null)) phrase.start = position
        phrase.end = position
        phrase.words.push(token.kind === 'stop' ? null : token.normalised)
      } else if (negatesNext) {
        negativeWords.push(token.normalised)
        negatesNext = false
      } else if (isLast || token.kind === 'word') {
        const term = factory.word(token.normalised, isLast && allowsPrefix)
        terms.push({ term, start: position, end: position })
      }
    } else {
      if (token.kind === 'hard') {
        position += hardStep
        if (phrase !== null) {
          closePhrase(phrase)
          phrase = { words: [], start: 0, end: 0 }
        }
      }
      let quotes = token.normalised.split('"').length - 1
      if (quotes > 0) {
        if (phrase !== null) {
          quotes -= 1
          if (closePhrase(phrase) && phraseIsNegative) phraseIsNegative = false
        }
        phrase = null
        if (quotes % 2 === 1) {
          phraseIsNegative = negatesNext
          phrase = { words: [], start: 0, end: 0 }
        }
      }
      negatesNext = phrase === null && token.normalised === '-' && afterSpace
    }
    afterSpace = /\s$/u.test(token.normalised)
  }
  if (phrase !== null) closePhrase(phrase)
  return { terms, negativeWords, negativePhrases }
}
