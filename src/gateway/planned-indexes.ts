/** The indexes of one run of a read: who answers for their shards, and how legs reach them under the names that nodes know. */
import { ApiError } from '../api/errors.ts'
import type { IndexSettings } from '../api/index-settings.ts'
import { encodeRuledSearch } from '../api/ruled-search.ts'
import type { SearchRule } from '../api/search-rule.ts'
import { assert } from '../lib/assert.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { Span } from '../lib/traces.ts'
import type { Ask, Leg as AskedLeg, LegReply, SearchedIndex } from '../search/leg.ts'
import type { NodeId } from '../store/catalogue.ts'
import { replicaId } from '../topology/replica-id.ts'
import type { IndexRoute, RouteTable } from '../topology/route-table.ts'
import type { NodeRequest } from '../upstream/connection-pool.ts'
import type { AgreedCover, CoveringSet } from '../upstream/covering-set.ts'
import type { HeldReply } from '../upstream/read-attempt.ts'
import { isReadAsBefore, type ReadableReplica } from '../upstream/readable-replicas.ts'
import type { ReadPlan, ReadRun } from '../upstream/replica-read.ts'
import { answerPlaces } from './index-places.ts'
import { compilePlaces } from './json-splice.ts'
import type { NameMap } from './name-map.ts'
import { badAnswer, readErrorBody, translate } from './relay.ts'
import { legSpan, spanned } from './request-spans.ts'
import { ruledHeader } from './search-rules.ts'

const jsonHeaders = ['content-type', 'application/json'] as const
const federatedPlaces = compilePlaces(answerPlaces.federatedSearch)

/** An index that a read may ask, as one picture of the world shows it. */
export interface KnownIndex {
  readonly route: IndexRoute
  readonly settings: IndexSettings
  readonly replicas: readonly ReadableReplica[]
  /** See `SearchedIndex`. */
  readonly rules: readonly SearchRule[]
  readonly pinPositions: readonly number[]
  /** Whether a node is told them with each search. */
  readonly takesRules: (node: NodeId) => boolean
}

/** What `search` sees of an index whose shards are covered so. Targets are named by index and replica. */
export function searchedIndex(
  { route, settings, rules, pinPositions }: KnownIndex,
  { legs }: CoveringSet<ReadableReplica>,
): SearchedIndex {
  const { uid, spread, primaryKey } = route.index
  const coverage = legs.map(({ replica, shards, isWhole }) => ({ id: targetOf(uid, replica), shards, isWhole }))
  return { uid, settings, primaryKey, coverage, spread: spread && { shards: spread.shards }, rules, pinPositions }
}

export const targetOf = (uid: string, replica: ReadableReplica): string => `${uid}@${replicaId(replica)}`

/** All shards of an index. */
export function shardsOf({ route }: KnownIndex): readonly number[] {
  const count = route.index.spread?.shards ?? 1
  const shards: number[] = []
  for (let shard = 0; shard < count; shard += 1) shards.push(shard)
  return shards
}

export class PlannedIndexes {
  readonly #known: ReadonlyMap<string, KnownIndex>
  readonly #names: NameMap
  readonly #span: Span | undefined
  readonly #found = new Map<string, SearchedIndex>()
  readonly #plans = new Map<string, ReadPlan<ReadableReplica>>()
  /** By id of the target. */
  readonly #asks = new Map<string, (leg: AskedLeg) => Promise<HeldReply>>()
  /** Shards that nobody answers for. */
  readonly missing = new Set<string>()
  /** Some index was read from replicas that may follow different settings. */
  isMixed = false
  /** Of some index, no shard is left. */
  isBlind = false
  /** The last body that was written: legs of one question mostly say the same. */
  #said: { readonly body: JsonObject; readonly bytes: Buffer } | undefined
  /** Targets that were asked anything. */
  readonly asked = new Set<string>()
  /** Of each index, the replicas that were asked anything. */
  readonly #readFrom = new Map<string, Set<ReadableReplica>>()

  private constructor(known: ReadonlyMap<string, KnownIndex>, names: NameMap, span: Span | undefined) {
    this.#known = known
    this.#names = names
    this.#span = span
  }

  /** @param span  of the request; legs are parts of it. */
  static async plan(
    known: ReadonlyMap<string, KnownIndex>,
    tools: ReadRun,
    names: NameMap,
    span?: Span,
  ): Promise<PlannedIndexes> {
    const planned = new PlannedIndexes(known, names, span)
    for (const index of known.values()) planned.#add(index, await tools.plan(index.replicas, shardsOf(index)))
    return planned
  }

  #add(index: KnownIndex, plan: ReadPlan<ReadableReplica>): void {
    const { uid } = index.route.index
    const readFrom = new Set<ReadableReplica>()
    this.#readFrom.set(uid, readFrom)
    for (const shard of plan.missing) this.missing.add(`${shard}`)
    if (plan.legs.length === 0) this.isBlind = true
    if (plan.isMixed) this.isMixed = true
    for (const leg of plan.legs) {
      this.#asks.set(targetOf(uid, leg.replica), (asked) => {
        const span = this.#span && legSpan(this.#span, uid, leg.replica.node, leg.shards)
        const ask = () =>
          plan.ask(leg, (replica) => {
            readFrom.add(replica)
            this.#names.add(uid, replica.physicalUid)
            return traced(this.#requestOf(asked, index, replica), span)
          })
        return spanned(span, ask)
      })
    }
    this.#plans.set(uid, plan)
    this.#found.set(uid, searchedIndex(index, plan))
  }

  find(uid: string): SearchedIndex | undefined {
    if (this.isBlind) throw shardsAway(this.missing)
    return this.#found.get(uid)
  }

  /** Since it was planned, its replicas or their settings have begun to differ from what the plan took for granted. */
  isOutdated(table: RouteTable): boolean {
    return [...this.#plans].some(([uid, { replicas, isMixed }]) => {
      const before = this.#known.get(uid)?.route
      const now = before && table.index(before.index.project, uid)
      if (before === undefined || now === undefined || now === before || now.index.id !== before.index.id) return false
      if (now.index.settingsPosition !== before.index.settingsPosition) return true
      const asked = [...(this.#readFrom.get(uid) ?? [])]
      if (asked.some((one) => !isReadAsBefore(one, before.placements, now.placements))) return true
      const turning = new Set(now.placements.filter(({ turn }) => turn !== undefined).map(replicaId))
      return !isMixed && replicas.some((replica) => turning.has(replicaId(replica)))
    })
  }

  coverOf(uid: string): AgreedCover<ReadableReplica> | undefined {
    return this.#plans.get(uid)
  }

  readonly ask: Ask = (leg) => {
    const ask = this.#asks.get(leg.target)
    assert(ask !== undefined, `a leg goes to a target of its plan: ${leg.target}`)
    this.asked.add(leg.target)
    return ask(leg).then(({ status, body }) => {
      if (status >= 400) return { status, body: this.#refusal(body) }
      if (leg.path !== '/multi-search') return { status, body }
      return { status, body: translate(Buffer.from(body), federatedPlaces, this.#names).toString('utf8') }
    })
  }

  /** The leg under the index's name on the node. */
  #requestOf({ method, path, body, rules }: AskedLeg, index: KnownIndex, replica: ReadableReplica): NodeRequest {
    const { uid } = index.route.index
    const { node, physicalUid } = replica
    const isMulti = path === '/multi-search'
    const own = `/indexes/${encodeURIComponent(uid)}`
    assert(isMulti || path.startsWith(own), `a leg names its index: ${path}`)
    const physical = isMulti ? path : `/indexes/${physicalUid}${path.slice(own.length)}`
    if (body === null) return { method, path: physical, headers: [], body: null }
    const said = isMulti ? renamedQueries(body, uid, physicalUid) : body
    if (rules === undefined || rules.length === 0 || !index.takesRules(node))
      return { method, path: physical, headers: jsonHeaders, body: this.#bytesOf(said) }
    const headers = [...jsonHeaders, ...ruledHeader]
    return { method, path: physical, headers, body: encodeRuledSearch(rules, JSON.stringify(said)) }
  }

  #bytesOf(body: JsonObject): Buffer {
    if (this.#said?.body !== body) this.#said = { body, bytes: Buffer.from(JSON.stringify(body)) }
    return this.#said.bytes
  }

  /** With names as the client knows them. */
  #refusal(body: string): LegReply['body'] {
    const sent = readErrorBody(body)
    if (sent === undefined) throw badAnswer('a refusal that is no error object')
    return JSON.stringify(this.#names.toLogicalError(sent).error)
  }
}

/** Nodes that trace go on with the trace. */
function traced(request: NodeRequest, span: Span | undefined): NodeRequest {
  return span === undefined ? request : { ...request, headers: [...request.headers, 'traceparent', span.traceparent] }
}

export function shardsAway(shards: Iterable<string>): ApiError {
  const list = [...shards].join(', ')
  return new ApiError('miroir_shard_unavailable', `No replica answers for shard ${list}. Try again.`)
}

/** A leg's queries are all of one index. */
function renamedQueries(body: JsonObject, uid: string, physicalUid: string): JsonObject {
  const rename = (query: Json): Json => (isObject(query) ? { ...query, indexUid: physicalUid } : query)
  const queries = Array.isArray(body.queries) ? body.queries.map(rename) : []
  const { federation } = body
  if (federation === undefined || !isObject(federation)) return { ...body, queries }
  const { facetsByIndex } = federation
  if (facetsByIndex === undefined || !isObject(facetsByIndex)) return { ...body, queries }
  const facets = Object.entries(facetsByIndex).map(([name, value]) => [name === uid ? physicalUid : name, value])
  return { ...body, queries, federation: { ...federation, facetsByIndex: Object.fromEntries(facets) } }
}
