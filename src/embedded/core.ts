/**
 * The engine behind its HTTP surface: indexes, documents, settings, tasks and searches of one database folder.
 *
 * Writes are enqueued: what `enqueue` answered is durable, and runs later, in order. Reads run in worker threads over
 * snapshots; the caller's event loop is never held. Every refusal is an `ApiError`.
 */

import type { FacetSearchQuery } from '../api/facet-search-query.ts'
import type { MultiSearch } from '../api/multi-search-query.ts'
import type { RenderQuery } from '../api/render-query.ts'
import type { SearchQuery } from '../api/search-query.ts'
import type { SearchRule } from '../api/search-rule.ts'
import type { SimilarQuery } from '../api/similar-query.ts'
import type { SummarizedTask, TaskFilter, TaskPageQuery, TaskView } from '../api/tasks.ts'
import type { AllowedNetworks } from '../lib/egress-policy.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import type { LoadRequest } from './engine-loading.ts'
import type { RuleBook } from './rule-book.ts'
import type { IndexSnapshots } from './snapshot/index-snapshots.ts'
import type { SnapshotFolder } from './snapshot/snapshot-folder.ts'
import type { CompactionSizes } from './worker-messages.ts'

/** What a task does. Document payloads are NDJSON, one object a line; id payloads NDJSON of JSON strings. */
export type EngineOperation =
  | {
      readonly kind: 'documents-put'
      /** false = replace whole documents, true = merge top-level fields. */
      readonly merge: boolean
      readonly skipCreation: boolean
      readonly primaryKey: string | null
    }
  | { readonly kind: 'documents-delete' }
  | { readonly kind: 'documents-delete-by-filter'; readonly filter: Json }
  | { readonly kind: 'documents-clear' }
  | {
      readonly kind: 'documents-edit'
      readonly function: string
      readonly filter: Json | null
      readonly context: JsonObject | null
      /** The context as it was sent, with every digit; absent = as `context` is written. */
      readonly contextText?: string
    }
  /** The settings as sent, decoded: absent = unchanged, null = reset. */
  | { readonly kind: 'settings'; readonly settings: JsonObject }
  | { readonly kind: 'index-create'; readonly primaryKey: string | null }
  | { readonly kind: 'index-update'; readonly primaryKey: string | null; readonly uid: string | null }
  | { readonly kind: 'index-delete' }
  | { readonly kind: 'index-compact' }
  | {
      readonly kind: 'index-swap'
      readonly swaps: readonly { readonly indexes: readonly [string, string]; readonly rename: boolean }[]
    }
  /** `originalFilter`: the client's query string, starting with `?`. */
  | { readonly kind: 'task-cancel'; readonly filter: TaskFilter; readonly originalFilter: string }
  | { readonly kind: 'task-delete'; readonly filter: TaskFilter; readonly originalFilter: string }
  | { readonly kind: 'dump' }
  | { readonly kind: 'snapshot' }
  /** `change`: fields as sent, decoded; null = as if never set. */
  | { readonly kind: 'rule-put'; readonly rule: string; readonly change: JsonObject }
  | { readonly kind: 'rule-delete'; readonly rule: string }
  | { readonly kind: 'rules-clear' }
  | {
      readonly kind: 'export'
      readonly url: string
      readonly apiKey: string | null
      /** Bytes of documents in one request; null = 20 MiB. */
      readonly payloadSize: number | null
      /** Patterns of index names, sorted, each with `filter` and `overrideSettings`. */
      readonly indexes: JsonObject
    }

export interface EnqueueRequest {
  /** Index; null for operations of the whole instance. */
  readonly uid: string | null
  readonly operation: EngineOperation
  /** For `documents-put` and `documents-delete`. Read to its end before the task exists; when it throws, no task is made. */
  readonly payload?: AsyncIterable<Uint8Array>
  /** Documents or ids in the payload, when the caller counted them. A function is asked after the payload was read. */
  readonly received?: number | (() => number)
  readonly customMetadata: string | null
  /** The caller may create the index by this write (M-A4). */
  readonly allowIndexCreation: boolean
}

/** `GET /indexes/{uid}` (M-A3), in this key order. */
export interface IndexView {
  readonly uid: string
  readonly createdAt: string
  readonly updatedAt: string
  readonly primaryKey: string | null
}

/** `GET /indexes/{uid}/stats` (M-A3). */
export interface IndexStats {
  readonly numberOfDocuments: number
  readonly rawDocumentDbSize: number
  readonly avgDocumentSize: number
  readonly isIndexing: boolean
  readonly numberOfEmbeddings: number
  readonly numberOfEmbeddedDocuments: number
  readonly fieldDistribution: Readonly<Record<string, number>>
}

export interface InstanceStats {
  readonly databaseSize: number
  readonly usedDatabaseSize: number
  /** RFC 3339, or null while there is no index. */
  readonly lastUpdate: string | null
  readonly indexes: Readonly<Record<string, IndexStats>>
}

/** A page of documents (M-E6). Filter and sort as decoded JSON; their meaning is checked by the reader. */
export interface DocumentQuery {
  readonly offset: number
  readonly limit: number
  /** Absent or `['*']` = everything. */
  readonly fields?: readonly string[]
  readonly retrieveVectors: boolean
  readonly ids?: readonly string[]
  readonly filter?: Json
  readonly sort?: readonly string[]
  /** Flags that the filter may need. Default: none is on. */
  readonly features?: EngineFeatures
}

/** M-C9. */
export interface BatchView {
  readonly uid: number
  readonly progress: Json
  readonly details: JsonObject
  readonly stats: JsonObject
  readonly duration: string | null
  readonly startedAt: string
  readonly finishedAt: string | null
  readonly batchStrategy: string
}

/** A page of M-C6, in this key order. */
export interface Page<T> {
  readonly results: readonly T[]
  readonly total: number
  readonly limit: number
  readonly from: number | null
  readonly next: number | null
}

/** A small durable map for what the HTTP surface itself keeps: keys, features, webhooks, instance id, network object. */
export interface EngineStore {
  get(key: string): Json | undefined
  /** Entries whose key starts with `prefix`, ascending. */
  list(prefix: string): readonly { readonly key: string; readonly value: Json }[]
  /** Durable when it resolves. */
  put(key: string, value: Json): Promise<void>
  delete(key: string): Promise<boolean>
}

/** Instance-wide switches that change how reads run (M-H6). */
export type EngineFeatures = Readonly<Record<string, boolean>>

export interface ReadOptions {
  readonly features: EngineFeatures
  /** Answers carry `metadata` (M-A1). */
  readonly withMetadata: boolean
  /** Dynamic search rules that are active, by precedence. Absent = the engine's own. */
  readonly rules?: readonly SearchRule[]
}

export interface EngineOptions {
  /** Search threads at most. Default: 2, or 1 on a one-core machine. The second starts with the first overlap. */
  readonly searchWorkersMax?: number
  /**
   * Bytes that indexing may hold of what it gathers: a quarter of it as postings, which need about as much again four times
   * while they are put in order and written out. Default 256 MiB. The changed pages of a transaction come on top.
   */
  readonly indexingBytesMax?: number
  /** Bytes of decoded bitmaps kept per search thread. Default 32 MiB. */
  readonly cacheBytesMax?: number
  /** Bytes of vectors kept per search thread. Default 192 MiB: 125,000 vectors of 384 numbers. */
  readonly vectorBytesMax?: number
  /** Tasks per batch at most (M-H9). Default 1,000: the main thread commits them in one turn. */
  readonly batchTasksMax?: number
  /** Payload bytes per batch at most. Default `indexingBytesMax`. */
  readonly batchBytesMax?: number
  /** Searches that may wait, then 503 (M-A1). Default 1000. */
  readonly searchQueueMax?: number
  /** Quiet milliseconds after which an index is closed and its memory given back. Default 60,000. */
  readonly restMs?: number
  /** Folder of dumps. Default `dumps` in the database folder. */
  readonly dumpFolder?: string
  /** Folder of the engine's snapshot. Default `snapshots` in the database folder. */
  readonly snapshotFolder?: string
  /** Quiet or not, a snapshot is made so often. Default: never. */
  readonly snapshotEveryMs?: number
  /** A dump or snapshot that an empty folder begins with. */
  readonly load?: LoadRequest
  /** Told of the uids of finished tasks after each batch (webhooks). Must not throw. */
  readonly onFinished?: (tasks: readonly TaskView[]) => void
  /** Milliseconds from one pass over all indexes, comparing them with their checksums, to the next. Default 600,000. */
  readonly scrubEveryMs?: number
  /** Bytes that such a pass reads in a second at most. Default 4 MiB. */
  readonly scrubBytesPerSecond?: number
  /** Told of a file that does not hold what was written. Must not throw. */
  readonly onDamage?: (damaged: DamagedFile) => void
  /** Embedders may be at private, loopback and link-local addresses. Default: no. */
  readonly allowedNetworks?: AllowedNetworks
}

/** What is known of the engine's files. */
export interface IntegrityReport {
  /** Bytes of files that were compared with their checksums since the start. */
  readonly checkedBytes: number
  /** When all indexes were last gone through while they were open, RFC 3339; null = not yet. */
  readonly lastPassAt: string | null
  readonly damaged: readonly DamagedFile[]
}

export interface DamagedFile {
  /** null = the file of tasks. */
  readonly indexUid: string | null
  /** What is wrong, and what to do. */
  readonly message: string
  readonly foundAt: string
}

/** Snapshots of single indexes and their files. */
export interface SnapshotStore extends Pick<IndexSnapshots, 'create' | 'restore' | 'job' | 'byteCount'> {
  readonly files: Omit<SnapshotFolder, 'draft' | 'findWhole'>
}

export interface EngineCore {
  // ---- Indexes ----
  /** Sorted by uid. */
  indexes(): readonly IndexView[]
  index(uid: string): IndexView | undefined
  /** @throws ApiError `index_not_found`. */
  indexStats(uid: string): Promise<IndexStats>
  stats(): Promise<InstanceStats>
  /** Field entries of M-A3 (`POST /indexes/{uid}/fields`), all of them, sorted by name; the caller filters and pages. */
  fields(uid: string): Promise<readonly JsonObject[]>
  /** Settings folded from all changes so far (`api/settings.ts`), with secrets: render them before they leave. */
  settings(uid: string): Promise<JsonObject>

  // ---- Documents ----
  /** JSON text of one document. @throws ApiError `index_not_found`, `document_not_found`. */
  document(
    uid: string,
    id: string,
    options: { readonly fields?: readonly string[]; readonly retrieveVectors: boolean },
  ): Promise<Uint8Array>
  /** JSON text of `{results, offset, limit, total}`. */
  documents(uid: string, query: DocumentQuery): Promise<Uint8Array>

  // ---- Searches: JSON text of the whole answer ----
  search(uid: string, query: SearchQuery, options: ReadOptions): Promise<Uint8Array>
  /** Federated or not. */
  multiSearch(query: MultiSearch, options: ReadOptions): Promise<Uint8Array>
  facetSearch(uid: string, query: FacetSearchQuery, options: ReadOptions): Promise<Uint8Array>
  similar(uid: string, query: SimilarQuery, options: ReadOptions): Promise<Uint8Array>
  /** `POST /render-template`. */
  renderTemplate(query: RenderQuery): Promise<Uint8Array>

  // ---- Tasks ----
  /** Durable when it resolves. @throws whatever the payload throws, and `no_space_left_on_device`. */
  enqueue(request: EnqueueRequest): Promise<SummarizedTask>
  task(uid: number): TaskView | undefined
  tasks(query: TaskPageQuery): Page<TaskView>
  batch(uid: number): BatchView | undefined
  batches(query: TaskPageQuery): Page<BatchView>
  /** Payload of an unfinished `documents-put` (NDJSON), or undefined. */
  taskPayload(uid: number): AsyncIterable<Uint8Array> | undefined
  /** The task once it has ended, or as it is after `timeoutMs`. */
  waitForTask(uid: number, timeoutMs: number): Promise<TaskView | undefined>
  /** Waits until some task has ended; `false` = none did within `timeoutMs`, the signal aborted or the engine is closing. */
  someTaskEnds(timeoutMs: number, signal?: AbortSignal): Promise<boolean>

  /** Dynamic search rules; changed by tasks. */
  readonly rules: Pick<RuleBook, 'get' | 'list'>
  readonly store: EngineStore
  /** Single indexes as files. */
  readonly snapshots: SnapshotStore
  /** Gives the free pages of the file of tasks back to the disk. Waits for running batches; new tasks wait for it. */
  compactTasks(): Promise<CompactionSizes>
  integrity(): IntegrityReport
  /** Ends running work cleanly; unfinished tasks run at the next open. */
  close(): Promise<void>
}

/** `openEngine` of `engine-core.ts`. @throws EngineFolderInUse when another process has the folder open. */
export type OpenEngine = (dbPath: string, options: EngineOptions) => Promise<EngineCore>
