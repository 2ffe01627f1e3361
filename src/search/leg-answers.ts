/** The answers of a search's legs, cut into hits, totals and facets. */
import type { SearchQuery } from '../api/search-query.ts'
import { type Members, splitAround } from '../lib/json-cut.ts'
import { type Hit, readHit } from './hit.ts'
import type { ReadOptions, SearchedIndex, Target } from './leg.ts'
import { isRefusal, refusal } from './refusals.ts'
import { probeLeg, searchLeg } from './search-plan.ts'
import { withCommonTypoCounts } from './typo-counts.ts'

export interface LegAnswer {
  readonly target: Target
  /** Best first. */
  readonly hits: readonly Hit[]
  /** `totalHits` or `estimatedTotalHits`. */
  readonly total: number
  readonly processingTimeMs: number
  /** The rest of the answer. */
  readonly members: Members
}

/**
 * Asks every target of the index at once.
 *
 * @throws RefusedByNode in the words of one node that holds everything, NodesDisagree, and what the port throws.
 */
export async function askLegs(
  index: SearchedIndex,
  query: SearchQuery,
  options: ReadOptions,
): Promise<readonly LegAnswer[]> {
  const { ask, signal } = options
  const replies = await Promise.all(index.coverage.map((target) => ask(searchLeg(index, target, query), signal)))
  if (replies.some(isRefusal)) throw await refusal(index, replies, probeLeg(index, query), options)
  const answers = replies.map(({ body }, at) => readAnswer(index.coverage[at]!, body))
  const lists = withCommonTypoCounts(answers.map(({ hits }) => hits))
  return answers.map((answer, at) => ({ ...answer, hits: lists[at]! }))
}

export function readAnswer(target: Target, body: string): LegAnswer {
  const { members, items } = splitAround(body, 'hits')
  const total = Number(members.get('totalHits') ?? members.get('estimatedTotalHits') ?? 0)
  return {
    target,
    hits: items.map((text) => readHit(text, target.id)),
    total,
    processingTimeMs: Number(members.get('processingTimeMs') ?? 0),
    members,
  }
}

export const totalOf = (answers: readonly LegAnswer[]): number => answers.reduce((sum, { total }) => sum + total, 0)
