/** Learns from the marks on the node where a lane stands, after a crash before us or whenever something is unclear. */
import type { EngineTask } from '../engine/engine.ts'
import type { Placement } from '../store/catalogue.ts'
import { isOver, planSent } from './delivery.ts'
import { positionsOf, readMarks } from './found-marks.ts'
import type { IndexOnNode } from './index-on-node.ts'
import { parseMark } from './mark.ts'
import type { NodeSession } from './node-session.ts'
import { adoptSent, type OpenChange, skipped } from './open-change.ts'
import { mayBeIdle, resumeFrom } from './resume.ts'
import { untilRoutesTaken } from './routes-taken.ts'
import type { Cut } from './shard-view.ts'
import { beforeForeign, firstDoubtful, idleOf, isStrange, mayHoldRefused, readSent } from './standing.ts'
import { isTainted } from './taint.ts'
import { changesDocuments, endedInVain, isPending } from './task-effect.ts'

/** Of an index on its node; `asked` = something was sent that creates it unless it fails. */
export type Existence = 'missing' | 'asked' | 'sure'

export interface ResumptionDeps {
  readonly session: NodeSession
  readonly onNode: IndexOnNode
  readonly placement: Placement
  readonly tag: string
  readonly cut: Cut
}

export interface LateRequest {
  /** The first one that it stands for. */
  readonly position: number
  /** Of its task. */
  readonly number: number
}

/** What the lane knows before; see its fields. */
export interface LaneStanding {
  readonly applied: number
  readonly settled: number
  readonly head: number
  readonly seenThrough: number
  readonly wentBack: { readonly position: number; readonly number: number } | undefined
  /** Requests of the lane that came late, up to what is applied. */
  readonly late: readonly LateRequest[]
  /** Of unmarked tasks that no request was answered with. */
  readonly unmarked: readonly number[]
  /** An attempt to send it ended without an answer. */
  readonly isUncertain: (position: number) => boolean
  /** The lane has sent it in places that were on the way. */
  readonly relies: (position: number) => boolean
}

export interface Resumed {
  readonly sent: number
  readonly settled: number
  readonly seenThrough: number
  /** Sent and not settled, in order. */
  readonly open: readonly OpenChange[]
  readonly existence: Existence
  /** The highest position that a task of the index is marked with, by whichever lane. */
  readonly reached: number
  /** Changes that are on the way, or are sent again, and of which something was good before: should one fail, it would stay. */
  readonly held: readonly number[]
}

/** A change that takes the place of one on the way is at most so many positions behind it. */
export const heirReach = 1_000

/** Nothing of the lane may be open. `rebuild` = only from the beginning is the index as it must be. */
export async function resumeLane(
  { session, onNode, placement, tag, cut }: ResumptionDeps,
  {
    applied,
    settled: settledBefore,
    head,
    seenThrough,
    wentBack,
    late: lateRequests,
    unmarked,
    isUncertain,
    relies,
  }: LaneStanding,
): Promise<Resumed | 'rebuild'> {
  const { deps, leftovers } = session
  const { index, physicalUid } = placement
  const tasks = await onNode.newestTasks(applied)
  const mayBeSent = (position: number) => seenThrough < 0 || isUncertain(position)
  const failedOn = (positions: readonly number[]) => deps.journal.failedOn(placement, positions)
  const view = { journal: deps.journal, index, tag, applied, head, cut, tasks, seenThrough, mayBeSent }
  const changes = await readSent(view)
  const marks = { tasks, applied, tag, wentBack }
  const idle = await idleOf(view, mayBeIdle(marks))
  const found = resumeFrom({ ...marks, changes, cut, idle })
  if (found.mustRebuild || (await isTainted(view, failedOn))) return 'rebuild'
  const { drop } = found
  const isDisturbed = lateRequests.length + unmarked.length > 0 || settledBefore < applied
  if (drop !== undefined && isDisturbed && isPending(drop)) throw new Error('the deletion of the index has not ended')
  // Whatever came before the lane's own deletion of the index went with it. And a lane that looks for the first time has what
  // stands up to the mark of what is applied from whoever was there before: a copy, or another worker that accounted for it.
  const lastsFrom = Math.max(drop?.uid ?? -1, seenThrough < 0 ? firstMarkOf(tasks, tag, applied) : -1)
  const inVain = new Set(tasks.filter(endedInVain).map(({ uid }) => uid))
  // Behind all marks it may be what was sent last; before one it came late.
  const isLate =
    unmarked.some((number) => number > lastsFrom && number < found.newest && !inVain.has(number)) ||
    (await isStrange(view, found.unmarked))
  if (isLate && (await mayHoldRefused(view))) return 'rebuild'
  const before = drop === undefined ? settledBefore : applied
  const trusted = isLate ? 0 : before
  const reached = Math.max(0, ...tasks.map((task) => parseMark(task.customMetadata)?.position ?? 0))
  const late = Math.min(...lateRequests.filter(({ number }) => number > lastsFrom).map(({ position }) => position))
  // The marks alone do not tell what a late request lies over: tasks between it and the next late one may have been deleted.
  const beforeLate = Math.max(0, late - 1)
  const doubtful = drop === undefined ? await firstDoubtful(view) : applied
  const certain = Math.min(trusted, found.sent, beforeForeign(view), beforeLate, doubtful)
  // What took the place of a change that failed stands wrongly: whatever may have is delivered again.
  const isRepeating = certain < applied || late <= applied
  // What another worker has sent may have relied on anything.
  const isHeir = ({ position }: { readonly position: number }) => seenThrough < 0 || relies(position)
  const mayBeHeirs = cut.view?.exactTies === true && (isRepeating || found.open.some(isHeir))
  const near = mayBeHeirs ? positionsFrom(Math.max(1, Math.min(certain, late) - heirReach), reached) : []
  const failed = near.length === 0 ? [] : await failedOn(near)
  const settled = isRepeating ? Math.min(certain, ...failed) : certain
  // What came late may lie over what is on the way as well.
  const mustRepeat = isLate || settled < applied || failed.length > 0
  const sent = mustRepeat ? settled : found.sent
  const onNodeByPosition = new Map((mustRepeat ? [] : found.open).map((entry) => [entry.position, entry]))
  const open: OpenChange[] = []
  for (const item of changes) {
    const { position } = item.change
    if (position > sent) break
    const entry = onNodeByPosition.get(position)
    const delivery = planSent(item, cut, entry?.parts.length)
    if (delivery.kind === 'skip') open.push(skipped(item, delivery.ends))
    if (delivery.kind !== 'send' || entry === undefined) continue
    open.push(adoptSent(item, delivery, entry, tasks, deps.clock.monotonic()))
  }
  const isFresh = found.isBlank && sent === 0
  // What was applied is not there any more, and somebody may read it.
  if (isFresh && applied > 0) return 'rebuild'
  if (isFresh && leftovers.has(physicalUid)) {
    // Whatever an earlier life of the disk or of the name left behind is none of this index. The store may have put the replica
    // back to the beginning just now: first nobody reads it any more.
    await untilRoutesTaken(deps, session.signal)
    await onNode.drop()
    leftovers.delete(physicalUid)
  }
  if (!isFresh && found.endsUnmarked) await onNode.separate(sent)
  // A deletion of the index that came late may have taken what a spread one must have before anything else.
  const isSent = applied > 0 || open.some(({ parts }) => parts.length > 0)
  const mayLackSettings = cut.view !== null && (sent === 0 || !isSent)
  const existence = isFresh || mayLackSettings ? 'missing' : applied > 0 ? 'sure' : 'asked'
  const writes = readMarks(tasks).filter(({ task }) => changesDocuments(task))
  // Of what was over by then, whether something is on the node was looked at (`isTainted`).
  const over = new Set(changes.flatMap(({ change }) => (isOver(change) ? [change.position] : [])))
  const held = writes.flatMap(positionsOf).filter((position) => position > applied && !over.has(position))
  return { sent, settled, seenThrough: tasks[0]?.uid ?? seenThrough, open, existence, reached, held }
}

/** Number of the oldest task that stands for the position, since a newer one may have come late itself; -1 = none does. */
function firstMarkOf(tasks: readonly EngineTask[], tag: string, position: number): number {
  return readMarks(tasks, tag).find((mark) => mark.from <= position && position <= mark.position)?.task.uid ?? -1
}

function positionsFrom(first: number, last: number): readonly number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => first + at)
}
