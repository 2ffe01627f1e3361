/**
 * One read of a client in which spread indexes take part: replicas are chosen, legs are asked through them, and `search` makes
 * one answer of theirs (design 4). Identical searches that come together are one for the nodes (C-35).
 */
import { ApiError } from '../api/errors.ts'
import { headerNames } from '../api/names.ts'
import { forcedFilter, type Principal } from '../control/principal.ts'
import type { Json } from '../lib/json.ts'
import type { FindIndex } from '../search/federated-search.ts'
import { NodesDisagree, type ReadOptions, RefusedByNode } from '../search/leg.ts'
import type { NodeId } from '../store/catalogue.ts'
import type { IndexRoute, RouteTable } from '../topology/route-table.ts'
import { readFingerprint } from '../upstream/coalescing.ts'
import type { AgreedCover } from '../upstream/covering-set.ts'
import type { ReadOperation } from '../upstream/read-attempt.ts'
import { type ReadableReplica, readableReplicas, replicasAbove, settingsFloor } from '../upstream/readable-replicas.ts'
import { LegLost, type ReadRun } from '../upstream/replica-read.ts'
import type { Answer, AnswerHeaders } from './answer.ts'
import type { Exchange } from './exchange.ts'
import { NameMap } from './name-map.ts'
import { connectTo } from './placement-choice.ts'
import { type KnownIndex, PlannedIndexes, shardsAway } from './planned-indexes.ts'
import { EngineError, heldBytesMax } from './relay.ts'
import { legRulesOf, noLegRules, takesRules } from './search-rules.ts'
import { type SharedAnswer, withFreshUids } from './shared-answer.ts'

export interface SpreadRead {
  readonly exchange: Exchange
  readonly principal: Principal
  /** Names of the indexes that may be asked. */
  readonly uids: readonly string[]
  readonly operation: ReadOperation
  /** Answers carry `metadata` (M-A1). */
  readonly withMetadata: boolean
  readonly signal: AbortSignal
  /** The whole question, with forced filters. Identical ones share an answer; absent = nothing is shared. */
  readonly question?: () => Json
  /** Gives the body of the answer, as JSON text. */
  readonly answer: (find: FindIndex, options: ReadOptions, coverOf: CoverOf) => Promise<string>
}

/** Who answers for the shards of an index. */
export type CoverOf = (uid: string) => AgreedCover<ReadableReplica> | undefined

/** @throws ApiError, EngineError */
export async function readSpread(read: SpreadRead): Promise<Answer> {
  const { exchange, principal, signal } = read
  const { parts } = exchange
  // What a session wrote is not in a read that began before it was there.
  const hasSession = await settleSession(read)
  const known = await knownIndexes(exchange, principal, read.uids, read.operation)
  const { question } = read
  if (hasSession || question === undefined || !parts.spread.coalescing)
    return answerOf(await runRead(read, known, signal))
  let isOwn = false
  const fingerprint = fingerprintOf(read, known, question())
  const shared = await parts.spread.replicas.coalescing.share(fingerprint, signal, (anybody) => {
    isOwn = true
    return runRead(read, known, anybody)
  })
  return answerOf(isOwn ? shared : { ...shared, text: withFreshUids(shared, () => parts.random.uuid()) })
}

function answerOf({ text, headers }: SharedAnswer): Answer {
  return { kind: 'bytes', status: 200, contentType: 'application/json', body: Buffer.from(text), headers }
}

/**
 * The indexes of these names that there are, with the replicas that may answer.
 *
 * @throws ApiError `miroir_settings_version_stale`
 */
export async function knownIndexes(
  { parts, table, headers }: Exchange,
  { project }: Principal,
  uids: readonly string[],
  operation: ReadOperation,
): Promise<ReadonlyMap<string, KnownIndex>> {
  const floor = settingsFloor(headers?.minSettingsVersion)
  const known = new Map<string, KnownIndex>()
  const takesRulesAt = (id: NodeId) => takesRules[table.node(id)?.engine ?? 'embedded']
  for (const uid of uids) {
    const route = table.index(project.id, uid)
    if (route === undefined) continue
    const all = replicasIn(table, route)
    const replicas = replicasAbove(all, floor, route.index.settingsPosition)
    if (replicas.length === 0 && all.length > 0) {
      throw new ApiError('miroir_settings_version_stale', `No replica of \`${uid}\` has these settings yet. Try again.`)
    }
    const rules = operation === 'search' ? legRulesOf(project, route.index, parts.clock.now()) : noLegRules
    known.set(uid, {
      route,
      settings: await parts.spread.settings.of(route.index),
      replicas,
      ...rules,
      takesRules: takesRulesAt,
    })
  }
  return known
}

const lastReplicas = new WeakMap<IndexRoute, { readonly table: RouteTable; readonly all: readonly ReadableReplica[] }>()

/** They are worked out once for each table. */
function replicasIn(table: RouteTable, route: IndexRoute): readonly ReadableReplica[] {
  const known = lastReplicas.get(route)
  if (known?.table === table) return known.all
  const all = readableReplicas(route.placements, (id) => table.node(id))
  lastReplicas.set(route, { table, all })
  return all
}

/** All that the answer depends on. A tenant token is what its key and its forced filters are. */
function fingerprintOf(
  { exchange, principal, operation, withMetadata }: SpreadRead,
  known: ReadonlyMap<string, KnownIndex>,
  question: Json,
): string {
  return readFingerprint({
    project: principal.project.id,
    credential: principal.keyUid ?? 'master',
    forcedFilter: [...known.keys()].map((uid) => forcedFilter(principal, uid)),
    operation,
    indexes: [...known.values()].map(({ route: { index, placements }, rules }) => ({
      rules: rules.length === 0 ? null : JSON.stringify(rules),
      id: index.id,
      generation: placements[0]?.generation ?? 0,
      settings: index.settingsPosition,
    })),
    news: exchange.parts.spread.news.of(principal.project.id),
    routes: exchange.table.version,
    query: [withMetadata, settingsFloor(exchange.headers?.minSettingsVersion) ?? null, question],
  })
}

/** Times that a read is done again since settings changed meanwhile. */
const rereadsMax = 2

/** @param again  how often it was done before. */
async function runRead(
  read: SpreadRead,
  known: ReadonlyMap<string, KnownIndex>,
  signal: AbortSignal,
  again = 0,
): Promise<SharedAnswer> {
  const { exchange, principal } = read
  const { parts, table } = exchange
  const { replicas: reader, unavailableShardPolicy: policy, metrics } = parts.spread
  const names = new NameMap(principal.project, table)
  const run = async (tools: ReadRun) => {
    const planned = await PlannedIndexes.plan(known, tools, names, exchange.span)
    const uids: string[] = []
    const text = await read.answer(
      (uid) => planned.find(uid),
      {
        ask: planned.ask,
        signal,
        narrow: parts.spread.narrow,
        newUid() {
          const uid = parts.random.uuid()
          uids.push(uid)
          return uid
        },
        withMetadata: read.withMetadata,
      },
      (uid) => planned.coverOf(uid),
    )
    const { missing, isBlind, asked } = planned
    if (missing.size > 0 && (policy === 'error' || isBlind)) throw shardsAway(missing)
    const isOutdated = planned.isOutdated(parts.follower.table)
    return { text, uids, missing, nodeCount: asked.size, isMixed: planned.isMixed, isOutdated }
  }
  try {
    const { text, uids, missing, nodeCount, isMixed, isOutdated } = await reader.read(run, {
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
    metrics.onRead(nodeCount, missing.size > 0)
    if (isOutdated && again < rereadsMax) {
      exchange.table = parts.follower.table
      return await runRead(read, await knownIndexes(exchange, principal, read.uids, read.operation), signal, again + 1)
    }
    return { text, uids, headers: headersOf(known, missing, isMixed || isOutdated) }
  } catch (error) {
    throw told(error)
  }
}

/** What a session wrote is waited for (C-30). @returns whether the read has a session. */
async function settleSession({ exchange, principal, uids, signal }: SpreadRead): Promise<boolean> {
  const { parts } = exchange
  const session = parts.spread.sessionOf(principal.project.id, exchange.headers?.session)
  if (session === undefined) return false
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
  return true
}

function headersOf(
  known: ReadonlyMap<string, KnownIndex>,
  missing: ReadonlySet<string>,
  isInconsistent: boolean,
): AnswerHeaders {
  const [only, ...others] = known.values()
  const position = only?.route.index.settingsPosition
  return {
    ...(missing.size === 0 ? {} : { [headerNames.degraded]: `shards=${[...missing].join(',')}` }),
    ...(isInconsistent ? { [headerNames.settingsInconsistent]: 'true' } : {}),
    ...(position === undefined || others.length > 0 ? {} : { [headerNames.settingsVersion]: `${position}` }),
  }
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
