/**
 * One read of a client in which spread indexes take part: replicas are chosen, legs are asked through them, and `search` makes
 * one answer of theirs (design 4).
 */
import { ApiError } from '../api/errors.ts'
import type { IndexSettings } from '../api/index-settings.ts'
import { headerNames } from '../api/names.ts'
import type { Principal } from '../control/principal.ts'
import { assert } from '../lib/assert.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { FindIndex } from '../search/federated-search.ts'
import {
  type Ask,
  type Leg as AskedLeg,
  type LegReply,
  NodesDisagree,
  type ReadOptions,
  RefusedByNode,
  type SearchedIndex,
} from '../search/leg.ts'
import type { IndexRoute } from '../topology/route-table.ts'
import { jsonRequest } from '../upstream/ask.ts'
import type { NodeRequest } from '../upstream/connection-pool.ts'
import type { HeldReply, ReadOperation } from '../upstream/read-attempt.ts'
import { type ReadableReplica, readableReplicas, replicasAbove, settingsFloor } from '../upstream/readable-replicas.ts'
import { LegLost, type ReadPlan, type ReadRun } from '../upstream/replica-read.ts'
import type { Answer, AnswerHeaders } from './answer.ts'
import type { Exchange } from './exchange.ts'
import { answerPlaces } from './index-places.ts'
import { compilePlaces } from './json-splice.ts'
import { NameMap } from './name-map.ts'
import { connectTo } from './placement-choice.ts'
import { badAnswer, EngineError, heldBytesMax, readErrorBody, translate } from './relay.ts'

const federatedPlaces = compilePlaces(answerPlaces.federatedSearch)

export interface SpreadRead {
  readonly exchange: Exchange
  readonly principal: Principal
  /** Names of the indexes that may be asked. */
  readonly uids: readonly string[]
  readonly operation: ReadOperation
  /** Answers carry `metadata` (M-A1). */
  readonly withMetadata: boolean
  readonly signal: AbortSignal
  /** Gives the body of the answer, as JSON text. */
  readonly answer: (find: FindIndex, options: ReadOptions) => Promise<string>
}

/** An index that a read may ask, as one picture of the world shows it. */
interface KnownIndex {
  readonly route: IndexRoute
  readonly settings: IndexSettings
  readonly replicas: readonly ReadableReplica[]
}

/** @throws ApiError, EngineError */
export async function readSpread(read: SpreadRead): Promise<Answer> {
  const { exchange, principal, signal } = read
  const { parts, table } = exchange
  const { replicas: reader, unavailableShardPolicy: policy } = parts.spread
  await settleSession(read)
  const floor = settingsFloor(exchange.headers?.minSettingsVersion)
  const known = new Map<string, KnownIndex>()
  for (const uid of read.uids) {
    const route = exchange.table.index(principal.project.id, uid)
    if (route === undefined) continue
    const all = readableReplicas(route.placements, (id) => table.node(id))
    const replicas = replicasAbove(all, floor, route.index.settingsPosition)
    if (replicas.length === 0 && all.length > 0) {
      throw new ApiError('miroir_settings_version_stale', `No replica of \`${uid}\` has these settings yet. Try again.`)
    }
    known.set(uid, { route, settings: await parts.spread.settings.of(route.index), replicas })
  }
  const names = new NameMap(principal.project, table)
  let missing: ReadonlySet<string> = new Set()
  const run = async (tools: ReadRun): Promise<string> => {
    const planned = new PlannedIndexes(known, tools, names)
    const text = await read.answer((uid) => planned.find(uid), {
      ask: planned.ask,
      signal: tools.signal,
      narrow: parts.spread.narrow,
      newUid: () => parts.random.uuid(),
      withMetadata: read.withMetadata,
    })
    if (planned.missing.size > 0) {
      if (policy === 'error' || planned.isBlind) throw shardsAway(planned.missing)
      missing = planned.missing
    }
    return text
  }
  try {
    const text = await reader.read(run, {
      connect: (node) => {
        const home = table.node(node)
        return home && connectTo(parts.follower.table, parts.pools, { node }, principal.project.id)
      },
      operation: read.operation,
      deadlineAt: exchange.startedAt + parts.limits.answerTimeoutMs,
      answerBytesMax: heldBytesMax,
      signal,
      allowsGaps: policy === 'partial',
    })
    const headers = headersOf(known, missing)
    return { kind: 'bytes', status: 200, contentType: 'application/json', body: Buffer.from(text), headers }
  } catch (error) {
    throw told(error)
  }
}

/** What a session wrote is waited for (C-30). */
async function settleSession({ exchange, principal, uids, signal }: SpreadRead): Promise<void> {
  const { parts } = exchange
  const session = parts.spread.sessionOf(principal.project.id, exchange.headers?.session)
  if (session === undefined) return
  for (const uid of uids) {
    const route = exchange.table.index(principal.project.id, uid)
    if (route === undefined) continue
    const applied = () => {
      const now = parts.follower.table.index(principal.project.id, uid)
      return (
        now &&
        Math.min(...readableReplicas(now.placements, (id) => parts.follower.table.node(id)).map((r) => r.applied))
      )
    }
    await parts.spread.replicas.sessions.settle(session, route.index.id, applied, signal)
  }
  exchange.table = parts.follower.table
}

class PlannedIndexes {
  readonly #known: ReadonlyMap<string, KnownIndex>
  readonly #tools: ReadRun
  readonly #names: NameMap
  readonly #found = new Map<string, SearchedIndex>()
  /** By id of the target. */
  readonly #asks = new Map<string, (leg: AskedLeg) => Promise<HeldReply>>()
  /** Shards that nobody answers for. */
  readonly missing = new Set<string>()
  /** Of some index, no shard is left. */
  isBlind = false

  constructor(known: ReadonlyMap<string, KnownIndex>, tools: ReadRun, names: NameMap) {
    this.#known = known
    this.#tools = tools
    this.#names = names
  }

  find(uid: string): SearchedIndex | undefined {
    const found = this.#found.get(uid)
    if (found !== undefined) return found
    const known = this.#known.get(uid)
    if (known === undefined) return undefined
    const { spread, primaryKey } = known.route.index
    const targets = Array.from({ length: spread?.shards ?? 1 }, (_, shard) => shard)
    const plan = this.#tools.plan(known.replicas, targets)
    for (const shard of plan.missing) this.missing.add(`${shard}`)
    if (plan.legs.length === 0) this.isBlind = true
    if (this.isBlind) throw shardsAway(this.missing)
    const coverage = plan.legs.map((leg) => {
      const id = `${uid}@${leg.replica.node}`
      this.#asks.set(id, (asked) => this.#ask(plan, leg, uid, asked))
      return { id, shards: leg.shards, isWhole: leg.isWhole }
    })
    const shards = spread && { shards: spread.shards }
    const index = { uid, settings: known.settings, primaryKey, coverage, spread: shards }
    this.#found.set(uid, index)
    return index
  }

  #ask(
    plan: ReadPlan<ReadableReplica>,
    leg: ReadPlan<ReadableReplica>['legs'][number],
    uid: string,
    asked: AskedLeg,
  ): Promise<HeldReply> {
    return plan.ask(leg, ({ physicalUid }) => {
      this.#names.add(uid, physicalUid)
      return requestOf(asked, uid, physicalUid)
    })
  }

  readonly ask: Ask = async (leg) => {
    const ask = this.#asks.get(leg.target)
    assert(ask !== undefined, `a leg goes to a target of its plan: ${leg.target}`)
    const { status, body } = await ask(leg)
    if (status >= 400) return { status, body: this.#refusal(body) }
    const clear = leg.path === '/multi-search' ? translate(body, federatedPlaces, this.#names) : body
    return { status, body: clear.toString('utf8') }
  }

  /** With names as the client knows them. */
  #refusal(body: Buffer): LegReply['body'] {
    const sent = readErrorBody(body)
    if (sent === undefined) throw badAnswer('a refusal that is no error object')
    return JSON.stringify(this.#names.toLogicalError(sent).error)
  }
}

/** The leg under the index's name on the node. */
function requestOf({ method, path, body }: AskedLeg, uid: string, physicalUid: string): NodeRequest {
  if (path === '/multi-search') return jsonRequest(method, path, body && renamedQueries(body, uid, physicalUid))
  const own = `/indexes/${encodeURIComponent(uid)}`
  assert(path.startsWith(own), `a leg names its index: ${path}`)
  const physical = `/indexes/${physicalUid}${path.slice(own.length)}`
  return body === null ? { method, path: physical, headers: [], body: null } : jsonRequest(method, physical, body)
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

function headersOf(known: ReadonlyMap<string, KnownIndex>, missing: ReadonlySet<string>): AnswerHeaders {
  const [only, ...others] = known.values()
  const position = only?.route.index.settingsPosition
  return {
    ...(missing.size === 0 ? {} : { [headerNames.degraded]: `shards=${[...missing].join(',')}` }),
    ...(position === undefined || others.length > 0 ? {} : { [headerNames.settingsVersion]: `${position}` }),
  }
}

function shardsAway(shards: Iterable<string>): ApiError {
  const list = [...shards].join(', ')
  return new ApiError('miroir_shard_unavailable', `No replica answers for shard ${list}. Try again.`)
}

function told(error: unknown): unknown {
  if (error instanceof RefusedByNode) return new EngineError(error.status, error.body, undefined)
  if (error instanceof NodesDisagree) {
    return new ApiError('index_moving', 'The nodes of the index do not agree at the moment. Try again.', {
      cause: error,
    })
  }
  if (error instanceof LegLost) return shardsAway(error.shards.map(String))
  return error
}
