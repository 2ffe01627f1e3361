/** What the steps of a move work with. */
import type { Engine, EngineReply, EngineTask } from '../../engine/engine.ts'
import type { IndexStanding, LaneJournal, LaneProof, ReplicaJournal } from '../../journal/ports.ts'
import type { Clock } from '../../lib/clock.ts'
import { laneTag, markText } from '../../replication/mark.ts'
import { shardClause } from '../../search/shard-clause.ts'
import type { Node, ProjectId, Spread } from '../../store/catalogue.ts'
import type { GatewayRegistry } from '../../store/gateway-registry.ts'
import type { Move, MoveProgress, Take } from '../../store/moves.ts'
import type { ObjectStore } from '../../store/objects/object-store.ts'
import type { Catalogue } from '../../store/ports.ts'
import { isRead } from '../../topology/placement-states.ts'
import { replicaId } from '../../topology/replica-id.ts'

export interface MoveDeps {
  readonly replicas: ReplicaJournal
  readonly journal: Pick<LaneJournal, 'completedSettings'>
  readonly catalogue: Pick<Catalogue, 'nodes' | 'version'>
  readonly gateways: Pick<GatewayRegistry, 'routing' | 'ask'>
  readonly engineOf: (node: Node) => Engine
  /** Over which the files of copies go from node to node; absent = through this process. */
  readonly transfers?: () => Promise<ObjectStore>
  /** The keys with which gateways read there; absent = nodes know none. */
  readonly credentials?: { ensure(node: Node, project: ProjectId, signal: AbortSignal): Promise<void> }
  readonly clock: Clock
}

export interface StepContext extends MoveDeps {
  readonly move: Move
  readonly signal: AbortSignal
  /** Shows how far the step is, and keeps it for whoever continues; with it what was kept before. */
  readonly keep: (progress: ProgressChange) => Promise<void>
}

/** `undefined` takes a number away. */
export type ProgressChange = { readonly [Name in keyof MoveProgress]?: MoveProgress[Name] | undefined }

export function changedProgress(progress: MoveProgress, change: ProgressChange): MoveProgress {
  const entries = Object.entries({ ...progress, ...change })
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined))
}

/** The step cannot be done, now or ever; the message is for operators. */
export class MoveFailure extends Error {}

export type Replica = IndexStanding['replicas'][number]

export interface Place {
  readonly replica: Replica
  readonly engine: Engine
}

/** The replica as it stands now. */
export function replicaOf(
  { replicas }: Pick<IndexStanding, 'replicas'>,
  wanted: Parameters<typeof replicaId>[0],
): Replica | undefined {
  return replicas.find((replica) => replicaId(replica) === replicaId(wanted))
}

/** What the move takes, and from whom. `undefined` = that replica is gone. */
export function sourcesOf(
  standing: IndexStanding,
  { takes }: Pick<Move, 'takes'>,
): readonly { readonly take: Take; readonly replica: Replica | undefined }[] {
  return takes.map((take) => ({ take, replica: replicaOf(standing, take) }))
}

/** The replica that the move makes, once it is there. */
export function targetOf(
  standing: IndexStanding,
  { target, kind, takes, progress: { targetUid } }: Pick<Move, 'target' | 'kind' | 'takes' | 'progress'>,
): Replica | undefined {
  if (kind === 'removal') return undefined
  if (targetUid !== undefined) return replicaOf(standing, { node: target, physicalUid: targetUid })
  // Of a move that was begun before names were kept. Another replica of the index may be there, which is none of the move's.
  const isCopy = ({ state }: Replica) => state === 'copying' || state === 'standby' || state === 'leaving'
  return standing.replicas.find(
    (one) => one.node === target && isCopy(one) && !takes.some((take) => replicaId(take) === replicaId(one)),
  )
}

/** It holds everything up to a position, at least. One that is built anew on its node does not for a while. */
export function isWhole(replica: Replica, position: number): boolean {
  return isRead(replica) && replica.applied >= position
}

/** It takes all that the replica is for. */
export function isWholeTake({ shards }: Take, replica: Replica): boolean {
  return replica.shards.every((shard) => shards.includes(shard))
}

/** The filter by which the documents of a take are found; null = all of a plain index. */
export function takeFilter(spread: Spread | null, { shards }: Take): string | null {
  return spread && shardClause({ shards, isWhole: false }, spread.shards)
}

/** @throws when the node is gone. */
export async function placeOf(
  { catalogue, engineOf }: Pick<MoveDeps, 'catalogue' | 'engineOf'>,
  replica: Replica,
): Promise<Place> {
  const node = (await catalogue.nodes()).find(({ id }) => id === replica.node)
  if (node === undefined) throw new Error(`node ${replica.node} is not there`)
  return { replica, engine: engineOf(node) }
}

/** @throws when the node did not answer or refused: the step is tried again. */
export function answered<T>(what: string, reply: EngineReply<T>): T {
  if (reply.kind === 'answered') return reply.value
  const why = reply.kind === 'refused' ? reply.error.message : reply.reason
  throw new Error(`${what}: ${why}`)
}

const taskPollMs = 20
const taskPollMsMax = 500

/** Waits until a task of the node has ended. */
export async function ended({ clock, signal }: StepContext, engine: Engine, number: number): Promise<EngineTask> {
  for (let pause = taskPollMs; ; pause = Math.min(taskPollMsMax, pause * 2)) {
    const options = { endedOnly: true, waitSeconds: 1 }
    const [task] = answered('a task of the node', await engine.tasks([number], signal, options))
    if (task !== undefined && task.status !== 'enqueued' && task.status !== 'processing') return task
    await clock.sleep(engine.capabilities.waits ? taskPollMs : pause, signal)
  }
}

/** Whatever an earlier life of the name left on the node goes. Twice: safe. */
export async function dropIndex(context: StepContext, { engine, replica }: Place): Promise<void> {
  const reply = await engine.deleteIndex(replica.physicalUid, context.signal)
  const { status, error } = await ended(context, engine, answered('the removal of what was left', reply))
  if (status === 'succeeded' || error?.code === 'index_not_found') return
  throw new Error(`what was left on ${replica.node} stays: ${error?.message ?? status}`)
}

/**
 * Leaves the lane's own mark behind the copy, as if it had delivered everything up to `from` itself: what stood on the node
 * under that name before is told apart from it.
 */
export async function markCopied(
  context: StepContext,
  { engine, replica }: Place,
  from: number,
): Promise<LaneProof | null> {
  // Position 0 is the mark of a rebuild, and a lane that begins there needs none.
  if (from === 0 || replica.diskMarker === null) return null
  const tag = laneTag(replica, replica.diskMarker)
  const mark = markText({ epoch: replica.diskEpoch, position: from, from, tag, part: 1, parts: 1 })
  const number = answered('the mark', await engine.deleteDocuments(replica.physicalUid, [], mark, context.signal))
  await ended(context, engine, number)
  return { task: number, mark }
}
