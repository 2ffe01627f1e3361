/** Tasks and batches: read from the journal, which counts them per project (M-A7, M-C6, M-C7). */
import { byteSizeText } from '../api/byte-size.ts'
import { ApiError } from '../api/errors.ts'
import { decodeBatchUid, decodeTaskPage, decodeTaskSelection, decodeTaskUid } from '../api/task-query.ts'
import { batchNotFound, taskNotFound } from '../api/task-view.ts'
import type { TaskView } from '../api/tasks.ts'
import { seesIndex } from '../control/principal.ts'
import { json } from './answer.ts'
import { append } from './append.ts'
import { type Call, type Handler, param } from './exchange.ts'

/** Patterns of a key limited to some indexes. */
function authorised(call: Call): readonly string[] | undefined {
  return call.principal.seesAllIndexes ? undefined : call.principal.indexes
}

/** Clocks of workers and gateways may differ by so much. */
const clockSlackMs = 2_000

/**
 * A client that saw its task succeed finds what it wrote, here and now: the routes that the task relied on are taken over
 * before it is shown as finished (design 2, rule 4).
 */
async function takeOver(call: Call, tasks: readonly Pick<TaskView, 'finishedAt'>[]): Promise<void> {
  const { follower, spread } = call.parts
  const isNews = ({ finishedAt }: Pick<TaskView, 'finishedAt'>) =>
    finishedAt !== null && Date.parse(finishedAt) + clockSlackMs > follower.asOf
  if (tasks.some(isNews)) await follower.refresh()
  if (tasks.some(({ finishedAt }) => finishedAt !== null)) spread.news.told(call.principal.project.id)
}

/** `GET /tasks`. */
export const listTasks: Handler = async (call) => {
  const query = decodeTaskPage(call.search)
  const { results, total, from, next } = await call.parts.journal.tasks(
    call.principal.project.id,
    query,
    authorised(call),
  )
  await takeOver(call, results)
  return json(200, { results, total, limit: query.limit, from, next })
}

/** `GET /tasks/{task}`. */
export const readTask: Handler = async (call) => {
  const uid = decodeTaskUid(param(call, 'task'))
  const task = await visibleTask(call, uid)
  await takeOver(call, [task])
  return json(200, task)
}

async function visibleTask(call: Call, uid: number): Promise<TaskView> {
  const task = await call.parts.journal.task(call.principal.project.id, uid)
  if (task === undefined) throw taskNotFound(uid)
  if (!call.principal.seesAllIndexes && (task.indexUid === null || !seesIndex(call.principal, task.indexUid))) {
    throw taskNotFound(uid)
  }
  return task
}

/** `GET /tasks/{task}/documents`. */
export const readTaskDocuments: Handler = async (call) => {
  const uid = decodeTaskUid(param(call, 'task'))
  const task = await visibleTask(call, uid)
  const change = await call.parts.journal.change(call.principal.project.id, uid)
  const isOpen = task.status === 'enqueued' || task.status === 'processing'
  if (!isOpen || change?.operation.kind !== 'documents-put' || change.payload === null) {
    throw new ApiError(
      'task_file_not_found',
      `Task \`${uid}\` does not contain any documents. Only \`documentAdditionOrUpdate\` tasks with the statuses \`enqueued\` or \`processing\` contain documents`,
    )
  }
  return {
    kind: 'stream',
    status: 200,
    contentType: 'application/x-ndjson',
    body: call.parts.journal.open(change.payload),
  }
}

/** `POST /tasks/cancel`: 200, and the tasks that match now, whatever comes later. */
export const cancelTasks: Handler = async (call) => {
  const filter = decodeTaskSelection(call.search, 'cancel')
  const tasks = await call.parts.journal.matchingTasks(call.principal.project.id, filter, authorised(call))
  return append(call, { uid: null, operation: { kind: 'task-cancel', filter: `?${call.search}`, tasks } }, 200)
}

/** `DELETE /tasks`. */
export const deleteTasks: Handler = async (call) => {
  const filter = decodeTaskSelection(call.search, 'delete')
  const tasks = await call.parts.journal.matchingTasks(call.principal.project.id, filter, authorised(call))
  return append(call, { uid: null, operation: { kind: 'task-delete', filter: `?${call.search}`, tasks } }, 200)
}

/**
 * `POST /tasks/compact`: the tasks of a project are rows among others in the store, which uses again what deleted ones leave.
 * So it has succeeded at once, and the two sizes are one.
 */
export const compactTasks: Handler = async ({ parts, principal }) => {
  const size = byteSizeText(await parts.journal.taskBytes(principal.project.id))
  return json(200, { preSize: size, postSize: size, status: 'succeeded' })
}

/** `GET /batches`. */
export const listBatches: Handler = async (call) => {
  const query = decodeTaskPage(call.search)
  const { results, total, from, next } = await call.parts.journal.batches(
    call.principal.project.id,
    query,
    authorised(call),
  )
  await takeOver(call, results)
  return json(200, { results, total, limit: query.limit, from, next })
}

/** `GET /batches/{batch}`. */
export const readBatch: Handler = async (call) => {
  const uid = decodeBatchUid(param(call, 'batch'))
  const batch = await call.parts.journal.batch(call.principal.project.id, uid)
  const isVisible =
    batch !== undefined &&
    (call.principal.seesAllIndexes ||
      Object.keys(batch.stats.indexUids).some((indexUid) => seesIndex(call.principal, indexUid)))
  if (!isVisible) throw batchNotFound(uid)
  await takeOver(call, [batch])
  return json(200, batch)
}
