/** Tasks as the engine keeps them, and what clients see of them (M-C1 to M-C3). */

import type { ErrorBody } from '../api/errors.ts'
import { exportDetails } from '../api/export-body.ts'
import { maskSettings } from '../api/secrets.ts'
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
  switch (operation.kind) {
    case 'documents-put':
      return { receivedDocuments: received, indexedDocuments: null }
    case 'documents-delete':
      return { providedIds: received, deletedDocuments: null, originalFilter: null }
    case 'documents-delete-by-filter':
      return { providedIds: 0, deletedDocuments: null, originalFilter: JSON.stringify(operation.filter) }
    case 'documents-clear':
    case 'index-delete':
      return { deletedDocuments: null }
    case 'documents-edit':
      return {
        editedDocuments: null,
        deletedDocuments: null,
        originalFilter: operation.filter === null ? null : JSON.stringify(operation.filter),
        context: operation.context,
        function: operation.function,
      }
    case 'settings':
      return maskSettings(operation.settings)
    case 'index-create':
      return { primaryKey: operation.primaryKey }
    case 'index-update':
      return operation.uid === null
        ? { primaryKey: operation.primaryKey }
        : { primaryKey: operation.primaryKey, oldIndexUid: uid, newIndexUid: operation.uid }
    case 'index-compact':
      return { preCompactionSize: null, postCompactionSize: null }
    case 'index-swap':
      return { swaps: operation.swaps.map(({ indexes, rename }) => ({ indexes, rename })) }
    case 'task-cancel':
      return { matchedTasks: selected?.length ?? 0, canceledTasks: null, originalFilter: operation.originalFilter }
    case 'task-delete':
      return { matchedTasks: selected?.length ?? 0, deletedTasks: null, originalFilter: operation.originalFilter }
    case 'dump':
      return { dumpUid: null }
    case 'snapshot':
      return null
    case 'export':
      return exportDetails(operation)
    case 'rule-put':
      return { rule: operation.change, updatedRules: 1 }
    case 'rule-delete':
      return { updatedRules: 1 }
    case 'rules-clear':
      return { deletedDocuments: null }
  }
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
