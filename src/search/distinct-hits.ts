/**
 * One hit for each value of an attribute, over all legs (merge findings, section 7). Legs have left out their own
 * duplicates; what they left out because of a hit that is no hit here is asked for again.
 */
import { andFilters } from '../api/filter.ts'
import type { SearchQuery } from '../api/search-query.ts'
import { facetValuesOf } from '../embedded/search/federated-facets.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { mergeFacetCounts } from './facet-counts.ts'
import type { Hit } from './hit.ts'
import type { ReadOptions } from './leg.ts'
import { askLegs, type LegAnswer, totalOf } from './leg-answers.ts'
import { compareHits } from './merge-order.ts'
import type { MergedHits } from './merged-hits.ts'
import { compareKeys } from './score-keys.ts'
import { countQuery, type SearchPlan } from './search-plan.ts'

/** Legs that are asked again in one search; afterwards their lists are taken as they are. */
const repeatsMax = 64

type Value = number | string

export interface DistinctInput {
  /** That the legs were sent. */
  readonly query: SearchQuery
  readonly answers: readonly LegAnswer[]
  /** Hits of each leg, in its place. */
  readonly lists: readonly (readonly Hit[])[]
}

interface Kept {
  readonly hits: readonly Hit[]
  /** Values of the hits, and of those kept behind them that are as good as the last one. */
  readonly taken: ReadonlySet<Value>
  /** Of all these, how many have a value. */
  readonly withValue: number
  /** Some hit has several values. */
  readonly isMultiple: boolean
  readonly skipped: number
}

export async function distinctHits(
  plan: SearchPlan,
  attribute: string,
  input: DistinctInput,
  options: ReadOptions,
): Promise<MergedHits> {
  const kept = await keepHits(plan, attribute, input, options)
  const total = plan.page.isExhaustive
    ? await exactTotal(plan, attribute, input, kept, options)
    : await estimatedTotal(plan, attribute, input.query, kept, options)
  return { hits: kept.hits, answers: input.answers, total }
}

async function keepHits(
  { index, needed }: SearchPlan,
  attribute: string,
  { query, answers, lists: first }: DistinctInput,
  options: ReadOptions,
): Promise<Kept> {
  const lists = [...first]
  const heads = lists.map(() => 0)
  const hits: Hit[] = []
  const known = new Set<string>()
  const taken = new Set<Value>()
  let [withValue, skipped, repeats, isMultiple] = [0, 0, 0, false]
  const next = (): number => {
    let best = -1
    for (let at = 0; at < lists.length; at += 1) {
      const head = lists[at]![heads[at]!]
      if (head === undefined) continue
      if (best < 0 || compareHits(head, lists[best]![heads[best]!]!) < 0) best = at
    }
    return best
  }
  while (hits.length < needed) {
    const at = next()
    if (at < 0) break
    const hit = lists[at]![heads[at]!]!
    heads[at]! += 1
    if (known.has(hit.sequence)) continue
    const values = valuesOf(hit, attribute)
    if (values.length > 1) isMultiple = true
    if (!values.some((value) => taken.has(value))) {
      hits.push(hit)
      known.add(hit.sequence)
      if (values.length > 0) withValue += 1
      for (const value of values) taken.add(value)
      continue
    }
    skipped += 1
    if (values.length < 2 || repeats >= repeatsMax) continue
    repeats += 1
    const [answer] = await askLegs(
      { ...index, coverage: [answers[at]!.target] },
      { ...query, facets: null, filter: andFilters(query.filter, noneOf(attribute, taken)) },
      options,
    )
    lists[at] = answer?.hits ?? []
    heads[at] = 0
  }
  // An engine that looked at the last hit also judged those that are as good.
  const last = hits.at(-1)
  for (let at = next(); last !== undefined && last.keys.length > 0 && at >= 0; at = next()) {
    const hit = lists[at]![heads[at]!]!
    if (compareKeys(hit.keys, last.keys) !== 0) break
    heads[at]! += 1
    const values = valuesOf(hit, attribute)
    if (values.length === 0 || values.some((value) => taken.has(value))) continue
    withValue += 1
    for (const value of values) taken.add(value)
  }
  return { hits, taken, withValue, isMultiple, skipped }
}

export function valuesOf({ text }: Hit, attribute: string): readonly Value[] {
  return [...new Set(facetValuesOf(JSON.parse(text) as JsonObject, attribute))]
}

/**
 * A node takes away the duplicates of what it looked at: of the hits that it kept, and of those that are as good as the last
 * of them (F6).
 */
async function estimatedTotal(
  { index, needed }: SearchPlan,
  attribute: string,
  query: SearchQuery,
  { hits, taken, withValue }: Kept,
  options: ReadOptions,
): Promise<number> {
  if (hits.length < needed) return hits.length
  const all = countQuery(query)
  const sharing = { ...all, filter: andFilters(query.filter, oneOf(attribute, taken)) }
  const [total, shared] = await Promise.all([
    askLegs(index, all, options).then(totalOf),
    taken.size === 0 ? 0 : askLegs(index, sharing, options).then(totalOf),
  ])
  return total - shared + withValue
}

/** As many as there are values, and documents without one. An estimate when documents have several (R6). */
async function exactTotal(
  { index, needed }: SearchPlan,
  attribute: string,
  { query, answers }: DistinctInput,
  { hits, isMultiple, skipped }: Kept,
  options: ReadOptions,
): Promise<number> {
  const found = await askLegs(index, { ...countQuery(query), facets: [attribute] }, options)
  const total = totalOf(found)
  const { faceting } = index.settings
  const unlimited = { faceting: { ...faceting, maxValuesPerFacet: Number.POSITIVE_INFINITY } }
  const values = mergeFacetCounts(found, unlimited, total).distribution.get(attribute) ?? new Map<string, number>()
  const counted = [...values.values()].reduce((sum, count) => sum + count, 0)
  const isFilteredByScore = query.rankingScoreThreshold !== null
  if (!isMultiple && counted <= total && !isFilteredByScore) return values.size + (total - counted)
  return hits.length < needed ? hits.length : totalOf(answers) - skipped
}

const literal = (value: Value): string =>
  typeof value === 'number' ? String(value) : `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`

const list = (values: ReadonlySet<Value>): string => `[${[...values].map(literal).join(', ')}]`
const field = (attribute: string): string => `"${attribute.replaceAll('"', '\\"')}"`
const oneOf = (attribute: string, values: ReadonlySet<Value>): Json => `${field(attribute)} IN ${list(values)}`
const noneOf = (attribute: string, values: ReadonlySet<Value>): Json => `NOT ${field(attribute)} IN ${list(values)}`
