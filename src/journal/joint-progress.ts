/**
 * What the replicas of an index come to together: up to where it is complete, what became of a change, and who leaves
 * the in-sync set (design 2, rule 3). Pure, shared by the PostgreSQL journal and its twin in memory.
 */
import { assert } from '../lib/assert.ts'
import { isObject, type Json } from '../lib/json.ts'
import { isInSync, isRead, servedShards } from '../topology/placement-states.ts'
import { type ReplicaId, replicaId } from '../topology/replica-id.ts'
import type { ChangeOutcome } from './ports.ts'
import { isTaking, openTurn, type TurnVerdict } from './settings-turn.ts'
import type { ReplicaStanding } from './write-index.ts'

/** What one replica says of a change. */
export interface Report {
  readonly replica: ReplicaId
  readonly outcome: ChangeOutcome
}

/** Those of the generation that is read: only they agree on what settings changes come to. */
export function currentOf(replicas: readonly ReplicaStanding[]): readonly ReplicaStanding[] {
  return replicas.filter(({ isCurrent }) => isCurrent)
}

/** Which of the in-sync replicas tells what a change comes to in which shards: one of them for each shard. */
export function resolversOf(
  replicas: readonly Pick<ReplicaStanding, 'node' | 'physicalUid' | 'shards' | 'state'>[],
): ReadonlyMap<ReplicaId, readonly number[]> {
  const told = new Set<number>()
  const resolvers = new Map<ReplicaId, readonly number[]>()
  const inSync = replicas.filter(isInSync).map((replica) => ({ id: replicaId(replica), shards: replica.shards }))
  for (const { id, shards } of inSync.sort((a, b) => (a.id < b.id ? -1 : 1))) {
    const own = shards.filter((shard) => !told.has(shard))
    for (const shard of own) told.add(shard)
    if (own.length > 0) resolvers.set(id, own)
  }
  return resolvers
}

/**
 * What every replica of the in-sync set has applied, when together they hold every shard; else what is completed already.
 *
 * @param shards  how many the index has.
 */
export function completedThrough(replicas: readonly ReplicaStanding[], shards: number, completed: number): number {
  const inSync = replicas.filter(isInSync)
  const covered = new Set(inSync.filter(({ isCurrent }) => isCurrent).flatMap(servedShards))
  if (covered.size < shards) return completed
  return Math.max(completed, Math.min(...inSync.map(({ applied }) => applied)))
}

/**
 * The in-sync ones of these replicas that may leave the set one after the other: others of it hold all their shards, and are
 * read for them from then on (`readAgain`).
 */
export function leavers(replicas: readonly ReplicaStanding[], wanted: ReadonlySet<ReplicaId>): readonly ReplicaId[] {
  const staying = new Set(replicas.filter(isInSync))
  const leaving: ReplicaId[] = []
  for (const replica of replicas) {
    if (!wanted.has(replicaId(replica)) || !staying.has(replica)) continue
    const others = new Set([...staying].flatMap((one) => (one === replica || !one.isCurrent ? [] : one.shards)))
    if (replica.isCurrent && !servedShards(replica).every((shard) => others.has(shard))) continue
    staying.delete(replica)
    leaving.push(replicaId(replica))
  }
  return leaving
}

/**
 * As they go on where the ones that others gave way to are read no more: who holds what is completed and answers for a shard
 * that nobody reads is read again. Whoever moves the index takes it back from there.
 */
export function readAgain(replicas: readonly ReplicaStanding[]): readonly ReplicaStanding[] {
  const read = new Set(replicas.flatMap((one) => (one.isCurrent && isRead(one) ? servedShards(one) : [])))
  return replicas.map((replica) => {
    const { isCurrent, state, shards, shed = [] } = replica
    const hasGivenWay = state === 'parting' || (isRead(replica) && shed.length > 0)
    if (!isCurrent || !hasGivenWay || shards.every((shard) => read.has(shard))) return replica
    return {
      ...replica,
      state: state === 'parting' ? 'active' : state,
      shed: shed.filter((shard) => read.has(shard)),
    }
  })
}

/** In-sync replicas that are behind others of the set, but not since they wait for their turn. */
export function laggards(replicas: readonly ReplicaStanding[]): ReadonlySet<ReplicaId> {
  const inSync = replicas.filter(isInSync)
  const foremost = Math.max(...inSync.map(({ applied }) => applied))
  const turn = openTurn(replicas)
  const isBehind = (replica: ReplicaStanding) => replica.applied < foremost && (turn === 0 || isTaking(replica, turn))
  return new Set(inSync.filter(isBehind).map(replicaId))
}

/** One outcome out of all reports of a change. It failed when it failed anywhere: a client's batch is all or nothing. */
export function joinReports(reports: readonly Report[], replicas: readonly ReplicaStanding[]): ChangeOutcome {
  const sorted = [...reports].sort((a, b) => (a.replica < b.replica ? -1 : 1))
  const outcomes = sorted.map(({ outcome }) => outcome)
  const first = outcomes.find(({ status }) => status === 'failed') ?? outcomes[0]
  assert(first !== undefined, 'a complete change was reported')
  return {
    ...first,
    details: first.isShare ? joinDetails(first.details, sorted, replicas) : first.details,
    startedAt: Math.min(...outcomes.map(({ startedAt }) => startedAt)),
    finishedAt: Math.max(...outcomes.map(({ finishedAt }) => finishedAt)),
  }
}

/** What became of changes that are complete. */
export interface JointEnd {
  readonly outcomes: readonly ChangeOutcome[]
  /** Replicas that may hold what a change did, although it failed on another: they are built anew. */
  readonly odd: readonly ReplicaId[]
  /** Position of a settings change that failed although somebody may have taken it; 0 = none did. */
  readonly failedTurn: number
}

/** @param reports  by position, ascending. @param turn  at which replicas have their turn. */
export function joinAll(
  reports: ReadonlyMap<number, readonly Report[]>,
  replicas: readonly ReplicaStanding[],
  turn: { readonly position: number; readonly verdict: TurnVerdict },
): JointEnd {
  const outcomes: ChangeOutcome[] = []
  const odd: ReplicaId[] = []
  let failedTurn = 0
  for (const [position, told] of reports) {
    const isAccepted = position === turn.position && turn.verdict.kind === 'accepted'
    const counted = withoutBeside(told, replicas)
    const outcome = joinReports(isAccepted ? counted.filter(isSuccess) : counted, replicas)
    outcomes.push(outcome)
    if (outcome.status === 'succeeded') {
      const others = told.filter((report) => !counted.includes(report) && !isSuccess(report))
      odd.push(...others.map(({ replica }) => replica))
    }
    if (outcome.status !== 'failed') continue
    if (position === turn.position) failedTurn = position
    else odd.push(...holdersOfFailed(position, told, replicas))
  }
  return { outcomes, odd, failedTurn }
}

/** What the generation that is read says of a change; the other one's say where it has not spoken. */
function withoutBeside(reports: readonly Report[], replicas: readonly ReplicaStanding[]): readonly Report[] {
  const others = new Set(replicas.filter(({ isCurrent }) => !isCurrent).map(replicaId))
  const own = reports.filter(({ replica }) => !others.has(replica))
  return own.length === 0 ? reports : own
}

const isSuccess = ({ outcome }: Report): boolean => outcome.status === 'succeeded'

function holdersOfFailed(
  position: number,
  reports: readonly Report[],
  replicas: readonly ReplicaStanding[],
): readonly ReplicaId[] {
  const without = reports.filter(({ outcome }) => outcome.status === 'failed' || outcome.isElsewhere)
  const isWithout = new Set(without.map(({ replica }) => replica))
  const through = replicas.filter(({ applied }) => applied >= position).map(replicaId)
  return through.filter((id) => !isWithout.has(id))
}

function joinDetails(details: Json, reports: readonly Report[], replicas: readonly ReplicaStanding[]): Json {
  if (!isObject(details) || typeof details.deletedDocuments !== 'number') return details
  return { ...details, deletedDocuments: countOnce(reports, replicas) }
}

/**
 * Documents are counted on every copy. Within a group whose replicas have all reported, each shard stands in the sum as often
 * as the group has copies; when no group is whole, because nodes are away, the sum is divided by the copies on average.
 */
function countOnce(reports: readonly Report[], replicas: readonly ReplicaStanding[]): number {
  const countOn = new Map(reports.map(({ replica, outcome }) => [replica, deletedIn(outcome.details)]))
  const reporting = replicas.filter((replica) => countOn.has(replicaId(replica)))
  const sumOf = (some: readonly ReplicaStanding[]) =>
    some.reduce((sum, replica) => sum + (countOn.get(replicaId(replica)) ?? 0), 0)
  const shardCount = new Set(replicas.flatMap(({ shards }) => shards)).size
  for (const group of new Set(reporting.map((replica) => replica.group))) {
    const members = reporting.filter((replica) => replica.group === group)
    // While shards move, a replica more holds some of them.
    for (const some of [members, ...members.map((one) => members.filter((other) => other !== one))]) {
      const copies = copiesOf(some)
      if (copies.size === shardCount && new Set(copies.values()).size === 1)
        return sumOf(some) / [...copies.values()][0]!
    }
  }
  const copies = copiesOf(reporting)
  const held = [...copies.values()].reduce((sum, count) => sum + count, 0)
  return held === 0 ? 0 : Math.round(sumOf(reporting) / (held / copies.size))
}

function deletedIn(details: Json): number {
  const count = isObject(details) ? details.deletedDocuments : undefined
  return typeof count === 'number' ? count : 0
}

/** By shard. */
function copiesOf(replicas: readonly ReplicaStanding[]): ReadonlyMap<number, number> {
  const copies = new Map<number, number>()
  for (const { shards } of replicas) for (const shard of shards) copies.set(shard, (copies.get(shard) ?? 0) + 1)
  return copies
}
