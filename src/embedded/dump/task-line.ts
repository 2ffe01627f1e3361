/**
 * Tasks as lines of a dump's queue (M-H1). Their kinds and details are those of the reference's own task store, which
 * differ from what clients see.
 */
import { byteSize } from '../../api/byte-size.ts'
import { bodyRoot } from '../../api/decode.ts'
import type { ErrorBody } from '../../api/errors.ts'
import { exportDetails } from '../../api/export-body.ts'
import { unreachable } from '../../lib/assert.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import type { EngineOperation } from '../core.ts'
import { firstDetails, type TaskRecord } from '../task-record.ts'
import { readRoaring, writeRoaring } from './roaring-bytes.ts'

/** @param ids  what a waiting deletion by id deletes. */
export function taskLine(record: TaskRecord, ids: readonly string[]): JsonObject {
  const { uid, batchUid, indexUid, status, canceledBy, error, customMetadata } = record
  const details = dumpedDetails(record)
  return {
    uid,
    batchUid,
    indexUid,
    // What runs now runs again where the dump is imported.
    status: status === 'processing' ? 'enqueued' : status,
    type: dumpedKind(record, ids),
    ...(canceledBy === null ? {} : { canceledBy }),
    ...(details === null ? {} : { details }),
    ...(error === null ? {} : { error: { ...error } }),
    enqueuedAt: time(record.enqueuedAt),
    ...(record.startedAt === null ? {} : { startedAt: time(record.startedAt) }),
    ...(record.finishedAt === null ? {} : { finishedAt: time(record.finishedAt) }),
    ...(customMetadata === null ? {} : { customMetadata }),
  }
}

const time = (at: number): string => new Date(at).toISOString()

function dumpedKind(
  { operation, indexUid, details, allowIndexCreation, selected }: TaskRecord,
  ids: readonly string[],
): Json {
  switch (operation.kind) {
    case 'documents-put':
      return {
        documentImport: {
          primary_key: operation.primaryKey,
          method: operation.merge ? 'UpdateDocuments' : 'ReplaceDocuments',
          documents_count: numberOf(details, 'receivedDocuments') ?? 0,
          allow_index_creation: allowIndexCreation,
        },
      }
    case 'documents-delete':
      return { documentDeletion: { documents_ids: ids } }
    case 'documents-delete-by-filter':
      return { documentDeletionByFilter: { filter: operation.filter } }
    case 'documents-clear':
      return 'documentClear'
    case 'documents-edit':
      return {
        documentEdition: { filter: operation.filter, context: operation.context, function: operation.function },
      }
    case 'settings':
      return {
        settings: {
          settings: operation.settings,
          is_deletion: false,
          allow_index_creation: allowIndexCreation,
        },
      }
    case 'index-create':
      return { indexCreation: { primary_key: operation.primaryKey } }
    case 'index-update':
      return { indexUpdate: { primary_key: operation.primaryKey, uid: operation.uid } }
    case 'index-delete':
      return 'indexDeletion'
    case 'index-compact':
      return { indexCompaction: { index_uid: indexUid ?? '' } }
    case 'index-swap':
      return { indexSwap: { swaps: operation.swaps.map(({ indexes, rename }) => ({ indexes, rename })) } }
    case 'task-cancel':
      return { taskCancelation: { query: operation.originalFilter, tasks: roaringOf(selected) } }
    case 'task-delete':
      return { tasksDeletion: { query: operation.originalFilter, tasks: roaringOf(selected) } }
    case 'dump':
      return { dumpCreation: { keys: [], instance_uid: null } }
    case 'snapshot':
      return 'snapshotCreation'
    case 'rule-put':
      return { dsrUpdate: { createOrUpdate: { rule_id: operation.rule, update: operation.change } } }
    case 'rule-delete':
      return { dsrUpdate: { deletion: operation.rule } }
    case 'rules-clear':
      return 'dsrClear'
    case 'export':
      return {
        export: {
          url: operation.url,
          api_key: operation.apiKey,
          payload_size: operation.payloadSize,
          indexes: operation.indexes,
        },
      }
    default:
      return unreachable(operation)
  }
}

const roaringOf = (uids: readonly number[] | null): readonly number[] => [...writeRoaring(uids ?? [])]

function dumpedDetails({ operation, details, indexUid }: TaskRecord): JsonObject | null {
  if (details === null || !isObject(details)) return null
  const count = (name: string) => numberOf(details, name)
  const text = (name: string) => (typeof details[name] === 'string' ? details[name] : null)
  switch (operation.kind) {
    case 'documents-put':
      return {
        DocumentAdditionOrUpdate: {
          received_documents: count('receivedDocuments') ?? 0,
          indexed_documents: count('indexedDocuments'),
        },
      }
    case 'documents-delete':
      return {
        DocumentDeletion: { provided_ids: count('providedIds') ?? 0, deleted_documents: count('deletedDocuments') },
      }
    case 'documents-delete-by-filter':
      return {
        DocumentDeletionByFilter: {
          original_filter: text('originalFilter') ?? '',
          deleted_documents: count('deletedDocuments'),
        },
      }
    case 'documents-edit':
      return {
        DocumentEdition: {
          deleted_documents: count('deletedDocuments'),
          edited_documents: count('editedDocuments'),
          original_filter: text('originalFilter'),
          context: operation.context,
          function: operation.function,
        },
      }
    case 'documents-clear':
    case 'rules-clear':
    case 'index-delete':
      return { ClearAll: { deleted_documents: count('deletedDocuments') } }
    case 'settings':
      return { SettingsUpdate: { settings: operation.settings } }
    case 'index-create':
    case 'index-update':
      return {
        IndexInfo: {
          primary_key: text('primaryKey'),
          new_index_uid: text('newIndexUid'),
          old_index_uid: text('oldIndexUid'),
        },
      }
    case 'index-compact':
      return {
        IndexCompaction: {
          index_uid: indexUid ?? '',
          pre_compaction_size: text('preCompactionSize'),
          post_compaction_size: text('postCompactionSize'),
        },
      }
    case 'index-swap':
      return { IndexSwap: { swaps: operation.swaps.map(({ indexes, rename }) => ({ indexes, rename })) } }
    case 'task-cancel':
      return {
        TaskCancelation: {
          matched_tasks: count('matchedTasks') ?? 0,
          canceled_tasks: count('canceledTasks'),
          original_filter: operation.originalFilter,
        },
      }
    case 'task-delete':
      return {
        TaskDeletion: {
          matched_tasks: count('matchedTasks') ?? 0,
          deleted_tasks: count('deletedTasks'),
          original_filter: operation.originalFilter,
        },
      }
    case 'dump':
      return { Dump: { dump_uid: text('dumpUid') } }
    case 'snapshot':
      return null
    case 'rule-put':
      return { DsrUpdate: { createOrUpdate: { rule_id: operation.rule, update: operation.change } } }
    case 'rule-delete':
      return { DsrUpdate: { deletion: operation.rule } }
    case 'export':
      return {
        Export: {
          url: operation.url,
          api_key: operation.apiKey,
          payload_size: operation.payloadSize,
          indexes: details.indexes ?? {},
        },
      }
    default:
      return unreachable(operation)
  }
}

const numberOf = (details: Json, name: string): number | null => {
  const value = details !== null && isObject(details) ? details[name] : undefined
  return typeof value === 'number' ? value : null
}

/** A task of a dump, with the ids that a waiting deletion deletes. */
export interface ReadTask {
  readonly record: TaskRecord
  readonly ids: readonly string[]
}

/** Undefined for kinds that this engine does not know: such tasks are left out. */
export function readTaskLine(line: JsonObject): ReadTask | undefined {
  const { kind, body } = tagged(line.type)
  const operation = readOperation(kind, body)
  const status = taskStatuses.find((name) => name === line.status)
  const uid = numberOf(line, 'uid')
  if (operation === undefined || status === undefined || uid === null) return undefined
  const selected = Array.isArray(body.tasks) ? readRoaring(Uint8Array.from(body.tasks.map(Number))) : null
  const record: TaskRecord = {
    uid,
    batchUid: numberOf(line, 'batchUid'),
    indexUid: typeof line.indexUid === 'string' ? line.indexUid : null,
    status,
    operation,
    allowIndexCreation: body.allow_index_creation === true,
    payload: null,
    details: readDetails(operation, line.details),
    error: readError(line.error),
    canceledBy: numberOf(line, 'canceledBy'),
    selected,
    enqueuedAt: readTime(line.enqueuedAt) ?? 0,
    startedAt: readTime(line.startedAt),
    finishedAt: readTime(line.finishedAt),
    customMetadata: typeof line.customMetadata === 'string' ? line.customMetadata : null,
  }
  const ids = Array.isArray(body.documents_ids) ? body.documents_ids.map(String) : []
  return { record, ids }
}

const taskStatuses = ['enqueued', 'succeeded', 'failed', 'canceled'] as const

/** `"name"`, or `{"name": body}`. */
function tagged(value: Json | undefined): { readonly kind: string; readonly body: JsonObject } {
  if (typeof value === 'string') return { kind: value, body: {} }
  const [entry] = value !== undefined && value !== null && isObject(value) ? Object.entries(value) : []
  return { kind: entry?.[0] ?? '', body: entry !== undefined && isObject(entry[1]) ? entry[1] : {} }
}

const textOrNull = (value: Json | undefined): string | null => (typeof value === 'string' ? value : null)

function readOperation(kind: string, body: JsonObject): EngineOperation | undefined {
  switch (kind) {
    case 'documentImport':
      return {
        kind: 'documents-put',
        merge: body.method === 'UpdateDocuments',
        skipCreation: false,
        primaryKey: textOrNull(body.primary_key),
      }
    case 'documentDeletion':
      return { kind: 'documents-delete' }
    case 'documentDeletionByFilter':
      return { kind: 'documents-delete-by-filter', filter: body.filter ?? null }
    case 'documentClear':
      return { kind: 'documents-clear' }
    case 'documentEdition':
      return {
        kind: 'documents-edit',
        function: textOrNull(body.function) ?? '',
        filter: body.filter ?? null,
        context: body.context !== undefined && isObject(body.context) ? body.context : null,
      }
    case 'settings':
      return { kind: 'settings', settings: body.settings !== undefined && isObject(body.settings) ? body.settings : {} }
    case 'indexCreation':
      return { kind: 'index-create', primaryKey: textOrNull(body.primary_key) }
    case 'indexUpdate':
      return { kind: 'index-update', primaryKey: textOrNull(body.primary_key), uid: textOrNull(body.uid) }
    case 'indexDeletion':
      return { kind: 'index-delete' }
    case 'indexCompaction':
      return { kind: 'index-compact' }
    case 'indexSwap':
      return { kind: 'index-swap', swaps: readSwaps(body.swaps) }
    case 'taskCancelation':
      return { kind: 'task-cancel', filter: {}, originalFilter: textOrNull(body.query) ?? '' }
    case 'tasksDeletion':
      return { kind: 'task-delete', filter: {}, originalFilter: textOrNull(body.query) ?? '' }
    case 'dumpCreation':
      return { kind: 'dump' }
    case 'snapshotCreation':
      return { kind: 'snapshot' }
    case 'dsrUpdate': {
      const put = isObject(body.createOrUpdate ?? null) ? (body.createOrUpdate as JsonObject) : undefined
      if (put === undefined) return { kind: 'rule-delete', rule: textOrNull(body.deletion) ?? '' }
      const change = isObject(put.update ?? null) ? (put.update as JsonObject) : {}
      return { kind: 'rule-put', rule: textOrNull(put.rule_id) ?? '', change }
    }
    case 'dsrClear':
      return { kind: 'rules-clear' }
    case 'export':
      return {
        kind: 'export',
        url: textOrNull(body.url) ?? '',
        apiKey: textOrNull(body.api_key),
        payloadSize: readByteSize(body.payload_size ?? null),
        indexes: body.indexes !== undefined && isObject(body.indexes) ? body.indexes : {},
      }
    default:
      return undefined
  }
}

function readByteSize(value: Json): number | null {
  try {
    return value === null ? null : byteSize(value, bodyRoot)
  } catch {
    return null
  }
}

function readSwaps(value: Json | undefined) {
  const swaps = Array.isArray(value) ? value : []
  return swaps.flatMap((swap) => {
    if (!isObject(swap) || !Array.isArray(swap.indexes)) return []
    const [left, right] = swap.indexes
    return [{ indexes: [String(left), String(right)] as const, rename: swap.rename === true }]
  })
}

/** Details as clients see them. */
function readDetails(operation: EngineOperation, value: Json | undefined): Json {
  const { kind, body } = tagged(value)
  if (kind === '') return null
  const names: Readonly<Record<string, string>> = {
    received_documents: 'receivedDocuments',
    indexed_documents: 'indexedDocuments',
    provided_ids: 'providedIds',
    deleted_documents: 'deletedDocuments',
    edited_documents: 'editedDocuments',
    original_filter: 'originalFilter',
    primary_key: 'primaryKey',
    new_index_uid: 'newIndexUid',
    old_index_uid: 'oldIndexUid',
    pre_compaction_size: 'preCompactionSize',
    post_compaction_size: 'postCompactionSize',
    matched_tasks: 'matchedTasks',
    canceled_tasks: 'canceledTasks',
    deleted_tasks: 'deletedTasks',
    dump_uid: 'dumpUid',
  }
  if (kind === 'SettingsUpdate') return body.settings ?? {}
  if (operation.kind === 'rule-put' || operation.kind === 'rule-delete') return firstDetails(operation, null, 0, null)
  if (operation.kind === 'export')
    return exportDetails({ ...operation, indexes: isObject(body.indexes ?? null) ? (body.indexes as JsonObject) : {} })
  const shown: Record<string, Json> = {}
  for (const [name, each] of Object.entries(body)) {
    if (name === 'index_uid' || ((name === 'new_index_uid' || name === 'old_index_uid') && each === null)) continue
    shown[names[name] ?? name] = each
  }
  if (operation.kind === 'documents-delete') shown.originalFilter = null
  if (operation.kind === 'documents-delete-by-filter') shown.providedIds = 0
  return shown
}

function readError(value: Json | undefined): ErrorBody | null {
  if (value === undefined || value === null || !isObject(value)) return null
  const { message, code, type, link } = value
  const kind = (['auth', 'internal', 'system'] as const).find((each) => each === type) ?? 'invalid_request'
  return { message: String(message), code: String(code), type: kind, link: String(link) }
}

function readTime(value: Json | undefined): number | null {
  const at = typeof value === 'string' ? Date.parse(value) : Number.NaN
  return Number.isNaN(at) ? null : at
}
