/**
 * What is done at each step of a move. Every act may be cut off anywhere and begun again: it looks at what is there first.
 *
 * Before `switching` only the new replica is touched. From there on the old one goes on taking every change, so that undoing
 * is the same switch the other way round.
 */
import type { IndexStanding, ReplicaChange } from '../../journal/ports.ts'
import { areRoutesTaken } from '../../replication/routes-taken.ts'
import type { NodeId } from '../../store/catalogue.ts'
import type { MoveEvent, MoveStep } from '../../topology/move-steps.ts'
import { replicaId } from '../../topology/replica-id.ts'
import { compareReplicas } from './comparison.ts'
import {
  dropIndex,
  MoveFailure,
  markCopied,
  placeOf,
  type Replica,
  replicaOn,
  type StepContext,
} from './move-context.ts'
import { canCopySnapshot, copySnapshot, dropSnapshots } from './snapshot-copy.ts'
import { copyStreamed } from './streamed-copy.ts'

/** Answers what came of it; `undefined` = it is not over, look again a moment later. */
type Act = (context: StepContext, standing: IndexStanding) => Promise<MoveEvent | undefined>

/** Copies that come to nothing before the move is given up. */
const attemptsMax = 3
/** The new replica is close enough behind the old one: so much has to be waited for at the switch. */
const nearCount = 50
const nearBytes = 1024 * 1024
/** A gateway that has not shown itself for so long takes no requests (P-19). */
const pollMs = 20

async function plan(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { move, replicas, catalogue } = context
  if ((move.progress.attempts ?? 0) >= attemptsMax) throw new MoveFailure(`${attemptsMax} copies came to nothing`)
  const source = replicaOn(standing, move.source)
  if (source === undefined) throw new MoveFailure(`the index is not on ${move.source} any more`)
  const target = (await catalogue.nodes()).find(({ id }) => id === move.target)
  if (target?.state !== 'active') throw new MoveFailure(`${move.target} takes no indexes`)
  const held = replicaOn(standing, move.target)
  if (held !== undefined && held.state !== 'copying') throw new MoveFailure(`the index is on ${move.target} already`)
  const added = await replicas.addReplica(move.index, move.target, source.shards)
  if (added === undefined) throw new MoveFailure(`${move.target} is not there`)
  return 'done'
}

async function copy(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { move, replicas, keep } = context
  const source = replicaOn(standing, move.source)
  const target = replicaOn(standing, move.target)
  if (source === undefined) throw new MoveFailure(`the index is not on ${move.source} any more`)
  if (target?.state === 'standby') return 'done'
  if (target?.state !== 'copying') return 'lost'
  const { disk } = move.progress
  if (disk !== undefined && disk !== diskOf(target)) return 'lost'
  const places = [await placeOf(context, source), await placeOf(context, target)] as const
  if (disk === undefined) await dropIndex(context, places[1])
  const copy = move.progress.copy ?? ((await canCopySnapshot(context, ...places)) ? 'snapshot' : 'streamed')
  await keep({ disk: diskOf(target), copy })
  if (copy === 'streamed') await copyStreamed(context, ...places)
  else if ((await copySnapshot(context, ...places)) === 'lost') return 'lost'
  const { from = 0 } = context.move.progress
  await markCopied(context, places[1], from)
  return begun(await replicas.changeReplica(move.index, replicaId(target), { kind: 'begin', applied: from }))
}

/** A disk that takes the place of another has another marker. */
const diskOf = ({ diskMarker }: Replica): string => diskMarker ?? ''

const begun = (outcome: string): MoveEvent => (outcome === 'done' ? 'done' : 'lost')

/** `undefined` when what was copied is not there any more. */
function copied({ move }: StepContext, standing: IndexStanding): Replica | undefined {
  const target = replicaOn(standing, move.target)
  const { disk, from = 0 } = move.progress
  return target !== undefined && diskOf(target) === disk && target.applied >= from ? target : undefined
}

async function catchUp(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const target = copied(context, standing)
  if (target === undefined) return 'lost'
  const { trueFrom = 0 } = context.move.progress
  const aheadBytes = replicaOn(standing, context.move.source)?.pendingBytes ?? 0
  const isNear = standing.completed - target.applied <= nearCount && target.pendingBytes - aheadBytes <= nearBytes
  return target.applied >= trueFrom && isNear ? 'done' : undefined
}

async function verify(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { move, keep } = context
  const target = copied(context, standing)
  const source = replicaOn(standing, move.source)
  if (source === undefined) throw new MoveFailure(`the index is not on ${move.source} any more`)
  if (target === undefined) return 'lost'
  const [from, to] = [await placeOf(context, source), await placeOf(context, target)]
  const found = await compareReplicas(
    { ...context, index: move.index, filter: null },
    from,
    to,
    standing.primaryKey,
    (compared) => keep({ compared }),
  )
  await keep({ compared: found.documents, differing: found.differing })
  if (found.differing.length === 0 && !found.settingsDiffer) return 'done'
  return 'lost'
}

/** The new replica is let in; the old one is read no more, and counts until no gateway reads it. */
async function switchOver(context: StepContext): Promise<MoveEvent | undefined> {
  const { move, keep, clock } = context
  if (!(await handOver(context, move.target, move.source))) return undefined
  await keep({ keepUntil: clock.now() + move.options.keepMs })
  return 'done'
}

async function handOver(context: StepContext, to: NodeId, from: NodeId): Promise<boolean> {
  const { move, replicas, keep, catalogue } = context
  const change = (replica: Replica, kind: 'admit' | 'part' | 'keep') =>
    replicas.changeReplica(move.index, replicaId(replica), { kind })
  const standing = await replicas.standing(move.index)
  const [source, target] = standing === undefined ? [] : [replicaOn(standing, from), replicaOn(standing, to)]
  if (target === undefined) throw new Error(`the replica on ${to} is gone`)
  if (target.state !== 'active') {
    await letGatewaysIn(context, to)
    await change(target, 'admit')
    return false
  }
  if (source === undefined || source.state === 'standby') return true
  if (source.state !== 'parting' || move.progress.version === undefined) {
    if ((await change(source, 'part')) !== 'done') return false
    await keep({ version: await catalogue.version() })
  }
  if (!(await isTakenOver(context))) return false
  return (await change(source, 'keep')) === 'done'
}

/** Whoever is routed to the node can read there. */
async function letGatewaysIn({ move, catalogue, credentials, signal }: StepContext, id: NodeId): Promise<void> {
  const node = (await catalogue.nodes()).find((one) => one.id === id)
  if (node === undefined) throw new Error(`node ${id} is not there`)
  await credentials?.ensure(node, move.project, signal)
}

/** Every gateway that lives routes by what was changed. */
function isTakenOver({ move, gateways }: StepContext): Promise<boolean> {
  return areRoutesTaken(gateways, move.progress.version ?? 0)
}

async function keepBack({ move, clock }: StepContext): Promise<MoveEvent | undefined> {
  return clock.now() >= (move.progress.keepUntil ?? 0) ? 'done' : undefined
}

/** Takes the replica off its node. */
async function leave(context: StepContext, standing: IndexStanding, node: NodeId): Promise<MoveEvent | undefined> {
  const { move, replicas } = context
  const replica = replicaOn(standing, node)
  if (replica === undefined) return 'done'
  for (const kind of ['keep', 'leave'] as const satisfies readonly ReplicaChange['kind'][]) {
    if (replica.state === 'leaving') return undefined
    const outcome = await replicas.changeReplica(move.index, replicaId(replica), { kind })
    if (outcome === 'needed') throw new Error(`the index would not be whole without its replica on ${node}`)
  }
  return undefined
}

async function undo(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { move } = context
  const target = replicaOn(standing, move.target)
  const isBack = target === undefined || target.state === 'standby' || target.state === 'leaving'
  if (!isBack && !(await handOver(context, move.source, move.target))) return undefined
  return leave(context, standing, move.target)
}

/** What was copied goes away; the next attempt starts from nothing. */
async function clear(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const event = await giveUp(context, standing)
  const attempts = (context.move.progress.attempts ?? 0) + 1
  if (event === 'done') await context.keep({ ...nothingCopied, attempts })
  return event
}

const nothingCopied = {
  ...{ copy: undefined, from: undefined, trueFrom: undefined, disk: undefined, compared: undefined },
  ...{ sourceRevision: undefined, snapshotAt: undefined, byteCount: undefined, bytes: undefined, corrupt: undefined },
} as const

async function giveUp(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const event = await leave(context, standing, context.move.target)
  if (event === 'done') await dropSnapshots(context)
  return event
}

export const acts: Readonly<Partial<Record<MoveStep, Act>>> = {
  planned: plan,
  copying: copy,
  catching_up: catchUp,
  verifying: verify,
  switching: switchOver,
  keeping_back: keepBack,
  closing: (context, standing) => leave(context, standing, context.move.source),
  undoing: undo,
  clearing: clear,
  cancelling: giveUp,
  failing: giveUp,
}

/** How long to wait before a step that is not over is looked at again. */
export function pauseOf(step: MoveStep): number {
  return step === 'keeping_back' ? 25 * pollMs : pollMs
}
