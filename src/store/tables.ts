/** The tables as rows. `migrations/` is the truth; times are milliseconds since 1970; `*_sealed` columns are ciphertext. */
import type { Generated } from 'kysely'
import type { EngineKind, NodeState, PlacementState, ProjectState } from './catalogue.ts'

export interface Tables {
  instance: {
    id: number
    canary_sealed: Buffer
    catalogue_version: number
    created_at: number
    secrets_placed: Generated<boolean>
  }
  data_keys: {
    id: string
    wrapped: Buffer
    usable_from: number
    rewrapped_at: number | null
    created_at: number
    /** null = the installation's. */
    organisation_id: string | null
    version: number
  }
  schema_versions: { version: number; name: string; applied_at: number }
  organisations: { id: string; name: string; created_at: number }
  projects: {
    id: string
    organisation_id: string
    ref: string
    name: string
    state: ProjectState
    master_key_sealed: Buffer
    /** JSON. */
    features: string
    /** JSON; null = none. */
    token_rules: string | null
    /** JSON: what differs from the defaults; null = nothing. */
    settings: string | null
    /** JSON: a list of `NamedRule`; null = none. */
    search_rules: string | null
    next_task: number
    created_at: number
  }
  project_progress: {
    project_id: string
    next_batch: number
    next_finish: number
    /** Deletions of tasks in `deletion_waits`. */
    waiting_deletions: Generated<number>
  }
  api_keys: {
    seq: Generated<number>
    project_id: string
    uid: string
    /** JSON `{name, description}`: text columns cannot hold every string that JSON can. */
    labels: string
    actions: string[]
    indexes: string[]
    expires_at: number | null
    hash: string
    created_at: number
    updated_at: number
  }
  nodes: {
    id: string
    engine: EngineKind
    url: string
    region: string
    state: NodeState
    key_sealed: Buffer | null
    replica_group: Generated<number>
    /** JSON; null = unknown. */
    capacity: string | null
    /** Since when it does not answer its dispatcher; null = it does. */
    silent_since: number | null
    index_count: Generated<number>
    takes_existing: Generated<boolean>
    /** null = its own id. */
    seat: string | null
    is_removed: Generated<boolean>
    marker: string | null
    since_epoch: Generated<number>
  }
  engine_credentials: {
    id: string
    node_id: string
    project_id: string | null
    generation: number
    key_sealed: Buffer
    made_at: number
  }
  moves: {
    id: string
    project_id: string
    index_id: string
    source_node: string
    target_node: string
    kind: string
    /** JSON: what is taken from which replicas. */
    takes: string
    step: string
    wish: string | null
    is_paused: boolean
    /** JSON. */
    options: string
    /** JSON: how far the step is. */
    progress: string
    failure: string | null
    owner: string
    lease_until: number
    created_at: number
    updated_at: number
    finished_at: number | null
  }
  backups: {
    id: string
    project_id: string
    index_id: string
    state: string
    position: number | null
    taken_at: number | null
    /** JSON. */
    body: string
    key_sealed: Buffer | null
    owner: string
    lease_until: number
    created_at: number
    updated_at: number
    finished_at: number | null
  }
  backup_policies: {
    project_id: string
    /** '' = all indexes of the project that have none of their own. */
    uid: string
    /** JSON. */
    body: string
  }
  restores: {
    id: string
    project_id: string
    index_id: string
    state: string
    wish: string | null
    /** JSON. */
    body: string
    owner: string
    lease_until: number
    created_at: number
    updated_at: number
    finished_at: number | null
  }
  node_leases: { node_id: string; owner: string; epoch: number; until: number; trouble: string | null }
  indexes: {
    id: string
    project_id: string
    /** Name as writes see it; null = deleted by an appended change. */
    write_uid: string | null
    /** Name as reads see it; null = not created yet, or deleted. */
    read_uid: string | null
    /** Task that gave `read_uid`: an older one that completes later does not override it. */
    named_by: number
    /** JSON string, as all primary keys in the store. */
    write_primary_key: string | null
    primary_key: string | null
    created_at: number | null
    updated_at: number | null
    head: number
    completed: number
    byte_count: number
    behind_since: number | null
    settings_version: number
    settings_sealed: Buffer | null
    settings_done_sealed: Buffer | null
    may_hold_documents: boolean
    is_gone: boolean
    /** JSON; null = plain. Of the generation that is read. */
    spread: string | null
    /** JSON: where operators want it; null = anywhere. */
    wanted: string | null
    /** The one that is read. */
    generation: Generated<number>
    /** JSON, a `Generation`: the one that stands beside it, being filled or kept for the way back; null = none. */
    beside: string | null
    /** Position of the last settings change that is completed; 0 = none. */
    settings_position: Generated<number>
    /** Since when some replica holds back what others have applied; null = none does. */
    held_since: number | null
  }
  placements: {
    index_id: string
    generation: number
    shards: number[]
    node_id: string
    physical_uid: string
    state: PlacementState
    applied: number
    applied_bytes: number
    revision: Generated<number>
    /** JSON: how the node showed its settings behind the last change of them; null = nobody looked yet. */
    settings_print: string | null
    /** Position of the settings change that the replica's turn is about; 0 = none. */
    turn_position: Generated<number>
    turn_role: string | null
    turned_at: number | null
    /** The index is gone, and its node has not deleted its part of it. */
    must_drop: Generated<boolean>
    /** Shards that are read elsewhere: held, and not read here. */
    shed: Generated<number[]>
    /** It gave shards up whose documents its lane has not taken away. */
    has_leftovers: Generated<boolean>
    proof_task: number | null
    proof_mark: string | null
    /** The row stays after the index is gone, so that a physical name is never used twice on a node. */
    is_gone: boolean
  }
  changes: ChangeRow
  /** `strategy` is no longer read: it follows from the tasks. */
  batches: { project_id: string; uid: number; key: string; strategy: Generated<string> }
  waits: { project_id: string; task: number; index_id: string; position: number }
  deletion_waits: { project_id: string; task: number; awaited: number }
  project_work: { project_id: string; task: number; enqueued_at: number; owner: string | null; until: number }
  feed_cursors: { consumer: string; project_id: string; cursor: number }
  webhooks: {
    seq: Generated<number>
    project_id: string
    uuid: string
    url: string
    headers_sealed: Buffer
    is_editable: boolean
  }
  networks: { project_id: string; network_sealed: Buffer; chats_sealed: Buffer | null }
  catalogue_events: { version: number; entity: string; project_id: string | null; entity_id: string }
}

export interface ChangeRow {
  project_id: string
  task: number
  index_id: string | null
  position: number | null
  index_uid: string | null
  /** Operation kind. */
  operation: string
  /** Task kind. */
  kind: string
  /** JSON: operation (without secrets), customMetadata, naming. */
  body: string
  /** Operations with secrets, whole. */
  secret_sealed: Buffer | null
  payload: Buffer | null
  blob: string | null
  byte_count: number
  /** Payload bytes of the index's journal up to and with this change. */
  bytes_through: number
  refusal: string | null
  resolution: string | null
  resolution_puts: Buffer | null
  resolution_deletes: Buffer | null
  /** Primary key that holds from this position on. */
  primary_key: string | null
  /** What to deliver for a settings change. */
  deliver_sealed: Buffer | null
  may_create: boolean
  status: string
  error: string | null
  details: string | null
  batch: number | null
  canceled_by: number | null
  enqueued_at: number
  started_at: number | null
  finished_at: number | null
  /** Order in which the project's tasks finished. */
  finish_seq: number | null
  /** Deleted by the client, or by the clean-up; the row stays until retention passes it. */
  is_hidden: boolean
}
