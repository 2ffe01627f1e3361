/**
 * The immutable picture from which requests are routed. Pure. An update gives a new table that shares almost everything
 * with the old one; a request holds one table from start to end.
 */
import type { ApiKey, IndexEntry, Node, NodeId, Placement, Project, ProjectId } from '../store/catalogue.ts'

export interface IndexRoute {
  readonly index: IndexEntry
  /** `shards = 1` today: exactly one active placement. */
  readonly placements: readonly Placement[]
}

export interface RouteTable {
  /** Version of the catalogue that this table shows. */
  readonly version: number
  project(id: ProjectId): Project | undefined
  /** By SHA-256 of the key's value (or of a project's master key), lower-case hex. */
  keyByHash(hash: string): { readonly project: Project; readonly key: ApiKey | 'master' } | undefined
  keyByUid(project: ProjectId, uid: string): ApiKey | undefined
  index(project: ProjectId, uid: string): IndexRoute | undefined
  /** Sorted by uid. */
  indexes(project: ProjectId): readonly IndexRoute[]
  node(id: NodeId): Node | undefined
}
