/** `POST /indexes/{uid}/search` over the shards of a spread index: one answer, as one node with all documents gives it. */
import { pageInfo } from '../api/paging.ts'
import type { SearchQuery } from '../api/search-query.ts'
import type { JsonObject } from '../lib/json.ts'
import { distributionText, mergeFacetCounts, statsText } from './facet-counts.ts'
import type { ReadOptions, SearchedIndex } from './leg.ts'
import type { LegAnswer } from './leg-answers.ts'
import { hitsWithPins } from './pinned-hits.ts'
import { type RankedHits, rankHits } from './ranked-hits.ts'
import { hitText } from './render-hit.ts'
import { planSearch, type SearchPlan } from './search-plan.ts'

/**
 * @returns JSON text of the whole answer.
 * @throws RefusedByNode, NodesDisagree, ApiError, and what the port throws.
 */
export async function searchIndex(index: SearchedIndex, query: SearchQuery, options: ReadOptions): Promise<string> {
  const plan = planSearch(index, query, options.narrow)
  const ranked = await rankHits(plan, options)
  return answerText(plan, query, ranked, options)
}

function answerText(plan: SearchPlan, query: SearchQuery, ranked: RankedHits, options: ReadOptions): string {
  const { index, projection, from, drops } = plan
  const { hits, pins, total, answers, semanticHits } = ranked
  const shape = {
    projection,
    showScore: query.showRankingScore,
    showDetails: query.showRankingScoreDetails,
    drops,
  }
  const page = hitsWithPins(hits, pins, plan.needed).slice(from)
  const slowest = slowestOf(answers)
  const members: [string, string][] = [
    ['hits', `[${page.map((hit) => hitText(hit, shape)).join(',')}]`],
    ['query', JSON.stringify(query.q ?? '')],
  ]
  const queryVector = answers.map(({ members: sent }) => sent.get('queryVector')).find((text) => text !== undefined)
  if (queryVector !== undefined) members.push(['queryVector', queryVector])
  members.push(['processingTimeMs', String(slowest?.processingTimeMs ?? 0)])
  for (const [name, value] of Object.entries(pageInfo(query, total))) members.push([name, String(value)])
  if (query.facets !== null && query.facets.length > 0) members.push(...facetMembers(index, answers, total))
  members.push(['requestUid', JSON.stringify(options.newUid())])
  if (options.withMetadata) members.push(['metadata', JSON.stringify(queryMetadata(index, query, options.newUid()))])
  const details = slowest?.members.get('performanceDetails')
  if (details !== undefined) members.push(['performanceDetails', details])
  if (semanticHits !== null)
    members.push(['semanticHitCount', String(page.filter((hit) => semanticHits.has(hit)).length)])
  return `{${members.map(([name, text]) => `"${name}":${text}`).join(',')}}`
}

const slowestOf = (answers: readonly LegAnswer[]): LegAnswer | undefined =>
  answers.reduce<LegAnswer | undefined>(
    (slowest, answer) =>
      slowest === undefined || answer.processingTimeMs > slowest.processingTimeMs ? answer : slowest,
    undefined,
  )

function facetMembers(index: SearchedIndex, answers: readonly LegAnswer[], total: number): readonly [string, string][] {
  const counts = mergeFacetCounts(answers, index.settings, total)
  return [
    ['facetDistribution', distributionText(counts)],
    ['facetStats', statsText(counts)],
  ]
}

export function queryMetadata(
  { uid, primaryKey }: SearchedIndex,
  { q }: Pick<SearchQuery, 'q'>,
  queryUid: string,
): JsonObject {
  return {
    ...(q === null ? {} : { query: q }),
    queryUid,
    indexUid: uid,
    ...(primaryKey === null ? {} : { primaryKey }),
  }
}
