/** Ranking against definitions that are worked out word by word for every document (M-F6, M-F8), over small corpora. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeSearchQuery } from '../../src/api/search-query.ts'
import type { IndexSettings } from '../../src/embedded/index-settings.ts'
import { orderedText } from '../../src/embedded/search/ordered-json.ts'
import { runSearch } from '../../src/embedded/search/run-search.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import { defaultSettings, MemoryReader } from './memory-reader.ts'
import { newSearchContext } from './search-context.ts'

const runs = 150
const fields = ['title', 'body', 'note'] as const
/** Nothing is a beginning of, or made of, other words: each word of a query stands for itself alone. */
const plainWords = ['red', 'sky', 'oak', 'tin', 'fog', 'hen'] as const
/** Words near to each other, that also join and split. */
const nearWords = ['sun', 'sunny', 'sunday', 'flower', 'sunflower', 'flowers', 'floor', 'day', 'tower'] as const

const text = (words: readonly string[], maxLength: number) =>
  fc.array(fc.constantFrom(...words), { maxLength }).map((picked) => picked.join(' '))
const documentOf = (words: readonly string[]) =>
  fc.record({ title: text(words, 4), body: text(words, 25), note: text(words, 3) })
const queryOf = (words: readonly string[], maxLength: number) =>
  fc.uniqueArray(fc.constantFrom(...words), { minLength: 1, maxLength })

interface Stored {
  readonly id: number
  readonly title: string
  readonly body: string
  readonly note: string
}
type Scores = Readonly<Record<string, number>>
interface Ranked {
  readonly id: number
  readonly scores: Scores
}

function search(stored: readonly Stored[], settings: Partial<IndexSettings>, query: JsonObject): readonly Ranked[] {
  const reader = new MemoryReader(
    stored.map((document): JsonObject => ({ ...document })),
    { ...defaultSettings, searchableAttributes: [...fields], ...settings },
  )
  const context = newSearchContext()
  const decoded = decodeSearchQuery({ ...query, limit: 1000, showRankingScoreDetails: true })
  const answer: { hits: { id: number; _rankingScoreDetails: Record<string, { score: number }> }[] } = JSON.parse(
    orderedText(runSearch(reader, 'i', decoded, context)),
  )
  return answer.hits.map(({ id, _rankingScoreDetails: details }) => ({
    id,
    scores: Object.fromEntries(Object.entries(details).map(([name, { score }]) => [name, score])),
  }))
}

function inOrder(ranked: readonly Ranked[], rules: readonly string[]): readonly Ranked[] {
  return [...ranked].sort((left, right) => {
    for (const rule of rules) {
      const order = (right.scores[rule] ?? 0) - (left.scores[rule] ?? 0)
      if (order !== 0) return order
    }
    return left.id - right.id
  })
}

function assertRanked(actual: readonly Ranked[], expected: readonly Ranked[], why: string): void {
  const rounded = (ranked: readonly Ranked[]) =>
    ranked.map(({ id, scores }) => [
      id,
      ...Object.entries(scores).map(([name, score]) => `${name} ${score.toFixed(9)}`),
    ])
  assert.deepEqual(rounded(actual), rounded(expected), why)
}

const withIds = (documents: readonly Omit<Stored, 'id'>[]): readonly Stored[] =>
  documents.map((document, id) => ({ id, ...document }))
const wordsOf = (stored: Stored, field: (typeof fields)[number]): readonly string[] =>
  stored[field].split(' ').filter((word) => word !== '')
const hasWord = (stored: Stored, word: string) => fields.some((field) => wordsOf(stored, field).includes(word))

// ---- Words as typed ----

const noTypos = { ...defaultSettings.typoTolerance, enabled: false }
const plainRules = ['proximity', 'attributeRank', 'wordPosition'] as const

test('documents with all words are ordered by how near, in which attribute and where the words stand', () => {
  const rules = fc.shuffledSubarray([...plainRules], { minLength: 1 })
  fc.assert(
    fc.property(
      fc.array(documentOf(plainWords), { minLength: 1, maxLength: 25 }),
      queryOf(plainWords, 4),
      rules,
      (documents, query, rankingRules) => {
        const stored = withIds(documents)
        // A trailing space: the last word is no prefix.
        const asked = { q: `${query.join(' ')} `, matchingStrategy: 'all' }
        const actual = search(stored, { rankingRules, typoTolerance: noTypos }, asked)
        const matching = stored.filter((one) => query.every((word) => hasWord(one, word)))
        const expected = matching.map((one) => ({ id: one.id, scores: plainScores(one, query, rankingRules) }))
        assertRanked(actual, inOrder(expected, rankingRules), JSON.stringify({ stored, query, rankingRules }))
      },
    ),
    { numRuns: runs },
  )
})

function plainScores(stored: Stored, query: readonly string[], rules: readonly string[]): Scores {
  const costs: Readonly<Record<string, readonly [cost: number, highest: number]>> = {
    proximity: [sumOf(query.slice(1).map((word, at) => pairCost(stored, query[at]!, word))), highestProximity(query)],
    attributeRank: [sumOf(query.map((word) => bestWeight(stored, word))), 2 * query.length],
    wordPosition: [sumOf(query.map((word, at) => positionCost(stored, word, at))), 10 * query.length],
  }
  return Object.fromEntries(
    rules.map((rule) => {
      const [cost, highest] = costs[rule]!
      return [rule, (highest + 1 - cost) / (highest + 1)]
    }),
  )
}

/** Neighbours may also be written together: two as one cost 1, three as one 2, which is never above the highest of all. */
const highestProximity = (query: readonly string[]) => 3 * (query.length - 1)
const sumOf = (numbers: readonly number[]) => numbers.reduce((sum, number) => sum + number, 0)
const bestWeight = (stored: Stored, word: string) => fields.findIndex((field) => wordsOf(stored, field).includes(word))

/** The shortest distance forwards, or backwards with one more; farther than three words does not count. */
function pairCost(stored: Stored, left: string, right: string): number {
  let best = 3
  for (const field of fields) {
    const words = wordsOf(stored, field)
    for (const [from, first] of words.entries())
      for (const [to, second] of words.entries()) {
        if (first === left && second === right && to > from) best = Math.min(best, to - from - 1)
        if (first === left && second === right && from > to) best = Math.min(best, from - to)
      }
  }
  return best
}

function positionCost(stored: Stored, word: string, place: number): number {
  let best = 10
  for (const field of fields)
    for (const [at, found] of wordsOf(stored, field).entries()) {
      const bucket = at < 16 ? at : at < 24 ? 24 : 32
      if (found === word) best = Math.min(best, distanceCost(Math.abs(bucket - place)))
    }
  return best
}

const distanceCost = (distance: number) =>
  [0, 1, 4, 7, 11, 16, 24, 64, 256, 1024].findIndex((bound) => distance <= bound)

test('words are left out from the last one on, and documents with more words come first', () => {
  fc.assert(
    fc.property(
      fc.array(documentOf(plainWords), { minLength: 1, maxLength: 25 }),
      queryOf(plainWords, 5),
      (documents, query) => {
        const stored = withIds(documents)
        const asked = { q: `${query.join(' ')} `, matchingStrategy: 'last' }
        const actual = search(stored, { rankingRules: ['words'], typoTolerance: noTypos }, asked)
        const expected = stored.flatMap((one): Ranked[] => {
          const missing = query.findIndex((word) => !hasWord(one, word))
          const count = missing < 0 ? query.length : missing
          return count === 0 ? [] : [{ id: one.id, scores: { words: count / query.length } }]
        })
        assertRanked(actual, inOrder(expected, ['words']), JSON.stringify({ stored, query }))
      },
    ),
    { numRuns: runs },
  )
})

// ---- Typos, words written together and apart ----

test('documents are ordered by the fewest typos that any reading of the query needs', () => {
  fc.assert(
    fc.property(
      fc.array(documentOf(nearWords), { minLength: 1, maxLength: 20 }),
      queryOf([...nearWords, 'suny', 'flowr', 'sunflowre', 'dsy', 'flowers', 'tow'], 3),
      (documents, query) => {
        const stored = withIds(documents)
        const rankingRules = ['typo']
        const actual = search(stored, { rankingRules }, { q: `${query.join(' ')} `, matchingStrategy: 'all' })
        const readings = readingsOf(query)
        const vocabulary = [...new Set(stored.flatMap((one) => fields.flatMap((field) => wordsOf(one, field))))]
        const highest = Math.max(...readings.map((reading) => sumOf(reading.map((node) => highestTypos(node)))))
        const expected = stored.flatMap((one): Ranked[] => {
          const costs = readings.map((reading) => sumOf(reading.map((node) => typoCost(one, node, stored, vocabulary))))
          const cost = Math.min(...costs)
          return cost === Number.POSITIVE_INFINITY
            ? []
            : [{ id: one.id, scores: { typo: (highest + 1 - cost) / (highest + 1) } }]
        })
        assertRanked(actual, inOrder(expected, rankingRules), JSON.stringify({ stored, query }))
      },
    ),
    { numRuns: runs },
  )
})

/** Words of the query that are read as one. */
type Node = readonly string[]

function readingsOf(query: readonly string[]): readonly (readonly Node[])[] {
  if (query.length === 0) return [[]]
  return [1, 2, 3]
    .filter((size) => size <= query.length)
    .flatMap((size) => readingsOf(query.slice(size)).map((rest) => [query.slice(0, size), ...rest]))
}

const allowedOf = (node: Node) => {
  const { length } = node.join('')
  return Math.max(0, (length < 5 ? 0 : length < 9 ? 1 : 2) - (node.length - 1))
}
const baseOf = (node: Node) => (node.length === 1 ? 0 : node.length)
/** A split is always possible, and is one typo. */
const highestTypos = (node: Node) => baseOf(node) + Math.max(1, allowedOf(node))

function typoCost(one: Stored, node: Node, stored: readonly Stored[], vocabulary: readonly string[]): number {
  const word = node.join('')
  const allowed = allowedOf(node)
  if (hasWord(one, word)) return baseOf(node)
  const typosOf = (other: string) => {
    const distance = distanceOf(word, other)
    const isOtherFirst = word[0] !== other[0]
    if (distance === 0 || distance > allowed) return Number.POSITIVE_INFINITY
    if (!isOtherFirst) return distance
    return allowed === 2 && distance === 1 ? 2 : Number.POSITIVE_INFINITY
  }
  const near = vocabulary.filter((other) => hasWord(one, other)).map(typosOf)
  const split = splitOf(node, stored)
  const isSplit = split !== undefined && areNeighbours(one, split[0], split[1])
  return baseOf(node) + Math.min(...near, isSplit ? 1 : Number.POSITIVE_INFINITY)
}

/** The two halves that are neighbours in the most documents; not what the query had apart. */
function splitOf(node: Node, stored: readonly Stored[]): readonly [string, string] | undefined {
  const word = node.join('')
  let best: readonly [string, string] | undefined
  let most = 0
  for (let at = 1; at < word.length; at += 1) {
    const [left, right] = [word.slice(0, at), word.slice(at)]
    const count = stored.filter((one) => areNeighbours(one, left, right)).length
    if (count > most) [best, most] = [[left, right], count]
  }
  const restores = node.length === 2 && allowedOf(node) < 2 && best?.[0] === node[0] && best?.[1] === node[1]
  return restores ? undefined : best
}

function areNeighbours(one: Stored, left: string, right: string): boolean {
  return fields.some((field) => {
    const words = wordsOf(one, field)
    return words.some((word, at) => word === left && words[at + 1] === right)
  })
}

/** Levenshtein's distance with a swap of neighbours counted once. */
function distanceOf(left: string, right: string): number {
  const rows: number[][] = [Array.from({ length: right.length + 1 }, (_, at) => at)]
  for (let from = 1; from <= left.length; from += 1) {
    const row = [from]
    for (let to = 1; to <= right.length; to += 1) {
      const isEqual = left[from - 1] === right[to - 1]
      let cost = Math.min(rows[from - 1]![to]! + 1, row[to - 1]! + 1, rows[from - 1]![to - 1]! + (isEqual ? 0 : 1))
      const isSwap = from > 1 && to > 1 && left[from - 1] === right[to - 2] && left[from - 2] === right[to - 1]
      if (isSwap) cost = Math.min(cost, rows[from - 2]![to - 2]! + 1)
      row.push(cost)
    }
    rows.push(row)
  }
  return rows[left.length]![right.length]!
}
