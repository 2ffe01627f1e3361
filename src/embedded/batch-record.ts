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
}

export function batchRecord(
  uid: number,
  tasks: readonly TaskRecord[],
  times: { readonly startedAt: number; readonly finishedAt: number | null },
  strategy: string,
): BatchRecord {
  return {
    uid,
    tasks: tasks.map((task) => task.uid),
    ...times,
    details: sumDetails(tasks),
    statuses: counts(tasks.map(({ status }) => status)),
    types: counts(tasks.map(({ operation }) => taskKindOf[operation.kind])),
    indexUids: counts(tasks.flatMap(({ indexUid }) => (indexUid === null ? [] : [indexUid]))),
    strategy,
  }
}

export function viewOfBatch(batch: BatchRecord): BatchView {
  const { startedAt, finishedAt } = batch
  return {
    uid: batch.uid,
    progress:
      finishedAt === null
        ? { steps: [{ currentStep: 'processing tasks', finished: 0, total: batch.tasks.length }], percentage: 0 }
        : null,
    details: batch.details,
    stats: {
      totalNbTasks: batch.tasks.length,
      status: batch.statuses,
      types: batch.types,
      indexUids: batch.indexUids,
      ...(finishedAt === null ? {} : { progressTrace: { 'processing tasks': `${finishedAt - startedAt}.00ms` } }),
    },
    duration: finishedAt === null ? null : renderDuration(finishedAt - startedAt),
    startedAt: renderTime(startedAt),
    finishedAt: finishedAt === null ? null : renderTime(finishedAt),
    batchStrategy: batch.strategy,
  }
}

function counts(names: readonly string[]): Record<string, number> {
  const found: Record<string, number> = {}
  for (const name of names) found[name] = (found[name] ?? 0) + 1
  return found
}

/** Numbers are added up, filters joined by `&`, of everything else the last value stays; a null says something in settings only. */
function sumDetails(tasks: readonly TaskRecord[]): JsonObject {
  const sums: Record<string, Json> = {}
  for (const { details, operation } of tasks) {
    if (details === null || !isObject(details)) continue
    for (const [name, value] of Object.entries(details)) {
      const before = sums[name]
      if (value === null && operation.kind !== 'settings') continue
      if (typeof value === 'number' && typeof before === 'number') sums[name] = before + value
      else if (name === 'originalFilter' && typeof value === 'string' && typeof before === 'string')
        sums[name] = `${before}&${value}`
      else if (value !== null || before === undefined) sums[name] = value
    }
  }
  return sums
}
