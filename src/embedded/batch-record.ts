/** Batches as the engine keeps them and as clients see them (M-C9). */

import { renderDuration, renderTime } from '../api/task-view.ts'
import { taskKindOf } from '../api/tasks.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { BatchView } from './core.ts'
import type { TaskRecord } from './task-record.ts'

export interface BatchRecord {
  readonly uid: number
  readonly tasks: readonly number[]
  readonly startedAt: number
  /** null while it runs; such a record is never stored. */
  readonly finishedAt: number | null
  readonly details: JsonObject
  readonly statuses: Readonly<Record<string, number>>
  readonly types: Readonly<Record<string, number>>
  readonly indexUids: Readonly<Record<string, number>>
  readonly strategy: string
  /** Of the index's tables, where the batch wrote into one. */
  readonly sizes?: TableSizes
}

/** Bytes before and after the batch, by table. */
export type TableSizes = Readonly<Record<string, readonly [number, number]>>

export interface BatchTimes {
  readonly startedAt: number
  readonly finishedAt: number | null
}

export function batchRecord(
  uid: number,
  tasks: readonly TaskRecord[],
  times: BatchTimes,
  strategy: string,
  sizes?: TableSizes,
): BatchRecord {
  const tally = new BatchTally()
  for (const task of tasks) tally.add(task)
  return tally.record(uid, times, strategy, sizes)
}

/** What the tasks of a batch come to, one after the other. */
export class BatchTally {
  readonly #tasks: number[] = []
  readonly #details: Record<string, Json> = {}
  readonly #statuses: Record<string, number> = {}
  readonly #types: Record<string, number> = {}
  readonly #indexUids: Record<string, number> = {}

  add(task: TaskRecord): void {
    this.#tasks.push(task.uid)
    addDetails(this.#details, task)
    count(this.#statuses, task.status)
    count(this.#types, taskKindOf[task.operation.kind])
    if (task.indexUid !== null) count(this.#indexUids, task.indexUid)
  }

  record(uid: number, { startedAt, finishedAt }: BatchTimes, strategy: string, sizes: TableSizes = {}): BatchRecord {
    return {
      uid,
      tasks: this.#tasks,
      startedAt,
      finishedAt,
      details: this.#details,
      statuses: this.#statuses,
      types: this.#types,
      indexUids: this.#indexUids,
      strategy,
      ...(Object.keys(sizes).length === 0 ? {} : { sizes }),
    }
  }
}

/** For people: binary units, at most two decimals. */
export function sizeText(byteCount: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let [size, unit] = [byteCount, 0]
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024
    unit += 1
  }
  return `${Number(size.toFixed(2))} ${units[unit]}`
}

/** Tables that the batch made larger or smaller: `4 KiB (+4 KiB)`. */
function renderSizes(sizes: TableSizes): JsonObject {
  return Object.fromEntries(
    Object.entries(sizes).flatMap(([name, [before, after]]) =>
      before === after
        ? []
        : [[name, `${sizeText(after)} (${after > before ? '+' : '-'}${sizeText(Math.abs(after - before))})`]],
    ),
  )
}

/** @param progress  of a batch that runs. */
export function viewOfBatch(batch: BatchRecord, progress: JsonObject | null): BatchView {
  const { startedAt, finishedAt, sizes = {} } = batch
  const grown = renderSizes(sizes)
  return {
    uid: batch.uid,
    progress,
    details: batch.details,
    stats: {
      totalNbTasks: batch.tasks.length,
      status: batch.statuses,
      types: batch.types,
      indexUids: batch.indexUids,
      ...(finishedAt === null ? {} : { progressTrace: { 'processing tasks': `${finishedAt - startedAt}.00ms` } }),
      ...(Object.keys(grown).length === 0 ? {} : { internalDatabaseSizes: grown }),
    },
    duration: finishedAt === null ? null : renderDuration(finishedAt - startedAt),
    startedAt: renderTime(startedAt),
    finishedAt: finishedAt === null ? null : renderTime(finishedAt),
    batchStrategy: batch.strategy,
  }
}

function count(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}

/** Numbers are added up, filters joined by `&`, of everything else the last value stays. A null says something in settings, and while the batch runs. */
function addDetails(sums: Record<string, Json>, { details, operation, status }: TaskRecord): void {
  if (details === null || !isObject(details)) return
  for (const [name, value] of Object.entries(details)) {
    const before = sums[name]
    if (value === null && operation.kind !== 'settings' && status !== 'processing') continue
    if (typeof value === 'number' && typeof before === 'number') sums[name] = before + value
    else if (name === 'originalFilter' && typeof value === 'string' && typeof before === 'string')
      sums[name] = `${before}&${value}`
    else if (value !== null || before === undefined) sums[name] = value
  }
}
