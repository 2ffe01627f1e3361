/** Seeded documents for benches: a Zipf vocabulary of pronounceable words, facets, numbers and dates. */
import { type Random, seededRandom } from '../src/lib/random.ts'

const onsets = [
  'b',
  'br',
  'c',
  'd',
  'f',
  'g',
  'gr',
  'h',
  'k',
  'l',
  'm',
  'n',
  'p',
  'pl',
  'r',
  's',
  'st',
  't',
  'tr',
  'v',
  'w',
]
const vowels = ['a', 'e', 'i', 'o', 'u', 'ai', 'ea', 'oo']
const codas = ['', 'n', 'r', 's', 't', 'l', 'nd', 'st', 'm', 'ck']

export interface CorpusDocument {
  readonly id: number
  readonly title: string
  readonly overview: string
  readonly genre: string
  readonly year: number
  readonly rating: number
}

export class Corpus {
  readonly words: readonly string[]
  #random: Random

  /** `textSeed`: other texts of the same words; absent = the texts go on from the words' seed. */
  constructor(seed: number, wordCount = 30_000, textSeed?: number) {
    this.#random = seededRandom(seed)
    const words = new Set<string>()
    while (words.size < wordCount) {
      let word = ''
      for (let syllables = 1 + this.#random.integer(3); syllables > 0; syllables -= 1)
        word += this.#pick(onsets) + this.#pick(vowels) + this.#pick(codas)
      words.add(word)
    }
    this.words = [...words]
    if (textSeed !== undefined) this.#random = seededRandom(textSeed)
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#random.integer(values.length)]!
  }

  /** Rank r with a chance of about 1/r. */
  word(): string {
    const rank = Math.floor(this.words.length ** this.#random.float()) - 1
    return this.words[rank]!
  }

  text(wordCount: number): string {
    return Array.from({ length: wordCount }, () => this.word()).join(' ')
  }

  document(id: number): CorpusDocument {
    return {
      id,
      title: this.text(2 + this.#random.integer(4)),
      overview: `${this.text(12 + this.#random.integer(20))}.`,
      genre: this.words[this.#random.integer(20)]!,
      year: 1950 + this.#random.integer(75),
      rating: Math.round(this.#random.float() * 100) / 10,
    }
  }

  /** NDJSON of `count` documents with ids from `first`. */
  payload(first: number, count: number): string {
    const lines = Array.from({ length: count }, (_, place) => JSON.stringify(this.document(first + place)))
    return `${lines.join('\n')}\n`
  }
}
