/** `POST /multi-search` with `federation`: several queries, one list (M-F20). */
import { ApiError } from '../../api/errors.ts'
import { type Federation, type MultiSearchQuery, rethrowInside } from '../../api/multi-search-query.ts'
import { pageInfo, pageRequest } from '../../api/paging.ts'
import { Bitmap } from '../../lib/bitmap.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { IndexReader } from '../index-reader.ts'
import { checkFacets, computeFacets, type Facets, orderedFacets } from './facets.ts'
import { facetValuesOf, MergedFacetOrder, mergeFacets, withoutHits } from './federated-facets.ts'
import { HitMaker } from './hits.ts'
import type { OrderedJson, OrderedObject } from './ordered-json.ts'
import { withPins } from './pinned-hits.ts'
import { prepareQuery } from './query-search.ts'
import { planSearch, rankedSearch } from './ranked-search.ts'
import { checkCompatible, type QueryRules, queryRules } from './rule-compatibility.ts'
import { hitJson, performanceDetails, queryMetadata } from './run-search.ts'
import { type ComparableScore, comparableScores, compareScore, rankingScore } from './score.ts'
import { cutoff, insideIndex, type SearchContext } from './search-context.ts'

/** The index of a uid, or undefined when there is none. */
export type FindIndex = (uid: string) => IndexReader | undefined

interface PlacedQuery {
  readonly query: MultiSearchQuery
  /** Position in the request. */
  readonly position: number
}

interface RankedHit {
  readonly uid: string
  readonly document: JsonObject
  /** The whole document, for values of `distinct` and facets that are not shown. */
  readonly stored: JsonObject
  readonly extra: JsonObject
  readonly position: number
  readonly scores: readonly ComparableScore[]
  readonly weightedScore: number
  /** The name of this engine in its network, when the query gave it. */
  readonly remote: string | null
  readonly isSemantic: boolean
}

interface IndexResult {
  readonly uid: string
  readonly hits: readonly RankedHit[]
  readonly candidates: Bitmap
  readonly facets: Facets | null
}

export function runFederated(
  find: FindIndex,
  queries: readonly MultiSearchQuery[],
  federation: Federation,
  context: SearchContext,
): OrderedObject {
  const startedAt = context.clock.monotonic()
  const run = new FederatedRun(find, federation, context)
  const byIndex = new Map<string, PlacedQuery[]>()
  for (const [position, query] of queries.entries()) {
    const placed = byIndex.get(query.indexUid) ?? []
    placed.push({ query, position })
    byIndex.set(query.indexUid, placed)
  }
  const uids = [...byIndex.keys()].sort()
  const results = uids.map((uid) => run.searchIndex(uid, byIndex.get(uid) ?? []))
  run.checkUnused(uids)
  return run.answer(results, queries, startedAt)
}

class FederatedRun {
  readonly #find: FindIndex
  readonly #federation: Federation
  readonly #context: SearchContext
  readonly #order = new MergedFacetOrder()
  readonly #vectors: Record<string, Json> = {}
  /** What rules put at fixed places: a document once for each query that it is pinned in, as in the reference. */
  readonly #pins: { readonly position: number; readonly hit: RankedHit }[] = []
  #previous: QueryRules | null = null
  #hasSemantic = false

  constructor(find: FindIndex, federation: Federation, context: SearchContext) {
    this.#find = find
    this.#federation = federation
    this.#context = context
  }

  searchIndex(uid: string, queries: readonly PlacedQuery[]): IndexResult {
    const first = queries[0]?.position ?? 0
    const reader = rethrowInside(first, () => this.#need(uid))
    const patterns = this.#federation.facetsByIndex[uid] ?? null
    if (patterns !== null && this.#federation.mergeFacets !== null)
      rethrowInside(first, () => this.#insideFacets(uid, () => this.#order.add(reader, uid, patterns)))
    const lists = queries.map((placed) => rethrowInside(placed.position, () => this.#searchQuery(reader, uid, placed)))
    let candidates = Bitmap.union(lists.map((list) => list.candidates))
    const seen = new Set<number>()
    const values = new Set<number | string>()
    const hits: RankedHit[] = []
    for (const entry of mergeSorted(lists.map((list) => list.hits))) {
      if (hits.length >= this.#required(reader)) break
      if (seen.has(entry.docid)) continue
      seen.add(entry.docid)
      if (!this.#takesNew(values, entry.hit)) {
        candidates = candidates.andNot(Bitmap.of(entry.docid))
        continue
      }
      hits.push(entry.hit)
    }
    const facets =
      patterns === null
        ? null
        : rethrowInside(first, () => this.#insideFacets(uid, () => computeFacets(reader, patterns, candidates)))
    return { uid, hits, candidates, facets }
  }

  /** Facets asked of indexes that no query names: only checked. */
  checkUnused(used: readonly string[]): void {
    for (const [uid, patterns] of Object.entries(this.#federation.facetsByIndex)) {
      if (used.includes(uid)) continue
      const tail = `\n - Note: index \`${uid}\` is not used in queries`
      this.#insideFacets(
        uid,
        () => {
          const reader = this.#need(uid)
          if (patterns === null) return
          if (this.#federation.mergeFacets !== null) this.#order.add(reader, uid, patterns)
          checkFacets(reader, patterns)
        },
        tail,
      )
    }
  }

  answer(results: readonly IndexResult[], queries: readonly MultiSearchQuery[], startedAt: number): OrderedObject {
    const federation = this.#federation
    const { skip, take } = pageRequest(federation)
    let total = 0
    for (const { candidates } of results) total += candidates.size
    const values = new Set<number | string>()
    const rejected = new Map<string, JsonObject[]>()
    const kept: RankedHit[] = []
    for (const { hit } of mergeSorted(results.map(({ hits }) => hits.map((hit) => ({ docid: -1, hit }))))) {
      if (this.#takesNew(values, hit)) {
        kept.push(hit)
        if (federation.distinct === null && kept.length >= skip + take) break
        continue
      }
      total -= 1
      rejected.set(hit.uid, [...(rejected.get(hit.uid) ?? []), hit.stored])
    }
    const pins = [...this.#pins].sort((a, b) => a.position - b.position)
    const page = withPins(kept, pins).slice(skip, skip + take)
    const answer = new Map<string, OrderedJson>([['hits', page.map(federatedHit)]])
    if (queries.some((query) => query.retrieveVectors)) answer.set('queryVectors', this.#vectors)
    answer.set('processingTimeMs', Math.round(this.#context.clock.monotonic() - startedAt))
    for (const [name, value] of Object.entries(pageInfo(federation, Math.max(0, total)))) answer.set(name, value)
    this.#addFacets(answer, results, rejected)
    answer.set('requestUid', this.#context.requestUid)
    if (queries.some(({ federationOptions }) => (federationOptions?.remote ?? null) !== null))
      answer.set('remoteErrors', {})
    const { newQueryUid } = this.#context
    if (newQueryUid !== null)
      answer.set(
        'metadata',
        queries.map((query) => queryMetadata(this.#need(query.indexUid), query.indexUid, query, newQueryUid())),
      )
    if (this.#hasSemantic) answer.set('semanticHitCount', page.filter(({ isSemantic }) => isSemantic).length)
    if (federation.showPerformanceDetails)
      answer.set('performanceDetails', performanceDetails(this.#context.clock.monotonic() - startedAt))
    return answer
  }

  #addFacets(
    answer: Map<string, OrderedJson>,
    results: readonly IndexResult[],
    rejected: ReadonlyMap<string, readonly JsonObject[]>,
  ): void {
    const faceted = results.flatMap(({ uid, facets }) => (facets === null ? [] : [{ uid, facets }]))
    if (faceted.length === 0) return
    const { mergeFacets: merging } = this.#federation
    if (merging === null) {
      const byIndex = faceted.map(({ uid, facets }): [string, OrderedJson] => {
        const { distribution, stats } = orderedFacets(withoutHits(facets, rejected.get(uid) ?? []))
        return [
          uid,
          new Map<string, OrderedJson>([
            ['distribution', distribution],
            ['stats', stats],
          ]),
        ]
      })
      answer.set('facetsByIndex', new Map(byIndex))
      return
    }
    const all = mergeFacets(
      faceted.map(({ facets }) => facets),
      this.#order,
      merging.maxValuesPerFacet,
    )
    const merged = orderedFacets(withoutHits(all, [...rejected.values()].flat()))
    answer.set('facetDistribution', merged.distribution).set('facetStats', merged.stats)
  }

  #searchQuery(
    reader: IndexReader,
    uid: string,
    { query, position }: PlacedQuery,
  ): { readonly hits: readonly { readonly docid: number; readonly hit: RankedHit }[]; readonly candidates: Bitmap } {
    const { settings } = reader
    const prepared = prepareQuery(query, this.#context.features)
    const plan = planSearch(reader, query, this.#context.embeddings)
    const rules = queryRules({
      uid,
      position,
      rankingRules: settings.rankingRules,
      sort: query.sort === null ? null : prepared.sort,
      strategy: query.matchingStrategy,
      kind: plan.kind === 'semantic' ? 'vector' : query.q !== null && query.q !== '' ? 'keyword' : 'placeholder',
    })
    if (this.#previous !== null) checkCompatible(this.#previous, rules)
    if (this.#previous === null || this.#previous.rules.length <= rules.rules.length) this.#previous = rules
    if (plan.kind !== 'keyword') this.#hasSemantic = true

    const { isExhaustive } = pageRequest(this.#federation)
    const distinct = this.#federation.distinct ?? query.distinct
    const found = insideIndex(uid, () =>
      rankedSearch(reader, { ...query, distinct }, plan, prepared, {
        from: 0,
        length: this.#required(reader),
        needsScores: true,
        isExhaustive,
        isLate: cutoff(this.#context.clock, settings.searchCutoffMs),
        pinRules: { uid, rules: this.#context.rules ?? [] },
      }),
    )
    if (query.retrieveVectors && found.queryVector !== null) this.#vectors[String(position)] = found.queryVector
    const maker = new HitMaker(reader, query, found.words)
    const weight = query.federationOptions?.weight ?? 1
    const hits = found.docids.flatMap((docid, index) => {
      const details = found.scores[index] ?? []
      const { document, extra } = maker.make(docid, details)
      const hit: RankedHit = {
        uid,
        document,
        stored: this.#federation.distinct === null ? document : ((reader.document(docid) ?? {}) as JsonObject),
        extra,
        position: query.federationOptions?.queryPosition ?? position,
        scores: comparableScores(details, weight),
        weightedScore: rankingScore(details) * weight,
        remote: query.federationOptions?.remote ?? null,
        isSemantic: details.some((detail) => detail.kind === 'vector'),
      }
      const [first] = details
      if (first?.kind !== 'pin') return [{ docid, hit }]
      this.#pins.push({ position: first.position, hit })
      return []
    })
    return { hits, candidates: found.candidates }
  }

  /** Hits that each index must give, so that any of them may fill the page. */
  #required(reader: IndexReader): number {
    const { skip, take } = pageRequest(this.#federation)
    return Math.min(skip + take, reader.settings.pagination.maxTotalHits)
  }

  /** Whether the hit shares no value of `federation.distinct` with one before; its own values are then taken. */
  #takesNew(taken: Set<number | string>, hit: RankedHit): boolean {
    const { distinct } = this.#federation
    if (distinct === null) return true
    const own = facetValuesOf(hit.stored, distinct)
    if (own.some((value) => taken.has(value))) return false
    for (const value of own) taken.add(value)
    return true
  }

  #need(uid: string): IndexReader {
    const reader = this.#find(uid)
    if (reader === undefined) throw new ApiError('index_not_found', `Index \`${uid}\` not found.`)
    return reader
  }

  #insideFacets<T>(uid: string, run: () => T, tail = ''): T {
    try {
      return run()
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      const message = `Inside \`.federation.facetsByIndex.${uid}\`: ${error.message}${tail}`
      throw new ApiError(error.code, message, {
        cause: error,
        ...(error.code === 'index_not_found' ? { status: 400 } : {}),
      })
    }
  }
}

/** Merges lists that are each in order, by the heads; equal heads go in query order. */
function* mergeSorted<T extends { readonly hit: RankedHit }>(lists: readonly (readonly T[])[]): Iterable<T> {
  const heads = lists.map(() => 0)
  for (;;) {
    let best = -1
    for (const [index, head] of heads.entries()) {
      const entry = lists[index]![head]
      if (entry === undefined) continue
      const leader = best < 0 ? undefined : lists[best]![heads[best]!]
      if (leader === undefined || isBefore(entry.hit, leader.hit)) best = index
    }
    const entry = best < 0 ? undefined : lists[best]![heads[best]!]
    if (entry === undefined) return
    heads[best]! += 1
    yield entry
  }
}

function isBefore(left: RankedHit, right: RankedHit): boolean {
  const order = compareHits(left, right)
  return order === 0 ? left.position < right.position : order > 0
}

/** Positive when `left` ranks first. Scores of different kinds: more of them win, then the higher weighted score. */
function compareHits(left: RankedHit, right: RankedHit): number {
  for (let index = 0; ; index += 1) {
    const first = left.scores[index]
    const second = right.scores[index]
    if (first === undefined || second === undefined) return first === undefined ? (second === undefined ? 0 : -1) : 1
    const order = compareScore(first, second)
    if (order === null) {
      const longer = left.scores.length - right.scores.length
      return longer === 0 ? left.weightedScore - right.weightedScore : longer
    }
    if (order !== 0) return order
  }
}

function federatedHit({ uid, document, extra, position, weightedScore, remote }: RankedHit): JsonObject {
  const place = { indexUid: uid, queriesPosition: position, weightedRankingScore: weightedScore }
  const _federation = remote === null ? place : { ...place, remote }
  return hitJson({ document: { ...document, _federation }, extra })
}
