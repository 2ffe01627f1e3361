/** Whose turn it is: the waiting task with which the next batch begins. Pure. */
import { type TaskKind, taskKindOf } from '../api/tasks.ts'
import { assert } from '../lib/assert.ts'
import { Bitmap } from '../lib/bitmap.ts'
import type { TaskStore } from './task-store.ts'

/** They reach beyond one index: nothing overtakes them, and they overtake nothing. */
const reachingKinds: readonly TaskKind[] = [
  taskKindOf['index-swap'],
  taskKindOf['index-update'],
  taskKindOf['rule-put'],
  taskKindOf['rules-clear'],
]

/**
 * The oldest task, but indexes take turns: after a batch of one, the oldest task of the others. In Meilisearch a small change
 * waits for all that another index had queued before; here for the batch that runs.
 *
 * @param tasks      at least one waits.
 * @param lastIndex  whose batch ran last; null = of no index.
 */
export function nextTask(tasks: Pick<TaskStore, 'waiting' | 'ofIndex' | 'ofKind'>, lastIndex: string | null): number {
  const { waiting } = tasks
  const oldest = waiting.min()
  assert(oldest !== undefined, 'a task waits')
  const other = lastIndex === null ? undefined : waiting.andNot(tasks.ofIndex(lastIndex)).min()
  if (other === undefined) return oldest
  const reaching = Bitmap.union(reachingKinds.map((kind) => tasks.ofKind(kind)))
    .and(waiting)
    .min()
  return reaching !== undefined && reaching <= other ? oldest : other
}
