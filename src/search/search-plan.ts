/** The plan of a search over a spread index, as data: which legs are asked, what for, and how their answers become one. */
import { type PageRequest, pageRequest } from '../api/paging.ts'
import { encodeSearchQuery, type SearchQuery } from '../api/search-query.ts'
import type { JsonObject } from '../lib/json.ts'
import { indexPath, type Leg, type SearchedIndex, type Target } from './leg.ts'
import { type Narrow, narrowed } from './narrowing.ts'
import { pinsSpare } from './pinned-hits.ts'
import { type Projection, projectionOf } from './projection.ts'
import { withClientNames } from './reserved-names.ts'
import { legFilter } from './shard-clause.ts'

/** What ranks: words (or nothing), vectors, or both (M-F17). */
export type SearchKind = 'keyword' | 'semantic' | 'hybrid'

export interface SearchPlan {
  readonly index: SearchedIndex
  readonly kind: SearchKind
  /** The client's, without names of reserved fields. */
  readonly query: SearchQuery
  readonly page: PageRequest
  /** Hits before the page, within `maxTotalHits`. */
  readonly from: number
  /** Hits that each leg must give, so that any of them may fill the page. */
  readonly needed: number
  /** Hits of which one value is shown once; null = all are. */
  readonly distinct: string | null
  readonly projection: Projection
  /** Scores are shown or weighed: they must be those of one node. */
  readonly usesScores: boolean
  /** Places are compared (`_geoPoint`). */
  readonly sortsByPlace: boolean
  /** What nodes tell only because the merge asks for places. */
  readonly drops: readonly '_geoDistance'[]
}

/** Further hits of a distinct search, to tell how many there are in all (F6). */
const distinctMore = 30

/** @param isWeighed  hits are compared with those of other questions, by their scores. */
export function planSearch(
  whole: SearchedIndex,
  sent: SearchQuery,
  narrow: Narrow,
  { isWeighed = false }: { readonly isWeighed?: boolean } = {},
): SearchPlan {
  const query = withClientNames(sent, whole.settings)
  const index = narrowed(whole, narrow(whole, query.filter))
  const { maxTotalHits } = index.settings.pagination
  const page = pageRequest(query)
  const from = Math.min(page.skip, maxTotalHits)
  const distinct = query.distinct ?? index.settings.distinctAttribute
  const sortsByPlace = query.sort?.some((rule) => rule.trimStart().startsWith('_geoPoint(')) ?? false
  const added = [...(sortsByPlace ? ['_geo'] : []), ...(distinct === null ? [] : [distinct])]
  const projection = projectionOf(index, query, added)
  const kind = kindOf(query)
  return {
    index,
    kind,
    query,
    page,
    from,
    needed: from + Math.min(page.take, maxTotalHits - from),
    distinct,
    projection,
    usesScores: isWeighed || kind === 'hybrid' || query.showRankingScore || query.showRankingScoreDetails,
    sortsByPlace,
    drops: sortsByPlace && projection.shown !== null && !projection.shown.has('_geo') ? ['_geoDistance'] : [],
  }
}

/** Which search an engine runs. */
export function kindOf({ q, hybrid, vector, media }: SearchQuery): SearchKind {
  const hasWords = q !== null && q.trim() !== ''
  if (hybrid === null || hybrid.semanticRatio === 0 || (!hasWords && vector === null && media === null))
    return 'keyword'
  return hybrid.semanticRatio === 1 || !hasWords ? 'semantic' : 'hybrid'
}

/** The query that a leg is sent, without its shards. */
export function legQuery({ index, query, page, needed, distinct, projection }: SearchPlan): SearchQuery {
  const { retrieve, highlight, crop } = projection
  const wanted = needed === 0 ? 0 : needed + pinsSpare(index)
  const isEstimated = distinct !== null && !page.isExhaustive && needed > 0
  return {
    ...query,
    ...(page.isExhaustive
      ? { page: query.page === 0 ? 0 : 1, hitsPerPage: query.page === 0 ? query.hitsPerPage : wanted }
      : { offset: 0, limit: wanted + (isEstimated ? distinctMore : 0) }),
    attributesToRetrieve: retrieve,
    attributesToHighlight: highlight,
    attributesToCrop: crop,
    showRankingScore: true,
    showRankingScoreDetails: true,
  }
}

/** The same search, only counted. With a limit of 0 `distinct` takes nothing away. */
export function countQuery(query: SearchQuery): SearchQuery {
  // Asked for no hits, an engine would find its words good enough and leave what vectors find out of the count.
  const hybrid =
    kindOf(query) === 'hybrid' && query.hybrid !== null ? { ...query.hybrid, semanticRatio: 1 } : query.hybrid
  return {
    ...query,
    hybrid,
    rankingScoreThreshold: null,
    distinct: null,
    facets: null,
    offset: 0,
    limit: 0,
    page: null,
    hitsPerPage: null,
    attributesToRetrieve: [],
    attributesToCrop: null,
    attributesToHighlight: null,
    showMatchesPosition: false,
    retrieveVectors: false,
  }
}

/** One for each target. */
export function searchLegs(index: SearchedIndex, query: SearchQuery): readonly Leg[] {
  const body = encodeSearchQuery({ ...query, filter: null })
  return index.coverage.map((target) => {
    const filter = legFilter(index, target, query.filter)
    return leg(index, target, filter === null ? body : { ...body, filter })
  })
}

/** What the client asked, as far as it can be refused, without a shard's condition and without hits. */
export function probeLeg(index: SearchedIndex, query: SearchQuery): Leg {
  const target = index.coverage[0]!
  const { attributesToHighlight: _highlight, attributesToCrop: _crop, ...rest } = query
  const shaped = { ...rest, attributesToHighlight: null, attributesToCrop: null, attributesToRetrieve: [] }
  return leg(index, target, encodeSearchQuery({ ...shaped, offset: 0, limit: 0, page: null, hitsPerPage: null }))
}

function leg(index: SearchedIndex, target: Target, body: JsonObject): Leg {
  return { target: target.id, method: 'POST', path: indexPath(index, '/search'), body, rules: index.rules }
}
