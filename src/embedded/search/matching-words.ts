/** Where in a text the query's words stand (M-F15): what is highlighted, and around what a text is cropped. */
import { coveredLength } from '../text/normalise.ts'
import type { Token } from '../text/tokenize.ts'
import type { LocatedTerm } from './query-parser.ts'

/** A place in a text, as positions of words and of tokens; both ends are included. */
export interface Match {
  readonly firstWord: number
  readonly lastWord: number
  readonly firstToken: number
  readonly lastToken: number
  /** UTF-16 units from the first token's start that are covered. */
  readonly length: number
  /** Query positions that it stands for. */
  readonly ids: readonly number[]
}

interface WantedPhrase {
  readonly words: readonly (string | null)[]
  readonly ids: readonly number[]
}

interface WantedWord {
  readonly word: string
  /** Characters of the typed word: what is highlighted of a longer one. */
  readonly typedLength: number
  readonly ids: readonly number[]
}

/** What of a query's terms was looked for, ready to be compared with tokens. */
export class MatchingWords {
  readonly #phrases = new Map<string, WantedPhrase[]>()
  /** Whole words, in order of preference; the first that fits decides. */
  readonly #exact = new Map<string, WantedWord>()
  readonly #prefixes: WantedWord[] = []

  constructor(terms: readonly LocatedTerm[]) {
    const sorted = [...terms].sort(
      (left, right) =>
        Number(left.term.isPrefix) - Number(right.term.isPrefix) || right.end - right.start - (left.end - left.start),
    )
    for (const { term, start, end } of terms) {
      const ids = range(start, end)
      for (const phrase of term.computed.phrases) {
        const first = phrase.words[0]
        if (first == null) continue
        const wanted = this.#phrases.get(first) ?? []
        wanted.push({ words: phrase.words, ids })
        this.#phrases.set(first, wanted)
      }
    }
    for (const { term, start, end } of sorted) {
      const typedLength = [...term.original].length
      for (const word of term.computed.words) {
        const wanted = { word, typedLength, ids: range(start, end) }
        if (term.isPrefix) this.#prefixes.push(wanted)
        else if (!this.#exact.has(word)) this.#exact.set(word, wanted)
      }
    }
  }

  get isEmpty(): boolean {
    return this.#phrases.size === 0 && this.#exact.size === 0 && this.#prefixes.length === 0
  }

  /** All places in a text, in order, none overlapping. */
  find(text: string, tokens: readonly Token[]): readonly Match[] {
    if (this.isEmpty) return []
    const words: { readonly token: Token; readonly at: number }[] = []
    for (const [at, token] of tokens.entries())
      if (token.kind === 'word' || token.kind === 'stop') words.push({ token, at })
    const matches: Match[] = []
    for (let index = 0; index < words.length; index += 1) {
      const { token, at } = words[index]!
      const phrase = this.#findPhrase(words, index)
      if (phrase !== null) {
        const last = index + phrase.words.length - 1
        matches.push({
          firstWord: index,
          lastWord: last,
          firstToken: at,
          lastToken: words[last]!.at,
          length: words[last]!.token.end - token.start,
          ids: phrase.ids,
        })
        index = last
        continue
      }
      const word = this.#findWord(text, token)
      if (word === null) continue
      matches.push({
        firstWord: index,
        lastWord: index,
        firstToken: at,
        lastToken: at,
        length: word.length,
        ids: word.ids,
      })
    }
    return matches
  }

  #findPhrase(words: readonly { readonly token: Token }[], from: number): WantedPhrase | null {
    for (const phrase of this.#phrases.get(words[from]!.token.normalised) ?? []) {
      const fits = phrase.words.every((word, offset) => {
        const token = words[from + offset]?.token
        return token !== undefined && (word === null ? token.kind === 'stop' : token.normalised === word)
      })
      if (fits) return phrase
    }
    return null
  }

  #findWord(text: string, token: Token): { readonly length: number; readonly ids: readonly number[] } | null {
    const { normalised } = token
    const exact = this.#exact.get(normalised)
    if (exact !== undefined) return { length: token.end - token.start, ids: exact.ids }
    for (const { word, typedLength, ids } of this.#prefixes) {
      if (!normalised.startsWith(word)) continue
      const wanted = Math.min(typedLength, [...word].length)
      return { length: coveredLength(text.slice(token.start, token.end), token.script, wanted), ids }
    }
    return null
  }
}

function range(start: number, end: number): readonly number[] {
  return Array.from({ length: end - start + 1 }, (_, offset) => start + offset)
}
