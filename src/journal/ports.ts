/**
 * What the journal offers, seen from its users. `PostgresJournal` and its in-memory twin (simulator, unit tests) pass the
 * same contract suite.
 *
 * Two pictures of a project's names exist. Writes see the names as of the last appended change; reads see them as of what
 * is completed. A create, delete, rename or swap moves the first at append and the second when it completes.
 */
import type { ErrorBody } from '../api/errors.ts'
import type { BatchView, TaskFilter, TaskPageQuery, TaskView } from '../api/tasks.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import type { Generation, IndexId, Node, NodeId, Placement, ProjectId, Spread } from '../store/catalogue.ts'
import type { IndexLayout, WantedPlace } from '../topology/index-layout.ts'
import type { ReplicaId } from '../topology/replica-id.ts'
import type { Change, Operation, PartialResolution, Payload, Resolution } from './change.ts'
import type { SettingsTurn } from './settings-turn.ts'

// ---- Appending (gateway) ----

export interface AppendRequest {
  readonly project: ProjectId
  /** Logical index name; null for a change of the whole project. */
  readonly uid: string | null
  readonly operation: Operation
  readonly payload: Payload | null
  readonly customMetadata: string | null
  /**
   * The key also owns `indexes.create`: an unknown index is created by this change (M-A4). Only document puts and settings
   * create; a reset of settings (`DELETE …/settings`) does not and must say false. `index-create` creates always.
   */
  readonly mayCreateIndex: boolean
  /** How an index that this change creates lies; absent = as the cluster's defaults have it, null = plain. */
  readonly spread?: Spread | null
  /** Found while reading the payload (bad ids, `_geo`, vectors …): the change is appended as refused. */
  readonly refusal: ErrorBody | null
  /** For document puts: what the payload was checked against. When it is no longer true, `append` answers `stale` and appends nothing. */
  readonly checkedAgainst?: { readonly primaryKey: string | null; readonly embedders: Json | null }
  /** For document puts: primary key inferred from the first document, or the refusal of the inference (M-E2). Used only while the index has no primary key. */
  readonly inferred?: { readonly primaryKey: string } | { readonly refusal: ErrorBody }
}

export type AppendOutcome =
  /** Durable: visible after any crash. */
  | {
      readonly kind: 'appended'
      readonly task: number
      readonly enqueuedAt: number
      readonly index: IndexId | null
      readonly position: number | null
      /** Which replica groups fall short of it for the moment, as `X-Miroir-Degraded` tells it; absent = none. */
      readonly degraded?: string | undefined
    }
  /** The write state changed since the payload was checked: check again and append again. */
  | { readonly kind: 'stale' }
  /** Admission (design 2, rule 2): nothing was appended. `shards`: those that stand against it. */
  | { readonly kind: 'no-quorum'; readonly shards: readonly number[] }
  /** The store cannot be reached or refuses (disk full). Nothing is visible; the client may repeat. */
  | { readonly kind: 'unavailable'; readonly cause: unknown }

/** What a writer must know to check a payload: the index as of the last appended change. `undefined`: no such index. */
export interface WriteState {
  readonly index: IndexId
  readonly primaryKey: string | null
  /** Settings folded up to the journal's head, with secrets. */
  readonly settings: JsonObject
}

/** A page of tasks or batches. `next` = uid to pass as `from` for the next page (M-C6). */
export interface TaskPage<View> {
  readonly results: readonly View[]
  readonly total: number
  readonly from: number | null
  readonly next: number | null
}

/** A stretch of a project's finished tasks, in the order in which they finished. */
export interface FinishedTasks {
  readonly tasks: readonly TaskView[]
  /** Pass it to the next call. Equal to the cursor that was given when nothing is new. */
  readonly cursor: number
}

export interface Journal {
  /** Appends in call order per project. Many calls share one transaction (group commit). Deadline: the signal. */
  append(request: AppendRequest): Promise<AppendOutcome>
  /**
   * Stores the bytes of a payload for a later `append`; durable when it resolves: inline up to `inlinePayloadBytesMax`, else
   * a blob. Throws what `bytes` throws, and `StoreUnavailable` when the disk refuses; nothing is left behind then.
   */
  stage(bytes: AsyncIterable<Uint8Array>): Promise<Payload>
  /** Drops a staged payload that will not be appended. (A forgotten one is swept at a later start.) */
  discard(payload: Payload): Promise<void>
  /** A payload's bytes, for `/tasks/{uid}/documents` and dumps. */
  open(payload: Payload): AsyncIterable<Uint8Array>
  writeState(project: ProjectId, uid: string): Promise<WriteState | undefined>
  /** Settings as reads see them: folded up to what is completed, with secrets. Empty when there is no such index. */
  completedSettings(index: IndexId): Promise<JsonObject>
  task(project: ProjectId, task: number): Promise<TaskView | undefined>
  /**
   * `authorised`: index patterns (exact, or a prefix ending with `*`) of a key limited to some indexes: tasks of other
   * indexes and of no index are left out of `results`, but not of `total` (M-C6). Absent = sees all.
   */
  tasks(project: ProjectId, query: TaskPageQuery, authorised?: readonly string[]): Promise<TaskPage<TaskView>>
  /** Batches that hold at least one matching task; `from` is a batch uid (M-C6, M-C9). */
  batches(project: ProjectId, query: TaskPageQuery, authorised?: readonly string[]): Promise<TaskPage<BatchView>>
  batch(project: ProjectId, batch: number): Promise<BatchView | undefined>
  /** Tasks matching a filter, for cancel and delete: frozen at the call (M-C7). Ascending. */
  matchingTasks(project: ProjectId, filter: TaskFilter, authorised?: readonly string[]): Promise<readonly number[]>
  /** Indexes of the project with a change that is enqueued or processing, as reads name them (`isIndexing` of stats). */
  busyIndexes(project: ProjectId): Promise<readonly string[]>
  /** What the tasks of the project take in the store, payloads that lie outside apart. Reads them all. */
  taskBytes(project: ProjectId): Promise<number>
  /** The change itself, with payload, for `/tasks/{uid}/documents`. */
  change(project: ProjectId, task: number): Promise<Change | undefined>
  /** Tasks that finished behind `cursor` (0 = from the first), at most `limit`. For webhooks and metering. */
  finishedAfter(project: ProjectId, cursor: number, limit: number): Promise<FinishedTasks>
  /** Projects with finished tasks behind the cursor that `consumer` has saved, with that cursor. At most `limit`. */
  feedsBehind(
    consumer: string,
    limit: number,
  ): Promise<readonly { readonly project: ProjectId; readonly cursor: number }[]>
  saveFeedCursor(consumer: string, project: ProjectId, cursor: number): Promise<void>
  /** Calls back after tasks of a project finished. A lost call costs only latency: poll `feedsBehind` too. Answers a stop function. */
  onFinished(listener: (project: ProjectId) => void): Promise<() => Promise<void>>
}

// ---- Moving (orchestrator) ----

/** What a move does to one replica; each safe to repeat. */
export type ReplicaChange =
  /**
   * `copying` → `standby`: the node holds at least what the journal comes to at `applied`; its lane goes on from there. `proof`
   * tells the disk from one of before the copy; null = there is nothing to tell.
   */
  | { readonly kind: 'begin'; readonly applied: number; readonly proof: LaneProof | null }
  /** `standby` → `joining`, or `active` at once when it holds everything that is completed. */
  | { readonly kind: 'admit' }
  /** `active` → `parting`. `needed` when those that are read do not hold its shards without it. */
  | { readonly kind: 'part' }
  /** To `standby`. `needed` when the rest of the in-sync set does not hold its shards. */
  | { readonly kind: 'keep' }
  /** Back to the beginning: its lane builds it anew from the journal. `needed` when the index would not be whole meanwhile. */
  | { readonly kind: 'rebuild' }
  /** To `leaving`. `needed` while it counts or is about to. */
  | { readonly kind: 'leave' }
  /** These of its shards are read elsewhere from now on. `needed` when nobody else that is read answers for them. */
  | { readonly kind: 'shed'; readonly shards: readonly number[] }
  /** They are read here again: it has taken every change all along. */
  | { readonly kind: 'reclaim'; readonly shards: readonly number[] }
  /** What it shed is its own no more; another lane takes the documents away. */
  | { readonly kind: 'shrink'; readonly shards: readonly number[] }

export type ReplicaOutcome =
  | 'done'
  /** The index would not be whole without it. */
  | 'needed'
  /** It is not there, or not in a state that this can follow. */
  | 'unsuited'

/** What a reshard does to the generations of an index; each safe to repeat. */
export type GenerationChange =
  /** A generation beside the one that is read: its replicas get names on nodes that take data, all of them `copying`. */
  | { readonly kind: 'add'; readonly spread: Spread | null }
  /** The one beside is read from now on, and the other one stands beside it. `needed` unless all its replicas could be read. */
  | { readonly kind: 'read'; readonly number: number }
  /** The one beside has no replicas any more. `needed` while it has some. */
  | { readonly kind: 'forget'; readonly number: number }

export interface IndexStanding {
  readonly index: IndexId
  readonly project: ProjectId
  /** Name as reads see it; null = deleted, or not created yet. */
  readonly uid: string | null
  /** Of the generation that is read; null = plain. */
  readonly spread: Spread | null
  /** The one that is read. */
  readonly generation: number
  /** The one that is being filled, or kept for the way back; null = none. */
  readonly beside: Generation | null
  readonly head: number
  readonly completed: number
  /** Payload bytes of its journal. */
  readonly byteCount: number
  readonly primaryKey: string | null
  readonly replicas: readonly (Placement & {
    /** Payload bytes that it has not applied. */
    readonly pendingBytes: number
    /** Epoch of the lease that adopted its disk: rises when the disk was replaced. */
    readonly diskEpoch: number
    /** Text of that disk's marker; null = none was adopted yet. */
    readonly diskMarker: string | null
    /** The newest one of its lane, by which an older copy of that disk is told. */
    readonly proof: LaneProof | null
  })[]
}

/** What an operator wants of an index; what is left out stays. */
export interface WantedLayout extends Partial<WantedPlace> {
  /** Of a spread index: copies of each shard in a group. */
  readonly replicationFactor?: number
}

export interface LayoutJournal {
  /** All indexes that can be read and have one generation, by id. Reads them all. */
  layouts(): Promise<readonly IndexLayout[]>
  /** Edits what is wanted, which moves nothing by itself. `false` = the index is deleted. */
  want(index: IndexId, wanted: WantedLayout): Promise<boolean>
}

export interface ReplicaJournal extends LayoutJournal {
  /** `undefined` = the index is deleted. */
  standing(index: IndexId): Promise<IndexStanding | undefined>
  /**
   * Reserves a name for another replica, `copying`. One that is `copying` there with these shards is that replica, added before;
   * `undefined` = no such index or node.
   */
  addReplica(index: IndexId, node: NodeId, shards: readonly number[]): Promise<Placement | undefined>
  changeReplica(index: IndexId, replica: ReplicaId, change: ReplicaChange): Promise<ReplicaOutcome>
  changeGeneration(index: IndexId, change: GenerationChange): Promise<ReplicaOutcome>
  /** How many indexes each node holds. */
  loads(): Promise<ReadonlyMap<NodeId, number>>
}

// ---- Delivering (worker) ----

/** One dispatcher per node holds that node's lease, and with it all its lanes. The epoch rises with every grant. */
export interface NodeLease {
  readonly node: Node
  readonly epoch: number
}

/**
 * A task on a node that proves how far a lane got there. A disk that lacks it, or holds another task under its number, is
 * not the disk that we wrote to (NF-31).
 */
export interface LaneProof {
  /** The node's own number of the task. */
  readonly task: number
  /** The mark that it carries. */
  readonly mark: string
}

/** What the store knows of a node's disk. */
export interface NodeIdentity {
  /** Text of the node's marker key; null = no disk of this node was adopted yet. */
  readonly marker: string | null
  /** Epoch of the lease that adopted the disk. Marks of lower epochs belong to an earlier disk and do not count. */
  readonly sinceEpoch: number
  /** The proof with the highest task number among the node's placements. */
  readonly proof: LaneProof | null
}

/** A lane: brings the journal of one index to one replica, in order. */
export interface LaneState {
  readonly placement: Placement
  /** How its generation lies; null = plain. */
  readonly spread: Spread | null
  /** Its generation is the one that is read. */
  readonly isCurrent: boolean
  readonly project: ProjectId
  /** Last appended position. `placement.applied` is behind or equal. */
  readonly head: number
  /** First lane of a new physical index: nothing was delivered yet. */
  readonly primaryKey: string | null
  /** Bytes of payload not applied yet. */
  readonly pendingBytes: number
}

/** A change to be delivered, with all that delivery needs. */
export interface LaneChange {
  readonly change: Change & { readonly index: IndexId; readonly position: number }
  /** For a `settings` change: the object to deliver: what the client sent, with `embedders` whole as of this position (NF-24). Secrets in clear. */
  readonly settings: JsonObject | null
  /** The primary key that holds from this position on. */
  readonly primaryKey: string | null
  /** Of a spread index: what the change came to so far, in which shards. */
  readonly partials: readonly PartialResolution[]
  /** Of a spread index, while it is open and depends on state: who is first to tell what it comes to, in which shards. */
  readonly resolvers?: ReadonlyMap<ReplicaId, readonly number[]>
  /** Of a settings change of a spread index: whose turn it is. */
  readonly turn?: SettingsTurn
}

export interface ChangeOutcome {
  readonly position: number
  readonly status: 'succeeded' | 'failed'
  readonly error: ErrorBody | null
  readonly details: Json | null
  /** Its counts are of what this replica holds, not of the whole index. */
  readonly isShare: boolean
  /** There is nothing in it for the replica: mostly, all of it is for other shards. */
  readonly isElsewhere?: true
  readonly startedAt: number
  readonly finishedAt: number
  /** Changes that ended in one engine batch share this text; one batch number is given to them. */
  readonly batchKey: string
}

/** A placement by its name on the node. */
export interface PlacementStanding {
  readonly physicalUid: string
  readonly applied: number
  /** Task number of its proof. */
  readonly proof: number | null
}

/** How a node showed its settings of an index behind the settings change at `position`. */
export interface SettingsPrint {
  readonly position: number
  /** SHA-256, lower-case hex. */
  readonly hash: string
}

export interface CompletedSettings {
  readonly completed: number
  /** Of the last settings change that is completed; 0 = none. */
  readonly position: number
  readonly settings: JsonObject
}

export interface LaneJournal {
  /**
   * Takes or renews the leases of nodes: those this worker holds, those that are free or expired at `now`.
   * Two workers never hold the same node at once.
   */
  leaseNodes(worker: string, leaseMs: number): Promise<readonly NodeLease[]>
  releaseNodes(worker: string): Promise<void>
  /** Why the node takes no writes, for operators; null = it takes them. `false` = the lease is lost. */
  noteTrouble(lease: NodeLease, trouble: string | null): Promise<boolean>
  /** Nodes that take no writes or do not answer, and why. */
  troubles(): Promise<ReadonlyMap<NodeId, string>>
  /** Lanes of a node that are behind their head. Bounded by `limit`, longest waiting first. */
  lanesBehind(node: NodeId, limit: number): Promise<readonly LaneState[]>
  /** The lane of one physical index, behind or not; `undefined` when nothing of that name is placed on the node. */
  laneOn(node: NodeId, physicalUid: string): Promise<LaneState | undefined>
  /** Other replicas of its generation, on nodes that are not lost, hold or will hold all of its shards. */
  isHeldElsewhere(placement: Placement): Promise<boolean>
  /** Those of these names that are placed on the node. */
  standingsOn(node: NodeId, physicalUids: readonly string[]): Promise<readonly PlacementStanding[]>
  /** Changes behind `after`, in order, at most `limit` and about `byteCountMax` of payload (at least one). Payload bytes are not loaded. */
  read(index: IndexId, after: number, limit: number, byteCountMax: number): Promise<readonly LaneChange[]>
  /** Lanes of spread indexes on the node, by name behind `after`; with how the node showed their settings. */
  lanesToAudit(
    node: NodeId,
    after: string,
    limit: number,
  ): Promise<readonly { readonly lane: LaneState; readonly print: SettingsPrint | null }[]>
  /** `false` = the lease is lost. */
  savePrint(lease: NodeLease, placement: Placement, print: SettingsPrint): Promise<boolean>
  /** The settings that hold up to the last completed position, folded from those that succeeded, with secrets. */
  completedSettings(index: IndexId): Promise<CompletedSettings>
  /** Those of these positions that ended as failed, or that the replica has told to have failed. */
  failedOn(placement: Placement, positions: readonly number[]): Promise<readonly number[]>
  /** Payload as a stream of bytes. */
  open(payload: Payload): AsyncIterable<Uint8Array>
  /** Stores bytes for a resolution; durable when it resolves. */
  stage(bytes: AsyncIterable<Uint8Array>): Promise<Payload>
  /**
   * Marks changes as about to be sent; from then on they cannot be cancelled. Answers the positions that may be sent:
   * those cancelled meanwhile are left out (the lane skips them), those marked or finished before are answered again.
   * `false` = the lease is lost.
   */
  markSent(
    lease: NodeLease,
    index: IndexId,
    positions: readonly number[],
    startedAt: number,
  ): Promise<readonly number[] | false>
  recordResolution(lease: NodeLease, index: IndexId, position: number, resolution: Resolution): Promise<boolean>
  /**
   * The same in some shards of a spread index. What overlaps a part that is recorded already is not; nor what was read before
   * everything in front of the change was complete, since replicas may still differ on what became of that.
   */
  recordPartial(lease: NodeLease, placement: Placement, position: number, partial: PartialResolution): Promise<boolean>
  /**
   * Records what came of changes and moves `applied`, in one transaction; completes create, delete and rename in the
   * catalogue, and the tasks that wait for these positions. Outcomes in order of position, refused ones included, those
   * of cancelled changes left out; the outcome of a change that is finished already (replay on a new disk) is ignored.
   * `proof` is kept with `applied` in the placement; null = leave the stored one. `applied` never goes back here. Safe to
   * repeat. `false` = the lease is lost, `restarted` = the replica was put back to the beginning: nothing was written.
   *
   * In a spread index a change ends when every replica of the in-sync set has applied it. Replicas that hold what failed on
   * another are put back to the beginning.
   */
  advance(
    lease: NodeLease,
    placement: Placement,
    applied: number,
    outcomes: readonly ChangeOutcome[],
    proof: LaneProof | null,
  ): Promise<boolean | 'restarted'>
  /**
   * The node does not answer, or does again. A silent node's replicas leave the in-sync set as far as others of it hold their
   * shards; when it is back, those return that hold everything that is completed. `false` = the lease is lost.
   */
  noteSilence(lease: NodeLease, isSilent: boolean): Promise<boolean>
  /**
   * The replica stands before a settings change of a spread index, and everything before that is complete: it and others are
   * given their turn, as far as none have one. `false` = the lease is lost.
   */
  giveTurns(lease: NodeLease, placement: Placement, position: number): Promise<boolean>
  /** The replica has the settings of before again, after a settings change failed that it may have taken. `false` = the lease is lost. */
  endTurn(lease: NodeLease, placement: Placement): Promise<boolean>
  /** Names of indexes that are gone and that the node has not deleted, at most `limit`. */
  dueDrops(node: NodeId, limit: number): Promise<readonly string[]>
  /** The node has deleted it. `false` = the lease is lost. */
  noteDropped(lease: NodeLease, physicalUid: string): Promise<boolean>
  /** Something was written to it after it was gone: it is to be deleted again. `false` = the lease is lost. */
  noteLeftover(lease: NodeLease, physicalUid: string): Promise<boolean>
  /** Replicas leave that hold back for longer than `lagMs` what others have applied. Any worker may ask. */
  releaseHeld(lagMs: number): Promise<void>
  /** `false` = the lease is lost. */
  identity(lease: NodeLease): Promise<NodeIdentity | false>
  /**
   * The node's disk is new, replaced or older than what we know: records `marker` and the lease's epoch as its identity,
   * and puts every placement of the node back to `applied = 0` without proof, in one transaction; the lanes then replay
   * the journal. A placement that had completed changes is `filling` (not read) until `advance` brings it to what is
   * completed, then `active` again. Tasks keep their outcome. Safe to repeat. `false` = the lease is lost: nothing was written.
   */
  adopt(lease: NodeLease, marker: string): Promise<boolean>
  /**
   * The same for one placement: what the node holds of it can no longer be trusted, and its lane builds it anew from the
   * journal. `false` = the lease is lost.
   */
  restart(lease: NodeLease, placement: Placement): Promise<boolean>
  /** Documents of shards that it gave up are off its node. `false` = the lease is lost. */
  noteTrimmed(lease: NodeLease, placement: Placement): Promise<boolean>
  /** What left its node (`leaving`) is placed there no more; its name is not used again. `false` = the lease is lost. */
  removeReplica(lease: NodeLease, placement: Placement): Promise<boolean>
  /** Resolves when something was appended since the last call for this node, or after `timeoutMs`. A lost notification costs only that time. */
  waitForWork(node: NodeId, timeoutMs: number, signal: AbortSignal): Promise<void>

  /** The same for work of whole projects. */
  waitForProjectWork(timeoutMs: number, signal: AbortSignal): Promise<void>
  /** Work of a whole project (`dump`, `snapshot`, `export`), oldest first, for `leaseMs`; marked as processing. */
  claimProjectChange(worker: string, leaseMs: number): Promise<Change | undefined>
  renewProjectChange(worker: string, change: Change, leaseMs: number): Promise<boolean>
  /** `false` = another worker took it over. */
  finishProjectChange(
    worker: string,
    change: Change,
    outcome: {
      readonly status: 'succeeded' | 'failed'
      readonly error: ErrorBody | null
      readonly details: Json | null
    },
  ): Promise<boolean>
  /**
   * Retention (design 2, rule 7): drops payloads of changes that finished before `finishedBefore` and that every replica
   * has applied, and those of indexes that were deleted before `goneBefore` (default: ever). What is behind the last backup
   * that was taken before `finishedBefore` stays, so that the index can be restored to any time since then. Answers how many;
   * call again while it equals `limit`.
   */
  dropPayloads(finishedBefore: number, limit: number, goneBefore?: number): Promise<number>
  /** M-C7: in each project with `taskCountMax` tasks or more, deletes the oldest tenth of finished ones. */
  cleanTasks(taskCountMax: number): Promise<void>
}
