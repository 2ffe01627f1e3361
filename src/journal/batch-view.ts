/** A batch as clients see it (M-C9), from its tasks. Pure. */
import { renderDuration, renderTime, type TaskFacts } from '../api/task-view.ts'
import type { BatchView, TaskKind, TaskStatus } from '../api/tasks.ts'
import { isObject, type Json } from '../lib/json.ts'

/** @param tasks  every task of the batch that is still listed, at least one, ascending. */
export function batchView(uid: number, tasks: readonly TaskFacts[]): BatchView {
  const finished = tasks.map((task) => task.finishedAt)
  const startedAt = Math.min(...tasks.map((task) => task.startedAt ?? task.finishedAt ?? task.enqueuedAt))
  const finishedAt = finished.includes(null) ? null : Math.max(...finished.map((at) => at ?? 0))
  const status: Partial<Record<TaskStatus, number>> = {}
  const types: Partial<Record<TaskKind, number>> = {}
  const indexUids: Record<string, number> = {}
  for (const task of tasks) {
    status[task.status] = (status[task.status] ?? 0) + 1
    types[task.type] = (types[task.type] ?? 0) + 1
    if (task.indexUid !== null) indexUids[task.indexUid] = (indexUids[task.indexUid] ?? 0) + 1
  }
  return {
    uid,
    progress: null,
    details: tasks.reduce<Json>((sum, task) => addDetails(sum, task), {}),
    stats: {
      totalNbTasks: tasks.length,
      status,
      types,
      indexUids,
      ...(finishedAt === null ? {} : { progressTrace: { 'processing tasks': `${finishedAt - startedAt}.00ms` } }),
    },
    duration: finishedAt === null ? null : renderDuration(finishedAt - startedAt),
    startedAt: renderTime(startedAt),
    finishedAt: finishedAt === null ? null : renderTime(finishedAt),
    batchStrategy: strategyOf(tasks),
  }
}

const lonely: ReadonlySet<TaskKind> = new Set([
  'indexCreation',
  'indexUpdate',
  'indexSwap',
  'indexCompaction',
  'documentEdition',
  'dumpCreation',
  'export',
  'taskCancelation',
])

/** Why the batch holds these tasks, in the reference's words. Cancelled tasks are in the batch of what cancelled them. */
function strategyOf(tasks: readonly TaskFacts[]): string {
  const alone = tasks.findLast(({ type }) => lonely.has(type))
  if (alone !== undefined) {
    return `created batch containing only task with id ${alone.uid} of type \`${alone.type}\` that cannot be batched with any other task.`
  }
  const deletion = tasks.find(({ type }) => type === 'indexDeletion')
  if (deletion !== undefined) return `stopped after task with id ${deletion.uid} because it deletes the index`
  const uid = tasks[0]?.indexUid ?? null
  return uid === null ? 'batched all enqueued tasks' : `batched all enqueued tasks for index \`${uid}\``
}

/** Numbers are added, filters are joined by `&`, the rest is taken over; a null says something only in settings. */
function addDetails(sum: Json, { type, details: more }: TaskFacts): Json {
  if (!isObject(sum) || !isObject(more)) return sum
  const result: Record<string, Json> = { ...sum }
  for (const [name, value] of Object.entries(more)) {
    const before = result[name]
    if (typeof before === 'number' && typeof value === 'number') result[name] = before + value
    else if (name === 'originalFilter' && typeof before === 'string' && typeof value === 'string') {
      result[name] = `${before}&${value}`
    } else if (value !== null || (before === undefined && type === 'settingsUpdate')) result[name] = value
  }
  return result
}
