/** `details` of the tasks that changes are (M-C1), from the operation alone and at their end. Pure. */

import type { NamedRule, RuleOperation } from '../api/search-rule.ts'
import { waitingDetails } from '../api/task-details.ts'
import type { TaskStatus } from '../api/tasks.ts'
import { isObject, type Json } from '../lib/json.ts'
import type { Operation } from './change.ts'

/** Details of a task that has not finished: counts are null. `null` = the kind has none. */
export function initialDetails(operation: Operation, uid: string | null): Json {
  const { kind } = operation
  const selection = kind === 'task-cancel' || kind === 'task-delete' ? operation : { tasks: [], filter: '' }
  return waitingDetails(operation, {
    uid,
    received: kind === 'documents-put' ? operation.received : kind === 'documents-delete' ? operation.provided : 0,
    matched: selection.tasks.length,
    originalFilter: selection.filter,
  })
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
