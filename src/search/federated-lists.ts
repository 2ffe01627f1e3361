/** What one index gives to a federated search: its hits in order, each document once, with totals and facets. */
import { encodeMultiSearchQuery, type Federation, type MultiSearchQuery } from '../api/multi-search-query.ts'
import { pageRequest } from '../api/paging.ts'
import { facetValuesOf } from '../embedded/search/federated-facets.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { splitMembers } from '../lib/json-cut.ts'
import { type Comparable, comparablesOf, compareComparables } from './comparable-scores.ts'
import { type FacetCounts, mergeFacetCounts } from './facet-counts.ts'
import { countUnion } from './federated-counts.ts'
import type { Hit } from './hit.ts'
import { type Leg, type ReadOptions, RefusedByNode, type SearchedIndex } from './leg.ts'
import { readAnswer } from './leg-answers.ts'
import { mergeLists } from './merge-order.ts'
import { pinnedAt } from './pinned-hits.ts'
import { projectionOf } from './projection.ts'
import { insideEach, replaced } from './query-place.ts'
import { rankHits } from './ranked-hits.ts'
import { isRefusal, refusal } from './refusals.ts'
import { type HitShape, hitText, numberText } from './render-hit.ts'
import { kindOf, planSearch } from './search-plan.ts'

export interface PlacedQuery {
  readonly query: MultiSearchQuery
  /** In the request. */
  readonly position: number
}

export interface FederatedHit {
  readonly uid: string
  readonly position: number
  readonly values: readonly Comparable[]
  readonly weightedScore: number
  readonly isSemantic: boolean
  /** Values of `federation.distinct`. */
  readonly distinct: readonly (number | string)[]
  /** The same document of the same index. */
  readonly identity: string
  /** JSON as the client sees it. */
  readonly text: string
}

export interface PinnedFederatedHit {
  readonly hit: FederatedHit
  readonly position: number
}

export interface IndexList {
  readonly uid: string
  /** A document once for each query that it is pinned in, as on one node. */
  readonly pins: readonly PinnedFederatedHit[]
  readonly hits: readonly FederatedHit[]
  readonly total: number
  readonly facets: FacetCounts | null
  /** By place of the query in the request: JSON text. */
  readonly queryVectors: ReadonlyMap<number, string>
  readonly processingTimeMs: number
}

/** Hits that each index must give, so that any of them may fill the page. */
export function requiredHits(federation: Federation, { settings }: SearchedIndex): number {
  const { skip, take } = pageRequest(federation)
  return Math.min(skip + take, settings.pagination.maxTotalHits)
}

/** The better hit first; equal ones in the order of their queries. */
export function compareFederated(a: FederatedHit, b: FederatedHit): number {
  return compareScores(a, b) || a.position - b.position
}

/** Scores of different kinds: more of them win, then the higher weighted score. */
function compareScores(a: FederatedHit, b: FederatedHit): number {
  for (let at = 0; ; at += 1) {
    const [first, second] = [a.values[at], b.values[at]]
    if (first === undefined || second === undefined) return b.values.length - a.values.length
    const order = compareComparables(first, second)
    if (order === null) return b.values.length - a.values.length || b.weightedScore - a.weightedScore
    if (order !== 0) return order
  }
}

/** @param patterns  facets that are asked of the index. @throws of the first query that fails, with its place. */
export async function spreadList(
  index: SearchedIndex,
  queries: readonly PlacedQuery[],
  federation: Federation,
  patterns: readonly string[] | null,
  options: ReadOptions,
): Promise<IndexList> {
  const required = requiredHits(federation, index)
  const { isExhaustive } = pageRequest(federation)
  const distinct = federation.distinct
  const searched = async ({ query, position }: PlacedQuery) => {
    const { indexUid: _uid, federationOptions, ...search } = query
    const page = isExhaustive ? { page: required === 0 ? 0 : 1, hitsPerPage: required } : { offset: 0, limit: required }
    // One query's facets are those of the index.
    const facets = queries.length === 1 ? patterns : null
    const whole = { ...search, ...page, facets, distinct: distinct ?? query.distinct }
    const plan = planSearch(index, whole, options.narrow, { isWeighed: true })
    const ranked = await rankHits(plan, options)
    const weight = federationOptions?.weight ?? 1
    const shape: HitShape = {
      projection: plan.projection,
      showScore: query.showRankingScore,
      showDetails: query.showRankingScoreDetails,
      drops: plan.drops,
    }
    const shown = (hit: Hit) => {
      const place = federationOptions?.queryPosition ?? position
      return federatedHit(hit, {
        uid: index.uid,
        position: place,
        weight,
        distinct,
        isSemantic: ranked.semanticHits?.has(hit) ?? false,
        identity: hit.sequence,
        text: hitText(hit, shape, federationMember(index.uid, place, hit.score * weight)),
      })
    }
    const pins = ranked.pins.map((pin) => ({ hit: shown(pin.hit), position: pin.position }))
    return { position, hits: ranked.hits.map(shown), pins, ranked }
  }
  const lists = await insideEach(queries.map((placed) => ({ position: placed.position, answer: searched(placed) })))
  const union = queries.length === 1 ? null : await countUnion(index, queries, patterns, options)
  const answers = lists.flatMap(({ ranked }) => ranked.answers)
  const total = union?.total ?? lists[0]?.ranked.total ?? 0
  const counted = union?.answers ?? answers
  return {
    uid: index.uid,
    pins: lists.flatMap(({ pins }) => pins),
    hits: mergeUnique(
      lists.map(({ hits }) => hits),
      required,
    ),
    total,
    facets: patterns === null ? null : mergeFacetCounts(counted, index.settings, total),
    queryVectors: new Map(
      lists.flatMap(({ position, ranked }) => {
        const text = ranked.answers
          .map(({ members }) => members.get('queryVector'))
          .find((found) => found !== undefined)
        return text === undefined ? [] : [[position, text] as const]
      }),
    ),
    processingTimeMs: Math.max(0, ...answers.map(({ processingTimeMs }) => processingTimeMs)),
  }
}

function mergeUnique(lists: readonly (readonly FederatedHit[])[], required: number): readonly FederatedHit[] {
  const seen = new Set<string>()
  const taken = new Set<number | string>()
  const hits: FederatedHit[] = []
  for (const hit of mergeLists(lists, compareFederated)) {
    if (hits.length >= required) break
    if (seen.has(hit.identity)) continue
    seen.add(hit.identity)
    if (takesNew(taken, hit)) hits.push(hit)
  }
  return hits
}

/** Whether the hit shares no value with one before; its own are then taken. */
export function takesNew(taken: Set<number | string>, { distinct }: FederatedHit): boolean {
  if (distinct.some((value) => taken.has(value))) return false
  for (const value of distinct) taken.add(value)
  return true
}

interface HitPlace {
  readonly uid: string
  readonly position: number
  readonly weight: number
  readonly distinct: string | null
  readonly isSemantic: boolean
  readonly identity: string
  readonly text: string
}

function federatedHit(hit: Hit, place: HitPlace): FederatedHit {
  const { uid, position, weight, distinct, isSemantic, identity, text } = place
  return {
    uid,
    position,
    values: comparablesOf(hit, weight),
    weightedScore: hit.score * weight,
    isSemantic,
    distinct: distinct === null ? [] : facetValuesOf(JSON.parse(hit.text) as JsonObject, distinct),
    identity,
    text,
  }
}

function federationMember(uid: string, position: number, weightedScore: number): readonly [string, string] {
  const score = numberText(weightedScore)
  return [
    '_federation',
    `{"indexUid":${JSON.stringify(uid)},"queriesPosition":${position},"weightedRankingScore":${score}}`,
  ]
}

/** A plain index answers its queries together, as its node does. */
export async function plainList(
  index: SearchedIndex,
  queries: readonly PlacedQuery[],
  federation: Federation,
  patterns: readonly string[] | null,
  options: ReadOptions,
): Promise<IndexList> {
  const required = requiredHits(federation, index) + index.rules.flatMap(({ actions = [] }) => actions).length
  const { isExhaustive } = pageRequest(federation)
  const target = index.coverage[0]!
  const body: JsonObject = {
    queries: queries.map(({ query }) => ({
      ...encodeMultiSearchQuery(query),
      showRankingScore: true,
      showRankingScoreDetails: true,
    })),
    federation: {
      ...(isExhaustive ? { page: required === 0 ? 0 : 1, hitsPerPage: required } : { offset: 0, limit: required }),
      ...(patterns === null ? {} : { facetsByIndex: { [index.uid]: patterns } }),
      ...(federation.distinct === null ? {} : { distinct: federation.distinct }),
    },
  }
  const leg: Leg = { target: target.id, method: 'POST', path: '/multi-search', body, rules: index.rules }
  const reply = await options.ask(leg, options.signal)
  if (isRefusal(reply)) {
    const error = await refusal(index, [reply], leg, options)
    const positions = queries.map(({ position }) => position)
    throw error instanceof RefusedByNode ? replaced(error, positions) : error
  }
  const answer = readAnswer(target, reply.body)
  const shapes = queries.map(
    ({ query }): HitShape => ({
      projection: projectionOf(index, { ...query, attributesToRetrieve: null }, []),
      showScore: query.showRankingScore,
      showDetails: query.showRankingScoreDetails,
      drops: [],
    }),
  )
  const facets = splitMembers(answer.members.get('facetsByIndex') ?? '{}').get(index.uid)
  const hits: FederatedHit[] = []
  const pins: PinnedFederatedHit[] = []
  for (const found of answer.hits) {
    const hit = plainHit(index, queries, shapes, federation.distinct, found)
    const position = pinnedAt(found)
    if (position === null) hits.push(hit)
    else pins.push({ hit, position })
  }
  return {
    uid: index.uid,
    hits,
    pins,
    total: answer.total,
    facets: facets === undefined ? null : plainFacets(index, facets, answer.total),
    queryVectors: new Map(
      [...splitMembers(answer.members.get('queryVectors') ?? '{}')].map(([at, text]) => [
        queries[Number(at)]?.position ?? 0,
        text,
      ]),
    ),
    processingTimeMs: answer.processingTimeMs,
  }
}

function plainHit(
  { uid }: SearchedIndex,
  queries: readonly PlacedQuery[],
  shapes: readonly HitShape[],
  distinct: string | null,
  hit: Hit,
): FederatedHit {
  const origin = JSON.parse(splitMembers(hit.text).get('_federation') ?? '{}') as Record<string, Json>
  const at = Number(origin.queriesPosition)
  const { query, position } = queries[at]!
  const weight = query.federationOptions?.weight ?? 1
  const score = Number(origin.weightedRankingScore)
  return federatedHit(hit, {
    uid,
    position,
    weight,
    distinct,
    isSemantic: kindOf(query) !== 'keyword' && hit.details.some(({ name }) => name === 'vectorSort'),
    identity: hit.text,
    text: hitText(hit, { ...shapes[at]!, projection: everything }, federationMember(uid, position, score)),
  })
}

/** The node of a plain index has left out what the client does not see. */
const everything = { displayed: null, shown: null, formatted: null, retrieve: null, highlight: null, crop: null }

function plainFacets({ settings }: SearchedIndex, text: string, total: number): FacetCounts {
  const members = splitMembers(text)
  const leg = {
    total,
    facets: { distribution: members.get('distribution') ?? '{}', stats: members.get('stats') ?? '{}' },
  }
  return mergeFacetCounts([leg], settings, total)
}
