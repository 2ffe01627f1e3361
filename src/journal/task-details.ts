/** `details` of tasks (M-C1), from the operation alone. Pure; secrets are masked (M-G6). */

import type { NamedRule, RuleOperation } from '../api/search-rule.ts'
import { maskSecret, maskSettings } from '../api/secrets.ts'
import type { TaskStatus } from '../api/tasks.ts'
import { unreachable } from '../lib/assert.ts'
import { isObject, type Json } from '../lib/json.ts'
import type { Operation } from './change.ts'

/** Details of a task that has not finished: counts are null. `null` = the kind has none. */
export function initialDetails(operation: Operation, indexUid: string | null): Json {
  switch (operation.kind) {
    case 'documents-put':
      return { receivedDocuments: operation.received, indexedDocuments: null }
    case 'documents-delete':
      return { providedIds: operation.provided, deletedDocuments: null, originalFilter: null }
    case 'documents-delete-by-filter':
      return { providedIds: 0, deletedDocuments: null, originalFilter: JSON.stringify(operation.filter) }
    case 'documents-clear':
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
        : { primaryKey: operation.primaryKey, oldIndexUid: indexUid, newIndexUid: operation.uid }
    case 'index-delete':
      return { deletedDocuments: null }
    case 'index-compact':
      return { preCompactionSize: null, postCompactionSize: null }
    case 'index-swap':
      return { swaps: operation.swaps.map(({ indexes, rename }) => ({ indexes: [...indexes], rename })) }
    case 'task-cancel':
      return { matchedTasks: operation.tasks.length, canceledTasks: null, originalFilter: operation.filter }
    case 'task-delete':
      return { matchedTasks: operation.tasks.length, deletedTasks: null, originalFilter: operation.filter }
    case 'dump':
      return { dumpUid: null }
    case 'snapshot':
      return null
    case 'export':
      return {
        url: operation.url,
        ...(operation.apiKey === null ? {} : { apiKey: maskSecret(operation.apiKey) }),
        ...(operation.payloadSize === null ? {} : { payloadSize: operation.payloadSize }),
        indexes: operation.indexes,
      }
    case 'rule-put':
      return { rule: operation.change, updatedRules: 1 }
    case 'rule-delete':
      return { updatedRules: 1 }
    case 'rules-clear':
      return { deletedDocuments: null }
    default:
      return unreachable(operation)
  }
}

const counts = ['indexedDocuments', 'deletedDocuments', 'editedDocuments', 'canceledTasks', 'deletedTasks']

/** Details at the end: what delivery reported, over `initial`; counts that nobody filled are 0, or what a put held. */
export function finishedDetails(operation: Operation, initial: Json, status: TaskStatus, reported: Json | null): Json {
  if (!isObject(initial)) return reported ?? initial
  const details: Record<string, Json> = { ...initial, ...(isObject(reported) ? reported : {}) }
  for (const name of counts) if (details[name] === null) details[name] = 0
  if (operation.kind === 'documents-put' && status === 'succeeded' && !isObject(reported)) {
    details.indexedDocuments = operation.distinct
  }
  return details
}

/** What a change of search rules reports. */
export function ruleCounts(operation: RuleOperation, before: readonly NamedRule[]): Readonly<Record<string, number>> {
  return operation.kind === 'rules-clear' ? { deletedDocuments: before.length } : {}
}
