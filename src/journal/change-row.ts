/** Changes as rows, and back. What may hold a secret is sealed under the row's own identity. */
import type { ErrorBody } from '../api/errors.ts'
import type { TaskFacts } from '../api/task-view.ts'
import type { TaskKind, TaskStatus } from '../api/tasks.ts'
import { assert } from '../lib/assert.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import type { Opener, Seal } from '../store/key-ring.ts'
import type { ChangeRow } from '../store/tables.ts'
import type { Change, Operation, Payload, Resolution } from './change.ts'
import type { Naming, OpenChange } from './write-index.ts'

/** Column `body`. `operation` is null when it is sealed. */
interface Body {
  readonly operation: Operation | null
  readonly metadata: string | null
  readonly naming: readonly Naming[]
  /** Of the first change of an index: the name that it had then, which tasks do not keep; absent in those of earlier releases. */
  readonly uid?: string
}

/** Column `resolution`: where its payloads are; inline ones are columns of their own. */
interface ResolutionText {
  readonly puts: BlobText | 'inline' | null
  readonly deletes: BlobText | 'inline' | null
  readonly merge: boolean
  readonly putCount: number
  readonly lineCount?: number
  readonly deleteCount: number
  readonly error: ErrorBody | null
}

interface BlobText {
  readonly name: string
  readonly byteCount: number
}

/** Embedders and exports carry keys. */
export function hasSecret({ kind }: Operation): boolean {
  return kind === 'settings' || kind === 'export'
}

/** @param uid  of the first change of an index: its name. */
export function encodeBody(
  operation: Operation,
  metadata: string | null,
  naming: readonly Naming[],
  uid: string | null = null,
): string {
  const known = { operation: hasSecret(operation) ? null : operation, metadata, naming }
  const body: Body = uid === null ? known : { ...known, uid }
  return JSON.stringify(body)
}

/** What a change says of names: which index has which one behind it, and the first name of an index. */
export function namesIn({ body }: Pick<ChangeRow, 'body'>): Pick<Body, 'naming' | 'uid'> {
  return JSON.parse(body) as Body
}

export const sealContexts = {
  operation: (project: string, task: number) => `change:${project}:${task}:operation`,
  deliver: (project: string, task: number) => `change:${project}:${task}:deliver`,
  settings: (index: string) => `index:${index}:settings`,
  settingsDone: (index: string) => `index:${index}:settings-done`,
}

export function sealJson(seal: Seal, value: Json | Operation, context: string): Buffer {
  return seal.seal(JSON.stringify(value), context)
}

export function openSettings(sealing: Opener, sealed: Buffer | null, context: string): JsonObject {
  return sealed === null ? {} : (JSON.parse(sealing.open(sealed, context).toString()) as JsonObject)
}

type BodyRow = Pick<ChangeRow, 'project_id' | 'task' | 'body' | 'secret_sealed'>

function decodeBody(sealing: Opener, row: BodyRow): Body & { readonly operation: Operation } {
  const body = JSON.parse(row.body) as Body
  if (body.operation !== null) return { ...body, operation: body.operation }
  const plain = sealing.open(row.secret_sealed ?? Buffer.of(), sealContexts.operation(row.project_id, row.task))
  return { ...body, operation: JSON.parse(plain.toString()) as Operation }
}

export function parseText<T>(text: string | null): T | null {
  return text === null ? null : (JSON.parse(text) as T)
}

export function jsonText(value: Json | ErrorBody | null): string | null {
  return value === null ? null : JSON.stringify(value)
}

export type OpenRow = BodyRow &
  Pick<
    ChangeRow,
    'position' | 'index_uid' | 'primary_key' | 'may_create' | 'details' | 'refusal' | 'deliver_sealed' | 'status'
  >

export const openColumns =
  'project_id, task, body, secret_sealed, position, index_uid, primary_key, may_create, details, refusal, deliver_sealed, status'

export function decodeOpen(sealing: Opener, row: OpenRow): OpenChange {
  const body = decodeBody(sealing, row)
  return {
    task: row.task,
    position: row.position ?? 0,
    indexUid: row.index_uid ?? '',
    operation: body.operation,
    primaryKey: parseText<string>(row.primary_key),
    mayCreate: row.may_create,
    naming: body.naming,
    details: parseText<Json>(row.details),
    refusal: parseText<ErrorBody>(row.refusal),
    deliver: openDeliver(sealing, row),
    status: row.status as TaskStatus,
  }
}

/** The tasks that a row of a deletion names. */
export function doomedTasks({ body }: Pick<ChangeRow, 'body'>): readonly number[] {
  const { operation } = JSON.parse(body) as Body
  assert(operation?.kind === 'task-delete', 'only deletions name tasks to delete')
  return operation.tasks
}

export function openDeliver(
  sealing: Opener,
  row: Pick<ChangeRow, 'deliver_sealed' | 'project_id' | 'task'>,
): JsonObject | null {
  if (row.deliver_sealed === null) return null
  return openSettings(sealing, row.deliver_sealed, sealContexts.deliver(row.project_id, row.task))
}

export function decodeChange(sealing: Opener, row: ChangeRow): Change {
  const body = decodeBody(sealing, row)
  return {
    project: row.project_id,
    task: row.task,
    index: row.index_id,
    position: row.position,
    indexUid: row.index_uid,
    operation: body.operation,
    payload: payloadOf(row),
    refusal: parseText<ErrorBody>(row.refusal),
    resolution: resolutionOf(row),
    customMetadata: body.metadata,
    status: row.status as TaskStatus,
    error: parseText<ErrorBody>(row.error),
    details: parseText<Json>(row.details),
    batch: row.batch,
    canceledBy: row.canceled_by,
    enqueuedAt: row.enqueued_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
  }
}

function payloadOf({ payload, blob, byte_count }: ChangeRow): Payload | null {
  if (payload !== null) return { kind: 'inline', bytes: payload }
  return blob === null ? null : { kind: 'blob', name: blob, byteCount: byte_count }
}

/** Whether it depends on the state of the index, and is not resolved as a whole. May be true of others. */
export function isResolvable({ operation, body, refusal, resolution }: ChangeRow): boolean {
  if (refusal !== null || resolution !== null) return false
  const isPut = operation === 'documents-put' && body.includes('"skipCreation":true')
  return isPut || operation === 'documents-delete-by-filter' || operation === 'documents-edit'
}

export function resolutionOf(
  row: Pick<ChangeRow, 'resolution' | 'resolution_puts' | 'resolution_deletes'>,
): Resolution | null {
  const text = parseText<ResolutionText>(row.resolution)
  if (text === null) return null
  return {
    puts: resolvedPayload(text.puts, row.resolution_puts),
    deletes: resolvedPayload(text.deletes, row.resolution_deletes),
    merge: text.merge,
    putCount: text.putCount,
    ...(text.lineCount === undefined ? {} : { lineCount: text.lineCount }),
    deleteCount: text.deleteCount,
    error: text.error,
  }
}

function resolvedPayload(text: BlobText | 'inline' | null, bytes: Buffer | null): Payload | null {
  if (text === null) return null
  return text === 'inline' ? { kind: 'inline', bytes: bytes ?? Buffer.of() } : { kind: 'blob', ...text }
}

export function encodeResolution(resolution: Resolution): {
  readonly text: string
  readonly puts: Uint8Array | null
  readonly deletes: Uint8Array | null
} {
  const placeOf = (payload: Payload | null): BlobText | 'inline' | null => {
    if (payload === null) return null
    return payload.kind === 'inline' ? 'inline' : { name: payload.name, byteCount: payload.byteCount }
  }
  const { puts, deletes, merge, putCount, lineCount, deleteCount, error } = resolution
  const counts = { putCount, ...(lineCount === undefined ? {} : { lineCount }), deleteCount }
  const text: ResolutionText = { puts: placeOf(puts), deletes: placeOf(deletes), merge, ...counts, error }
  return {
    text: JSON.stringify(text),
    puts: puts?.kind === 'inline' ? puts.bytes : null,
    deletes: deletes?.kind === 'inline' ? deletes.bytes : null,
  }
}

/** Names of the blobs that a row refers to. */
export function blobsOf(row: Pick<ChangeRow, 'blob' | 'resolution'>): readonly string[] {
  const text = parseText<ResolutionText>(row.resolution)
  const resolved = [text?.puts, text?.deletes].flatMap((place) =>
    place === null || place === undefined || place === 'inline' ? [] : [place.name],
  )
  return row.blob === null ? resolved : [row.blob, ...resolved]
}

export type TaskRow = Pick<
  ChangeRow,
  | 'task'
  | 'batch'
  | 'index_uid'
  | 'status'
  | 'kind'
  | 'canceled_by'
  | 'details'
  | 'error'
  | 'enqueued_at'
  | 'started_at'
  | 'finished_at'
  | 'body'
>

export const taskColumns = [
  'task',
  'batch',
  'index_uid',
  'status',
  'kind',
  'canceled_by',
  'details',
  'error',
  'enqueued_at',
  'started_at',
  'finished_at',
  'body',
] as const

export function decodeTask(row: TaskRow): TaskFacts {
  return {
    uid: row.task,
    batchUid: row.batch,
    indexUid: row.index_uid,
    status: row.status as TaskStatus,
    type: row.kind as TaskKind,
    canceledBy: row.canceled_by,
    details: parseText<Json>(row.details),
    error: parseText<ErrorBody>(row.error),
    enqueuedAt: row.enqueued_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    customMetadata: (JSON.parse(row.body) as Body).metadata,
  }
}
