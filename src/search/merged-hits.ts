/** The hits of one question to all legs in one order, and how many there are. */
import type { SearchQuery } from '../api/search-query.ts'
import { shownPins } from '../embedded/search/pinned-hits.ts'
import { distinctHits } from './distinct-hits.ts'
import type { Hit } from './hit.ts'
import type { ReadOptions } from './leg.ts'
import { askLegs, type LegAnswer, totalOf } from './leg-answers.ts'
import { compareHits, mergeLists } from './merge-order.ts'
import { type PinnedHit, pinnedOnly, rankedOnly } from './pinned-hits.ts'
import { withPlaceBuckets } from './place-buckets.ts'
import { countQuery, type SearchPlan } from './search-plan.ts'
import { withCommonTypoCounts } from './typo-counts.ts'

export interface MergedHits {
  /** That are ranked: as many as the plan needs, or all that there are; best first. */
  readonly hits: readonly Hit[]
  /** What rules put among them, by place. */
  readonly pins: readonly PinnedHit[]
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
  const lists = listsOf(plan, answers)
  const pinned = pinnedOnly(plan.index, answers)
  const pinsAmong = (count: number) => shownPins(pinned, count, plan.needed)
  if (plan.distinct !== null) {
    const input = { query, answers, pins: pinned, lists: lists.map((list) => [...list]) }
    const found = await distinctHits(plan, plan.distinct, input, options)
    return { ...found, pins: pinsAmong(found.hits.length) }
  }
  const hits = mergeLists(lists, compareHits, plan.needed)
  const total = await thresholdTotal(plan, query, answers, hits.length, options)
  return { hits, answers, total, pins: pinsAmong(hits.length) }
}

/** The ranked hits of each leg, read as far as somebody looks where they are taken as they are. */
function listsOf(plan: SearchPlan, answers: readonly LegAnswer[]): readonly Iterable<Hit>[] {
  const ranked = answers.map(({ hits }) => rankedOnly(plan.index, hits))
  if (!plan.usesScores && !plan.sortsByPlace) return ranked
  const whole = ranked.map((hits) => [...hits])
  const scored = plan.usesScores ? withCommonTypoCounts(whole) : whole
  if (!plan.sortsByPlace) return scored
  const bucketed = withPlaceBuckets(scored.flat())
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
