/**
 * The immutable picture from which requests are routed. Pure. An update gives a new table that shares almost everything
 * with the old one; a request holds one table from start to end.
 */
import { createHash } from 'node:crypto'
import type {
  ApiKey,
  Credential,
  IndexEntry,
  IndexId,
  Node,
  NodeId,
  Placement,
  Project,
  ProjectId,
} from '../store/catalogue.ts'
import type { CatalogueChange, CatalogueSnapshot } from '../store/ports.ts'
import { IndexRecord } from './index-record.ts'
import { PersistentMap } from './persistent-map.ts'

export interface IndexRoute {
  readonly index: IndexEntry
  /** Of a plain index exactly one. */
  readonly placements: readonly Placement[]
}

export interface RouteTable {
  /** Version of the catalogue that this table shows. */
  readonly version: number
  project(id: ProjectId): Project | undefined
  /** By its reference (P-02). */
  projectByRef(ref: string): Project | undefined
  /** By one of its own hosts (P-03), in lower case. */
  projectByHost(host: string): Project | undefined
  /** Whether any project has a host of its own. */
  readonly hasHosts: boolean
  /** By SHA-256 of the key's value (or of a project's master key), lower-case hex. */
  keyByHash(hash: string): { readonly project: Project; readonly key: ApiKey | 'master' } | undefined
  keyByUid(project: ProjectId, uid: string): ApiKey | undefined
  /** Keys of any project with this uid: usually one, but clients choose uids. Verifies tenant tokens, which name no project. */
  keysWithUid(uid: string): readonly { readonly project: Project; readonly key: ApiKey }[]
  index(project: ProjectId, uid: string): IndexRoute | undefined
  /** Sorted by uid. */
  indexes(project: ProjectId): readonly IndexRoute[]
  /** In no particular order, and without keeping a list. */
  unsortedIndexes(project: ProjectId): Iterable<IndexRoute>
  /** In no particular order. */
  keys(project: ProjectId): Iterable<ApiKey>
  keyCount(project: ProjectId): number
  indexCount(project: ProjectId): number
  node(id: NodeId): Node | undefined
  /** By `credentialId`. */
  credential(id: string): Credential | undefined
  credentials(): Iterable<Credential>
  /** Whether a text begins like the physical names of some project: its reference (P-02). */
  hasRef(ref: string): boolean
  /** In no particular order. */
  projects(): Iterable<Project>
  nodes(): Iterable<Node>
  /** The table after these changes, which follow this version. */
  after(version: number, changes: readonly CatalogueChange[]): RouteTable
}

/** SHA-256 of a credential, lower-case hex: what keys are looked up by. */
export function credentialHash(credential: string): string {
  return createHash('sha256').update(credential).digest('hex')
}

/** A table of nothing, at version 0. */
export function emptyRouteTable(): RouteTable {
  return buildRouteTable({
    version: 0,
    projects: [],
    keys: [],
    indexes: [],
    placements: [],
    nodes: [],
    credentials: [],
  })
}

/** Builds a table from scratch: about one second for a million indexes. */
export function buildRouteTable(snapshot: CatalogueSnapshot): RouteTable {
  const placementsOf = new Map<IndexId, Placement | Placement[]>()
  for (const placement of snapshot.placements) {
    const known = placementsOf.get(placement.index)
    if (known === undefined) placementsOf.set(placement.index, placement)
    else if (Array.isArray(known)) known.push(placement)
    else placementsOf.set(placement.index, [known, placement])
  }
  const names = new Map<string, string>()
  const recordsOf = new Map<ProjectId, IndexRecord[]>()
  const records: IndexRecord[] = []
  for (const index of snapshot.indexes) {
    const found = placementsOf.get(index.id) ?? []
    const record = new IndexRecord(index, Array.isArray(found) ? found : [found], names)
    records.push(record)
    const ofProject = recordsOf.get(record.project)
    if (ofProject === undefined) recordsOf.set(record.project, [record])
    else ofProject.push(record)
  }
  const keysByProject = new Map<ProjectId, ApiKey[]>()
  for (const key of snapshot.keys) {
    const ofProject = keysByProject.get(key.project)
    if (ofProject === undefined) keysByProject.set(key.project, [key])
    else ofProject.push(key)
  }
  const projects = snapshot.projects.map(
    (project): ProjectRoutes => ({
      project,
      masterHash: credentialHash(project.masterKey),
      indexes: PersistentMap.from(uidOf, recordsOf.get(project.id) ?? []),
      keys: PersistentMap.from(keyUidOf, keysByProject.get(project.id) ?? []),
    }),
  )
  const hashes: HashEntry[] = snapshot.keys.map((key) => ({ hash: key.hash, project: key.project, key }))
  for (const { masterHash, project } of projects) hashes.push({ hash: masterHash, project: project.id, key: 'master' })
  return new Table({
    version: snapshot.version,
    projects: PersistentMap.from(projectIdOf, projects),
    indexesById: PersistentMap.from(indexIdOf, records),
    keysByHash: PersistentMap.from(hashOf, hashes),
    keysByUid: PersistentMap.from(keysUidOf, uidEntries(snapshot.keys)),
    // A deleted project's reference stays known for the life of the process: it must not leak either.
    refs: PersistentMap.from<RefEntry>(
      refOf,
      snapshot.projects.map(({ ref, id }) => ({ ref, project: id })),
    ),
    nodes: new Map(snapshot.nodes.map((node) => [node.id, node])),
    credentials: PersistentMap.from(credentialIdOf, snapshot.credentials),
    // The project that has been there for longest keeps a host.
    hosts: new Map([...snapshot.projects].reverse().flatMap(hostEntries)),
  })
}

function uidEntries(keys: readonly ApiKey[]): Iterable<UidEntry> {
  const entries = new Map<string, UidEntry>()
  for (const { uid, project } of keys) {
    entries.set(uid, { uid, projects: [...(entries.get(uid)?.projects ?? []), project] })
  }
  return entries.values()
}

interface ProjectRoutes {
  readonly project: Project
  readonly masterHash: string
  readonly indexes: PersistentMap<IndexRecord>
  readonly keys: PersistentMap<ApiKey>
}

interface HashEntry {
  readonly hash: string
  readonly project: ProjectId
  readonly key: ApiKey | 'master'
}

interface UidEntry {
  readonly uid: string
  readonly projects: readonly ProjectId[]
}

interface RefEntry {
  readonly ref: string
  readonly project: ProjectId
}

interface TableParts {
  readonly version: number
  readonly projects: PersistentMap<ProjectRoutes>
  readonly indexesById: PersistentMap<IndexRecord>
  readonly keysByHash: PersistentMap<HashEntry>
  readonly keysByUid: PersistentMap<UidEntry>
  readonly refs: PersistentMap<RefEntry>
  readonly nodes: ReadonlyMap<NodeId, Node>
  readonly credentials: PersistentMap<Credential>
  readonly hosts: ReadonlyMap<string, ProjectId>
}

const uidOf = (record: IndexRecord): string => record.uid
const indexIdOf = (record: IndexRecord): string => record.id
const keyUidOf = (key: ApiKey): string => key.uid
const projectIdOf = (routes: ProjectRoutes): string => routes.project.id
const refOf = (entry: RefEntry): string => entry.ref
const credentialIdOf = (credential: Credential): string => credential.id
const keysUidOf = (entry: UidEntry): string => entry.uid
const hashOf = (entry: HashEntry): string => entry.hash

/** Sorted listings, made when first asked for and kept as long as the project's indexes stay as they are. */
const listings = new WeakMap<PersistentMap<IndexRecord>, readonly IndexRoute[]>()

class Table implements RouteTable {
  readonly #parts: TableParts

  constructor(parts: TableParts) {
    this.#parts = parts
  }

  get version(): number {
    return this.#parts.version
  }

  project(id: ProjectId): Project | undefined {
    return this.#parts.projects.get(id)?.project
  }

  projectByRef(ref: string): Project | undefined {
    const entry = this.#parts.refs.get(ref)
    return entry && this.project(entry.project)
  }

  projectByHost(host: string): Project | undefined {
    const id = this.#parts.hosts.get(host)
    return id === undefined ? undefined : this.project(id)
  }

  get hasHosts(): boolean {
    return this.#parts.hosts.size > 0
  }

  keyByHash(hash: string): { readonly project: Project; readonly key: ApiKey | 'master' } | undefined {
    const entry = this.#parts.keysByHash.get(hash)
    const project = entry && this.project(entry.project)
    return entry && project && { project, key: entry.key }
  }

  keyByUid(project: ProjectId, uid: string): ApiKey | undefined {
    return this.#parts.projects.get(project)?.keys.get(uid)
  }

  keysWithUid(uid: string): readonly { readonly project: Project; readonly key: ApiKey }[] {
    return (this.#parts.keysByUid.get(uid)?.projects ?? []).flatMap((id) => {
      const routes = this.#parts.projects.get(id)
      const key = routes?.keys.get(uid)
      return routes && key ? [{ project: routes.project, key }] : []
    })
  }

  index(project: ProjectId, uid: string): IndexRoute | undefined {
    return this.#parts.projects.get(project)?.indexes.get(uid)
  }

  indexes(project: ProjectId): readonly IndexRoute[] {
    const indexes = this.#parts.projects.get(project)?.indexes
    if (indexes === undefined) return []
    const known = listings.get(indexes)
    if (known !== undefined) return known
    const listing = [...indexes.values()].sort((a, b) => (a.uid < b.uid ? -1 : a.uid > b.uid ? 1 : 0))
    listings.set(indexes, listing)
    return listing
  }

  unsortedIndexes(project: ProjectId): Iterable<IndexRoute> {
    return this.#parts.projects.get(project)?.indexes.values() ?? []
  }

  keys(project: ProjectId): Iterable<ApiKey> {
    return this.#parts.projects.get(project)?.keys.values() ?? []
  }

  keyCount(project: ProjectId): number {
    return this.#parts.projects.get(project)?.keys.size ?? 0
  }

  indexCount(project: ProjectId): number {
    return this.#parts.projects.get(project)?.indexes.size ?? 0
  }

  node(id: NodeId): Node | undefined {
    return this.#parts.nodes.get(id)
  }

  credential(id: string): Credential | undefined {
    return this.#parts.credentials.get(id)
  }

  credentials(): Iterable<Credential> {
    return this.#parts.credentials.values()
  }

  hasRef(ref: string): boolean {
    return this.#parts.refs.get(ref) !== undefined
  }

  *projects(): IterableIterator<Project> {
    for (const routes of this.#parts.projects.values()) yield routes.project
  }

  nodes(): Iterable<Node> {
    return this.#parts.nodes.values()
  }

  after(version: number, changes: readonly CatalogueChange[]): RouteTable {
    let parts = this.#parts
    for (const change of changes) parts = applyChange(parts, change)
    return new Table({ ...parts, version })
  }
}

type ChangeOf<E extends CatalogueChange['event']['entity']> = Extract<
  CatalogueChange,
  { readonly event: { readonly entity: E } }
>

function concerns<E extends CatalogueChange['event']['entity']>(
  change: CatalogueChange,
  entity: E,
): change is ChangeOf<E> {
  return change.event.entity === entity
}

/** What a table does not show (webhooks) changes nothing in it. */
function applyChange(parts: TableParts, change: CatalogueChange): TableParts {
  if (concerns(change, 'index')) return applyIndex(parts, change)
  if (concerns(change, 'key')) return applyKey(parts, change)
  if (concerns(change, 'project')) return applyProject(parts, change)
  if (concerns(change, 'node')) return applyNode(parts, change)
  if (concerns(change, 'credential')) return applyCredential(parts, change)
  return parts
}

function applyIndex(parts: TableParts, { event, now }: ChangeOf<'index'>): TableParts {
  let { projects, indexesById } = parts
  const known = indexesById.get(event.entityId)
  const uid = now?.index.uid
  if (known !== undefined && (known.uid !== uid || known.project !== now?.index.project)) {
    const routes = projects.get(known.project)
    // Another index may own the name by now: names are swapped by two changes, one after the other.
    if (routes?.indexes.get(known.uid)?.id === known.id) {
      projects = projects.set({ ...routes, indexes: routes.indexes.delete(known.uid) })
    }
  }
  if (now === undefined) {
    indexesById = indexesById.delete(event.entityId)
  } else {
    const record = new IndexRecord(now.index, now.placements, new Map())
    indexesById = indexesById.set(record)
    const routes = projects.get(record.project)
    if (routes !== undefined) projects = projects.set({ ...routes, indexes: routes.indexes.set(record) })
  }
  return { ...parts, projects, indexesById }
}

function applyKey(parts: TableParts, { event, now }: ChangeOf<'key'>): TableParts {
  const project = now?.project ?? event.project
  const routes = project === null ? undefined : parts.projects.get(project)
  if (routes === undefined) return parts
  const known = routes.keys.get(event.entityId)
  let { keysByHash, keysByUid } = parts
  if (known !== undefined) {
    keysByHash = keysByHash.delete(known.hash)
    keysByUid = withoutKey(keysByUid, known)
  }
  if (now !== undefined) {
    keysByHash = keysByHash.set({ hash: now.hash, project: now.project, key: now })
    keysByUid = keysByUid.set({
      uid: now.uid,
      projects: [...(keysByUid.get(now.uid)?.projects ?? []), now.project],
    })
  }
  const keys = now === undefined ? routes.keys.delete(event.entityId) : routes.keys.set(now)
  return { ...parts, keysByHash, keysByUid, projects: parts.projects.set({ ...routes, keys }) }
}

function withoutKey(keysByUid: PersistentMap<UidEntry>, key: ApiKey): PersistentMap<UidEntry> {
  const projects = (keysByUid.get(key.uid)?.projects ?? []).filter((project) => project !== key.project)
  return projects.length === 0 ? keysByUid.delete(key.uid) : keysByUid.set({ uid: key.uid, projects })
}

function applyProject(parts: TableParts, { event, now }: ChangeOf<'project'>): TableParts {
  const known = parts.projects.get(event.entityId)
  let { projects, keysByHash, keysByUid, refs, indexesById } = parts
  if (known !== undefined) keysByHash = keysByHash.delete(known.masterHash)
  if (now === undefined) {
    for (const key of known?.keys.values() ?? []) {
      keysByHash = keysByHash.delete(key.hash)
      keysByUid = withoutKey(keysByUid, key)
    }
    for (const record of known?.indexes.values() ?? []) indexesById = indexesById.delete(record.id)
    projects = projects.delete(event.entityId)
  } else {
    refs = refs.set({ ref: now.ref, project: now.id })
    const masterHash = known?.project.masterKey === now.masterKey ? known.masterHash : credentialHash(now.masterKey)
    keysByHash = keysByHash.set({ hash: masterHash, project: now.id, key: 'master' })
    projects = projects.set({
      project: now,
      masterHash,
      indexes: known?.indexes ?? PersistentMap.empty(uidOf),
      keys: known?.keys ?? PersistentMap.empty(keyUidOf),
    })
  }
  const hosts = hostsAfter(parts.hosts, known?.project, now)
  return { ...parts, projects, keysByHash, keysByUid, refs, indexesById, hosts }
}

function hostEntries({ id, settings }: Project): [string, ProjectId][] {
  return settings.hosts.map((host) => [host, id])
}

/** Few projects have hosts of their own, and they change seldom: the map is made anew when they do. */
function hostsAfter(
  hosts: ReadonlyMap<string, ProjectId>,
  before: Project | undefined,
  now: Project | undefined,
): ReadonlyMap<string, ProjectId> {
  const gone = before?.settings.hosts ?? []
  const fresh = now === undefined ? [] : hostEntries(now)
  if (gone.length === 0 && fresh.length === 0) return hosts
  const kept = [...hosts].filter(([host, owner]) => !(gone.includes(host) && owner === before?.id))
  return new Map([...fresh, ...kept])
}

function applyNode(parts: TableParts, { event, now }: ChangeOf<'node'>): TableParts {
  const nodes = new Map(parts.nodes)
  if (now === undefined) nodes.delete(event.entityId)
  else nodes.set(event.entityId, now)
  return { ...parts, nodes }
}

function applyCredential(parts: TableParts, { event, now }: ChangeOf<'credential'>): TableParts {
  const { credentials } = parts
  return { ...parts, credentials: now === undefined ? credentials.delete(event.entityId) : credentials.set(now) }
}
