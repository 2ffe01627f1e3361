/** Lists of hits of which legs have left out duplicates, and what they left out, when it is needed after all. */
import { andFilters } from '../api/filter.ts'
import type { SearchQuery } from '../api/search-query.ts'
import { facetValuesOf } from '../embedded/search/federated-facets.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import type { Hit } from './hit.ts'
import type { ReadOptions, SearchedIndex } from './leg.ts'
import { askLegs, type LegAnswer } from './leg-answers.ts'
import { compareHits } from './merge-order.ts'
import { type PinnedHit, pinsSpare, rankedOnly } from './pinned-hits.ts'

/** Legs that are asked again in one search; afterwards their lists are taken as they are. */
const repeatsMax = 64

export type Value = number | string

export interface DistinctInput {
  /** That the legs were sent. */
  readonly query: SearchQuery
  readonly answers: readonly LegAnswer[]
  /** What rules pin: it counts, and stands for nothing else. */
  readonly pins: readonly PinnedHit[]
  /** Ranked hits of each leg, in its place. */
  readonly lists: readonly (readonly Hit[])[]
}

export interface Candidate {
  readonly hit: Hit
  readonly values: readonly Value[]
  /** From which list. */
  readonly list: number
}

export class DistinctLists {
  readonly #index: SearchedIndex
  readonly #attribute: string
  readonly #input: DistinctInput
  readonly #taken: ReadonlySet<Value>
  readonly #options: ReadOptions
  readonly #lists: (readonly Hit[])[]
  readonly #heads: number[]
  readonly #seen = new Set<string>()
  #repeats = 0

  /** @param taken  values of hits that are kept: nothing with one of them is wanted any more. */
  constructor(
    index: SearchedIndex,
    attribute: string,
    input: DistinctInput,
    taken: ReadonlySet<Value>,
    options: ReadOptions,
  ) {
    this.#index = index
    this.#attribute = attribute
    this.#input = input
    this.#taken = taken
    this.#options = options
    this.#lists = [...input.lists]
    this.#heads = input.lists.map(() => 0)
  }

  /** The best hit that was not given yet. */
  async next(): Promise<Candidate | undefined> {
    for (;;) {
      await this.#refill()
      const list = this.#best()
      if (list < 0) return undefined
      const hit = this.#lists[list]![this.#heads[list]!]!
      this.#heads[list]! += 1
      if (this.#seen.has(hit.sequence)) continue
      this.#seen.add(hit.sequence)
      return { hit, values: valuesOf(hit, this.#attribute), list }
    }
  }

  /** Asks the leg again, without what is taken: it has left out hits because of one that is not kept. */
  async repeat(list: number): Promise<void> {
    if (this.#repeats >= repeatsMax) return
    this.#repeats += 1
    const { query, answers } = this.#input
    const filter = andFilters(query.filter, noneOf(this.#attribute, this.#taken))
    const index = { ...this.#index, coverage: [answers[list]!.target] }
    const [answer] = await askLegs(index, { ...query, facets: null, filter }, this.#options)
    const hits = [...rankedOnly(this.#index, answer?.hits ?? [])]
    this.#lists[list] = hits
    this.#heads[list] = 0
    // Documents without a value come again and again; a list of nothing else has no end that is worth reaching.
    if (hits.every(({ sequence }) => this.#seen.has(sequence))) this.#lists[list] = []
  }

  /** A list that was cut by its limit goes on. */
  async #refill(): Promise<void> {
    const { query } = this.#input
    // What is pinned took places, too.
    const limit = (query.hitsPerPage ?? query.limit) - pinsSpare(this.#index)
    for (const [at, list] of this.#lists.entries())
      if (list.length > 0 && list.length >= limit && this.#heads[at]! >= list.length) await this.repeat(at)
  }

  #best(): number {
    let best = -1
    for (let at = 0; at < this.#lists.length; at += 1) {
      const head = this.#lists[at]![this.#heads[at]!]
      if (head === undefined) continue
      if (best < 0 || compareHits(head, this.#lists[best]![this.#heads[best]!]!) < 0) best = at
    }
    return best
  }
}

export function valuesOf({ text }: Hit, attribute: string): readonly Value[] {
  return [...new Set(facetValuesOf(JSON.parse(text) as JsonObject, attribute))]
}

const literal = (value: Value): string =>
  typeof value === 'number' ? String(value) : `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`

const list = (values: ReadonlySet<Value>): string => `[${[...values].map(literal).join(', ')}]`
const field = (attribute: string): string => `"${attribute.replaceAll('"', '\\"')}"`

export const oneOf = (attribute: string, values: ReadonlySet<Value>): Json => `${field(attribute)} IN ${list(values)}`
export const noneOf = (attribute: string, values: ReadonlySet<Value>): Json =>
  `NOT ${field(attribute)} IN ${list(values)}`
