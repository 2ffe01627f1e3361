/**
 * One hit for each value of an attribute, over all legs (merge findings, section 7). Legs have left out their own
 * duplicates; what they left out because of a hit that is no hit here is asked for again.
 */
import { andFilters } from '../api/filter.ts'
import { type Candidate, type DistinctInput, DistinctLists, oneOf, type Value, valuesOf } from './distinct-lists.ts'
import { mergeFacetCounts } from './facet-counts.ts'
import type { Hit } from './hit.ts'
import type { ReadOptions } from './leg.ts'
import { askLegs, totalOf } from './leg-answers.ts'
import type { MergedHits } from './merged-hits.ts'
import { compareKeys } from './score-keys.ts'
import { countQuery, type SearchPlan } from './search-plan.ts'

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
): Promise<Omit<MergedHits, 'pins'>> {
  const kept = await keepHits(plan, attribute, input, options)
  const total = plan.page.isExhaustive
    ? await exactTotal(plan, attribute, input, kept, options)
    : await estimatedTotal(plan, attribute, input, kept, options)
  return { hits: kept.hits, answers: input.answers, total }
}

async function keepHits(
  plan: SearchPlan,
  attribute: string,
  input: DistinctInput,
  options: ReadOptions,
): Promise<Kept> {
  const taken = new Set<Value>()
  const lists = new DistinctLists(plan.index, attribute, input, taken, options)
  const hits: Hit[] = []
  let [withValue, skipped, isMultiple] = [0, 0, false]
  const takes = async ({ values, list }: Candidate): Promise<boolean> => {
    if (values.length > 1) isMultiple = true
    if (values.some((value) => taken.has(value))) {
      skipped += 1
      if (values.length > 1) await lists.repeat(list)
      return false
    }
    if (values.length > 0) withValue += 1
    for (const value of values) taken.add(value)
    return true
  }
  while (hits.length < plan.needed) {
    const candidate = await lists.next()
    if (candidate === undefined) break
    if (await takes(candidate)) hits.push(candidate.hit)
  }
  // An engine that looked at the last hit also judged those that are as good: a sum of what it left out depends on them.
  const last = plan.page.isExhaustive ? undefined : hits.at(-1)
  while (last !== undefined && last.keys.length > 0) {
    const candidate = await lists.next()
    if (candidate === undefined || compareKeys(candidate.hit.keys, last.keys) !== 0) break
    await takes(candidate)
  }
  return { hits, taken, withValue, isMultiple, skipped }
}

/**
 * A node takes away the duplicates of what it looked at: of the hits that it kept, and of those that are as good as the last
 * of them (F6).
 */
async function estimatedTotal(
  { index, needed }: SearchPlan,
  attribute: string,
  { query, pins }: DistinctInput,
  { hits, taken, withValue }: Kept,
  options: ReadOptions,
): Promise<number> {
  if (hits.length < needed) return hits.length + pins.length
  const all = countQuery(query)
  const sameValues = { ...all, filter: andFilters(query.filter, oneOf(attribute, taken)) }
  const [total, shared] = await Promise.all([
    askLegs(index, all, options).then(totalOf),
    taken.size === 0 ? 0 : askLegs(index, sameValues, options).then(totalOf),
  ])
  const sharing = pins.filter(({ hit }) => valuesOf(hit, attribute).some((value) => taken.has(value)))
  return total - (shared - sharing.length) + withValue
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
  const all = { distinctAttribute: null, faceting: { ...faceting, maxValuesPerFacet: Number.POSITIVE_INFINITY } }
  const unlimited = { ...index.settings, ...all }
  const values = mergeFacetCounts(found, unlimited, total).distribution.get(attribute) ?? new Map<string, number>()
  const counted = [...values.values()].reduce((sum, count) => sum + count, 0)
  const isFilteredByScore = query.rankingScoreThreshold !== null
  if (!isMultiple && counted <= total && !isFilteredByScore) return values.size + (total - counted)
  return hits.length < needed ? hits.length : totalOf(answers) - skipped
}
