/** Export of a project's indexes to another Meilisearch (M-H3). Safe to repeat: documents are replaced by id. */
import { matchesIndexPattern } from '../api/index-uid.ts'
import type { Engine, EngineReply } from '../engine/engine.ts'
import type { Operation } from '../journal/change.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { IndexEntry } from '../store/catalogue.ts'
import { WorkFailure } from './work-failure.ts'

/** One index of a project. `documents` is read once, in order, and never held as a whole. */
export interface ProjectIndex {
  readonly entry: IndexEntry
  /** Secrets in clear. */
  readonly settings: JsonObject
  /** JSON texts. */
  readonly documents: AsyncIterable<string>
}

/** Bytes of documents in one request when the export names no `payloadSize`: the reference's least, 20 MiB. */
export const exportChunkBytes = 20 * 1024 * 1024
const pollMs = 100

type ExportOperation = Extract<Operation, { kind: 'export' }>

/**
 * Sends every index that a pattern of the export names; the first matching pattern rules.
 *
 * @param details  the task's details as enqueued; answered with the indexes that were sent, each with `matched_documents`.
 * @throws WorkFailure when the target refuses or cannot be reached.
 */
export async function exportIndexes(
  operation: ExportOperation,
  details: Json,
  indexes: AsyncIterable<ProjectIndex>,
  target: Engine,
  signal: AbortSignal,
): Promise<Json> {
  const sent: Record<string, Json> = {}
  for await (const index of indexes) {
    const { uid } = index.entry
    const pattern = Object.keys(operation.indexes).find((each) => matchesIndexPattern(each, uid))
    const rule = pattern === undefined ? undefined : operation.indexes[pattern]
    if (rule === undefined || !isObject(rule)) continue
    sent[uid] = { ...rule, matched_documents: await exportIndex(index, target, rule.overrideSettings === true, signal) }
  }
  return details !== null && isObject(details) ? { ...details, indexes: sent } : details
}

async function exportIndex(
  { entry, settings, documents }: ProjectIndex,
  target: Engine,
  isOverriding: boolean,
  signal: AbortSignal,
): Promise<number> {
  const { uid, primaryKey } = entry
  const present = accepted(await target.indexes(signal)).some((index) => index.uid === uid)
  if (!present) await ended(target, await target.createIndex(uid, primaryKey, signal), signal)
  if (!present || isOverriding) await ended(target, await target.applySettings(uid, settings, signal), signal)
  let count = 0
  let lines: Buffer[] = []
  let byteCount = 0
  const flush = async () => {
    if (lines.length === 0) return
    const body = lines
    lines = []
    byteCount = 0
    const sent = await target.putDocuments(uid, { merge: false, primaryKey, mark: 'export' }, chunks(body), signal)
    await ended(target, sent, signal)
  }
  for await (const document of documents) {
    const line = Buffer.from(`${document}\n`)
    lines.push(line)
    byteCount += line.byteLength
    count += 1
    if (byteCount >= exportChunkBytes) await flush()
  }
  await flush()
  return count
}

async function* chunks(parts: readonly Buffer[]): AsyncIterable<Uint8Array> {
  yield* parts
}

function accepted<T>(reply: EngineReply<T>): T {
  if (reply.kind === 'answered') return reply.value
  const reason = reply.kind === 'refused' ? `${reply.error.code}: ${reply.error.message}` : reply.reason
  throw new WorkFailure(`Failed to export documents to remote server: ${reason}`)
}

async function ended(target: Engine, reply: EngineReply<number>, signal: AbortSignal): Promise<void> {
  const uid = accepted(reply)
  for (;;) {
    signal.throwIfAborted()
    const [task] = accepted(await target.tasks([uid], signal))
    if (task?.status === 'succeeded') return
    if (task?.status === 'failed' || task?.status === 'canceled')
      throw new WorkFailure(`Failed to export documents to remote server: ${task.error?.message ?? task.status}`)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}
