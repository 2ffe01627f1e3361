/** The catalogue in memory: the same promises as over PostgreSQL, without durability. */
import type { ChatWorkspaces } from '../api/chat-workspace.ts'
import { ApiError } from '../api/errors.ts'
import { emptyNetwork, type Network } from '../api/network-body.ts'
import { assert } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import { orderedIds } from '../lib/ordered-id.ts'
import type { Random } from '../lib/random.ts'
import {
  type ApiKey,
  type CatalogueEvent,
  defaultProjectSettings,
  type IndexEntry,
  type Node,
  type NodeId,
  noTokenRules,
  type Organisation,
  type Placement,
  type Project,
  type ProjectId,
  type Webhook,
} from './catalogue.ts'
import { defaultKeys } from './default-keys.ts'
import { keyHash } from './key-hash.ts'
import { type Catalogue, type CatalogueChange, type NewKey, webhookCountMax } from './ports.ts'
import { newProjectRef } from './project-ref.ts'

/** An index as the journal's twin holds it; `index` is undefined while reads do not see it. */
export interface MemoryPlaces {
  readonly index: IndexEntry | undefined
  readonly placements: readonly Placement[]
}

export interface MemoryCatalogue {
  readonly catalogue: Catalogue
  readonly projects: ReadonlyMap<ProjectId, Project>
  readonly nodes: ReadonlyMap<NodeId, Node>
  /** Records it too. */
  replaceProject(project: Project): void
  /** Records events and wakes the followers. */
  record(events: readonly Omit<CatalogueEvent, 'version'>[]): void
}

export interface MemoryCatalogueOptions {
  readonly clock: Clock
  readonly random: Random
  readonly places: () => Iterable<MemoryPlaces>
  readonly placesOf: (index: string) => MemoryPlaces | undefined
  /** Whether replicas lie on a node. */
  readonly holds: (node: NodeId) => boolean
  /** They lie there no more. */
  readonly forget: (node: NodeId) => void
}

export function openMemoryCatalogue({
  clock,
  random,
  places,
  placesOf,
  holds,
  forget,
}: MemoryCatalogueOptions): MemoryCatalogue {
  const organisations: Organisation[] = []
  const projects = new Map<ProjectId, Project>()
  const keys: ApiKey[] = []
  const webhooks: Webhook[] = []
  const networks = new Map<ProjectId, Network>()
  const chats = new Map<string, ChatWorkspaces>()
  const nodes = new Map<NodeId, Node>()
  /** Their ids are not used again. */
  const removed = new Set<NodeId>()
  const events: CatalogueEvent[] = []
  const listeners = new Set<() => void>()
  const newId = orderedIds(clock, random)

  const record = (fresh: readonly Omit<CatalogueEvent, 'version'>[]) => {
    for (const event of fresh) events.push({ ...event, version: events.length + 1 })
    if (fresh.length > 0) for (const listener of listeners) listener()
  }
  const projectOf = (id: ProjectId) => {
    const project = projects.get(id)
    assert(project !== undefined, 'a project that is named exists')
    return project
  }
  const replaceProject = (project: Project) => {
    projects.set(project.id, project)
    record([{ entity: 'project', project: project.id, entityId: project.id }])
    return project
  }
  const insertKey = (project: Project, key: NewKey): ApiKey => {
    const uid = key.uid.toLowerCase()
    const now = clock.now()
    const hash = keyHash(project.masterKey, uid)
    const stored = { ...key, uid, project: project.id, hash, createdAt: now, updatedAt: now }
    keys.push(stored)
    return stored
  }
  const keyAt = (project: ProjectId, uid: string) =>
    keys.findIndex((key) => key.project === project && key.uid === uid.toLowerCase())
  const webhookAt = (project: ProjectId, uuid: string) =>
    webhooks.findIndex((webhook) => webhook.project === project && webhook.uuid === uuid)
  const changeOf = (event: CatalogueEvent): CatalogueChange => {
    const { entityId } = event
    switch (event.entity) {
      case 'project':
        return { event: { ...event, entity: 'project' }, now: projects.get(entityId) }
      case 'key':
        return { event: { ...event, entity: 'key' }, now: keys[keyAt(event.project ?? '', entityId)] }
      case 'index': {
        const found = placesOf(entityId)
        const now = found?.index && { index: found.index, placements: found.placements }
        return { event: { ...event, entity: 'index' }, now }
      }
      case 'node':
        return { event: { ...event, entity: 'node' }, now: nodes.get(entityId) }
      case 'credential':
        // Nodes that are only in memory are reached by their own keys.
        return { event: { ...event, entity: 'credential' }, now: undefined }
      case 'webhook':
        return { event: { ...event, entity: 'webhook' }, now: webhooks[webhookAt(event.project ?? '', entityId)] }
    }
  }

  const catalogue: Catalogue = {
    async snapshot() {
      const readable = [...places()].filter(({ index }) => index !== undefined)
      return {
        version: events.length,
        projects: [...projects.values()],
        keys: [...keys],
        indexes: readable.flatMap(({ index }) => index ?? []),
        placements: readable.flatMap(({ placements }) => placements),
        nodes: [...nodes.values()],
        credentials: [],
      }
    },
    version: async () => events.length,
    async changesAfter(version, limit) {
      const fresh = events.slice(version, version + limit)
      const last = new Map(fresh.map((event) => [`${event.entity}:${event.project}:${event.entityId}`, event]))
      const ordered = [...last.values()].sort((a, b) => a.version - b.version)
      return { version: fresh.at(-1)?.version ?? version, changes: ordered.map(changeOf) }
    },
    async onChange(listener) {
      listeners.add(listener)
      return async () => void listeners.delete(listener)
    },
    organisations: async () => [...organisations],
    async createOrganisation(name) {
      const organisation = { id: newId(), name, createdAt: clock.now() }
      organisations.push(organisation)
      return organisation
    },
    projects: async () => [...projects.values()],
    async findProject(nameOrRef) {
      const all = [...projects.values()]
      const name = nameOrRef.toLowerCase()
      return all.find(({ ref }) => ref === nameOrRef) ?? all.find((project) => project.name.toLowerCase() === name)
    },
    async createProject({ organisation, name, masterKey }) {
      const project = replaceProject({
        id: newId(),
        organisation,
        ref: newProjectRef(random),
        name,
        state: 'active',
        masterKey: masterKey ?? Buffer.from(random.bytes(32)).toString('hex'),
        features: {},
        tokens: noTokenRules,
        settings: defaultProjectSettings,
        searchRules: [],
        createdAt: clock.now(),
      })
      for (const key of [...defaultKeys].reverse()) {
        const { uid } = insertKey(project, { ...key, uid: random.uuid() })
        record([{ entity: 'key', project: project.id, entityId: uid }])
      }
      return project
    },
    setProjectState: async (project, state) => replaceProject({ ...projectOf(project), state }),
    setFeatures: async (project, features) => replaceProject({ ...projectOf(project), features }),
    async changeTokenRules(project, change) {
      const before = projectOf(project)
      return replaceProject({ ...before, tokens: change(before.tokens) })
    },
    async changeSettings(project, change) {
      const before = projectOf(project)
      return replaceProject({ ...before, settings: change(before.settings) })
    },

    keys: async (project) => keys.filter((key) => key.project === project).reverse(),
    async createKey(project, key) {
      if (keyAt(project, key.uid) >= 0) return 'exists'
      const created = insertKey(projectOf(project), key)
      record([{ entity: 'key', project, entityId: created.uid }])
      return created
    },
    async updateKey(project, uid, change) {
      const at = keyAt(project, uid)
      const before = keys[at]
      if (before === undefined) return undefined
      const after = {
        ...before,
        name: change.name === undefined ? before.name : change.name,
        description: change.description === undefined ? before.description : change.description,
        updatedAt: clock.now(),
      }
      keys[at] = after
      record([{ entity: 'key', project, entityId: after.uid }])
      return after
    },
    async deleteKey(project, uid) {
      const at = keyAt(project, uid)
      if (at < 0) return false
      keys.splice(at, 1)
      record([{ entity: 'key', project, entityId: uid.toLowerCase() }])
      return true
    },
    webhooks: async (project) => webhooks.filter((webhook) => webhook.project === project),
    async putWebhook(webhook) {
      const { project, uuid } = webhook
      const others = webhooks.filter((one) => one.project === project && one.uuid !== uuid && one.isEditable)
      if (webhook.isEditable && others.length >= webhookCountMax) return 'too-many'
      const at = webhookAt(project, uuid)
      if (at < 0) webhooks.push(webhook)
      else webhooks[at] = webhook
      record([{ entity: 'webhook', project, entityId: uuid }])
      return 'stored'
    },
    async deleteWebhook(project, uuid) {
      const at = webhookAt(project, uuid)
      if (at < 0) return false
      webhooks.splice(at, 1)
      record([{ entity: 'webhook', project, entityId: uuid }])
      return true
    },
    network: async (project) => networks.get(project) ?? emptyNetwork,
    async changeNetwork(project, change) {
      const after = change(networks.get(project) ?? emptyNetwork)
      networks.set(project, after)
      return after
    },
    chats: async (project) => chats.get(project) ?? {},
    async changeChats(project, change) {
      const after = change(chats.get(project) ?? {})
      chats.set(project, after)
      return after
    },
    nodes: async () => [...nodes.values()].sort((a, b) => (a.id < b.id ? -1 : 1)),
    async putNode(node) {
      const known = nodes.get(node.id)
      const { group = known?.group ?? 0, capacity = known?.capacity ?? null } = node
      if (removed.has(node.id))
        throw new ApiError('miroir_conflict', `There was a node \`${node.id}\`; its id is not used again.`)
      const { id, engine, url, region, key } = node
      const { takesExisting = node.takesExisting, seat = node.seat } = known ?? {}
      const stored: Node = {
        ...{ id, engine, url, region, key, group, capacity, state: known?.state ?? 'active' },
        ...(takesExisting ? { takesExisting: true } : {}),
        ...(seat === undefined ? {} : { seat }),
      }
      nodes.set(node.id, stored)
      record([{ entity: 'node', project: null, entityId: node.id }])
      return stored
    },
    async letNodesTake(ids, takes) {
      for (const id of ids) {
        const { takesExisting, ...node } = nodes.get(id) ?? {}
        if (!('id' in node) || (takesExisting ?? false) === takes) continue
        nodes.set(id, { ...node, ...(takes ? { takesExisting: true } : {}) })
        record([{ entity: 'node', project: null, entityId: id }])
      }
    },
    async removeNode(id, isForced) {
      if (!nodes.has(id)) return 'unknown'
      if (holds(id) && !isForced) return 'holds'
      nodes.delete(id)
      removed.add(id)
      forget(id)
      record([{ entity: 'node', project: null, entityId: id }])
      return 'removed'
    },
    async setNodeState(id, state) {
      const node = nodes.get(id)
      if (node === undefined || node.state === state) return
      nodes.set(id, { ...node, state })
      record([{ entity: 'node', project: null, entityId: id }])
    },
  }
  return { catalogue, projects, nodes, replaceProject, record }
}
