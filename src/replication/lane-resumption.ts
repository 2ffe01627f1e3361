/** Learns from the marks on the node where a lane stands, after a crash before us or whenever something is unclear. */
import type { Placement } from '../store/catalogue.ts'
import { planDelivery } from './delivery.ts'
import type { IndexOnNode } from './index-on-node.ts'
import type { NodeSession } from './node-session.ts'
import { adoptSent, type OpenChange, skipped } from './open-change.ts'
import { resumeFrom } from './resume.ts'
import type { Cut } from './shard-view.ts'
import { firstDoubtful, isStrange, isTainted, mayHoldRefused, readSent } from './standing.ts'

/** Of an index on its node; `asked` = something was sent that creates it unless it fails. */
export type Existence = 'missing' | 'asked' | 'sure'

export interface ResumptionDeps {
  readonly session: NodeSession
  readonly onNode: IndexOnNode
  readonly placement: Placement
  readonly tag: string
  readonly cut: Cut
}

/** What the lane knows before; see its fields. */
export interface LaneStanding {
  readonly applied: number
  readonly settled: number
  readonly head: number
  readonly seenThrough: number
  readonly mayLackMark: boolean
  readonly wentBack: { readonly position: number; readonly number: number } | undefined
}

export interface Resumed {
  readonly sent: number
  readonly settled: number
  readonly seenThrough: number
  /** Sent and not settled, in order. */
  readonly open: readonly OpenChange[]
  readonly existence: Existence
}

/** Nothing of the lane may be open. `rebuild` = only from the beginning is the index as it must be. */
export async function resumeLane(
  { session, onNode, placement, tag, cut }: ResumptionDeps,
  { applied, settled: settledBefore, head, seenThrough, mayLackMark, wentBack }: LaneStanding,
): Promise<Resumed | 'rebuild'> {
  const { deps, leftovers } = session
  const { index, physicalUid } = placement
  const tasks = await onNode.newestTasks(applied)
  const view = { journal: deps.journal, index, tag, applied, head, cut, tasks, seenThrough }
  const changes = await readSent(view)
  const found = resumeFrom({ tasks, changes, applied, tag, cut, wentBack })
  if (found.mustRebuild || (await isTainted(view))) return 'rebuild'
  const isLate = await isStrange(view, found.unmarkedTypes, mayLackMark)
  if (isLate && (await mayHoldRefused(view))) return 'rebuild'
  const trusted = isLate ? 0 : settledBefore
  const settled = Math.min(trusted, found.sent, await firstDoubtful(view))
  const isBehind = settled < applied
  const sent = isBehind ? settled : found.sent
  const onNodeByPosition = new Map((isBehind ? [] : found.open).map((entry) => [entry.position, entry]))
  const open: OpenChange[] = []
  for (const item of changes) {
    const { position } = item.change
    if (position > sent) break
    const delivery = planDelivery(item, cut)
    const entry = onNodeByPosition.get(position)
    if (delivery.kind === 'skip') open.push(skipped(item, delivery.ends))
    if (delivery.kind !== 'send' || entry === undefined) continue
    open.push(adoptSent(item, delivery, entry, tasks, deps.clock.monotonic()))
  }
  const isFresh = found.isBlank && sent === 0
  if (isFresh && leftovers.has(physicalUid)) {
    // Whatever an earlier life of the disk or of the name left behind is none of this index.
    await onNode.drop()
    leftovers.delete(physicalUid)
  }
  if (!isFresh && found.endsUnmarked) await onNode.separate(sent)
  // A deletion of the index that came late may have taken what a spread one must have before anything else.
  const isSent = applied > 0 || open.some(({ parts }) => parts.length > 0)
  const mayLackSettings = cut.view !== null && (sent === 0 || !isSent)
  const existence = isFresh || mayLackSettings ? 'missing' : applied > 0 ? 'sure' : 'asked'
  return { sent, settled, seenThrough: tasks[0]?.uid ?? seenThrough, open, existence }
}
