/** The answers of a search's legs, cut into hits, totals and facets. */
import type { SearchQuery } from '../api/search-query.ts'
import { type Members, splitAround } from '../lib/json-cut.ts'
import { type Hit, KnownRules, readHit } from './hit.ts'
import type { ReadOptions, SearchedIndex, Target } from './leg.ts'
import { isRefusal, refusal } from './refusals.ts'
import { probeLeg, searchLegs } from './search-plan.ts'

export interface LegAnswer {
  readonly target: Target
  /** Best first; cut out of the answer as far as somebody looks. */
  readonly hits: Iterable<Hit>
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
  const replies = await Promise.all(searchLegs(index, query).map((leg) => ask(leg, signal)))
  if (replies.some(isRefusal)) throw await refusal(index, replies, probeLeg(index, query), options)
  const rules = new KnownRules()
  return replies.map(({ body }, at) => readAnswer(index.coverage[at]!, body, rules))
}

export function readAnswer(target: Target, body: string, rules = new KnownRules()): LegAnswer {
  const { members, items } = splitAround(body, 'hits', 'query')
  return {
    target,
    hits: { [Symbol.iterator]: () => readHits(items, target, rules) },
    total: Number(members.get('totalHits') ?? members.get('estimatedTotalHits') ?? 0),
    processingTimeMs: Number(members.get('processingTimeMs') ?? 0),
    members,
  }
}

function* readHits(items: Iterable<string>, { id }: Target, rules: KnownRules): Generator<Hit> {
  for (const text of items) yield readHit(text, id, rules)
}

export const totalOf = (answers: readonly LegAnswer[]): number => answers.reduce((sum, { total }) => sum + total, 0)
