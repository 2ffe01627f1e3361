/** Whose turn it is: the waiting task with which the next batch begins. Pure. */
import { type TaskKind, taskKindOf } from '../api/tasks.ts'
import { Bitmap } from '../lib/bitmap.ts'
import type { EngineOperation } from './core.ts'
import type { TaskStore } from './task-store.ts'

/** They reach beyond one index: nothing overtakes them, they overtake nothing, and nothing runs beside them. */
const reachingKinds: readonly TaskKind[] = [
  taskKindOf['index-swap'],
  taskKindOf['index-update'],
  taskKindOf['rule-put'],
  taskKindOf['rules-clear'],
]

export const reachesFar = (kind: EngineOperation['kind']): boolean => reachingKinds.includes(taskKindOf[kind])

/**
 * The oldest task, but indexes take turns: after a batch of one, the oldest task of the others. In Meilisearch a small change
 * waits for all that another index had queued before; here for the batch that runs, and a very small one not even for that.
 *
 * @param lastIndex  whose batch ran last; null = of no index.
 * @param busy       indexes that a batch is running for: their tasks wait.
 * @returns undefined when all that waits must wait for a batch that runs, or nothing does.
 */
export function nextTask(
  tasks: Pick<TaskStore, 'waiting' | 'ofIndex' | 'ofKind'>,
  lastIndex: string | null,
  busy: readonly string[] = [],
): number | undefined {
  const { waiting } = tasks
  const free = busy.reduce((left, uid) => left.andNot(tasks.ofIndex(uid)), waiting)
  const oldest = free.min()
  if (oldest === undefined) return undefined
  const next = (lastIndex === null ? undefined : free.andNot(tasks.ofIndex(lastIndex)).min()) ?? oldest
  const reaching = Bitmap.union(reachingKinds.map((kind) => tasks.ofKind(kind)))
    .and(waiting)
    .min()
  if (reaching === undefined || next < reaching) return next
  return oldest < reaching || busy.length === 0 ? oldest : undefined
}
