/** Tasks as clients see them (M-C1 to M-C3). */
import type { Json } from '../lib/json.ts'
import type { ErrorBody } from './errors.ts'

export const taskStatuses = ['enqueued', 'processing', 'succeeded', 'failed', 'canceled'] as const
export type TaskStatus = (typeof taskStatuses)[number]

export const taskKinds = [
  'documentAdditionOrUpdate',
  'documentEdition',
  'documentDeletion',
  'settingsUpdate',
  'indexCreation',
  'indexDeletion',
  'indexUpdate',
  'indexSwap',
  'taskCancelation',
  'taskDeletion',
  'dumpCreation',
  'snapshotCreation',
  'export',
  'upgradeDatabase',
  'indexCompaction',
  'networkTopologyChange',
  'dsrUpdate',
  'dsrClear',
] as const
export type TaskKind = (typeof taskKinds)[number]

/** The task kind that a client sees for each kind of operation; a kind that is missing here fails to compile where it is asked for. */
export const taskKindOf = {
  'documents-put': 'documentAdditionOrUpdate',
  'documents-delete': 'documentDeletion',
  'documents-delete-by-filter': 'documentDeletion',
  'documents-clear': 'documentDeletion',
  'documents-edit': 'documentEdition',
  settings: 'settingsUpdate',
  'index-create': 'indexCreation',
  'index-update': 'indexUpdate',
  'index-delete': 'indexDeletion',
  'index-compact': 'indexCompaction',
  'index-swap': 'indexSwap',
  'task-cancel': 'taskCancelation',
  'task-delete': 'taskDeletion',
  dump: 'dumpCreation',
  snapshot: 'snapshotCreation',
  export: 'export',
  'rule-put': 'dsrUpdate',
  'rule-delete': 'dsrUpdate',
  'rules-clear': 'dsrClear',
} as const satisfies Record<string, TaskKind>

/** Answer of every write (M-C2), in this key order. */
export interface SummarizedTask {
  readonly taskUid: number
  readonly indexUid: string | null
  readonly status: 'enqueued'
  readonly type: TaskKind
  readonly enqueuedAt: string
  readonly customMetadata?: string
}

/** One row of `GET /tasks` (M-C3), in this key order; `details` is left out for kinds that have none. */
export interface TaskView {
  readonly uid: number
  readonly batchUid: number | null
  readonly indexUid: string | null
  readonly status: TaskStatus
  readonly type: TaskKind
  readonly canceledBy: number | null
  readonly details?: Json
  readonly error: ErrorBody | null
  readonly duration: string | null
  readonly enqueuedAt: string
  readonly startedAt: string | null
  readonly finishedAt: string | null
  readonly customMetadata?: string
}

/** The filters of `GET /tasks`, `POST /tasks/cancel`, `DELETE /tasks` (M-C6). Absent = no restriction. Times are ms since 1970, exclusive. */
export interface TaskFilter {
  readonly uids?: readonly number[]
  readonly batchUids?: readonly number[]
  readonly statuses?: readonly TaskStatus[]
  readonly types?: readonly TaskKind[]
  readonly indexUids?: readonly string[]
  readonly canceledBy?: readonly number[]
  readonly beforeEnqueuedAt?: number
  readonly afterEnqueuedAt?: number
  readonly beforeStartedAt?: number
  readonly afterStartedAt?: number
  readonly beforeFinishedAt?: number
  readonly afterFinishedAt?: number
}

export interface TaskPageQuery {
  readonly filter: TaskFilter
  /** Default 20. */
  readonly limit: number
  /** First uid of the page, inclusive; absent = from the newest (or oldest when reversed). */
  readonly from?: number
  /** true = ascending uids. */
  readonly reverse: boolean
}

/** One row of `GET /batches` (M-C9). */
export interface BatchView {
  readonly uid: number
  readonly progress: Json
  readonly details: Json
  readonly stats: {
    readonly totalNbTasks: number
    readonly status: Readonly<Partial<Record<TaskStatus, number>>>
    readonly types: Readonly<Partial<Record<TaskKind, number>>>
    readonly indexUids: Readonly<Record<string, number>>
    /** How long each step took, as text; absent while the batch runs. */
    readonly progressTrace?: Readonly<Record<string, string>>
  }
  readonly duration: string | null
  readonly startedAt: string
  readonly finishedAt: string | null
  readonly batchStrategy: string
}
