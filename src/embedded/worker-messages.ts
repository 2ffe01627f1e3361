/** What goes between the engine's main thread and its workers. */

import { errorTable } from '../api/error-table.ts'
import { ApiError, type ErrorCode } from '../api/errors.ts'
import type { FacetSearchQuery } from '../api/facet-search-query.ts'
import type { MultiSearch } from '../api/multi-search-query.ts'
import type { RenderQuery } from '../api/render-query.ts'
import type { SearchQuery } from '../api/search-query.ts'
import type { SimilarQuery } from '../api/similar-query.ts'
import type { AllowedNetworks } from '../lib/egress-policy.ts'
import type { Json } from '../lib/json.ts'
import type { TableSizes } from './batch-record.ts'
import type { DocumentQuery, ReadOptions } from './core.ts'
import type { BatchOutcome, BatchTask, TaskPayload } from './index-batch.ts'

/** An index, and the folder where it is. */
export interface IndexPlace {
  readonly uid: string
  readonly folder: string
}

export type ReadRequest =
  | {
      readonly kind: 'search'
      readonly uid: string
      readonly query: SearchQuery
      readonly options: ReadOptions
    }
  | { readonly kind: 'multi-search'; readonly query: MultiSearch; readonly options: ReadOptions }
  | {
      readonly kind: 'facet-search'
      readonly uid: string
      readonly query: FacetSearchQuery
      readonly options: ReadOptions
    }
  | {
      readonly kind: 'similar'
      readonly uid: string
      readonly query: SimilarQuery
      readonly options: ReadOptions
    }
  | {
      readonly kind: 'document'
      readonly uid: string
      readonly id: string
      readonly fields: readonly string[] | null
      readonly retrieveVectors: boolean
    }
  | { readonly kind: 'documents'; readonly uid: string; readonly query: DocumentQuery }
  | { readonly kind: 'render'; readonly query: RenderQuery }
  | { readonly kind: 'fields'; readonly uid: string }
  | { readonly kind: 'settings'; readonly uid: string }
  | { readonly kind: 'stats' }
  /** Some documents in their own order, for a dump: see `readDumpPage`. */
  | {
      readonly kind: 'dump-page'
      readonly uid: string
      readonly from: number
      readonly bytesMax: number
      readonly filter: Json
    }

export interface ReadMessage {
  readonly call: number
  readonly request: ReadRequest
  /** Every index that the request may touch. */
  readonly places: readonly IndexPlace[]
}

export type SearchWorkerMessage =
  | { readonly kind: 'read'; readonly message: ReadMessage }
  /** The index is gone: let go of its files. */
  | { readonly kind: 'forget'; readonly folder: string; readonly call: number }

export type Reply<T> =
  | { readonly call: number; readonly kind: 'done'; readonly value: T }
  | {
      readonly call: number
      readonly kind: 'refused'
      readonly code: string
      readonly status: number
      readonly message: string
    }
  | { readonly call: number; readonly kind: 'failed'; readonly message: string }

/** A payload that stands beside its task is read by the worker, so that it does not pass through the main thread. */
export type SentPayload = Extract<TaskPayload, { kind: 'file' }> | { readonly kind: 'stored' }

export interface SentTask extends Omit<BatchTask, 'payload'> {
  readonly payload: SentPayload | null
}

export type IndexingMessage =
  | { readonly kind: 'batch'; readonly call: number; readonly folder: string; readonly tasks: readonly SentTask[] }
  | { readonly kind: 'forget'; readonly call: number; readonly folder: string }
  /** Another thread writes to the index from now on. */
  | { readonly kind: 'hand-over'; readonly call: number; readonly folder: string }
  /** Copies an index into a new folder, without its free pages. */
  | { readonly kind: 'compact'; readonly call: number; readonly folder: string; readonly target: string }
  | { readonly kind: 'adopt'; readonly call: number; readonly folder: string; readonly adoption: Adoption }

/** An index that came with a file of another engine: none of its tasks is one of ours. */
export interface Adoption {
  /** Told as the index's own; absent = as it says itself. */
  readonly createdAt?: number
  readonly updatedAt?: number
}

/** Of a batch, with the sizes of the index's tables before and after it. */
export interface SizedOutcome extends BatchOutcome {
  readonly sizes: TableSizes
}

export interface CompactionSizes {
  readonly bytesBefore: number
  readonly bytesAfter: number
}

export type IndexingValue = SizedOutcome | CompactionSizes | 'aborted' | null

export interface WorkerSettings {
  /** Folder of the tasks, which the main thread has open. */
  readonly metaFolder: string
  readonly postingBytesMax: number
  readonly cacheBytesMax: number
  readonly vectorBytesMax: number
  /** Embedders may be at private addresses. */
  readonly allowedNetworks: AllowedNetworks
}

/** Of an indexing thread. */
export interface IndexingSettings extends WorkerSettings {
  /** One 32-bit number: not 0 = give the running batch up. */
  readonly abort: SharedArrayBuffer
  /** See `SharedProgress`. */
  readonly progress: SharedArrayBuffer
}

export function errorReply(call: number, error: unknown): Reply<never> {
  if (error instanceof ApiError)
    return { call, kind: 'refused', code: error.code, status: error.status, message: error.message }
  return { call, kind: 'failed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
}

/** The value, or the error as it was thrown in the worker. */
export function openReply<T>(reply: Reply<T>): T {
  switch (reply.kind) {
    case 'done':
      return reply.value
    case 'refused':
      throw new ApiError(isErrorCode(reply.code) ? reply.code : 'internal', reply.message, { status: reply.status })
    case 'failed':
      throw new Error(reply.message)
  }
}

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorTable, code)
