/** The filters of M-C6 over tasks in memory. Pure. */
import type { TaskFacts } from '../api/task-view.ts'
import type { TaskFilter, TaskPageQuery } from '../api/tasks.ts'

export function matches(task: TaskFacts, filter: TaskFilter): boolean {
  const among = <T>(values: readonly T[] | undefined, value: T | null) =>
    values === undefined || (value !== null && values.includes(value))
  const within = (at: number | null, before: number | undefined, after: number | undefined) =>
    (before === undefined || (at !== null && at < before)) && (after === undefined || (at !== null && at > after))
  return (
    among(filter.uids, task.uid) &&
    among(filter.batchUids, task.batchUid) &&
    among(filter.statuses, task.status) &&
    among(filter.types, task.type) &&
    among(filter.indexUids, task.indexUid) &&
    among(filter.canceledBy, task.canceledBy) &&
    within(task.enqueuedAt, filter.beforeEnqueuedAt, filter.afterEnqueuedAt) &&
    within(task.startedAt, filter.beforeStartedAt, filter.afterStartedAt) &&
    within(task.finishedAt, filter.beforeFinishedAt, filter.afterFinishedAt)
  )
}

export function isAuthorised(task: TaskFacts, patterns: readonly string[] | undefined): boolean {
  if (patterns === undefined || patterns.includes('*')) return true
  const { indexUid } = task
  return (
    indexUid !== null &&
    patterns.some((pattern) =>
      pattern.endsWith('*') ? indexUid.startsWith(pattern.slice(0, -1)) : indexUid === pattern,
    )
  )
}

/** @param uids  distinct, in any order. */
export function pageOf(
  uids: readonly number[],
  { limit, from, reverse }: Pick<TaskPageQuery, 'limit' | 'from' | 'reverse'>,
): { readonly uids: readonly number[]; readonly next: number | null } {
  const ordered = [...uids].sort((a, b) => (reverse ? a - b : b - a))
  const rest = from === undefined ? ordered : ordered.filter((uid) => (reverse ? uid >= from : uid <= from))
  return { uids: rest.slice(0, limit), next: rest[limit] ?? null }
}
