/** `POST /indexes/{uid}/search`: one query over one index (M-A5). */
import { pageInfo, pageRequest } from '../../api/paging.ts'
import type { SearchQuery } from '../../api/search-query.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { IndexReader } from '../index-reader.ts'
import { computeFacets, orderedFacets } from './facets.ts'
import { type Hit, HitMaker } from './hits.ts'
import type { OrderedJson, OrderedObject } from './ordered-json.ts'
import { prepareQuery } from './query-search.ts'
import { planSearch, rankedSearch } from './ranked-search.ts'
import { cutoff, insideIndex, type SearchContext } from './search-context.ts'

/** @throws ApiError as `M-B5` says, messages with the index's name. */
export function runSearch(reader: IndexReader, uid: string, query: SearchQuery, context: SearchContext): OrderedObject {
  const startedAt = context.clock.monotonic()
  const { settings } = reader
  const prepared = prepareQuery(query, context.features)
  const { skip, take, isExhaustive } = pageRequest(query)
  const { maxTotalHits } = settings.pagination
  const from = Math.min(skip, maxTotalHits)
  const length = Math.min(take, maxTotalHits - from)
  const plan = planSearch(reader, query, context.embeddings)
  // A threshold and `distinct` judge every document from the first on, so the pages before must be ranked as well.
  const ranksAll = query.rankingScoreThreshold !== null || (query.distinct ?? settings.distinctAttribute) !== null
  const dropped = ranksAll ? from : 0
  const found = insideIndex(uid, () =>
    rankedSearch(reader, query, plan, prepared, {
      from: from - dropped,
      length: length + dropped,
      // What is highlighted depends on how far the rules have looked, and the reference's look at every hit.
      needsScores: query.showRankingScore || query.showRankingScoreDetails || showsMatches(query),
      isExhaustive,
      isLate: cutoff(context.clock, settings.searchCutoffMs),
      pinRules: { uid, rules: context.rules ?? [] },
    }),
  )
  const maker = new HitMaker(reader, query, found.words)
  const hits = found.docids
    .slice(dropped)
    .map((docid, index) => hitJson(maker.make(docid, found.scores[dropped + index] ?? [])))
  const facets =
    query.facets === null || query.facets.length === 0
      ? null
      : orderedFacets(computeFacets(reader, query.facets, found.candidates))
  const answer = new Map<string, OrderedJson>([
    ['hits', hits],
    ['query', query.q ?? ''],
  ])
  if (query.retrieveVectors && found.queryVector !== null) answer.set('queryVector', found.queryVector)
  answer.set('processingTimeMs', Math.round(context.clock.monotonic() - startedAt))
  for (const [name, value] of Object.entries(pageInfo(query, found.candidates.size))) answer.set(name, value)
  if (facets !== null) answer.set('facetDistribution', facets.distribution).set('facetStats', facets.stats)
  answer.set('requestUid', context.requestUid)
  if (context.newQueryUid !== null) answer.set('metadata', queryMetadata(reader, uid, query, context.newQueryUid()))
  if (query.showPerformanceDetails)
    answer.set('performanceDetails', performanceDetails(context.clock.monotonic() - startedAt))
  if (found.isSemantic) {
    const semantic = found.scores.slice(dropped).filter((details) => details.some(({ kind }) => kind === 'vector'))
    answer.set('semanticHitCount', semantic.length)
  }
  return answer
}

function showsMatches(query: SearchQuery): boolean {
  return query.attributesToHighlight !== null || query.attributesToCrop !== null || query.showMatchesPosition
}

export function hitJson({ document, extra }: Hit): JsonObject {
  return { ...document, ...extra }
}

export function queryMetadata(
  reader: IndexReader,
  uid: string,
  query: Pick<SearchQuery, 'q'>,
  queryUid: string,
): JsonObject {
  return {
    ...(query.q === null ? {} : { query: query.q }),
    queryUid,
    indexUid: uid,
    ...(reader.primaryKey === null ? {} : { primaryKey: reader.primaryKey }),
  }
}

/** Duration texts as the reference prints them: two decimals and a unit. */
export function performanceDetails(totalMs: number): JsonObject {
  const text = totalMs >= 1 ? `${totalMs.toFixed(2)}ms` : `${(totalMs * 1000).toFixed(2)}µs`
  return { search: text }
}
