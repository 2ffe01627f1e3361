/**
 * What one batch does: work inside an index goes to the indexing worker; indexes themselves and tasks are changed here.
 * Answers everything that is to be committed; nothing is visible before that.
 */
import { ApiError, type ErrorBody, errorBody } from '../api/errors.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { BatchTally, sizeText, type TableSizes } from './batch-record.ts'
import type { EngineOperation } from './core.ts'
import { type IndexRegistry, withState } from './index-registry.ts'
import { type IndexSwap, swapIndexes } from './index-swap.ts'
import type { RegistryEntry } from './meta-env.ts'
import { renameTasks } from './renamed-tasks.ts'
import type { RuleBook } from './rule-book.ts'
import { idleDetails, isEnded, type TaskRecord, withDetails } from './task-record.ts'
import type { TaskStore } from './task-store.ts'
import type { CompactionSizes, SentPayload, SentTask, SizedOutcome } from './worker-messages.ts'

export interface TaskResult {
  readonly error: ErrorBody | null
  readonly details: Json
}

export interface BatchResult {
  /** By task, for every task of the batch. */
  readonly results: ReadonlyMap<number, TaskResult>
  /** Tasks that it ended, of which some may be stored already: they are of this batch, ahead of its own. */
  readonly ended?: BatchTally
  /** Of the index's tables. */
  readonly sizes?: TableSizes
  /** Other tasks that the batch changes: cancelled ones, and those of swapped indexes. */
  readonly otherTasks?: readonly TaskRecord[]
  readonly deletedTasks?: readonly number[]
  readonly putIndexes?: readonly RegistryEntry[]
  /** Their folders go with them. */
  readonly deletedIndexes?: readonly RegistryEntry[]
  /** Their folders go while their names stay. */
  readonly replacedIndexes?: readonly RegistryEntry[]
  /** Names that go while their folders stay. */
  readonly renamedIndexes?: readonly string[]
}

export interface ExecutionDeps {
  readonly registry: IndexRegistry
  readonly store: TaskStore
  readonly runInIndex: (folder: string, tasks: readonly SentTask[]) => Promise<SizedOutcome | 'aborted'>
  readonly compact: (folder: string, target: string) => Promise<CompactionSizes>
  /** Answers the dump's name. */
  readonly dump: (record: TaskRecord) => Promise<string>
  readonly snapshot: () => Promise<void>
  readonly rules: RuleBook
  /** Answers `indexes` of the details; `aborted` = given up, to be run again unless it was cancelled. */
  readonly export: (operation: Extract<EngineOperation, { kind: 'export' }>) => Promise<JsonObject | 'aborted'>
  readonly payloadOf: (record: TaskRecord) => SentPayload | null
  readonly documentCount: (folder: string) => Promise<number>
  readonly now: () => number
  /** Tasks that end because another task says so, ahead of the batch's own commit. Durable when it resolves. */
  readonly endTasks: (records: readonly TaskRecord[]) => Promise<void>
}

/**
 * Tasks that one commit cancels or deletes. A batch that asks for more commits the others before, so that requests are
 * answered in between; after a crash it runs again, for what is left.
 */
const pieceMax = 500

/** `records`: the tasks of one batch, at least one, as `batchOf` chose them. */
export async function executeBatch(
  records: readonly TaskRecord[],
  deps: ExecutionDeps,
): Promise<BatchResult | 'aborted'> {
  const first = records[0]!
  const last = records.at(-1)!
  switch (first.operation.kind) {
    case 'task-cancel':
      return cancelTasks(first, deps)
    case 'task-delete':
      return deleteTasks(records, deps)
    case 'index-swap':
      return swap(first, first.operation.swaps, deps)
    case 'index-compact':
      return compactIndex(first, deps)
    case 'dump':
      return succeedAll(records, { dumpUid: await deps.dump(first) })
    case 'snapshot':
      await deps.snapshot()
      return succeedAll(records, {})
    case 'rule-put':
    case 'rule-delete':
    case 'rules-clear':
      return changeRules(records, deps)
    case 'export': {
      const indexes = await deps.export(first.operation)
      return indexes === 'aborted' ? 'aborted' : succeedAll(records, { indexes })
    }
    default:
      return last.operation.kind === 'index-delete' ? deleteIndex(records, deps) : runInIndex(records, deps)
  }
}

async function runInIndex(records: readonly TaskRecord[], deps: ExecutionDeps): Promise<BatchResult | 'aborted'> {
  const { registry, now } = deps
  const first = records[0]!
  const uid = first.indexUid ?? ''
  const known = registry.get(uid)
  const { operation } = first
  if (operation.kind === 'index-create' && known !== undefined) return failAll(records, alreadyExists(uid))
  if (known === undefined && !mayCreate(first)) return failAll(records, notFound(uid))
  if (operation.kind === 'index-update' && operation.uid !== null && operation.uid !== uid) {
    if (registry.get(operation.uid) !== undefined) return failAll(records, alreadyExists(operation.uid))
  }
  const entry = known ?? registry.draft(uid, now())
  const tasks = records.map((record) => ({
    uid: record.uid,
    operation: record.operation,
    payload: deps.payloadOf(record),
  }))
  const outcome = await deps.runInIndex(registry.folderOf(entry), tasks)
  if (outcome === 'aborted') return 'aborted'
  const results = new Map<number, TaskResult>()
  const byUid = new Map(records.map((record) => [record.uid, record]))
  for (const { uid: task, error, details } of outcome.outcomes) {
    const record = byUid.get(task)
    if (record !== undefined) results.set(task, { error: named(error, record), details: withDetails(record, details) })
  }
  const next = withState(entry, outcome.index)
  const isRenamed =
    operation.kind === 'index-update' &&
    operation.uid !== null &&
    operation.uid !== uid &&
    !results.get(first.uid)?.error
  const { sizes } = outcome
  if (!isRenamed) return { results, putIndexes: [next], sizes }
  const name = operation.uid ?? uid
  const otherTasks = await renameTasks(deps.store, new Map([[uid, name]]), first.uid)
  return { results, otherTasks, putIndexes: [{ ...next, uid: name }], renamedIndexes: [uid] }
}

const mayCreate = ({ operation, allowIndexCreation }: TaskRecord): boolean =>
  operation.kind === 'index-create' ||
  ((operation.kind === 'documents-put' || operation.kind === 'settings') && allowIndexCreation)

/** Rules are changed before their tasks end; a crash in between runs the batch again, with the same outcome. */
async function changeRules(records: readonly TaskRecord[], { rules }: ExecutionDeps): Promise<BatchResult> {
  // What a later task of the batch clears need not be written before.
  if (records.at(-1)?.operation.kind === 'rules-clear') {
    const deletedDocuments = await rules.clear()
    const results = records.map((record): [number, TaskResult] => [
      record.uid,
      {
        error: null,
        details: record.operation.kind === 'rules-clear' ? withDetails(record, { deletedDocuments }) : record.details,
      },
    ])
    return { results: new Map(results) }
  }
  for (const { operation } of records) {
    if (operation.kind === 'rule-put') await rules.change(operation.rule, operation.change)
    if (operation.kind === 'rule-delete') await rules.delete(operation.rule)
  }
  return succeedAll(records, {})
}

/** The index goes on in its compact copy; the folder that it leaves goes with the commit. */
async function compactIndex(record: TaskRecord, { registry, compact }: ExecutionDeps): Promise<BatchResult> {
  const uid = record.indexUid ?? ''
  const entry = registry.get(uid)
  if (entry === undefined) return failAll([record], notFound(uid))
  const next = { ...registry.draft(uid, entry.createdAt), primaryKey: entry.primaryKey, updatedAt: entry.updatedAt }
  const { bytesBefore, bytesAfter } = await compact(registry.folderOf(entry), registry.folderOf(next))
  const details = withDetails(record, {
    preCompactionSize: sizeText(bytesBefore),
    postCompactionSize: sizeText(bytesAfter),
  })
  return { results: new Map([[record.uid, { error: null, details }]]), putIndexes: [next], replacedIndexes: [entry] }
}

async function deleteIndex(records: readonly TaskRecord[], deps: ExecutionDeps): Promise<BatchResult> {
  const uid = records[0]!.indexUid ?? ''
  const entry = deps.registry.get(uid)
  if (entry === undefined && !mayCreate(records[0]!)) return failAll(records, notFound(uid))
  const count = entry === undefined ? 0 : await documentCount(deps.registry.folderOf(entry), deps)
  const results = new Map(
    records.map((record): [number, TaskResult] => [
      record.uid,
      {
        error: null,
        details:
          record.operation.kind === 'index-delete'
            ? withDetails(record, { deletedDocuments: count })
            : idleDetails(record),
      },
    ]),
  )
  return { results, deletedIndexes: entry === undefined ? [] : [entry] }
}

/** An index whose file is damaged can be deleted: how much it held is not known then. */
async function documentCount(folder: string, deps: ExecutionDeps): Promise<number> {
  try {
    return await deps.documentCount(folder)
  } catch (error) {
    if (error instanceof ApiError && error.code === 'invalid_store_file') return 0
    throw error
  }
}

async function swap(
  record: TaskRecord,
  swaps: readonly IndexSwap[],
  { registry, store }: ExecutionDeps,
): Promise<BatchResult> {
  const outcome = swapIndexes(swaps, (uid) => registry.get(uid))
  if ('error' in outcome) return failAll([record], outcome.error)
  const otherTasks = await renameTasks(store, outcome.names, record.uid)
  return {
    results: new Map([[record.uid, { error: null, details: record.details }]]),
    otherTasks,
    putIndexes: outcome.put,
    renamedIndexes: outcome.gone,
  }
}

async function cancelTasks(record: TaskRecord, { store, now, endTasks }: ExecutionDeps): Promise<BatchResult> {
  const finishedAt = now()
  const { uid: canceledBy, batchUid, startedAt } = record
  const ended = new BatchTally()
  let piece: TaskRecord[] = []
  let count = 0
  for (const uid of record.selected ?? []) {
    const task = store.get(uid)
    // Those of before a crash move to the batch that goes on.
    const isOurs = task?.canceledBy === canceledBy
    if (task === undefined || (task.status !== 'enqueued' && !isOurs)) continue
    if (piece.length === pieceMax) {
      await endTasks(piece)
      piece = []
    }
    count += 1
    const canceled: TaskRecord = isOurs
      ? { ...task, batchUid, startedAt }
      : { ...task, status: 'canceled', canceledBy, batchUid, startedAt, finishedAt, details: idleDetails(task) }
    ended.add(canceled)
    piece.push(canceled)
  }
  const details = withDetails(record, { canceledTasks: count })
  return { results: new Map([[record.uid, { error: null, details }]]), otherTasks: piece, ended }
}

async function deleteTasks(records: readonly TaskRecord[], { store }: ExecutionDeps): Promise<BatchResult> {
  let piece: number[] = []
  const results = new Map<number, TaskResult>()
  for (const record of records) {
    const inPiece = new Set(piece)
    let count = 0
    for (const uid of record.selected ?? []) {
      const task = store.get(uid)
      if (task === undefined || !isEnded(task.status) || inPiece.has(uid)) continue
      if (piece.length === pieceMax) {
        await store.commit({ tasks: [], deletedTasks: piece })
        piece = []
      }
      piece.push(uid)
      count += 1
    }
    results.set(record.uid, { error: null, details: withDetails(record, { deletedTasks: count }) })
  }
  return { results, deletedTasks: piece }
}

function succeedAll(records: readonly TaskRecord[], details: JsonObject): BatchResult {
  return {
    results: new Map(records.map((record) => [record.uid, { error: null, details: withDetails(record, details) }])),
  }
}

export function failAll(records: readonly TaskRecord[], error: ErrorBody): BatchResult {
  return { results: new Map(records.map((record) => [record.uid, { error, details: idleDetails(record) }])) }
}

const notFound = (uid: string): ErrorBody => errorBody('index_not_found', `Index \`${uid}\` not found.`)
const alreadyExists = (uid: string): ErrorBody => errorBody('index_already_exists', `Index \`${uid}\` already exists.`)

/** Errors that arise while documents are indexed name the index; those of ids and keys do not. */
const namingCodes: ReadonlySet<string> = new Set([
  'invalid_document_geo_field',
  'invalid_document_filter',
  'invalid_vector_dimensions',
  'invalid_vectors_type',
  'vector_embedding_error',
  'invalid_document_fields',
  'max_fields_limit_exceeded',
  'edit_documents_by_function_error',
  'invalid_settings_typo_tolerance',
  'invalid_settings_embedders',
  'internal',
])

function named(error: ErrorBody | null, record: TaskRecord): ErrorBody | null {
  if (error === null) return null
  const isNamed =
    namingCodes.has(error.code) ||
    record.operation.kind === 'documents-edit' ||
    (error.code === 'index_primary_key_already_exists' && record.operation.kind === 'index-update')
  return isNamed ? { ...error, message: `Index \`${record.indexUid}\`: ${error.message}` } : error
}
