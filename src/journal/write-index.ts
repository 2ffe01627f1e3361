/** An index inside a transaction that appends or completes: a draft that decisions edit before it is written back. */
import type { ErrorBody } from '../api/errors.ts'
import type { TaskStatus } from '../api/tasks.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import type { Generation, IndexId, NodeId, PlacementState, ProjectId, Spread } from '../store/catalogue.ts'
import type { AdmissionReplica } from '../topology/admission.ts'
import type { Operation, Payload } from './change.ts'
import type { Turn } from './settings-turn.ts'

/** The part that appending needs. */
export interface WriteIndex {
  readonly id: IndexId
  readonly project: ProjectId
  /** null = plain. Of the generation that is read. */
  readonly spread: Spread | null
  /** The one that is read. */
  readonly generation: number
  /** The one that stands beside it, being filled or kept for the way back. */
  readonly beside: Generation | null
  /** Name as writes see it; null = deleted by an appended change. */
  writeUid: string | null
  writePrimaryKey: string | null
  /** Last appended position. */
  head: number
  completed: number
  /** Payload bytes up to the head. */
  byteCount: number
  /** Since when some replica is behind the head; null = none is. */
  behindSince: number | null
  /** Since when some replica in the in-sync set holds back what others have applied; null = none does. */
  heldSince: number | null
  /** Folded up to the head, with secrets. */
  settings: JsonObject
  settingsVersion: number
  /** false = certainly empty: its primary key may still change. */
  mayHoldDocuments: boolean
  /** Their lanes have work when something is appended, and admission looks at them. */
  readonly replicas: readonly ReplicaStanding[]
}

/** A replica as the transaction found it. */
export interface ReplicaStanding extends AdmissionReplica {
  readonly node: NodeId
  readonly physicalUid: string
  readonly generation: number
  /** It is of the generation that is read. Others take no part in what is agreed on, and may always leave. */
  readonly isCurrent: boolean
  readonly applied: number
  readonly revision: number
  readonly turn: Turn | null
  /** As of `Placement`. */
  readonly shed?: readonly number[]
  readonly hasLeftovers?: boolean
}

/** With what reads see. */
export interface IndexState extends WriteIndex {
  readUid: string | null
  namedBy: number
  primaryKey: string | null
  createdAt: number | null
  updatedAt: number | null
  settingsDone: JsonObject
  /** Position of the last settings change that is completed; 0 = none. */
  settingsPosition: number
  isGone: boolean
}

/** `uid` is the name that `index` has after the change. */
export interface Naming {
  readonly index: IndexId
  readonly uid: string
}

export interface NewPlacement {
  readonly index: IndexId
  readonly generation: number
  readonly shards: readonly number[]
  readonly node: NodeId
  readonly physicalUid: string
  readonly state: PlacementState
}

/** A change as it is appended. */
export interface NewChange {
  readonly task: number
  readonly index: WriteIndex | null
  readonly position: number | null
  readonly indexUid: string | null
  readonly operation: Operation
  readonly payload: Payload | null
  readonly byteCount: number
  /** Payload bytes of the index's journal up to and with this change. */
  readonly bytesThrough: number
  readonly customMetadata: string | null
  readonly refusal: ErrorBody | null
  /** The primary key that holds from this position on. */
  readonly primaryKey: string | null
  /** For settings: what the lane sends. */
  readonly deliver: JsonObject | null
  /** An unknown index is created by this change. */
  readonly mayCreate: boolean
  /** Names that change when this change completes. */
  readonly naming: readonly Naming[]
  readonly details: Json
  /** `failed`: it ends here and now, since no index will ever deliver it. */
  readonly status: 'enqueued' | 'failed'
  readonly enqueuedAt: number
}

/** A change that has been appended and not finished, as far as cancelling and completing must know it. */
export interface OpenChange {
  readonly task: number
  readonly position: number
  readonly indexUid: string
  readonly operation: Operation
  readonly primaryKey: string | null
  readonly mayCreate: boolean
  readonly naming: readonly Naming[]
  readonly details: Json
  refusal: ErrorBody | null
  deliver: JsonObject | null
  status: TaskStatus
}
