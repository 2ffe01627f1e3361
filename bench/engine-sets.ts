/** Documents and queries of the engine's bench: real films and a generated set of any size, each with its query mix. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { JsonObject } from '../src/lib/json.ts'
import { type Random, seededRandom } from '../src/lib/random.ts'
import { Corpus } from './corpus.ts'

export interface EngineSet {
  readonly name: string
  readonly documents: number
  readonly settings: JsonObject
  /** NDJSON bodies; made anew each time, so that a large set is never held whole. */
  payloads(first: number, count: number): string
  /** Queries by kind, `count` of each. */
  queries(count: number): Readonly<Record<string, readonly JsonObject[]>>
}

export const payloadDocuments = 10_000

/** 3,201 films of `vega-datasets`. */
export function filmSet(): EngineSet {
  const entry = createRequire(import.meta.url).resolve('vega-datasets')
  const films = JSON.parse(readFileSync(join(dirname(entry), '..', 'data', 'movies.json'), 'utf8')) as JsonObject[]
  const titles = films.map((film) => String(film.Title ?? ''))
  const text = (place: number) => titles[place % titles.length]!
  return {
    name: 'films',
    documents: films.length,
    settings: {
      searchableAttributes: ['Title', 'Director', 'Distributor', 'Major Genre', 'Source'],
      filterableAttributes: ['Major Genre', 'MPAA Rating', 'Director', 'IMDB Rating'],
      sortableAttributes: ['IMDB Rating', 'US Gross'],
    },
    payloads: (first, count) =>
      lines(
        films
          .slice(first, first + count)
          .map((film, place) => ({ id: first + place + 1, ...film, Title: text(first + place) })),
      ),
    queries: (count) =>
      queryMix(count, seededRandom(7), (random) => text(random.integer(titles.length)), {
        filter: (random) =>
          `"Major Genre" = "${['Drama', 'Comedy', 'Action'][random.integer(3)]}" AND "IMDB Rating" > ${4 + random.integer(4)}`,
        facets: ['Major Genre', 'MPAA Rating', 'IMDB Rating'],
        sort: ['IMDB Rating:desc'],
      }),
  }
}

/** Short documents of a Zipf vocabulary: a title, a genre, a year, a rating. */
export function shortSet(documents: number): EngineSet {
  const seed = 11
  const document = (corpus: Corpus, random: Random, id: number): JsonObject => ({
    id,
    title: corpus.text(3 + random.integer(8)),
    genre: `genre${random.integer(20)}`,
    year: 1950 + random.integer(75),
    rating: random.integer(101) / 10,
  })
  // Each payload has its own seed, so that any part can be made alone.
  const payload = (first: number, count: number): readonly JsonObject[] => {
    const corpus = new Corpus(seed, 30_000, seed + 1 + first)
    const random = seededRandom(seed + 2 + first)
    return Array.from({ length: count }, (_, place) => document(corpus, random, first + place))
  }
  return {
    name: `${documents} short documents`,
    documents,
    settings: {
      searchableAttributes: ['title', 'genre'],
      filterableAttributes: ['genre', 'year', 'rating'],
      sortableAttributes: ['year', 'rating'],
    },
    payloads: (first, count) => lines(payload(first, count)),
    queries: (count) => {
      const known = payload(0, Math.min(documents, payloadDocuments))
      return queryMix(count, seededRandom(seed), (random) => String(known[random.integer(known.length)]!.title), {
        filter: (random) => `genre = genre${random.integer(20)} AND year > ${1960 + random.integer(50)}`,
        facets: ['genre', 'year'],
        sort: ['year:desc'],
      })
    },
  }
}

interface Extras {
  readonly filter: (random: Random) => string
  readonly facets: readonly string[]
  readonly sort: readonly string[]
}

/** `text` gives words that stand together in a document. */
function queryMix(
  count: number,
  random: Random,
  text: (random: Random) => string,
  extras: Extras,
): Readonly<Record<string, readonly JsonObject[]>> {
  /** `length` neighbouring words, or fewer when no text has as many. */
  const words = (length: number): readonly string[] => {
    let best: readonly string[] = []
    for (let attempt = 0; attempt < 20 && best.length < length; attempt += 1) {
      const all = text(random)
        .split(' ')
        .filter((word) => /^\p{L}+$/u.test(word))
      const start = random.integer(Math.max(1, all.length - length + 1))
      const found = all.slice(start, start + length)
      if (found.length > best.length) best = found
    }
    return best
  }
  const phrase = (length: number) => words(length).join(' ')
  const mistyped = (word: string): string => {
    if (word.length < 5) return word
    const at = 1 + random.integer(word.length - 2)
    return `${word.slice(0, at)}${'aeioust'[random.integer(7)]}${word.slice(at + random.integer(2))}`
  }
  const kinds: Readonly<Record<string, () => JsonObject>> = {
    'one word': () => ({ q: phrase(1) }),
    'two words': () => ({ q: phrase(2) }),
    'three words': () => ({ q: phrase(3) }),
    'four words': () => ({ q: phrase(4) }),
    'five words': () => ({ q: phrase(5) }),
    'two words of two documents': () => ({ q: `${phrase(1)} ${phrase(1)}` }),
    typos: () => ({ q: words(2).map(mistyped).join(' ') }),
    'one letter': () => ({ q: phrase(1).slice(0, 1) }),
    'two letters': () => ({ q: phrase(1).slice(0, 2) }),
    'three letters': () => ({ q: phrase(1).slice(0, 3) }),
    'a word and two letters': () => ({ q: `${phrase(1)} ${phrase(1).slice(0, 2)}` }),
    phrase: () => ({ q: `"${phrase(2)}"` }),
    filter: () => ({ q: phrase(2), filter: extras.filter(random) }),
    facets: () => ({ q: phrase(1), facets: extras.facets }),
    sort: () => ({ q: phrase(1), sort: extras.sort }),
    'no words, filter and sort': () => ({ filter: extras.filter(random), sort: extras.sort }),
    'no words, facets': () => ({ facets: extras.facets }),
  }
  return Object.fromEntries(Object.entries(kinds).map(([kind, make]) => [kind, Array.from({ length: count }, make)]))
}

function lines(documents: readonly JsonObject[]): string {
  return `${documents.map((document) => JSON.stringify(document)).join('\n')}\n`
}
