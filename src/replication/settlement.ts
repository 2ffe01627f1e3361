/** Changes that ended on the node together, and what the journal is told of them. Pure. */
import type { ChangeOutcome, LaneProof } from '../journal/ports.ts'
import type { Placement } from '../store/catalogue.ts'
import { isOver } from './delivery.ts'
import type { Verdict } from './judgement.ts'
import type { OpenChange } from './open-change.ts'
import { outcomeOf, removedBy } from './outcome.ts'
import type { Setbacks } from './setbacks.ts'

export interface Settled {
  readonly entry: OpenChange
  readonly verdict: Extract<Verdict, { readonly kind: 'done' }>
}

/**
 * A part of what was refused is, or may be, on the node; also of what others ended as failed, or a client cancelled, while the
 * lane was to send it again.
 */
export function isPartial({ entry: { item, parts }, verdict }: Settled, setbacks: Setbacks): boolean {
  const isFailed = parts.length > 0 ? verdict.error !== null : isOver(item.change)
  return verdict.isPartial || (isFailed && setbacks.isUncertain(item.change.position))
}

/** An index exists from its first successful delivery on. */
export function settlesIndex({ entry, verdict }: Settled): boolean {
  return verdict.error === null && entry.parts.length > 0
}

export function newestProof(done: readonly Settled[]): LaneProof | null {
  return done.findLast(({ entry }) => entry.proof !== null)?.entry.proof ?? null
}

/** Of the changes behind `applied` that have no outcome yet. */
export function outcomesOf(
  done: readonly Settled[],
  {
    placement,
    marker,
    applied,
    setbacks,
    now,
  }: {
    readonly placement: Placement
    /** Text of the disk's marker. */
    readonly marker: string
    readonly applied: number
    readonly setbacks: Setbacks
    readonly now: number
  },
): readonly ChangeOutcome[] {
  const { index, node, physicalUid } = placement
  return done.flatMap(({ entry, verdict }) => {
    const { position, status } = entry.item.change
    if (position <= applied || status === 'succeeded' || !verdict.isTold) return []
    const { error, tasks, batch } = verdict
    const removed = Math.max(removedBy(tasks), setbacks.removed(position))
    const batchKey = batch === null ? `${index}:${position}` : `${node}:${marker}:${batch}`
    const outcome = outcomeOf(entry.item, { error, tasks, removed, physicalUid, batchKey, now })
    return [error === null && entry.parts.length === 0 ? { ...outcome, isElsewhere: true } : outcome]
  })
}
