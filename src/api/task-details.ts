/** `details` of tasks that wait (M-C1), from what they are to do. Pure; secrets are masked (M-G6). */
import { unreachable } from '../lib/assert.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { exportDetails, type KeptExport } from './export-body.ts'
import type { RuleOperation } from './search-rule.ts'
import { maskSettings } from './secrets.ts'

/** What details tell of an operation. */
export type DetailedOperation =
  | { readonly kind: 'documents-put' | 'documents-delete' | 'documents-clear' }
  | { readonly kind: 'documents-delete-by-filter'; readonly filter: Json }
  | {
      readonly kind: 'documents-edit'
      readonly function: string
      readonly filter: Json | null
      readonly context: JsonObject | null
    }
  | { readonly kind: 'settings'; readonly settings: JsonObject }
  | { readonly kind: 'index-create'; readonly primaryKey: string | null }
  | { readonly kind: 'index-update'; readonly primaryKey: string | null; readonly uid: string | null }
  | { readonly kind: 'index-delete' | 'index-compact' | 'dump' | 'snapshot' }
  | {
      readonly kind: 'index-swap'
      readonly swaps: readonly { readonly indexes: readonly [string, string]; readonly rename: boolean }[]
    }
  | { readonly kind: 'task-cancel' | 'task-delete' }
  | ({ readonly kind: 'export' } & KeptExport)
  | RuleOperation

/** What the operation itself does not say. */
export interface TaskCounts {
  /** Of the index; null for operations of the whole instance. */
  readonly uid: string | null
  /** Documents or ids in the payload. */
  readonly received: number
  /** Tasks that a cancel or a deletion selected when it arrived, and the query string that it was asked with. */
  readonly matched: number
  readonly originalFilter: string
}

/** Counts of what was done are null. `null` = tasks of the kind have no details. */
export function waitingDetails(operation: DetailedOperation, counts: TaskCounts): Json {
  const { uid, received, matched: matchedTasks, originalFilter } = counts
  switch (operation.kind) {
    case 'documents-put':
      return { receivedDocuments: received, indexedDocuments: null }
    case 'documents-delete':
      return { providedIds: received, deletedDocuments: null, originalFilter: null }
    case 'documents-delete-by-filter':
      return { providedIds: 0, deletedDocuments: null, originalFilter: JSON.stringify(operation.filter) }
    case 'documents-clear':
    case 'index-delete':
    case 'rules-clear':
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
      return { swaps: operation.swaps.map(({ indexes, rename }) => ({ indexes: [...indexes], rename })) }
    case 'task-cancel':
      return { matchedTasks, canceledTasks: null, originalFilter }
    case 'task-delete':
      return { matchedTasks, deletedTasks: null, originalFilter }
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
    default:
      return unreachable(operation)
  }
}
