/**
 * A change: one entry of the journal, and the task that the client sees.
 *
 * Every change of an index has a position (1, 2, 3 … without gaps) in that index's journal. Changes of the whole project
 * (swap, cancel, dump …), and changes refused for want of an index, have none.
 */
import type { ErrorBody } from '../api/errors.ts'
import type { RuleOperation } from '../api/search-rule.ts'
import type { TaskStatus } from '../api/tasks.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import type { IndexId, ProjectId } from '../store/catalogue.ts'

/** What a change does. `documents` payloads are NDJSON (one object a line), `ids` payloads NDJSON of JSON strings. */
export type Operation =
  | {
      readonly kind: 'documents-put'
      /** false = replace whole documents, true = merge top-level fields. */
      readonly merge: boolean
      readonly skipCreation: boolean
      /** The `primaryKey` argument of the request, if any. */
      readonly primaryKey: string | null
      /** Documents in the payload. */
      readonly received: number
      /** Distinct ids in the payload: `indexedDocuments` on success (NF-23). */
      readonly distinct: number
    }
  /** Payload: ids. */
  | { readonly kind: 'documents-delete'; readonly provided: number }
  | { readonly kind: 'documents-delete-by-filter'; readonly filter: Json }
  | { readonly kind: 'documents-clear' }
  | {
      readonly kind: 'documents-edit'
      readonly function: string
      readonly filter: Json | null
      readonly context: JsonObject | null
      /** The context as it was sent, with every digit; absent in changes of earlier releases. */
      readonly contextText?: string
    }
  /** The settings as sent (nulls reset). Sealed at rest because of embedder keys. */
  | { readonly kind: 'settings'; readonly settings: JsonObject }
  | { readonly kind: 'index-create'; readonly primaryKey: string | null }
  /** `uid`: the new name, for a rename. */
  | { readonly kind: 'index-update'; readonly primaryKey: string | null; readonly uid: string | null }
  | { readonly kind: 'index-delete' }
  | { readonly kind: 'index-compact' }
  | {
      readonly kind: 'index-swap'
      readonly swaps: readonly { readonly indexes: readonly [string, string]; readonly rename: boolean }[]
    }
  /** `filter`: the client's query string, starting with `?`. `tasks`: frozen when the request arrived (M-C7). */
  | { readonly kind: 'task-cancel'; readonly filter: string; readonly tasks: readonly number[] }
  | { readonly kind: 'task-delete'; readonly filter: string; readonly tasks: readonly number[] }
  | { readonly kind: 'dump' }
  | { readonly kind: 'snapshot' }
  | {
      readonly kind: 'export'
      readonly url: string
      readonly apiKey: string | null
      readonly payloadSize: string | null
      readonly indexes: JsonObject
    }
  /** Carried out in the transaction that appends it. */
  | RuleOperation

export type OperationKind = Operation['kind']

/** Where a payload is. Inline up to `inlinePayloadBytesMax`, else a blob that was written and synced before the change became visible. */
export type Payload =
  | { readonly kind: 'inline'; readonly bytes: Uint8Array }
  | { readonly kind: 'blob'; readonly name: string; readonly byteCount: number }

export const inlinePayloadBytesMax = 64 * 1024

/**
 * What a state-dependent change (delete by filter, edit, `skipCreation`) came to at its own position: plain puts and
 * deletes by id. Recorded once, before anything of it is delivered; only it is delivered, on every replica and replay.
 */
export interface Resolution {
  /** NDJSON of whole documents to put; absent = none. */
  readonly puts: Payload | null
  /** true = the puts merge into stored documents. */
  readonly merge: boolean
  /** NDJSON of ids to delete; absent = none. */
  readonly deletes: Payload | null
  /** Distinct documents in its puts. */
  readonly putCount: number
  /** Lines of its puts, when some document stands in several. */
  readonly lineCount?: number
  readonly deleteCount: number
  /** The engine refused it (for example: not filterable): the change fails with this and delivers nothing. */
  readonly error: ErrorBody | null
}

/** What a change came to in some shards of a spread index. It is delivered when every shard has one. */
export interface PartialResolution {
  /** Ascending. */
  readonly shards: readonly number[]
  /** How many shards there are: generations of an index may differ in it. */
  readonly of: number
  readonly resolution: Resolution
}

/**
 * What a change that depends on state came to, all of it; `undefined` = that is not known yet. Parts that are of different
 * numbers of shards tell the same, each number by itself.
 */
export function wholeResolution(
  resolution: Resolution | null,
  partials: readonly PartialResolution[],
): readonly Resolution[] | undefined {
  if (resolution !== null) return [resolution]
  for (const count of new Set(partials.map((partial) => partial.of))) {
    const parts = partials.filter((partial) => partial.of === count)
    if (parts.reduce((held, { shards }) => held + shards.length, 0) === count)
      return parts.map((part) => part.resolution)
  }
  return undefined
}

export interface Change {
  readonly project: ProjectId
  /** Dense per project, from 0, in request order. */
  readonly task: number
  readonly index: IndexId | null
  readonly position: number | null
  /** The logical name that the task shows. */
  readonly indexUid: string | null
  readonly operation: Operation
  readonly payload: Payload | null
  /** Known before appending: the change takes its place in the order, delivers nothing and fails with this. */
  readonly refusal: ErrorBody | null
  readonly resolution: Resolution | null
  readonly customMetadata: string | null
  readonly status: TaskStatus
  readonly error: ErrorBody | null
  /** `details` as the client sees them. */
  readonly details: Json | null
  readonly batch: number | null
  readonly canceledBy: number | null
  readonly enqueuedAt: number
  readonly startedAt: number | null
  readonly finishedAt: number | null
}
