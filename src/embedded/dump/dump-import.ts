/** A dump becomes the content of an empty engine, before it serves anything. */
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { rulesIndex } from '../../api/search-rule.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import type { BatchRecord } from '../batch-record.ts'
import type { EngineStore } from '../core.ts'
import type { TaskRecord } from '../task-record.ts'
import { type UnpackedDump, type UnpackedIndex, unpackDump } from './dump-reader.ts'
import { importRules } from './dumped-rules.ts'
import { importState, readTime } from './stored-state.ts'
import { readTaskLine } from './task-line.ts'

/** Where the content goes: an engine that does not run tasks yet. */
export interface EngineLoader {
  /** A folder on the engine's disk for work in progress. */
  readonly folder: string
  readonly store: EngineStore
  /** @throws Error when a document or a setting is refused. */
  addIndex(index: UnpackedIndex): Promise<void>
  addTask(record: TaskRecord, payload: AsyncIterable<Uint8Array> | undefined): Promise<void>
  addBatch(batch: BatchRecord): Promise<void>
}

export interface ImportedDump {
  readonly indexCount: number
  readonly taskCount: number
  /** Tasks of kinds that this engine does not know. */
  readonly skippedTaskCount: number
}

/** @throws DumpInvalid, and what the loader throws. */
export async function importDump(path: string, loader: EngineLoader): Promise<ImportedDump> {
  const folder = await mkdtemp(join(loader.folder, 'dump-'))
  try {
    const dump = await unpackDump(path, folder)
    await importState(dump, loader.store)
    let indexCount = 0
    for await (const index of dump.indexes()) {
      if (index.uid === rulesIndex) {
        await importRules(dump, loader.store)
        continue
      }
      await loader.addIndex(index)
      indexCount += 1
    }
    // Last, so that nothing runs while indexes come in.
    return { indexCount, ...(await importTasks(dump, loader)) }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function importTasks(
  dump: UnpackedDump,
  loader: EngineLoader,
): Promise<{ readonly taskCount: number; readonly skippedTaskCount: number }> {
  let [taskCount, skippedTaskCount] = [0, 0]
  const batchTasks = new Map<number, number[]>()
  for await (const line of dump.lines('tasks/queue.jsonl')) {
    const task = readTaskLine(line)
    if (task === undefined) {
      skippedTaskCount += 1
      continue
    }
    const { record, ids } = task
    const { uid, batchUid, operation } = record
    const isWaiting = record.status === 'enqueued'
    // A dump or snapshot that was being made then is not made again here.
    if (isWaiting && (operation.kind === 'dump' || operation.kind === 'snapshot')) continue
    const payload = !isWaiting
      ? undefined
      : operation.kind === 'documents-delete'
        ? idLines(ids)
        : await dump.payload(uid)
    await loader.addTask(record, payload)
    taskCount += 1
    if (batchUid !== null) batchTasks.set(batchUid, [...(batchTasks.get(batchUid) ?? []), uid])
  }
  for await (const line of dump.lines('batches/queue.jsonl')) {
    const batch = readBatch(line, batchTasks)
    if (batch !== undefined) await loader.addBatch(batch)
  }
  return { taskCount, skippedTaskCount }
}

async function* idLines(ids: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const id of ids) yield Buffer.from(`${JSON.stringify(id)}\n`)
}

function readBatch(line: JsonObject, tasks: ReadonlyMap<number, readonly number[]>): BatchRecord | undefined {
  const { uid, details, stats, startedAt, finishedAt, stopReason } = line
  const finished = readTime(finishedAt)
  if (typeof uid !== 'number' || !tasks.has(uid) || finished === null) return undefined
  const counts = (name: string): Record<string, number> => {
    const value = objectOf(stats)[name]
    return Object.fromEntries(
      Object.entries(objectOf(value)).flatMap(([key, count]) => (typeof count === 'number' ? [[key, count]] : [])),
    )
  }
  return {
    uid,
    tasks: tasks.get(uid)!,
    startedAt: readTime(startedAt) ?? finished,
    finishedAt: finished,
    details: objectOf(details),
    statuses: counts('status'),
    types: counts('types'),
    indexUids: counts('indexUids'),
    strategy: typeof stopReason === 'string' ? stopReason : '',
  }
}

const objectOf = (value: Json | undefined): JsonObject =>
  value !== undefined && value !== null && isObject(value) ? value : {}
