/**
 * A federated search over several nodes: each node answers for its own queries with the details of every score, and the
 * hits are merged by the values that one engine with all indexes would compare (M-F20).
 */
import { ApiError } from '../api/errors.ts'
import type { MultiSearch } from '../api/multi-search-query.ts'
import { withPins } from '../embedded/search/pinned-hits.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { type Answer, json } from './answer.ts'
import type { NameMap } from './name-map.ts'
import { badAnswer } from './relay.ts'

export interface FederatedLeg {
  readonly queries: readonly { readonly position: number; readonly body: JsonObject }[]
}

export interface FederatedMerge<L extends FederatedLeg> {
  readonly query: MultiSearch
  /** As sent, with physical names. */
  readonly federation: JsonObject
  readonly legs: readonly L[]
  readonly names: NameMap
  readonly send: (leg: L, body: JsonObject) => Promise<Buffer>
  readonly requestUid: string
}

/** What stands in one place of the order of a hit. */
type Value =
  | { readonly kind: 'score'; readonly score: number }
  | { readonly kind: 'sort'; readonly value: Json; readonly ascending: boolean }
  | { readonly kind: 'geo'; readonly distance: number | null; readonly ascending: boolean }

interface MergedHit {
  readonly hit: JsonObject
  readonly values: readonly Value[]
  readonly score: number
  readonly position: number
  readonly rank: number
  /** Where a dynamic search rule puts it among all hits. */
  readonly pinnedAt: number | null
}

export async function mergeFederated<L extends FederatedLeg>(merge: FederatedMerge<L>): Promise<Answer> {
  const { query, federation, legs, names, send } = merge
  const options = query.federation
  if (options === null) throw new Error('a federated merge needs a federation')
  if (options.distinct !== null || query.queries.some(({ distinct }) => distinct !== null)) {
    throw new ApiError('feature_not_available', '`distinct` over indexes on several nodes is not available.')
  }
  const isPaged = options.page !== null || options.hitsPerPage !== null
  const perPage = options.hitsPerPage ?? 20
  const page = options.page ?? 1
  const first = isPaged ? Math.max(0, page - 1) * perPage : options.offset
  const count = isPaged ? (page === 0 ? 0 : perPage) : options.limit
  const startedAt = performance.now()
  const answers = await Promise.all(
    legs.map(async (leg) => {
      const queries = leg.queries.map(({ body }) => ({
        ...body,
        showRankingScore: true,
        showRankingScoreDetails: true,
      }))
      const { page: _page, hitsPerPage: _hitsPerPage, facetsByIndex, mergeFacets: _merge, ...rest } = federation
      const own = new Set(queries.map((body) => String((body as JsonObject).indexUid)))
      const facets = Object.entries(isObject(facetsByIndex) ? facetsByIndex : {}).filter(([uid]) => own.has(uid))
      const body = {
        queries,
        federation: { ...rest, offset: 0, limit: first + count, facetsByIndex: Object.fromEntries(facets) },
      }
      return { leg, answer: readAnswer(await send(leg, body)) }
    }),
  )
  const found = answers.flatMap(({ leg, answer }) => answer.hits.map((hit, rank) => readHit(hit, rank, leg, query)))
  const pins = found.flatMap((hit) => (hit.pinnedAt === null ? [] : [{ position: hit.pinnedAt, hit }]))
  const merged = withPins(
    found.filter(({ pinnedAt }) => pinnedAt === null).sort(compareHits),
    pins.sort((a, b) => a.position - b.position),
  )
  const hits = merged.slice(first, first + count).map((item) => showHit(item, query, names))
  const total = answers.reduce((sum, { answer }) => sum + answer.total, 0)
  const facets = mergeFacets(
    answers.map(({ answer }) => answer.facets),
    query,
    names,
  )
  return json(200, {
    hits,
    processingTimeMs: Math.round(performance.now() - startedAt),
    ...(isPaged
      ? { hitsPerPage: perPage, page, totalPages: perPage === 0 ? 0 : Math.ceil(total / perPage), totalHits: total }
      : { limit: options.limit, offset: options.offset, estimatedTotalHits: total }),
    ...facets,
    requestUid: merge.requestUid,
  })
}

interface LegAnswer {
  readonly hits: readonly JsonObject[]
  readonly total: number
  readonly facets: JsonObject
}

function readAnswer(bytes: Buffer): LegAnswer {
  const answer: Json = JSON.parse(bytes.toString('utf8'))
  if (!isObject(answer) || !Array.isArray(answer.hits)) throw badAnswer('a federated answer without hits')
  const hits: readonly Json[] = answer.hits
  const total = answer.estimatedTotalHits
  return {
    hits: hits.filter(isObject),
    total: typeof total === 'number' ? total : 0,
    facets: isObject(answer.facetsByIndex ?? null) ? (answer.facetsByIndex as JsonObject) : {},
  }
}

function readHit(hit: JsonObject, rank: number, leg: FederatedLeg, query: MultiSearch): MergedHit {
  const federation = hit._federation
  if (federation === undefined || !isObject(federation)) throw badAnswer('a federated hit without its origin')
  const at = Number(federation.queriesPosition)
  const position = leg.queries[at]?.position
  if (position === undefined) throw badAnswer('a federated hit of an unknown query')
  const weight = query.queries[position]?.federationOptions?.weight ?? 1
  const details = hit._rankingScoreDetails
  const score = Number(federation.weightedRankingScore ?? 0)
  const values = valuesOf(details !== undefined && isObject(details) ? details : {}, weight)
  return {
    hit,
    // Without a sort there is one stretch, whose folded score the node has computed itself.
    values: values.every(({ kind }) => kind === 'score') ? [{ kind: 'score', score }] : values,
    score,
    position,
    rank,
    pinnedAt: pinnedAt(details),
  }
}

function pinnedAt(details: Json | undefined): number | null {
  const pin = details !== undefined && isObject(details) ? details.pin : undefined
  return pin !== undefined && isObject(pin) && typeof pin.position === 'number' ? pin.position : null
}

/** Details in the order of the rules, cut at every sort or geo rule; the score of a stretch is folded as M-F9 says. */
function valuesOf(details: JsonObject, weight: number): readonly Value[] {
  const values: Value[] = []
  let scores: number[] = []
  const close = () => {
    if (scores.length > 0) values.push({ kind: 'score', score: foldScores(scores) * weight })
    scores = []
  }
  const ordered = Object.entries(details)
    .flatMap(([name, detail]) => (isObject(detail) ? [{ name, detail }] : []))
    .sort((a, b) => Number(a.detail.order ?? 0) - Number(b.detail.order ?? 0))
  for (const { name, detail } of ordered) {
    if (name.startsWith('_geoPoint(')) {
      close()
      const distance = typeof detail.distance === 'number' ? detail.distance : null
      values.push({ kind: 'geo', distance, ascending: !name.endsWith(':desc') })
    } else if ('value' in detail && !('score' in detail)) {
      close()
      values.push({ kind: 'sort', value: detail.value ?? null, ascending: !name.endsWith(':desc') })
    } else if (typeof detail.similarity === 'number') {
      close()
      values.push({ kind: 'score', score: detail.similarity * weight })
    } else if (typeof detail.score === 'number') {
      scores.push(detail.score)
    }
  }
  close()
  return values
}

/** Later rules only refine earlier ones: each counts for a thousandth of the one before. */
function foldScores(scores: readonly number[]): number {
  return scores.reduce((sum, score, at) => sum + score / 1_000 ** at, 0)
}

function compareHits(a: MergedHit, b: MergedHit): number {
  const length = Math.min(a.values.length, b.values.length)
  for (let at = 0; at < length; at += 1) {
    const order = compareValues(a.values[at]!, b.values[at]!)
    if (order === undefined) return b.values.length - at - (a.values.length - at) || b.score - a.score
    if (order !== 0) return order
  }
  return b.values.length - a.values.length || b.score - a.score || a.position - b.position || a.rank - b.rank
}

/** `undefined`: they are of different kinds. */
function compareValues(a: Value, b: Value): number | undefined {
  if (a.kind === 'score' && b.kind === 'score') return Math.abs(a.score - b.score) < 1e-12 ? 0 : b.score - a.score
  if (a.kind === 'geo' && b.kind === 'geo') {
    if (a.distance === null || b.distance === null) return Number(a.distance === null) - Number(b.distance === null)
    return a.ascending ? a.distance - b.distance : b.distance - a.distance
  }
  if (a.kind === 'sort' && b.kind === 'sort') return compareSorted(a.value, b.value, a.ascending)
  return undefined
}

/** Numbers before strings before nothing, in both directions (M-F10). */
function compareSorted(a: Json, b: Json, ascending: boolean): number {
  const kind = (value: Json) => (typeof value === 'number' ? 0 : typeof value === 'string' ? 1 : 2)
  if (kind(a) !== kind(b)) return kind(a) - kind(b)
  const order =
    typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0
  return ascending ? order : -order
}

/** The hit as asked for: names translated, what only the merge needed removed. */
function showHit({ hit, position }: MergedHit, query: MultiSearch, names: NameMap): JsonObject {
  const asked = query.queries[position]
  const { _federation, _rankingScore, _rankingScoreDetails, ...document } = hit
  const federation = _federation !== undefined && isObject(_federation) ? _federation : {}
  const { remote: _remote, ...shown } = federation
  return {
    ...document,
    _federation: { ...shown, indexUid: names.toLogical(String(federation.indexUid)), queriesPosition: position },
    ...(asked?.showRankingScore ? { _rankingScore: _rankingScore ?? null } : {}),
    ...(asked?.showRankingScoreDetails ? { _rankingScoreDetails: _rankingScoreDetails ?? null } : {}),
  }
}

/** Per index as they are; with `mergeFacets`, summed under one roof. */
function mergeFacets(facets: readonly JsonObject[], { federation }: MultiSearch, names: NameMap): JsonObject {
  const byIndex = Object.assign({}, ...facets) as JsonObject
  const entries = Object.entries(byIndex)
  if (entries.length === 0) return {}
  if (federation?.mergeFacets == null) {
    return { facetsByIndex: Object.fromEntries(entries.map(([uid, value]) => [names.toLogical(uid), value])) }
  }
  const counts = new Map<string, Map<string, number>>()
  const stats = new Map<string, { min: number; max: number }>()
  for (const [, index] of entries) {
    if (!isObject(index)) continue
    for (const [facet, values] of objectEntries(index.distribution)) {
      const sums = counts.get(facet) ?? new Map<string, number>()
      counts.set(facet, sums)
      for (const [value, count] of objectEntries(values)) sums.set(value, (sums.get(value) ?? 0) + Number(count))
    }
    for (const [facet, { min, max }] of objectEntries(index.stats).flatMap(toRange)) {
      const known = stats.get(facet) ?? { min, max }
      stats.set(facet, { min: Math.min(known.min, min), max: Math.max(known.max, max) })
    }
  }
  const valuesMax = federation.mergeFacets.maxValuesPerFacet ?? 100
  const sorted = [...counts].map(([facet, values]) => [
    facet,
    Object.fromEntries([...values].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, valuesMax)),
  ])
  return { facetDistribution: Object.fromEntries(sorted), facetStats: Object.fromEntries(stats) }
}

function objectEntries(value: Json | undefined): readonly [string, Json][] {
  return value !== undefined && isObject(value) ? Object.entries(value) : []
}

function toRange([facet, value]: readonly [string, Json]): [string, { min: number; max: number }][] {
  return isObject(value) ? [[facet, { min: Number(value.min), max: Number(value.max) }]] : []
}
