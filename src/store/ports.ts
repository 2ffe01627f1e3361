/** What the catalogue offers, seen from its users. `PostgresCatalogue` and its in-memory twin pass the same contract suite. */
import type { ChatWorkspaces } from '../api/chat-workspace.ts'
import type { Network } from '../api/network-body.ts'
import type {
  ApiKey,
  CatalogueEvent,
  Credential,
  EngineKind,
  IndexEntry,
  Node,
  NodeCapacity,
  NodeId,
  NodeState,
  Organisation,
  Placement,
  Project,
  ProjectId,
  ProjectSettings,
  ProjectState,
  TokenRules,
  Webhook,
} from './catalogue.ts'

/** Everything a route table is built from, at one version. Read in one transaction. */
export interface CatalogueSnapshot {
  readonly version: number
  readonly projects: readonly Project[]
  readonly keys: readonly ApiKey[]
  /** As reads see them. */
  readonly indexes: readonly IndexEntry[]
  readonly placements: readonly Placement[]
  readonly nodes: readonly Node[]
  readonly credentials: readonly Credential[]
}

/** What one event's entity is now; `undefined` = it is gone. */
export type CatalogueChange =
  | { readonly event: CatalogueEvent & { entity: 'project' }; readonly now: Project | undefined }
  | { readonly event: CatalogueEvent & { entity: 'key' }; readonly now: ApiKey | undefined }
  | {
      readonly event: CatalogueEvent & { entity: 'index' }
      readonly now: { readonly index: IndexEntry; readonly placements: readonly Placement[] } | undefined
    }
  | { readonly event: CatalogueEvent & { entity: 'node' }; readonly now: Node | undefined }
  | { readonly event: CatalogueEvent & { entity: 'credential' }; readonly now: Credential | undefined }
  | { readonly event: CatalogueEvent & { entity: 'webhook' }; readonly now: Webhook | undefined }

export interface NewKey {
  readonly uid: string
  readonly name: string | null
  readonly description: string | null
  readonly actions: readonly string[]
  readonly indexes: readonly string[]
  readonly expiresAt: number | null
}

/** M-C10. */
export const webhookCountMax = 20

/** Every method may throw `StoreUnavailable`. Writes are durable when they resolve and seen by `changesAfter` at once. */
export interface Catalogue {
  snapshot(): Promise<CatalogueSnapshot>
  /** Of the newest committed change. */
  version(): Promise<number>
  /**
   * Changes behind `version`, in order of version, at most `limit` events. An entity that changed several times may appear
   * at its last change only, with what it is now; nothing that changed is left out.
   */
  changesAfter(
    version: number,
    limit: number,
  ): Promise<{ readonly version: number; readonly changes: readonly CatalogueChange[] }>
  /** Calls back after any catalogue commit (NOTIFY; a lost one costs only latency: callers also poll). Answers a stop function. */
  onChange(listener: () => void): Promise<() => Promise<void>>

  organisations(): Promise<readonly Organisation[]>
  createOrganisation(name: string): Promise<Organisation>
  /** In the order in which they were made. */
  projects(): Promise<readonly Project[]>
  /** `nameOrRef`. */
  findProject(nameOrRef: string): Promise<Project | undefined>
  /** Creates the project and its four default keys (M-G4) in one transaction. `masterKey` absent = a random one of 32 bytes, hex. */
  createProject(options: {
    readonly organisation: string
    readonly name: string
    readonly masterKey?: string
  }): Promise<Project>
  /** A project that is `suspended` or `read_only` stays in the route table; its gateway refuses. */
  setProjectState(project: ProjectId, state: ProjectState): Promise<Project>
  setFeatures(project: ProjectId, features: Readonly<Record<string, boolean>>): Promise<Project>
  /** Replaces the project's token rules by what `change` makes of them, one change after the other. What it throws is thrown. */
  changeTokenRules(project: ProjectId, change: (before: TokenRules) => TokenRules): Promise<Project>

  /** As `changeTokenRules`, for its settings. */
  changeSettings(project: ProjectId, change: (before: ProjectSettings) => ProjectSettings): Promise<Project>

  /** Newest first (M-A8). */
  keys(project: ProjectId): Promise<readonly ApiKey[]>
  /** `exists` when the uid is taken. */
  createKey(project: ProjectId, key: NewKey): Promise<ApiKey | 'exists'>
  updateKey(
    project: ProjectId,
    uid: string,
    change: { readonly name?: string | null; readonly description?: string | null },
  ): Promise<ApiKey | undefined>
  deleteKey(project: ProjectId, uid: string): Promise<boolean>

  webhooks(project: ProjectId): Promise<readonly Webhook[]>
  /** Inserts or replaces by uuid. `too-many` above 20. */
  putWebhook(webhook: Webhook): Promise<'stored' | 'too-many'>
  deleteWebhook(project: ProjectId, uuid: string): Promise<boolean>

  /** What the project wrote to `/network`. Sealed at rest because of keys. */
  network(project: ProjectId): Promise<Network>
  /** Replaces it by what `change` makes of it, one change after the other. What `change` throws is thrown. */
  changeNetwork(project: ProjectId, change: (before: Network) => Network): Promise<Network>

  /** Chat workspaces of the project by name. Sealed at rest because of keys. */
  chats(project: ProjectId): Promise<ChatWorkspaces>
  /** As `changeNetwork`. */
  changeChats(project: ProjectId, change: (before: ChatWorkspaces) => ChatWorkspaces): Promise<ChatWorkspaces>

  nodes(): Promise<readonly Node[]>
  /** Inserts or updates by id. `group` and `capacity` absent = as they are; 0 and unknown at first. */
  putNode(node: {
    readonly id: NodeId
    readonly engine: EngineKind
    readonly url: string
    readonly region: string
    readonly key: string | null
    readonly group?: number
    readonly capacity?: NodeCapacity | null
    /** At first; default false. */
    readonly takesExisting?: true
    /** At first; default its own id. */
    readonly seat?: NodeId
  }): Promise<Node>
  letNodesTake(ids: readonly NodeId[], takes: boolean): Promise<void>
  /**
   * Forgets a node for good; its id is not used again. `holds` = replicas lie on it, and it stays; `isForced` forgets them with it,
   * whatever becomes of their indexes.
   */
  removeNode(id: NodeId, isForced: boolean): Promise<'removed' | 'holds' | 'unknown'>
  /** `lost`: appends to indexes that live only there are refused (`no-quorum`). Unknown node: no-op. */
  setNodeState(id: NodeId, state: NodeState): Promise<void>
}

/** The store is away or refuses writes. Rendered as 503 with `Retry-After`. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable'
}
