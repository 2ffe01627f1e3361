/** What operators may ask of a gateway and tell it (P-23). Answers hold no secrets; they do hold names of all projects. */
import { ApiError } from '../api/errors.ts'
import { findRoute, type TopologyDeps, viewShards, viewTopology } from '../control/topology-view.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { defaultProjectSettings, type Node, noTokenRules, type Project } from '../store/catalogue.ts'
import { type CatalogueChange, StoreUnavailable } from '../store/ports.ts'
import { physicalName } from '../topology/physical-name.ts'
import type { NodePools } from '../upstream/node-pools.ts'
import type { RouteFollower } from './route-follower.ts'

export type AdminCommand =
  | { readonly kind: 'state' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'routes'; readonly project: string }
  | { readonly kind: 'cache' }
  | { readonly kind: 'resync' }
  /** While it drains, a gateway answers but says that it is not ready, and closes connections behind their answers. */
  | { readonly kind: 'drain'; readonly isOn: boolean }
  | { readonly kind: 'topology' }
  /** `project`: its reference; null = there is one index of that name. */
  | { readonly kind: 'shards'; readonly index: string; readonly project: string | null }
  /** Body of `PUT /internal/routes`, not decoded yet. */
  | { readonly kind: 'place'; readonly body: Json }

export interface AdminReply {
  readonly status: number
  readonly body: Json
}

export type GatewayAdmin = (command: AdminCommand) => Promise<AdminReply>

export interface GatewayAdminDeps {
  readonly follower: RouteFollower
  readonly pools: Pick<NodePools, 'health'>
  readonly counts: () => {
    readonly openRequests: number
    readonly credentials: number
    /** As the store said last; null = unknown. */
    readonly livingGateways: number | null
  }
  /** How this gateway finds the nodes. */
  readonly topology: TopologyDeps
  readonly draining: { isOn: boolean }
  readonly startedAt: number
  readonly version: string
  /** Whether routes may be set by hand. */
  readonly isTestMode: boolean
}

export function createGatewayAdmin(deps: GatewayAdminDeps): GatewayAdmin {
  const { follower, draining } = deps
  return async (command) => {
    switch (command.kind) {
      case 'state':
        return { status: 200, body: stateOf(deps) }
      case 'ready': {
        const reasons = reasonsAgainst(deps)
        return { status: reasons.length === 0 ? 200 : 503, body: { ready: reasons.length === 0, reasons } }
      }
      case 'routes':
        return routesOf(deps, command.project)
      case 'cache':
        return { status: 200, body: cacheOf(deps) }
      case 'resync':
        return resync(follower)
      case 'drain':
        draining.isOn = command.isOn
        return { status: 200, body: { draining: command.isOn } }
      case 'topology':
        return { status: 200, body: await viewTopology(follower.table, deps.topology) }
      case 'shards':
        return shardsOf(deps, command)
      case 'place':
        return place(deps, command.body)
    }
  }
}

/** Why clients should not be sent here. */
function reasonsAgainst({ follower, draining }: GatewayAdminDeps): readonly string[] {
  return [
    ...(draining.isOn ? ['it drains'] : []),
    ...(follower.standing === 'expired' ? ['the database has been away for too long'] : []),
  ]
}

function shardsOf(
  { follower: { table } }: GatewayAdminDeps,
  { index, project }: { readonly index: string; readonly project: string | null },
): AdminReply {
  const found = findRoute(table, index, project)
  if ('route' in found) return { status: 200, body: viewShards(table, found.route) }
  const error =
    found.fault === 'none'
      ? new ApiError('miroir_not_found', `There is no index \`${index}\`.`)
      : new ApiError(
          'miroir_invalid_request',
          `Several projects have an index \`${index}\`: say which, by \`&project=\` and its reference.`,
        )
  return { status: error.status, body: { ...error.body } }
}

function stateOf(deps: GatewayAdminDeps): JsonObject {
  const { follower, pools, counts, draining, startedAt, version, isTestMode } = deps
  const { table } = follower
  const nodes = [...table.nodes()].map((node) => {
    const { failures, lastFailure, isSuspect } = pools.health(node.id)
    const { id, engine, url, region, state } = node
    return { id, engine, url, region, state, failures, lastFailure: lastFailure ?? null, suspect: isSuspect }
  })
  return {
    pid: process.pid,
    version,
    startedAt: new Date(startedAt).toISOString(),
    ready: reasonsAgainst(deps).length === 0,
    draining: draining.isOn,
    testMode: isTestMode,
    openRequests: counts().openRequests,
    livingGateways: counts().livingGateways,
    routes: {
      version: table.version,
      asOf: new Date(follower.asOf).toISOString(),
      standing: follower.standing,
      source: follower.isCaughtUp ? 'store' : 'copy',
    },
    nodes,
  }
}

function routesOf({ follower: { table } }: GatewayAdminDeps, ref: string): AdminReply {
  const project = table.projectByRef(ref)
  if (project === undefined) return { status: 404, body: { message: 'There is no such project.' } }
  const indexes = table.indexes(project.id).map(({ index, placements }) => ({
    uid: index.uid,
    id: index.id,
    placements: placements.map(({ node, physicalUid, state, generation, shards, applied }) => {
      return { node, physicalUid, state, generation, shards, applied }
    }),
  }))
  const { id, name, state } = project
  return { status: 200, body: { version: table.version, project: { id, ref, name, state }, indexes } }
}

function cacheOf({ follower: { table }, counts }: GatewayAdminDeps): JsonObject {
  let projects = 0
  let keys = 0
  let indexes = 0
  for (const { id } of table.projects()) {
    projects += 1
    keys += table.keyCount(id)
    indexes += table.indexCount(id)
  }
  return { version: table.version, projects, keys, indexes, credentials: counts().credentials }
}

async function resync(follower: RouteFollower): Promise<AdminReply> {
  try {
    await follower.reload()
  } catch (error) {
    if (!(error instanceof StoreUnavailable)) throw error
    return { status: 503, body: { message: 'The store is away; the routes stay as they are.' } }
  }
  return { status: 200, body: { version: follower.table.version } }
}

interface Placing {
  readonly project: string
  readonly masterKey: string | undefined
  readonly index: string
  readonly node: string
  readonly url: string
  readonly key: string | null
  readonly physicalUid: string | undefined
}

/** One placement by hand, without the store. A project that does not exist is made, when a master key is given for it. */
function place({ follower, isTestMode }: GatewayAdminDeps, body: Json): AdminReply {
  if (!isTestMode) {
    return { status: 403, body: { code: 'route_not_available', message: 'Routes are set by hand in test mode only.' } }
  }
  const placing = readPlacing(body)
  if (placing === undefined) {
    const message = 'Expected `project`, `index`, `node` and `url`, and optionally `masterKey`, `key`, `physicalUid`.'
    return { status: 400, body: { message } }
  }
  const { table } = follower
  const known = table.projectByRef(placing.project)
  if (known === undefined && placing.masterKey === undefined) {
    return { status: 404, body: { message: 'There is no such project; `masterKey` makes one.' } }
  }
  const project = known ?? projectBy(placing.project, placing.masterKey ?? '')
  const node: Node = {
    id: placing.node,
    engine: 'embedded',
    url: placing.url,
    region: 'local',
    group: 0,
    capacity: null,
    state: 'active',
    key: placing.key,
  }
  const version = table.version
  const changes: CatalogueChange[] = [
    { event: { version, entity: 'node', project: null, entityId: node.id }, now: node },
    indexChange(follower, project, placing),
  ]
  if (known === undefined) {
    changes.unshift({ event: { version, entity: 'project', project: project.id, entityId: project.id }, now: project })
  }
  follower.override(changes)
  return { status: 200, body: { version: follower.table.version, project: project.ref, index: placing.index } }
}

function indexChange({ table }: RouteFollower, project: Project, placing: Placing): CatalogueChange {
  const known = table.index(project.id, placing.index)
  const index = known?.index ?? {
    id: `by-hand-${project.ref}-${placing.index}`,
    project: project.id,
    uid: placing.index,
    primaryKey: null,
    createdAt: 0,
    updatedAt: 0,
    settingsPosition: 0,
    spread: null,
  }
  const physicalUid = placing.physicalUid ?? physicalName(project.ref, placing.index, 1)
  const placement = {
    index: index.id,
    generation: 1,
    shards: [0],
    node: placing.node,
    physicalUid,
    applied: 0,
    revision: 0,
  }
  return {
    event: { version: table.version, entity: 'index', project: project.id, entityId: index.id },
    now: { index, placements: [{ ...placement, state: 'active' }] },
  }
}

function projectBy(ref: string, masterKey: string): Project {
  const id = `by-hand-${ref}`
  const rest = {
    state: 'active',
    features: {},
    searchRules: [],
    tokens: noTokenRules,
    settings: defaultProjectSettings,
    createdAt: 0,
  } as const
  return { id, organisation: id, ref, name: ref, masterKey, ...rest }
}

function readPlacing(body: Json): Placing | undefined {
  if (!isObject(body)) return undefined
  const { project, masterKey, index, node, url, key = null, physicalUid } = body
  const isText = (value: Json | undefined): value is string => typeof value === 'string' && value !== ''
  if (!isText(project) || !isText(index) || !isText(node) || !isText(url) || !URL.canParse(url)) return undefined
  if ((key !== null && !isText(key)) || (masterKey !== undefined && !isText(masterKey))) return undefined
  if (physicalUid !== undefined && !isText(physicalUid)) return undefined
  return { project, masterKey, index, node, url, key, physicalUid }
}

/** A reply that came from another process. */
export function readReply(reply: Json): AdminReply {
  if (!isObject(reply) || typeof reply.status !== 'number') return { status: 500, body: null }
  return { status: reply.status, body: reply.body ?? null }
}

/** A command that came from another process of this program. */
export function readCommand(command: Json): AdminCommand {
  const { kind, project = null, index = '', isOn, body = null } = isObject(command) ? command : {}
  switch (kind) {
    case 'state':
    case 'ready':
    case 'cache':
    case 'resync':
    case 'topology':
      return { kind }
    case 'shards':
      return { kind, index: String(index), project: typeof project === 'string' ? project : null }
    case 'routes':
      return { kind, project: String(project ?? '') }
    case 'drain':
      return { kind, isOn: isOn === true }
    case 'place':
      return { kind, body }
    default:
      throw new Error(`no such command: ${String(kind)}`)
  }
}
