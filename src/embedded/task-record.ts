/** Tasks as the engine keeps them, and what clients see of them (M-C1 to M-C3). */

import type { ErrorBody } from '../api/errors.ts'
import { waitingDetails } from '../api/task-details.ts'
import { renderTask } from '../api/task-view.ts'
import { type TaskStatus, type TaskView, taskKindOf } from '../api/tasks.ts'
import { parseExact } from '../lib/exact-numbers.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { EngineOperation } from './core.ts'

export type StoredPayload =
  | { readonly kind: 'inline'; readonly byteCount: number }
  /** A file of the payload folder, written and synced before the task existed. */
  | { readonly kind: 'file'; readonly name: string; readonly byteCount: number }

export interface TaskRecord {
  readonly uid: number
  readonly batchUid: number | null
  readonly indexUid: string | null
  readonly status: TaskStatus
  readonly operation: EngineOperation
  readonly allowIndexCreation: boolean
  /** null once the task has ended. */
  readonly payload: StoredPayload | null
  readonly details: Json
  readonly error: ErrorBody | null
  readonly canceledBy: number | null
  /** Tasks that a cancel or delete selected when it arrived (M-C7). */
  readonly selected: readonly number[] | null
  readonly enqueuedAt: number
  readonly startedAt: number | null
  readonly finishedAt: number | null
  readonly customMetadata: string | null
  /** The task that renamed this one's index last. */
  readonly renamedBy?: number
}

export const isEnded = (status: TaskStatus): boolean =>
  status === 'succeeded' || status === 'failed' || status === 'canceled'

/** For `exactText` to write: the context of an edit is shown as it was sent. */
export function viewOf(record: TaskRecord): TaskView {
  const { operation, details } = record
  const sent = operation.kind === 'documents-edit' ? operation.contextText : undefined
  const shown = sent === undefined ? details : withDetails(record, { context: parseExact(sent) })
  return renderTask({ ...record, details: shown, type: taskKindOf[operation.kind] })
}

/** Details of a task that waits. */
export function firstDetails(
  operation: EngineOperation,
  uid: string | null,
  received: number,
  selected: readonly number[] | null,
): Json {
  const originalFilter = 'originalFilter' in operation ? operation.originalFilter : ''
  return waitingDetails(operation, { uid, received, matched: selected?.length ?? 0, originalFilter })
}

/** Details of a task that ended without doing its work. */
export function idleDetails(record: TaskRecord): Json {
  const { details } = record
  if (details === null || !isObject(details)) return details
  if (record.operation.kind === 'index-compact') return {}
  const zeros: Record<string, Json> = {}
  // As in the reference, a failed edit says nothing of deletions.
  if (record.operation.kind === 'documents-edit') return { ...details, editedDocuments: 0 }
  for (const name of ['indexedDocuments', 'deletedDocuments', 'editedDocuments', 'canceledTasks', 'deletedTasks'])
    if (details[name] === null) zeros[name] = 0
  return { ...details, ...zeros }
}

export function withDetails(record: TaskRecord, more: JsonObject): Json {
  return record.details !== null && isObject(record.details) ? { ...record.details, ...more } : record.details
}
