/** What the scheduler hands to the indexing worker, and what comes back. */
import { closeSync, openSync, readSync } from 'node:fs'
import type { ErrorBody } from '../api/errors.ts'
import type { JsonObject } from '../lib/json.ts'
import type { EngineOperation } from './core.ts'

export type TaskPayload =
  /** `bytes` may read them anew each time. */
  { readonly kind: 'inline'; readonly bytes: Uint8Array } | { readonly kind: 'file'; readonly path: string }

export interface BatchTask {
  readonly uid: number
  readonly operation: EngineOperation
  readonly payload: TaskPayload | null
}

export interface TaskOutcome {
  readonly uid: number
  readonly status: 'succeeded' | 'failed'
  readonly error: ErrorBody | null
  /** Laid over the details that the task began with. */
  readonly details: JsonObject
}

/** What the registry shows of an index. */
export interface IndexState {
  readonly primaryKey: string | null
  readonly createdAt: number
  readonly updatedAt: number
  readonly documentCount: number
}

export interface BatchOutcome {
  readonly outcomes: readonly TaskOutcome[]
  readonly index: IndexState
}

const readBytes = 1024 * 1024

/** Lines of an NDJSON payload, empty ones left out. Reads a file piece by piece. */
export function* payloadLines(payload: TaskPayload): Generator<string> {
  let rest: Buffer = Buffer.alloc(0)
  for (const chunk of payload.kind === 'inline' ? [Buffer.from(payload.bytes)] : fileChunks(payload.path)) {
    let bytes: Buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10)) {
      if (end > 0) yield bytes.toString('utf8', 0, end)
      bytes = bytes.subarray(end + 1)
    }
    rest = bytes
  }
  if (rest.length > 0) yield rest.toString('utf8')
}

function* fileChunks(path: string): Generator<Buffer> {
  const file = openSync(path, 'r')
  try {
    for (;;) {
      const buffer = Buffer.allocUnsafe(readBytes)
      const count = readSync(file, buffer, 0, readBytes, null)
      if (count === 0) return
      yield buffer.subarray(0, count)
    }
  } finally {
    closeSync(file)
  }
}
