/**
 * What is done at each step of a move. Every act may be cut off anywhere and begun again: it looks at what is there first.
 *
 * Before `switching` only the new replica is touched. From there on the old one goes on taking every change, so that undoing
 * is the same switch the other way round.
 */
import type { IndexStanding, ReplicaChange, ReplicaOutcome } from '../../journal/ports.ts'
import { areRoutesTaken } from '../../replication/routes-taken.ts'
import type { NodeId } from '../../store/catalogue.ts'
import type { Take } from '../../store/moves.ts'
import type { MoveEvent, MoveStep } from '../../topology/move-steps.ts'
import { isRead } from '../../topology/placement-states.ts'
import { replicaId } from '../../topology/replica-id.ts'
import { compareReplicas } from './comparison.ts'
import {
  answered,
  dropIndex,
  isWhole,
  isWholeTake,
  MoveFailure,
  markCopied,
  placeOf,
  type Replica,
  type StepContext,
  sourcesOf,
  takeFilter,
  targetOf,
} from './move-context.ts'
import { canCopySnapshot, copySnapshot, dropSnapshots } from './snapshot-copy.ts'
import { areInOrder } from './source-order.ts'
import { copyStreamed } from './streamed-copy.ts'

/** Answers what came of it; `undefined` = it is not over, look again a moment later. */
type Act = (context: StepContext, standing: IndexStanding) => Promise<MoveEvent | undefined>

/** Copies that come to nothing before the move is given up. */
export const attemptsMax = 3
/** The new replica is close enough behind the old one: so much has to be waited for at the switch. */
const nearCount = 50
const nearBytes = 1024 * 1024
/** A step that waits is looked at so often. */
const pollMs = 20
const pollMsMax = 500

async function plan(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { move, replicas, catalogue, keep } = context
  if ((move.progress.attempts ?? 0) >= attemptsMax) throw new MoveFailure(`${attemptsMax} copies came to nothing`)
  sourceReplicas(context, standing)
  if (move.kind === 'removal') return 'done'
  const target = (await catalogue.nodes()).find(({ id }) => id === move.target)
  if (target?.state !== 'active') throw new MoveFailure(`${move.target} takes no indexes`)
  const shards = move.takes.flatMap((take) => take.shards).sort((a, b) => a - b)
  const added = await replicas.addReplica(move.index, move.target, shards)
  if (added === undefined) throw new MoveFailure(`${move.target} is not there`)
  await keep({ targetUid: added.physicalUid })
  return 'done'
}

/** @throws MoveFailure when one is gone, or holds less than was to be taken. */
function sourceReplicas({ move }: StepContext, standing: IndexStanding): readonly Source[] {
  return sourcesOf(standing, move).map(({ take, replica }) => {
    if (replica === undefined) throw new MoveFailure(`the index is not on ${take.node} any more`)
    if (take.shards.some((shard) => !replica.shards.includes(shard)))
      throw new MoveFailure(`the replica on ${take.node} does not hold all of the shards any more`)
    return { take, replica }
  })
}

interface Source {
  readonly take: Take
  readonly replica: Replica
}

async function copy(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { move, replicas, keep } = context
  if (move.kind === 'removal') return 'done'
  const sources = sourceReplicas(context, standing)
  const target = targetOf(standing, move)
  if (target?.state === 'standby') return 'done'
  if (target?.state !== 'copying') return 'lost'
  const { disk } = move.progress
  if (disk !== undefined && disk !== diskOf(target)) return 'lost'
  if (!sources.every(({ replica }) => isWhole(replica, move.progress.from ?? standing.completed))) return undefined
  const from = await Promise.all(
    sources.map(async ({ take, replica }) => ({
      ...{ take, replica, filter: takeFilter(standing.spread, take) },
      place: await placeOf(context, replica),
    })),
  )
  const to = await placeOf(context, target)
  if (disk === undefined) await dropIndex(context, to)
  const [first, ...others] = from
  const only = first !== undefined && others.length === 0 && isUntouched(first) ? first.place : undefined
  const isStored = only !== undefined && (await canCopySnapshot(context, only, to))
  const copy = move.progress.copy ?? (isStored ? 'snapshot' : 'streamed')
  await keep({ disk: diskOf(target), copy })
  const copySource = async () => {
    if (copy === 'streamed') return copyStreamed(context, from, to)
    return only === undefined ? 'lost' : copySnapshot(context, only, to)
  }
  if ((await copySource()) === 'lost') return 'lost'
  // What was read of a source that began anew meanwhile may be of long ago.
  const after = await replicas.standing(move.index)
  const isAsBefore = ({ take, replica: { revision } }: Source) => {
    const now = after && sourcesOf(after, { takes: [take] })[0]?.replica
    return now?.revision === revision && isRead(now)
  }
  if (!sources.every(isAsBefore)) return 'lost'
  const { from: begin = 0 } = context.move.progress
  const change = { kind: 'begin', applied: begin, proof: await markCopied(context, to, begin) } as const
  return begun(await replicas.changeReplica(move.index, replicaId(target), change))
}

/** It is taken as it is, and holds nothing else. */
function isUntouched({ take, replica }: Source): boolean {
  return isWholeTake(take, replica) && replica.shed === undefined && !replica.hasLeftovers
}

/** A disk that takes the place of another has another marker. */
export const diskOf = ({ diskMarker }: Replica): string => diskMarker ?? ''

const begun = (outcome: string): MoveEvent => (outcome === 'done' ? 'done' : 'lost')

/** `undefined` when what was copied is not there any more. */
function copied({ move }: StepContext, standing: IndexStanding): Replica | undefined {
  const target = targetOf(standing, move)
  const { disk, from = 0 } = move.progress
  return target !== undefined && diskOf(target) === disk && target.applied >= from ? target : undefined
}

async function catchUp(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { move } = context
  if (move.kind === 'removal') return 'done'
  const target = copied(context, standing)
  if (target === undefined) return 'lost'
  const { trueFrom = 0 } = move.progress
  const aheadBytes = Math.min(...sourcesOf(standing, move).map(({ replica }) => replica?.pendingBytes ?? 0))
  return target.applied >= trueFrom && isNear(standing, target, aheadBytes) ? 'done' : undefined
}

/** @param aheadBytes  what the sources have not applied either. */
export function isNear({ completed }: IndexStanding, { applied, pendingBytes }: Replica, aheadBytes: number): boolean {
  return completed - applied <= nearCount && pendingBytes - aheadBytes <= nearBytes
}

async function verify(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { move, keep } = context
  if (move.kind === 'removal') return 'done'
  const target = copied(context, standing)
  const sources = sourceReplicas(context, standing)
  if (target === undefined) return 'lost'
  if (!sources.every(({ replica }) => isWhole(replica, standing.completed))) return undefined
  const to = await placeOf(context, target)
  const places = await Promise.all(sources.map(({ replica }) => placeOf(context, replica)))
  if (!(await areInOrder(context, places))) return undefined
  let compared = 0
  for (const [at, { take }] of sources.entries()) {
    const found = await compareReplicas(
      { ...context, index: move.index, filter: takeFilter(standing.spread, take) },
      places[at]!,
      to,
      standing.primaryKey,
      (count) => keep({ compared: compared + count }),
    )
    compared += found.documents
    await keep({ compared, differing: found.differing })
    if (found.differing.length > 0 || found.settingsDiffer) return 'lost'
  }
  // What came late before the copy ended is in it, too.
  return (await areInOrder(context, places)) ? 'done' : undefined
}

/** The new replica is let in; the old ones are read no more, and count until no gateway reads them. */
async function switchOver(context: StepContext): Promise<MoveEvent | undefined> {
  const { move, keep, clock } = context
  if (!(await handOver(context))) return undefined
  await keep({ keepUntil: clock.now() + move.options.keepMs })
  return 'done'
}

async function handOver(context: StepContext): Promise<boolean> {
  const { move, replicas } = context
  const standing = await replicas.standing(move.index)
  const target = standing && targetOf(standing, move)
  if (standing === undefined || (target === undefined && move.kind !== 'removal'))
    throw new Error(`the replica on ${move.target} is gone`)
  if (target !== undefined && target.state !== 'active') {
    await letGatewaysIn(context, target.node)
    await changed(context, target, { kind: 'admit' })
    return false
  }
  if (move.kind === 'copy') return true
  const sources = presentOf(sourcesOf(standing, move))
  // It may have died since it was let in: then the old one goes on being read.
  const isNext = sources.some(({ take, replica }) => !isWithdrawn(take, replica))
  if (isNext && target !== undefined) await letGatewaysIn(context, target.node)
  return withdraw(context, sources)
}

function presentOf(sources: ReturnType<typeof sourcesOf>): readonly Source[] {
  return sources.flatMap(({ take, replica }) => (replica === undefined ? [] : [{ take, replica }]))
}

/** These are read no more: first no new read goes to them, then no gateway knows of them, then nobody waits for them. */
async function withdraw(context: StepContext, sources: readonly Source[]): Promise<boolean> {
  const { move, keep, catalogue } = context
  if (sources.every(({ take, replica }) => isWholeTake(take, replica) && isKept(replica))) return true
  const open = sources.filter(({ take, replica }) => !isWithdrawn(take, replica))
  if (open.length > 0 || move.progress.version === undefined) {
    for (const { take, replica } of open) {
      const change = isWholeTake(take, replica)
        ? ({ kind: 'part' } as const)
        : ({ kind: 'shed', shards: take.shards } as const)
      if ((await changed(context, replica, change)) !== 'done') return false
    }
    await keep({ version: await catalogue.version() })
  }
  if (!(await isTakenOver(context))) return false
  for (const { take, replica } of sources) {
    if (isWholeTake(take, replica) && (await changed(context, replica, { kind: 'keep' })) !== 'done') return false
  }
  return true
}

const isKept = ({ state }: Replica): boolean => state === 'standby' || state === 'leaving'

function isWithdrawn(take: Take, replica: Replica): boolean {
  if (isWholeTake(take, replica)) return replica.state === 'parting' || replica.state === 'filling' || isKept(replica)
  return take.shards.every((shard) => replica.shed?.includes(shard) || !replica.shards.includes(shard))
}

function changed({ move, replicas }: StepContext, replica: Replica, change: ReplicaChange): Promise<ReplicaOutcome> {
  return replicas.changeReplica(move.index, replicaId(replica), change)
}

/** The sources are read again: each has taken every change all along. */
async function bringBack(context: StepContext, standing: IndexStanding): Promise<boolean> {
  let isBack = true
  for (const { take, replica } of sourcesOf(standing, context.move)) {
    if (replica === undefined) throw new Error(`the replica on ${take.node} is gone`)
    if (!isWholeTake(take, replica)) {
      await changed(context, replica, { kind: 'reclaim', shards: take.shards })
    } else if (replica.state !== 'active') {
      await letGatewaysIn(context, replica.node)
      await changed(context, replica, { kind: 'admit' })
      isBack = false
    }
  }
  return isBack
}

/** Whoever is routed to the node can read there. @throws when it does not answer. */
export async function letGatewaysIn(
  { move, catalogue, engineOf, credentials, signal }: StepContext,
  id: NodeId,
): Promise<void> {
  const node = (await catalogue.nodes()).find((one) => one.id === id)
  if (node === undefined) throw new Error(`node ${id} is not there`)
  answered(`node ${id}`, await engineOf(node).health(signal))
  await credentials?.ensure(node, move.project, signal)
}

/** Every gateway that lives routes by what was changed. */
export function isTakenOver({ move, gateways }: StepContext): Promise<boolean> {
  return areRoutesTaken(gateways, move.progress.version ?? 0)
}

async function keepBack(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  return isKeptLongEnough(context) && (await isHeld(context, standing)) ? 'done' : undefined
}

export function isKeptLongEnough({ move, clock }: StepContext): boolean {
  return clock.now() >= (move.progress.keepUntil ?? 0)
}

/** The new replica stands in for what goes. */
async function isHeld(context: StepContext, standing: IndexStanding): Promise<boolean> {
  const { kind, target, progress } = context.move
  // A copy takes nothing away. Names were not kept in moves of earlier versions.
  if (kind !== 'move' || progress.targetUid === undefined) return true
  const replica = targetOf(standing, context.move)
  if (replica === undefined) throw new Error(`the replica on ${target} is gone`)
  return isHeldBy(context, standing, [replica])
}

/**
 * These may have died since they were let in: what they were made of goes only while all of them answer and hold everything.
 *
 * @throws when a node does not answer.
 */
export async function isHeldBy(
  context: StepContext,
  { completed }: IndexStanding,
  targets: readonly Replica[],
): Promise<boolean> {
  for (const node of new Set(targets.map((replica) => replica.node))) await letGatewaysIn(context, node)
  return targets.every(({ applied }) => applied >= completed)
}

/** What was taken goes off its sources. */
async function close(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  if (context.move.kind === 'copy') return 'done'
  const sources = sourcesOf(standing, context.move)
  const isWhole = sources.some(({ replica }) => replica !== undefined && replica.state !== 'leaving')
  if (isWhole && !(await isHeld(context, standing))) return undefined
  // Shards that the new replica lost for a while were read here again.
  const shared = presentOf(sources).filter(({ take, replica }) => !isWholeTake(take, replica))
  if (shared.length > 0 && !(await withdraw(context, shared))) return undefined
  let isClosed = true
  for (const { take, replica } of sources) {
    if (replica === undefined) continue
    if (isWholeTake(take, replica) && isKept(replica)) isClosed = (await leave(context, replica)) && isClosed
    else if (take.shards.some((shard) => replica.shards.includes(shard))) {
      const outcome = await changed(context, replica, { kind: 'shrink', shards: take.shards })
      if (outcome !== 'done') throw new Error(`the replica on ${take.node} keeps what it is to give up: ${outcome}`)
      isClosed = false
    } else if (replica.hasLeftovers) isClosed = false
  }
  return isClosed ? 'done' : undefined
}

/** Takes the replica off its node. @returns whether it is gone. */
export async function leave(context: StepContext, replica: Replica | undefined): Promise<boolean> {
  if (replica === undefined) return true
  for (const kind of ['keep', 'leave'] as const satisfies readonly ReplicaChange['kind'][]) {
    if (replica.state === 'leaving') return false
    const outcome = await changed(context, replica, { kind })
    if (outcome === 'needed') throw new Error(`the index would not be whole without its replica on ${replica.node}`)
  }
  return false
}

async function undo(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { move } = context
  const target = targetOf(standing, move)
  // A target that is gone with its node leaves the old replicas as they were then: maybe nobody reads them.
  const isBack = target !== undefined && isKept(target)
  const mustReturn = move.kind === 'removal' || (move.kind === 'move' && !isBack)
  if (mustReturn && !(await bringBack(context, standing))) return undefined
  if (target === undefined) return 'done'
  const whole = { node: target.node, physicalUid: target.physicalUid, shards: target.shards }
  if (isLetIn(target) && !(await withdraw(context, [{ take: whole, replica: target }]))) return undefined
  return (await leave(context, target)) ? 'done' : undefined
}

/** Gateways may read it, or did a moment ago. */
const isLetIn = (replica: Replica): boolean =>
  isRead(replica) || replica.state === 'parting' || replica.state === 'filling'

/** What was copied goes away; the next attempt starts from nothing. */
async function clear(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const event = await giveUp(context, standing)
  if (event === 'done') await context.keep(nothingCopied)
  return event
}

const nothingCopied = {
  ...{
    targetUid: undefined,
    copy: undefined,
    from: undefined,
    trueFrom: undefined,
    disk: undefined,
    compared: undefined,
  },
  ...{ sourceRevision: undefined, snapshotAt: undefined, byteCount: undefined, bytes: undefined, corrupt: undefined },
} as const

async function giveUp(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  if (!(await leave(context, targetOf(standing, context.move)))) return undefined
  await dropSnapshots(context)
  return 'done'
}

export const acts: Readonly<Partial<Record<MoveStep, Act>>> = {
  planned: plan,
  copying: copy,
  catching_up: catchUp,
  verifying: verify,
  switching: switchOver,
  keeping_back: keepBack,
  closing: close,
  undoing: undo,
  clearing: clear,
  cancelling: giveUp,
  failing: giveUp,
}

/**
 * How long to wait before a step that is not over is looked at again.
 *
 * @param waitedMs  for so long it is not over: what waits for a node that is away may wait for hours.
 */
export function pauseOf(step: MoveStep, waitedMs: number): number {
  const least = step === 'keeping_back' ? 5 * pollMs : pollMs
  return Math.min(pollMsMax, Math.max(least, Math.floor(waitedMs / 10)))
}
