/** Whether something of a change that failed is on a node. */
import type { LaneChange } from '../journal/ports.ts'
import { type StepKind, stepKind } from './bundle.ts'
import { planDelivery, taskTypeOf } from './delivery.ts'
import { type FoundMark, positionsOf, readMarks } from './found-marks.ts'
import type { Cut } from './shard-view.ts'
import { readChangesMax, type StandingView } from './standing.ts'
import { changesDocuments } from './task-effect.ts'

/**
 * Something of a change that failed is on the node: a request came late and met settings that let it pass, or other replicas
 * ended the change as failed while its parts were on the way to this one. It failed, too, when only this replica has told so.
 *
 * The mark of a bundle stands for changes, too, that had nothing in that task: they were refused before they were appended,
 * are for other shards, or failed in another task of the bundle.
 */
export async function isTainted(
  { journal, index, tasks, applied, seenThrough, cut }: StandingView,
  failedOn: (positions: readonly number[]) => Promise<readonly number[]>,
): Promise<boolean> {
  const found = readMarks(tasks)
  const writes = found.filter(({ task }) => task.uid > seenThrough && changesDocuments(task))
  const positions = new Set(writes.flatMap(positionsOf))
  const last = Math.max(0, ...positions)
  const told = new Set(positions.size === 0 ? [] : await failedOn([...positions].filter((one) => one <= applied)))
  for (let after = Math.min(...positions) - 1; after < last; ) {
    const page = await journal.read(index, after, readChangesMax, Number.MAX_SAFE_INTEGER)
    if (page.length === 0) return false
    for (const item of page) {
      const hasFailed = item.change.status === 'failed' || told.has(item.change.position)
      if (hasFailed && writes.some((write) => holds(write, item, found, cut))) return true
    }
    after = page.at(-1)!.change.position
  }
  return false
}

function holds(write: FoundMark, item: LaneChange, found: readonly FoundMark[], cut: Cut): boolean {
  const { position } = item.change
  if (position < write.from || position > write.position) return false
  if (write.from === write.position) return true
  const sent = kindsIn(write, found)
  return kindsOf(item, cut).some((kind) => sent.includes(kind))
}

/** What a change would have done to documents of the replica. */
function kindsOf(item: LaneChange, cut: Cut): readonly StepKind[] {
  const delivery = planDelivery({ ...item, change: { ...item.change, status: 'processing' } }, cut)
  return delivery.kind === 'send' ? delivery.parts.flatMap((part) => stepKind(part) ?? []) : []
}

/** What one task of a bundle does: deletions go first, then puts, then merges, and kinds that it has none of are left out. */
function kindsIn({ from, position, part, parts, task }: FoundMark, found: readonly FoundMark[]): readonly StepKind[] {
  if (task.type === taskTypeOf.delete) return ['delete']
  if (parts === 3) return [part === 2 ? 'put' : 'merge']
  if (parts === 1) return ['put', 'merge']
  if (part === 1) return ['put']
  const first = found.find((one) => one.from === from && one.position === position && one.part === 1)
  return first?.task.type === taskTypeOf.put ? ['merge'] : ['put', 'merge']
}
