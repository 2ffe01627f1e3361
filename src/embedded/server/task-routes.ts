/** Task and batch routes (M-A7). A key for some indexes sees their tasks only. */

import { byteSizeText } from '../../api/byte-size.ts'
import { ApiError } from '../../api/errors.ts'
import { featureNotEnabled } from '../../api/features.ts'
import { matchesSomeIndexPattern } from '../../api/index-uid.ts'
import { decodeBatchUid, decodeTaskPage, decodeTaskSelection, decodeTaskUid } from '../../api/task-query.ts'
import { batchNotFound, taskNotFound } from '../../api/task-view.ts'
import type { TaskFilter, TaskPageQuery, TaskView } from '../../api/tasks.ts'
import { type Answer, type Call, json, type Route } from './call.ts'
import { type Access, isForAllIndexes } from './key-ring.ts'

export const taskRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/tasks',
    action: 'tasks.get',
    handle: listTasks,
  },
  {
    method: 'GET',
    path: '/tasks/{task}',
    action: 'tasks.get',
    handle: (call) => json(taskOf(call)),
  },
  { method: 'GET', path: '/tasks/{task}/documents', action: 'tasks.get', handle: taskDocuments },
  {
    method: 'POST',
    path: '/tasks/cancel',
    action: 'tasks.cancel',
    handle: (call) => select(call, 'task-cancel', decodeTaskSelection(call.search, 'cancel')),
  },
  {
    method: 'DELETE',
    path: '/tasks',
    action: 'tasks.delete',
    handle: (call) => select(call, 'task-delete', decodeTaskSelection(call.search, 'delete')),
  },
  {
    method: 'POST',
    path: '/tasks/compact',
    action: 'tasks.compact',
    handle: compactTasks,
  },
  {
    method: 'GET',
    path: '/batches',
    action: 'tasks.get',
    handle: (call) => json(call.parts.core.batches(visible(call, decodeTaskPage(call.search)))),
  },
  {
    method: 'GET',
    path: '/batches/{batch}',
    action: 'tasks.get',
    handle(call) {
      const uid = decodeBatchUid(call.params[0] ?? '')
      const batch = call.parts.core.batch(uid)
      if (batch === undefined) throw batchNotFound(uid)
      return json(batch)
    },
  },
]

/** Longest time for which an answer is held, seconds. */
const waitSecondsMax = 30

/**
 * With `Prefer: wait=<seconds>` (RFC 7240) an answer that would list nothing is held until some task has ended: whoever
 * waits for tasks learns of it at once, and need not ask again and again.
 */
async function listTasks(call: Call): Promise<Answer> {
  const query = visible(call, decodeTaskPage(call.search))
  const page = call.parts.core.tasks(query)
  const wanted = /(?:^|[\s,;])wait=(\d{1,6})\b/i.exec(String(call.request.headers.prefer ?? ''))?.[1]
  if (wanted === undefined) return json(page)
  const seconds = Math.min(Number(wanted), waitSecondsMax)
  const applied = { headers: { 'preference-applied': `wait=${seconds}` } }
  if (page.total > 0) return { ...json(page), ...applied }
  await call.parts.core.someTaskEnds(seconds * 1000, call.parts.closing)
  return { ...json(call.parts.core.tasks(query)), ...applied }
}

function taskOf(call: Call): TaskView {
  const uid = decodeTaskUid(call.params[0] ?? '')
  const task = call.parts.core.task(uid)
  if (task === undefined || !maySee(call.access, task.indexUid)) throw taskNotFound(uid)
  return task
}

function maySee(access: Access, uid: string | null): boolean {
  return isForAllIndexes(access) || (uid !== null && matchesSomeIndexPattern(access.indexes, uid))
}

/** Narrows a query to what the caller may see, by the names that exist or were asked for. */
function visible(call: Call, query: TaskPageQuery): TaskPageQuery {
  return { ...query, filter: narrow(call, query.filter) }
}

function narrow(call: Call, filter: TaskFilter): TaskFilter {
  if (isForAllIndexes(call.access)) return filter
  const asked = filter.indexUids ?? call.parts.core.indexes().map(({ uid }) => uid)
  return { ...filter, indexUids: asked.filter((uid) => maySee(call.access, uid)) }
}

async function select(call: Call, kind: 'task-cancel' | 'task-delete', filter: TaskFilter): Promise<Answer> {
  const task = await call.parts.core.enqueue({
    uid: null,
    operation: { kind, filter: narrow(call, filter), originalFilter: `?${call.search}` },
    customMetadata: null,
    allowIndexCreation: false,
  })
  return json(task)
}

/** Done when it answers: unlike the reference, the engine goes on with the new file and is not to be restarted. */
async function compactTasks({ parts }: Call): Promise<Answer> {
  if (!parts.features().taskQueueCompactionRoute)
    throw featureNotEnabled('taskQueueCompactionRoute', 'Using the /tasks/compact route')
  try {
    const { bytesBefore, bytesAfter } = await parts.core.compactTasks()
    return json({ preSize: byteSizeText(bytesBefore), postSize: byteSizeText(bytesAfter), status: 'succeeded' })
  } catch (error) {
    return json({ status: 'failed', errorMessage: error instanceof Error ? error.message : String(error) }, 500)
  }
}

/** Message 67. */
async function taskDocuments(call: Call): Promise<Answer> {
  if (!call.parts.features().getTaskDocumentsRoute)
    throw featureNotEnabled('getTaskDocumentsRoute', 'Getting the documents of an enqueued task')
  const { uid } = taskOf(call)
  const payload = call.parts.core.taskPayload(uid)
  if (payload === undefined)
    throw new ApiError(
      'task_file_not_found',
      `Task \`${uid}\` does not contain any documents. Only \`documentAdditionOrUpdate\` tasks with the statuses \`enqueued\` or \`processing\` contain documents`,
    )
  const pieces: Uint8Array[] = []
  for await (const piece of payload) pieces.push(piece)
  return { status: 200, body: Buffer.concat(pieces), contentType: 'application/x-ndjson' }
}
