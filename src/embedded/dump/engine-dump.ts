/** What a dump of this engine holds. Made while no batch runs, so that all indexes are of one moment. */

import { emulatedRelease } from '../../api/names.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { BatchRecord } from '../batch-record.ts'
import type { EngineStore } from '../core.ts'
import type { RegistryEntry } from '../meta-env.ts'
import { RuleBook } from '../rule-book.ts'
import type { TaskRecord } from '../task-record.ts'
import { type DumpContents, type DumpedIndex, type DumpedTask, writeDump } from './dump-writer.ts'
import { dumpedRules } from './dumped-rules.ts'
import { dumpedState } from './stored-state.ts'
import { taskLine } from './task-line.ts'

export interface EngineDumpSource {
  readonly store: EngineStore
  readonly indexes: readonly RegistryEntry[]
  /** Numbers of all tasks, ascending. */
  readonly taskUids: readonly number[]
  readonly task: (uid: number) => TaskRecord | undefined
  readonly payload: (record: TaskRecord) => AsyncIterable<Uint8Array> | undefined
  readonly batchUids: readonly number[]
  readonly batch: (uid: number) => BatchRecord | undefined
  readonly settings: (entry: RegistryEntry) => Promise<JsonObject>
  /** `dump-page` of the search workers. */
  readonly page: (entry: RegistryEntry, from: number) => Promise<Uint8Array>
  /** The task that makes the dump: it stands in it as succeeded. */
  readonly own: { readonly uid: number; readonly dumpUid: string }
  readonly now: number
}

export async function dumpEngine(path: string, source: EngineDumpSource): Promise<void> {
  const contents: DumpContents = {
    ...dumpedState(source.store),
    indexes: indexesOf(source),
    tasks: tasksOf(source),
    batches: batchesOf(source),
  }
  await writeDump(path, contents, emulatedRelease, source.now)
}

async function* indexesOf(source: EngineDumpSource): AsyncGenerator<DumpedIndex> {
  const rules = dumpedRules(new RuleBook(source.store).all, source.now)
  if (rules !== undefined) yield rules
  for (const entry of source.indexes)
    yield { entry, settings: await source.settings(entry), documents: documentsOf(source, entry) }
}

async function* documentsOf({ page }: EngineDumpSource, entry: RegistryEntry): AsyncGenerator<Uint8Array> {
  for (let from: number | undefined = 0; from !== undefined; ) {
    const bytes: Uint8Array = await page(entry, from)
    const lineEnd: number = bytes.indexOf(10)
    yield bytes.subarray(lineEnd + 1)
    const next = Buffer.from(bytes.subarray(0, lineEnd)).toString('latin1')
    from = next === '' ? undefined : Number(next)
  }
}

async function* tasksOf({ taskUids, task, payload, own, now }: EngineDumpSource): AsyncGenerator<DumpedTask> {
  for (const [place, uid] of taskUids.entries()) {
    if (place % 500 === 499) await new Promise((resolve) => setImmediate(resolve))
    const record = task(uid)
    if (record === undefined) continue
    if (uid === own.uid) {
      yield {
        uid,
        line: taskLine(
          { ...record, batchUid: null, status: 'succeeded', finishedAt: now, details: { dumpUid: own.dumpUid } },
          [],
        ),
      }
      continue
    }
    const isWaiting = record.status === 'enqueued' || record.status === 'processing'
    const bytes = isWaiting ? payload(record) : undefined
    if (record.operation.kind === 'documents-delete')
      yield { uid, line: taskLine(record, bytes === undefined ? [] : await idsOf(bytes)) }
    else yield { uid, line: taskLine(record, []), ...(bytes === undefined ? {} : { payload: bytes }) }
  }
}

async function idsOf(payload: AsyncIterable<Uint8Array>): Promise<readonly string[]> {
  const pieces: Uint8Array[] = []
  for await (const piece of payload) pieces.push(piece)
  const text = Buffer.concat(pieces).toString('utf8')
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const id: unknown = JSON.parse(line)
      return typeof id === 'string' ? id : JSON.stringify(id)
    })
}

async function* batchesOf({ batchUids, batch, task, own }: EngineDumpSource): AsyncGenerator<JsonObject> {
  for (const [place, uid] of batchUids.entries()) {
    if (place % 500 === 499) await new Promise((resolve) => setImmediate(resolve))
    const record = batch(uid)
    // The batch of the dump itself is not over.
    if (record === undefined || record.finishedAt === null || record.tasks.includes(own.uid)) continue
    const times = record.tasks.flatMap((number) => task(number)?.enqueuedAt ?? [])
    const [earliest, oldest] = [Math.min(...times, record.startedAt), Math.max(...times, 0)]
    yield {
      uid,
      details: record.details,
      stats: {
        totalNbTasks: record.tasks.length,
        status: record.statuses,
        types: record.types,
        indexUids: record.indexUids,
      },
      startedAt: new Date(record.startedAt).toISOString(),
      finishedAt: new Date(record.finishedAt).toISOString(),
      enqueuedAt: {
        earliest: new Date(earliest).toISOString(),
        oldest: new Date(Math.max(earliest, oldest)).toISOString(),
      },
      stopReason: record.strategy,
    }
  }
}
