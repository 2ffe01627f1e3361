/** Decodes a row of an engine's `GET /tasks` (M-C3). */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { EngineTask } from './engine.ts'
import { errorOf } from './http-call.ts'

const statuses = ['enqueued', 'processing', 'succeeded', 'failed', 'canceled'] as const

export function decodeTask(row: JsonObject): EngineTask {
  const status = statuses.find((name) => name === row.status)
  return {
    uid: Number(row.uid),
    batchUid: typeof row.batchUid === 'number' ? row.batchUid : null,
    indexUid: textOf(row.indexUid),
    // An unknown status is one that we must go on waiting for.
    status: status ?? 'processing',
    type: textOf(row.type) ?? '',
    error: errorOf(row.error) ?? null,
    details: isObject(row.details) ? row.details : null,
    startedAt: timeOf(row.startedAt),
    finishedAt: timeOf(row.finishedAt),
    customMetadata: textOf(row.customMetadata),
  }
}

function textOf(value: Json | undefined): string | null {
  return typeof value === 'string' ? value : null
}

function timeOf(value: Json | undefined): number | null {
  const at = typeof value === 'string' ? Date.parse(value) : Number.NaN
  return Number.isNaN(at) ? null : at
}
