/** `POST /multi-search` with `federation`, over spread and plain indexes together (M-F20). */
import { ApiError } from '../api/errors.ts'
import type { Federation, MultiSearch } from '../api/multi-search-query.ts'
import { pageInfo, pageRequest } from '../api/paging.ts'
import { checkFacets, type Facets } from '../embedded/search/facets.ts'
import { MergedFacetOrder, mergeFacets } from '../embedded/search/federated-facets.ts'
import { checkCompatible, type QueryRules, queryRules } from '../embedded/search/rule-compatibility.ts'
import { performanceDetails } from '../embedded/search/run-search.ts'
import { parseSort } from '../embedded/search/sort-criteria.ts'
import { distributionText, type FacetCounts, statsText } from './facet-counts.ts'
import {
  compareFederated,
  type FederatedHit,
  type IndexList,
  type PlacedQuery,
  plainList,
  spreadList,
  takesNew,
} from './federated-lists.ts'
import type { ReadOptions, SearchedIndex } from './leg.ts'
import { mergeLists } from './merge-order.ts'
import { hitsWithPins } from './pinned-hits.ts'
import { inside, insideCall, isRefusalError, placeOf, type Refusal } from './query-place.ts'
import { numberText } from './render-hit.ts'
import { queryMetadata } from './search-index.ts'
import { kindOf } from './search-plan.ts'

/** The index of a name; undefined = there is none. */
export type FindIndex = (uid: string) => SearchedIndex | undefined

interface FederatedIndex {
  readonly uid: string
  /** undefined = there is none. */
  readonly index: SearchedIndex | undefined
  readonly queries: readonly PlacedQuery[]
  readonly patterns: readonly string[] | null
}

/** @returns JSON text of the whole answer. @throws of the first query that fails, with its place. */
export async function searchFederated(
  find: FindIndex,
  { queries }: MultiSearch,
  federation: Federation,
  options: ReadOptions,
): Promise<string> {
  const byIndex = groupByIndex(find, queries, federation)
  const outcomes = await Promise.all(byIndex.map((item) => listOf(item, federation, options)))
  throwFirst(byIndex, outcomes)
  checkUnused(find, byIndex, federation)
  return answerText(find, queries, federation, outcomes.filter(isList), options)
}

const isList = (outcome: IndexList | Refusal): outcome is IndexList => !isRefusalError(outcome)

function groupByIndex(
  find: FindIndex,
  queries: MultiSearch['queries'],
  federation: Federation,
): readonly FederatedIndex[] {
  const byIndex = new Map<string, PlacedQuery[]>()
  for (const [position, query] of queries.entries())
    byIndex.set(query.indexUid, [...(byIndex.get(query.indexUid) ?? []), { query, position }])
  return [...byIndex.keys()].sort().map((uid) => {
    const placed = byIndex.get(uid) ?? []
    return { uid, index: find(uid), queries: placed, patterns: federation.facetsByIndex[uid] ?? null }
  })
}

const missing = (uid: string): ApiError =>
  new ApiError('index_not_found', `Index \`${uid}\` not found.`, { status: 400 })

/** What one engine would meet first, going through the indexes and their queries. */
function throwFirst(indexes: readonly FederatedIndex[], outcomes: readonly (IndexList | Refusal)[]): void {
  let previous: QueryRules | null = null
  for (const [at, { index, queries, patterns }] of indexes.entries()) {
    const outcome = outcomes[at]!
    if (index === undefined) throw outcome
    const refused = isRefusalError(outcome) ? (placeOf(outcome) ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY
    for (const { query, position } of queries) {
      if (refused < position) throw outcome
      const rules = rulesOf(index, query, position)
      const known: QueryRules | null = previous
      if (known !== null) insideCall(position, () => checkCompatible(known, rules))
      if (known === null || known.rules.length <= rules.rules.length) previous = rules
      if (refused === position) throw outcome
    }
    if (patterns !== null) insideCall(queries[0]?.position ?? 0, () => checkPatterns(index, patterns, ''))
    if (isRefusalError(outcome)) throw outcome
  }
}

/** Whether hits can be put in one order is decided by the rules that clients know of (T9). */
function rulesOf(index: SearchedIndex, query: PlacedQuery['query'], position: number): QueryRules {
  const { q, sort, matchingStrategy } = query
  return queryRules({
    uid: index.uid,
    position,
    rankingRules: index.settings.rankingRules,
    sort: sort === null ? null : insideCall(position, () => parseSort(sort, 'invalid_search_sort')),
    strategy: matchingStrategy,
    kind: kindOf(query) === 'semantic' ? 'vector' : q !== null && q !== '' ? 'keyword' : 'placeholder',
  })
}

function canCount(index: SearchedIndex, patterns: readonly string[]): boolean {
  try {
    checkFacets(index, patterns)
    return true
  } catch (error) {
    if (error instanceof ApiError) return false
    throw error
  }
}

function checkPatterns(index: SearchedIndex, patterns: readonly string[], tail: string): void {
  try {
    checkFacets(index, patterns)
  } catch (error) {
    throw error instanceof ApiError ? insideFacets(index.uid, error, tail) : error
  }
}

/** Facets of indexes that no query names are only checked. */
function checkUnused(find: FindIndex, indexes: readonly FederatedIndex[], { facetsByIndex }: Federation): void {
  const used = new Set(indexes.map(({ uid }) => uid))
  for (const [uid, patterns] of Object.entries(facetsByIndex)) {
    if (used.has(uid)) continue
    const tail = `\n - Note: index \`${uid}\` is not used in queries`
    const index = find(uid)
    if (index === undefined) throw insideFacets(uid, missing(uid), tail)
    if (patterns !== null) checkPatterns(index, patterns, tail)
  }
}

const insideFacets = (uid: string, error: ApiError, tail: string): ApiError =>
  new ApiError(error.code, `Inside \`.federation.facetsByIndex.${uid}\`: ${error.message}${tail}`, {
    cause: error,
    status: error.status,
  })

/** A refusal is given back, so that the first of several is told whichever node is fastest. */
async function listOf(
  { uid, index, queries, patterns }: FederatedIndex,
  federation: Federation,
  options: ReadOptions,
): Promise<IndexList | Refusal> {
  if (index === undefined) return inside(queries[0]?.position ?? 0, missing(uid))
  const list = index.spread === null ? plainList : spreadList
  // Facets that are refused are told after what is wrong with a query.
  const counted = patterns !== null && canCount(index, patterns) ? patterns : null
  try {
    return await list(index, queries, federation, counted, options)
  } catch (error) {
    if (isRefusalError(error)) return error
    throw error
  }
}

function answerText(
  find: FindIndex,
  queries: MultiSearch['queries'],
  federation: Federation,
  lists: readonly IndexList[],
  options: ReadOptions,
): string {
  const { skip, take } = pageRequest(federation)
  const { hits, rejected } = pageOf(lists, federation)
  const pins = lists.flatMap((list) => list.pins).sort((a, b) => a.position - b.position)
  const page = hitsWithPins(hits, pins, skip + take).slice(skip, skip + take)
  const total = lists.reduce((sum, list) => sum + list.total, 0) - rejected
  const members: [string, string][] = [['hits', `[${page.map(({ text }) => text).join(',')}]`]]
  if (queries.some(({ retrieveVectors }) => retrieveVectors)) members.push(['queryVectors', vectorsText(lists)])
  const slowestMs = Math.max(0, ...lists.map(({ processingTimeMs }) => processingTimeMs))
  members.push(['processingTimeMs', String(slowestMs)])
  for (const [name, value] of Object.entries(pageInfo(federation, Math.max(0, total))))
    members.push([name, String(value)])
  members.push(...facetMembers(find, lists, federation))
  members.push(['requestUid', JSON.stringify(options.newUid())])
  if (queries.some(({ federationOptions }) => (federationOptions?.remote ?? null) !== null))
    members.push(['remoteErrors', '{}'])
  if (options.withMetadata) {
    const all = queries.flatMap((query) => {
      const index = find(query.indexUid)
      return index === undefined ? [] : [queryMetadata(index, query, options.newUid())]
    })
    members.push(['metadata', JSON.stringify(all)])
  }
  if (federation.showPerformanceDetails)
    members.push(['performanceDetails', JSON.stringify(performanceDetails(slowestMs))])
  if (queries.some((query) => kindOf(query) !== 'keyword'))
    members.push(['semanticHitCount', String(page.filter(({ isSemantic }) => isSemantic).length)])
  return `{${members.map(([name, text]) => `"${name}":${text}`).join(',')}}`
}

function pageOf(
  lists: readonly IndexList[],
  federation: Federation,
): { readonly hits: readonly FederatedHit[]; readonly rejected: number } {
  const { skip, take } = pageRequest(federation)
  const all = lists.map(({ hits }) => hits)
  if (federation.distinct === null) return { hits: mergeLists(all, compareFederated, skip + take), rejected: 0 }
  const taken = new Set<number | string>()
  const merged = mergeLists(all, compareFederated)
  const hits = merged.filter((hit) => takesNew(taken, hit))
  return { hits, rejected: merged.length - hits.length }
}

function vectorsText(lists: readonly IndexList[]): string {
  const vectors = lists.flatMap(({ queryVectors }) => [...queryVectors]).sort(([a], [b]) => a - b)
  return `{${vectors.map(([position, text]) => `"${position}":${text}`).join(',')}}`
}

function facetMembers(
  find: FindIndex,
  lists: readonly IndexList[],
  { mergeFacets: merging, facetsByIndex }: Federation,
): readonly [string, string][] {
  const faceted = lists.flatMap(({ uid, facets }) => (facets === null ? [] : [{ uid, facets }]))
  if (faceted.length === 0) return []
  if (merging === null) {
    const entries = faceted.map(
      ({ uid, facets }) =>
        `${JSON.stringify(uid)}:{"distribution":${distributionText(facets)},"stats":${statsText(facets)}}`,
    )
    return [['facetsByIndex', `{${entries.join(',')}}`]]
  }
  const order = new MergedFacetOrder()
  for (const { uid, facets } of faceted) {
    const index = find(uid)
    const fieldNames = [...facets.distribution.keys()]
    if (index !== undefined) order.add({ settings: index.settings, fieldNames }, uid, facetsByIndex[uid] ?? [])
  }
  const merged = mergeFacets(
    faceted.map(({ facets }) => numbers(facets)),
    order,
    merging.maxValuesPerFacet,
  )
  const stats = new Map(
    [...merged.stats].map(([name, { min, max }]) => [name, { min: numberText(min), max: numberText(max) }]),
  )
  const counts: FacetCounts = { distribution: merged.distribution, stats }
  return [
    ['facetDistribution', distributionText(counts)],
    ['facetStats', statsText(counts)],
  ]
}

const numbers = ({ distribution, stats }: FacetCounts): Facets => ({
  distribution,
  stats: new Map([...stats].map(([name, { min, max }]) => [name, { min: Number(min), max: Number(max) }])),
})
