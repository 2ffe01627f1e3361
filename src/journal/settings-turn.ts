/**
 * How a settings change goes over the replicas of a spread index (C-16), so that reads find replicas that agree. Pure.
 *
 * Some replicas take their turn first: together they hold every shard, and so do the others, who go on answering reads with
 * the settings of before. Among the first, one leads: what it refuses reaches nobody else. When all of them have the change,
 * they change places with the others: the change is complete, the first ones are read, and the others leave the in-sync set
 * until they have it as well. Where no two such sets exist (one copy of each shard, or too few nodes), all take their turn
 * behind the leader, and reads say that their answers may mix two settings.
 *
 * A replica that has taken its turn goes no further before the change is over. If the change failed after all, it is given the
 * settings of before and loses nothing else.
 */
import type { ErrorBody } from '../api/errors.ts'
import { isInSync, isRead, servedShards } from '../topology/placement-states.ts'
import { type ReplicaId, replicaId } from '../topology/replica-id.ts'
import type { Report } from './joint-progress.ts'
import type { IndexState, ReplicaStanding } from './write-index.ts'

/**
 * `lead`, `follow`: it takes its turn. `late`: others had theirs and it leaves its place to them. `undo`: it holds, or may
 * hold, settings that failed.
 */
export type TurnRole = 'lead' | 'follow' | 'late' | 'undo'

/** A replica's turn at a settings change. */
export interface Turn {
  /** Of the change. */
  readonly position: number
  readonly role: TurnRole
  /** Milliseconds since it was given. */
  readonly ageMs: number
}

/** Replicas that still follow a change are waited for before the next one begins, but not for ever. */
const latecomersMs = 60_000

export const isTaking = ({ turn }: ReplicaStanding, position: number): boolean =>
  turn?.position === position && (turn.role === 'lead' || turn.role === 'follow')

/** Position of the settings change that in-sync replicas take their turn at; 0 = none. */
export function openTurn(replicas: readonly ReplicaStanding[]): number {
  const taking = replicas.find((replica) => isInSync(replica) && isTaking(replica, replica.turn?.position ?? 0))
  return taking?.turn?.position ?? 0
}

/** Others of the in-sync set answer for every shard while these take their turn. */
function leavesRest(replicas: readonly ReplicaStanding[], isFirst: (replica: ReplicaStanding) => boolean): boolean {
  return holdAll(
    replicas.filter((replica) => isInSync(replica) && isRead(replica) && !isFirst(replica)),
    replicas,
  )
}

function holdAll(some: readonly ReplicaStanding[], replicas: readonly ReplicaStanding[]): boolean {
  const held = shardsOf(some)
  return replicas.every((replica) => servedShards(replica).every((shard) => held.has(shard)))
}

function shardsOf(replicas: readonly ReplicaStanding[]): ReadonlySet<number> {
  return new Set(replicas.flatMap(servedShards))
}

/**
 * Who is given a turn at the change now, the leader first; nobody, when enough replicas have one.
 *
 * @param asking  it stands before the change. `undefined` = nobody in particular.
 * @param mayMix  all take their turn at once.
 */
export function nextTurns(
  replicas: readonly ReplicaStanding[],
  position: number,
  { asking, mayMix }: { readonly asking?: ReplicaId; readonly mayMix: boolean },
): readonly ReplicaId[] {
  const inSync = replicas.filter(isInSync)
  const first = inSync.filter((replica) => isTaking(replica, position))
  if (holdAll(first, inSync)) return []
  const isLate = ({ turn, isLive, ...replica }: ReplicaStanding) =>
    !isInSync(replica) && isLive && turn?.role === 'late' && turn.ageMs < latecomersMs
  if (!mayMix && first.length === 0 && replicas.some(isLate)) return []
  const leader = inSync.find((replica) => replicaId(replica) === asking) ?? inSync[0]
  if (leader === undefined) return []
  const begun = first.length > 0 ? first : [leader]
  const chosen = mayMix ? inSync : (firstSet(inSync, begun) ?? inSync)
  // Who has passed it by, since it was refused or changes nothing, does not come back to it.
  return chosen.filter((replica) => !isTaking(replica, position) && replica.applied < position).map(replicaId)
}

/** The replicas with the turns that they are given now. */
export function withTurns(
  replicas: readonly ReplicaStanding[],
  position: number,
  terms: { readonly asking: ReplicaId; readonly mayMix: boolean },
): readonly ReplicaStanding[] {
  const given = nextTurns(replicas, position, terms)
  const isLed = openTurn(replicas) === position
  const leader = given.includes(terms.asking) ? terms.asking : given[0]
  return replicas.map((replica): ReplicaStanding => {
    const id = replicaId(replica)
    if (!given.includes(id)) return replica
    const role = !isLed && id === leader ? 'lead' : 'follow'
    return { ...replica, turn: { position, role, ageMs: 0 } }
  })
}

/** Nothing can be read of the index yet, or it holds nothing: reads show the same with either settings. */
export function mayMix({ createdAt, mayHoldDocuments }: Pick<IndexState, 'createdAt' | 'mayHoldDocuments'>): boolean {
  return createdAt === null || !mayHoldDocuments
}

/** The fewest groups, else the fewest replicas, that hold every shard with those that have begun and leave the rest whole. */
function firstSet(
  inSync: readonly ReplicaStanding[],
  begun: readonly ReplicaStanding[],
): readonly ReplicaStanding[] | undefined {
  const isWell = (set: readonly ReplicaStanding[]) =>
    holdAll(set, inSync) && leavesRest(inSync, (replica) => set.includes(replica))
  const groups = [...new Set([...begun, ...inSync].map(({ group }) => group))]
  for (const group of groups) {
    const set = [...begun, ...inSync.filter((replica) => replica.group === group && !begun.includes(replica))]
    if (isWell(greedy(begun, set, inSync))) return greedy(begun, set, inSync)
    if (isWell(set)) return set
  }
  const set = greedy(begun, inSync, inSync)
  return isWell(set) ? set : undefined
}

/** Adds whoever holds the most of what lacks. */
function greedy(
  begun: readonly ReplicaStanding[],
  from: readonly ReplicaStanding[],
  inSync: readonly ReplicaStanding[],
): readonly ReplicaStanding[] {
  const set = [...begun]
  const all = shardsOf(inSync)
  for (;;) {
    const held = shardsOf(set)
    if (held.size === all.size) return set
    const gain = (replica: ReplicaStanding) => servedShards(replica).filter((shard) => !held.has(shard)).length
    const [best] = from.filter((replica) => !set.includes(replica)).sort((a, b) => gain(b) - gain(a))
    if (best === undefined || gain(best) === 0) return set
    set.push(best)
  }
}

/** What those whose turn it is make of a change. */
export type TurnVerdict =
  | { readonly kind: 'open' }
  | { readonly kind: 'refused'; readonly error: ErrorBody }
  /** `deviant`: they refused what others took for all of their shards: they are not what they should be. */
  | { readonly kind: 'accepted'; readonly deviant: readonly ReplicaId[] }

/** @param reports  of the change. */
export function turnVerdict(
  replicas: readonly ReplicaStanding[],
  position: number,
  reports: readonly Report[],
): TurnVerdict {
  const inSync = replicas.filter(isInSync)
  const first = inSync.filter((replica) => isTaking(replica, position))
  const reportOf = new Map(reports.map(({ replica, outcome }) => [replica, outcome]))
  const outcomeOf = (replica: ReplicaStanding) => reportOf.get(replicaId(replica))
  const accepting = first.filter((replica) => outcomeOf(replica)?.status === 'succeeded')
  // A refusal that others were told of stays one, whoever leads by now.
  const refusing = inSync.filter((replica) => outcomeOf(replica)?.status === 'failed')
  const error = refusing.map((replica) => outcomeOf(replica)?.error ?? null).find((found) => found !== null) ?? null
  if (error !== null && accepting.length === 0) return { kind: 'refused', error }
  const through = inSync.filter(({ applied }) => applied >= position)
  if (first.some(({ applied }) => applied < position) || !holdAll(through, inSync)) return { kind: 'open' }
  if (holdAll(accepting, inSync)) return { kind: 'accepted', deviant: refusing.map(replicaId) }
  return error === null ? { kind: 'open' } : { kind: 'refused', error }
}

/** What a lane must know of a settings change before it goes on. */
export interface SettingsTurn {
  /** They may take it now. */
  readonly takers: readonly ReplicaId[]
  /** Those of them that gateways must have stopped to read before. A read under way by then looks again when it ends. */
  readonly leavers: readonly ReplicaId[]
  /** Somebody must ask: for turns, or that what those with a turn made of it counts, since who held them up began anew. */
  readonly isOpen: boolean
  /** Why it was refused: nobody else need try. */
  readonly refusal: ErrorBody | null
  /** They hold, or may hold, the change, which failed. */
  readonly undoers: readonly ReplicaId[]
}

/** @param isOver  the change has ended. */
export function settingsTurn(
  replicas: readonly ReplicaStanding[],
  position: number,
  reports: readonly Report[],
  { isOver, mayMix }: { readonly isOver: boolean; readonly mayMix: boolean },
): SettingsTurn {
  const undoers = replicas.filter(({ turn }) => turn?.position === position && turn.role === 'undo')
  const nobody = { takers: [], leavers: [], isOpen: false, refusal: null, undoers: undoers.map(replicaId) }
  if (isOver) {
    const late = replicas.filter(({ turn }) => turn?.position === position && turn.role === 'late')
    return { ...nobody, takers: replicas.map(replicaId), leavers: late.map(replicaId) }
  }
  const verdict = turnVerdict(replicas, position, reports)
  if (verdict.kind === 'refused') return { ...nobody, refusal: verdict.error }
  const first = replicas.filter((replica) => isInSync(replica) && isTaking(replica, position))
  const leavers = !mayMix && leavesRest(replicas, (replica) => first.includes(replica)) ? first.map(replicaId) : []
  const leader = first.find(({ turn }) => turn?.role === 'lead') ?? first[0]
  const isLed = reports.some(({ outcome }) => outcome.status === 'succeeded')
  const takers = isLed ? first : first.filter((replica) => replica === leader)
  const isOpen = verdict.kind === 'accepted' || nextTurns(replicas, position, { mayMix }).length > 0
  return { ...nobody, takers: takers.map(replicaId), leavers, isOpen }
}

/** Which replicas have another turn, or another state, behind a step of their index. */
export interface TurnedReplicas {
  readonly replicas: readonly ReplicaStanding[]
  /** They are put back to the beginning. */
  readonly deviant: readonly ReplicaId[]
}

/** The first ones have the change: the others leave the in-sync set. Otherwise everything stays. */
export function passTurn(replicas: readonly ReplicaStanding[], position: number, verdict: TurnVerdict): TurnedReplicas {
  if (verdict.kind !== 'accepted') return { replicas, deviant: [] }
  const { deviant } = verdict
  const turn: Turn = { position, role: 'late', ageMs: 0 }
  return {
    deviant,
    replicas: replicas.map((replica): ReplicaStanding => {
      const isLate = isInSync(replica) && !isTaking(replica, position) && replica.applied < position
      return isLate ? { ...replica, state: 'filling', turn } : replica
    }),
  }
}

/**
 * Turns that are over end; who holds a change that failed must take it back.
 *
 * Also who said that it refused it: an earlier request of its lane may have brought it there, and may yet.
 *
 * @param failed  position of a settings change that has ended as failed just now; 0 = none has.
 */
export function endTurns(
  replicas: readonly ReplicaStanding[],
  completed: number,
  failed: number,
): readonly ReplicaStanding[] {
  return replicas.map((replica): ReplicaStanding => {
    const { turn, applied } = replica
    if (turn === null || turn.position > completed || turn.role === 'undo') return replica
    if (turn.position === failed) return { ...replica, turn: { ...turn, role: 'undo' } }
    return applied >= turn.position ? { ...replica, turn: null } : replica
  })
}

/** Those that have another state or turn than before, to be stored. */
export function turned(
  before: readonly ReplicaStanding[],
  after: readonly ReplicaStanding[],
): readonly ReplicaStanding[] {
  return after.filter((replica, at) => {
    const { state, turn } = before[at] ?? replica
    return replica.state !== state || replica.turn?.position !== turn?.position || replica.turn?.role !== turn?.role
  })
}
