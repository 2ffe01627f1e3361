/** What the store knows besides the journal: who exists, what indexes they have, and where these live. */
import type { NamedRule } from '../api/search-rule.ts'
import type { JsonObject } from '../lib/json.ts'

export type OrganisationId = string
/** UUID v7. */
export type ProjectId = string
/** UUID v7; never changes and is never used again. A name (`uid`) is a pointer to it. */
export type IndexId = string
/** Short and chosen by people or by us, for example `n1`. */
export type NodeId = string

export interface Organisation {
  readonly id: OrganisationId
  readonly name: string
  readonly createdAt: number
}

export type ProjectState = 'active' | 'read_only' | 'suspended' | 'deleting'

/** `unreadable`: its secrets do not open; it is left out of service and nothing else is (P-26). Never stored. */
export type ShownState = ProjectState | 'unreadable'

export interface Project {
  readonly id: ProjectId
  readonly organisation: OrganisationId
  /** 12 characters `[a-z][a-z0-9]{11}`, unique for ever: the prefix of physical names (P-02). */
  readonly ref: string
  readonly name: string
  readonly state: ShownState
  /** The master key: the secret of M-G2, from which every key of the project is derived. Sealed at rest. */
  readonly masterKey: string
  /** Experimental flags (M-H6) that are on. */
  readonly features: Readonly<Record<string, boolean>>
  readonly tokens: TokenRules
  readonly settings: ProjectSettings
  /** Dynamic search rules, in the order in which they came. */
  readonly searchRules: readonly NamedRule[]
  readonly createdAt: number
}

/** What an operator settles for a project. */
export interface ProjectSettings {
  /** `GET /keys` shows the values of keys; else only the answer to a creation does (P-04). */
  readonly revealKeys: boolean
  /** The master key is a credential. */
  readonly allowMasterKey: boolean
  /** Origins whose pages browsers let read answers (P-03), such as `https://shop.example`; null = any. */
  readonly corsOrigins: readonly string[] | null
  /** Hosts of its own besides `<ref>.<region>.<base domain>`, in lower case. No two projects have the same. */
  readonly hosts: readonly string[]
}

export const defaultProjectSettings: ProjectSettings = {
  revealKeys: true,
  allowMasterKey: true,
  corsOrigins: null,
  hosts: [],
}

/** Which access tokens (P-05) a project takes. */
export interface TokenRules {
  /** Tokens that were issued earlier are refused: seconds since 1970. */
  readonly issuedFrom: number
  /** Who may sign tokens besides this installation. */
  readonly issuers: readonly TokenIssuer[]
  /** Tokens that were taken back, until they would have ended anyway. */
  readonly revoked: readonly RevokedToken[]
}

export interface TokenIssuer {
  /** The `iss` of its tokens. */
  readonly issuer: string
  /** Where its public keys (a JWKS) are: at an address, or here. */
  readonly keys:
    | { readonly kind: 'url'; readonly url: string }
    | { readonly kind: 'pinned'; readonly jwks: readonly JsonObject[] }
  /** No token of it grants more than these. */
  readonly actions: readonly string[]
  readonly indexes: readonly string[]
}

export interface RevokedToken {
  readonly jti: string
  /** Seconds since 1970. */
  readonly until: number
}

export const noTokenRules: TokenRules = { issuedFrom: 0, issuers: [], revoked: [] }

/** A key of a project (M-G1). `value` is derived (M-G2) and never stored; the store keeps its SHA-256. */
export interface ApiKey {
  readonly project: ProjectId
  readonly uid: string
  readonly name: string | null
  readonly description: string | null
  readonly actions: readonly string[]
  readonly indexes: readonly string[]
  readonly expiresAt: number | null
  /** SHA-256 of the key's value, lower-case hex. */
  readonly hash: string
  readonly createdAt: number
  readonly updatedAt: number
}

/** How an index lies over many nodes. */
export interface Spread {
  /** 1 or more; fixed for a generation of the index. */
  readonly shards: number
  /** Copies of each shard inside a replica group. */
  readonly replicationFactor: number
  /** Documents that equal each other in every rule come in order of their first insertion, as on one node. */
  readonly exactTies: boolean
}

/** One way in which an index lies, with placements of its own. One of them is read. */
export interface Generation {
  /** 1 or more. */
  readonly number: number
  /** null = plain. */
  readonly spread: Spread | null
}

/** An index as reads see it: created, and not yet deleted, in the journal folded up to what is completed. */
export interface IndexEntry {
  readonly id: IndexId
  readonly project: ProjectId
  readonly uid: string
  readonly primaryKey: string | null
  readonly createdAt: number
  readonly updatedAt: number
  /** Position of the last settings change that is completed; 0 = none. */
  readonly settingsPosition: number
  /** null = plain: one shard on one node, and nothing of ours in its documents. */
  readonly spread: Spread | null
}

export type EngineKind = 'embedded' | 'meilisearch'
export type NodeState = 'active' | 'draining' | 'lost'

export interface Node {
  readonly id: NodeId
  readonly engine: EngineKind
  /** Base URL, for example `http://127.0.0.1:7711`. May change at a restart of a local process. */
  readonly url: string
  readonly region: string
  /** Replica group: the nodes of one hold every shard of an index together. From 0. */
  readonly group: number
  /** null = unknown. */
  readonly capacity: NodeCapacity | null
  readonly state: NodeState
  /** Indexes that exist may come to it, and not only new ones. */
  readonly takesExisting?: true
  /** The node whose place it took: it is ranked for shards by that id. Absent = by its own. */
  readonly seat?: NodeId
  /** The engine's own master key; sealed at rest. Null: it has none, or this process has no business with it (P-22). */
  readonly key: string | null
}

/** A key of a node that opens less than its master key: what gateways hold (P-22). Sealed at rest. */
export interface Credential {
  /** See `credentialId` of the topology. */
  readonly id: string
  readonly node: NodeId
  readonly project: ProjectId | null
  readonly key: string
}

/** What a node has room for; null = unknown. */
export interface NodeCapacity {
  readonly diskBytes: number | null
  readonly memoryBytes: number | null
}

/**
 * `copying`: it has no lane yet, a move brings its first contents. `standby`: its lane goes on, and it is neither read nor
 * counted: the target of a move until it is let in, and the source as long as the way back is open. `filling`: not read until
 * it holds everything that is completed; a replica leaves the in-sync set so. `joining`: the same, and changes wait for it.
 * `parting`: not read any more, and changes wait for it until every gateway knows. `leaving`: its lane takes the index off the
 * node.
 */
export type PlacementState =
  | 'copying'
  | 'standby'
  | 'filling'
  | 'joining'
  | 'active'
  | 'parting'
  | 'draining'
  | 'leaving'
  | 'lost'

/** One replica: some shards of one generation of an index in one physical index on one node. */
export interface Placement {
  readonly index: IndexId
  readonly generation: number
  /** Ascending; `[0]` in a plain index. */
  readonly shards: readonly number[]
  readonly node: NodeId
  /** The index's name on that node (P-02). Never leaves the gateway. */
  readonly physicalUid: string
  readonly state: PlacementState
  /** Position in the index's journal up to which the replica holds everything. */
  readonly applied: number
  /** Rises whenever the replica is put back to the beginning, or gives shards up. */
  readonly revision: number
  /** Those of its shards that are read elsewhere; absent = none. */
  readonly shed?: readonly number[]
  /** It may still hold documents of shards that it gave up: reads must name theirs. */
  readonly hasLeftovers?: true
  /**
   * Position of a settings change that it takes or takes back, so that its answers may show settings of before or behind it;
   * absent = none. Others that agree are read first.
   */
  readonly turn?: number
}

/** Webhook of M-C10. Header values are sealed at rest. */
export interface Webhook {
  readonly project: ProjectId
  readonly uuid: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly isEditable: boolean
}

/** One committed change of the catalogue. `version` has no gaps: catalogue transactions take it from one locked row. */
export interface CatalogueEvent {
  readonly version: number
  /** A placement's change shows as its index's. */
  readonly entity: 'project' | 'key' | 'index' | 'node' | 'webhook' | 'credential'
  readonly project: ProjectId | null
  readonly entityId: string
}
