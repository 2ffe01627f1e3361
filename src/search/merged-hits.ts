/** The hits of one question to all legs in one order, and how many there are. */
import type { SearchQuery } from '../api/search-query.ts'
import { distinctHits } from './distinct-hits.ts'
import type { Hit } from './hit.ts'
import type { ReadOptions } from './leg.ts'
import { askLegs, type LegAnswer, totalOf } from './leg-answers.ts'
import { compareHits, mergeLists } from './merge-order.ts'
import { withPlaceBuckets } from './place-buckets.ts'
import { countQuery, type SearchPlan } from './search-plan.ts'

export interface MergedHits {
  /** As many as the plan needs, or all that there are; best first. */
  readonly hits: readonly Hit[]
  readonly total: number
  /** Of the legs that tell facets. */
  readonly answers: readonly LegAnswer[]
}

/** @param query  that the legs were sent. */
export async function mergeHits(
  plan: SearchPlan,
  query: SearchQuery,
  answers: readonly LegAnswer[],
  options: ReadOptions,
): Promise<MergedHits> {
  const lists = plan.sortsByPlace ? listsByPlace(answers) : answers.map(({ hits }) => hits)
  if (plan.distinct !== null) return distinctHits(plan, plan.distinct, { query, answers, lists }, options)
  const hits = mergeLists(lists, compareHits, plan.needed)
  return { hits, answers, total: await thresholdTotal(plan, query, answers, hits.length, options) }
}

/** The list of each leg, with the distances that one node would show. */
function listsByPlace(answers: readonly LegAnswer[]): readonly (readonly Hit[])[] {
  const bucketed = withPlaceBuckets(answers.flatMap(({ hits }) => hits))
  return answers.map(({ target }) => bucketed.filter((hit) => hit.target === target.id))
}

/**
 * F4: a node that found enough hits looks no further, and documents below the threshold leave its count only where it
 * looked. If the page is full, one node would not have looked behind it either.
 */
async function thresholdTotal(
  { index, page, needed }: SearchPlan,
  query: SearchQuery,
  answers: readonly LegAnswer[],
  count: number,
  options: ReadOptions,
): Promise<number> {
  if (query.rankingScoreThreshold === null || page.isExhaustive || count < needed) return totalOf(answers)
  return totalOf(await askLegs(index, countQuery(query), options))
}
