/**
 * One engine process as the lanes and the read path see it. Stock Meilisearch and the embedded engine speak the same
 * HTTP API, so one adapter serves both; what differs is in `capabilities`.
 */
import type { ErrorBody } from '../api/errors.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import type { EngineSnapshots } from './engine-snapshots.ts'

/** The world may fail; the caller chooses between retry, degrade and give up. */
export type EngineReply<T> =
  | { readonly kind: 'answered'; readonly value: T }
  /** The engine understood and said no (4xx). */
  | { readonly kind: 'refused'; readonly status: number; readonly error: ErrorBody }
  /** The engine is ill or gone: 5xx, connection refused or lost before anything was sent. */
  | { readonly kind: 'failed'; readonly reason: string }
  /** Sent, and no answer: it may have been executed (NF-43). Look for the mark before sending again. */
  | { readonly kind: 'unknown'; readonly reason: string }

export interface EngineTask {
  readonly uid: number
  readonly batchUid: number | null
  readonly indexUid: string | null
  readonly status: 'enqueued' | 'processing' | 'succeeded' | 'failed' | 'canceled'
  readonly type: string
  readonly error: ErrorBody | null
  readonly details: JsonObject | null
  readonly startedAt: number | null
  readonly finishedAt: number | null
  /** Our mark, on document routes only (NF-40). */
  readonly customMetadata: string | null
}

export interface EngineCapabilities {
  /** It is, or may be, on another machine. */
  readonly isRemote: boolean
  /** The engine holds an answer about tasks that would list nothing, as it said last. */
  readonly waits: boolean
}

export interface TasksRead {
  /** Leaves out those that are open: while one waits for many, most of an answer would say nothing new. */
  readonly endedOnly?: boolean
  /** So long may an answer be held that lists nothing; as soon as some task ends it comes. Stock Meilisearch holds none. */
  readonly waitSeconds?: number
}

export interface Engine {
  readonly capabilities: EngineCapabilities
  readonly snapshots: EngineSnapshots
  health(signal: AbortSignal): Promise<EngineReply<'available'>>
  version(signal: AbortSignal): Promise<EngineReply<string>>
  createIndex(uid: string, primaryKey: string | null, signal: AbortSignal): Promise<EngineReply<number>>
  updateIndex(uid: string, primaryKey: string, signal: AbortSignal): Promise<EngineReply<number>>
  deleteIndex(uid: string, signal: AbortSignal): Promise<EngineReply<number>>
  compactIndex(uid: string, signal: AbortSignal): Promise<EngineReply<number>>
  /** `documents`: NDJSON. Answers the task's number. */
  putDocuments(
    uid: string,
    options: { readonly merge: boolean; readonly primaryKey: string | null; readonly mark: string },
    documents: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<EngineReply<number>>
  /** `ids`: NDJSON, each a string; none makes an empty mark (NF-41). */
  deleteDocuments(
    uid: string,
    ids: AsyncIterable<Uint8Array> | readonly [],
    mark: string,
    signal: AbortSignal,
  ): Promise<EngineReply<number>>
  clearDocuments(uid: string, mark: string, signal: AbortSignal): Promise<EngineReply<number>>
  editDocuments(
    uid: string,
    /** `context`: JSON text of an object. */
    edit: { readonly function: string; readonly filter: Json | null; readonly context: string | null },
    mark: string,
    signal: AbortSignal,
  ): Promise<EngineReply<number>>
  applySettings(uid: string, settings: JsonObject, signal: AbortSignal): Promise<EngineReply<number>>
  tasks(uids: readonly number[], signal: AbortSignal, options?: TasksRead): Promise<EngineReply<readonly EngineTask[]>>
  /** Newest first. `indexUid` absent = of the whole node. */
  newestTasks(
    indexUid: string | undefined,
    limit: number,
    from: number | undefined,
    signal: AbortSignal,
  ): Promise<EngineReply<readonly EngineTask[]>>
  /** Oldest first, from the number `from` on; `total` = all finished tasks of the node. */
  endedTasks(
    from: number,
    limit: number,
    signal: AbortSignal,
  ): Promise<EngineReply<{ readonly tasks: readonly EngineTask[]; readonly total: number }>>
  /** Answers the number of the task that deletes them; those that have not ended stay. */
  deleteTasks(uids: readonly number[], signal: AbortSignal): Promise<EngineReply<number>>
  cancelTasks(indexUid: string, signal: AbortSignal): Promise<EngineReply<number>>
  /**
   * Documents as the engine returns them. With `fields`, which is for lists of ids, whole numbers beyond a double come as
   * strings; without, they are rounded.
   */
  fetchDocuments(
    uid: string,
    query: {
      readonly ids?: readonly string[]
      readonly filter?: Json
      readonly fields?: readonly string[]
      readonly offset?: number
      readonly limit: number
      readonly retrieveVectors?: boolean
    },
    signal: AbortSignal,
  ): Promise<EngineReply<{ readonly results: readonly JsonObject[]; readonly total: number }>>
  /** The same with `_vectors`, as JSON text: every number is as the engine wrote it. */
  fetchDocumentTexts(
    uid: string,
    query: {
      readonly ids?: readonly string[]
      readonly filter?: Json
      readonly offset: number
      readonly limit: number
    },
    signal: AbortSignal,
  ): Promise<EngineReply<readonly string[]>>
  settings(uid: string, signal: AbortSignal): Promise<EngineReply<JsonObject>>
  indexes(
    signal: AbortSignal,
  ): Promise<
    EngineReply<readonly { readonly uid: string; readonly primaryKey: string | null; readonly createdAt: string }[]>
  >
  indexStats(uid: string, signal: AbortSignal): Promise<EngineReply<JsonObject>>
  /**
   * The node's marker key (NF-31): created once, read at every reconnect. `refused` = our key may not see keys, or the
   * engine has none.
   */
  readMarker(
    signal: AbortSignal,
  ): Promise<EngineReply<{ readonly name: string; readonly description: string; readonly createdAt: string } | null>>
  writeMarker(name: string, description: string, signal: AbortSignal): Promise<EngineReply<'written'>>
}
