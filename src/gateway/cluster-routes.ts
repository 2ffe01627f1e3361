/**
 * `/_miroir/…` on the operators' listener (C-55, C-58): the topology as a gateway sees it, and new nodes. Everything but
 * `ready` and `metrics` asks for the operator's token, as `Authorization: Bearer` or `X-Admin-Key`.
 */
import { ApiError } from '../api/errors.ts'
import type { NewNode } from '../control/node-registration.ts'
import type { ReplicaCheckOrders } from '../control/replica-check-orders.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { Node } from '../store/catalogue.ts'
import { StoreUnavailable } from '../store/ports.ts'
import type { AdminCommand, AdminReply } from './gateway-admin.ts'
import { fieldsOf, wrong } from './operator-body.ts'

export interface ClusterRoutes {
  /** What new indexes get. */
  readonly defaults: { readonly shards: number; readonly replicationFactor: number }
  /** @throws ApiError, StoreUnavailable. */
  readonly addNode: (node: NewNode) => Promise<Node>
  readonly checks: ReplicaCheckOrders
}

export interface ClusterRequest {
  readonly method: string
  readonly url: URL
  /** Reads the body; `undefined` = it is not JSON, or too long. */
  readonly body: () => Promise<Json | undefined>
}

export interface ClusterDeps {
  readonly routes: ClusterRoutes
  readonly ask: (command: AdminCommand) => Promise<readonly AdminReply[]>
}

/** Of a request whose token was checked. */
export async function answerCluster(request: ClusterRequest, deps: ClusterDeps): Promise<AdminReply> {
  try {
    return await reply(request, deps)
  } catch (error) {
    if (error instanceof ApiError) return { status: error.status, body: { ...error.body } }
    if (error instanceof StoreUnavailable) return refusal(new ApiError('miroir_not_ready', 'The database is away.'))
    throw error
  }
}

async function reply({ method, url, body }: ClusterRequest, { routes, ask }: ClusterDeps): Promise<AdminReply> {
  switch (`${method} ${url.pathname.slice('/_miroir'.length)}`) {
    case 'GET /topology':
      return withDefaults(await firstReply(ask, { kind: 'topology' }), routes)
    case 'GET /nodes': {
      const { status, body: view } = await firstReply(ask, { kind: 'topology' })
      return { status, body: status === 200 && isObject(view) ? { results: view.nodes ?? [] } : view }
    }
    case 'GET /shards': {
      const index = url.searchParams.get('index')
      if (index === null) throw new ApiError('miroir_invalid_request', 'Say which index: `?index=`.')
      return firstReply(ask, { kind: 'shards', index, project: url.searchParams.get('project') })
    }
    case 'GET /anti-entropy/status':
      return { status: 200, body: await routes.checks.status() }
    case 'POST /anti-entropy/run':
      return { status: 202, body: await routes.checks.run(decodeRun(await body())) }
    case 'POST /nodes': {
      const node = await routes.addNode(decodeNode(await body()))
      return { status: 202, body: { id: node.id, address: node.url, replica_group: node.group, status: 'healthy' } }
    }
    default:
      throw new ApiError('miroir_not_found', `There is no \`${method} ${url.pathname}\`.`)
  }
}

/** Every gateway has the same routes: the first that answers speaks for all. */
async function firstReply(ask: ClusterDeps['ask'], command: AdminCommand): Promise<AdminReply> {
  const replies = await ask(command)
  return (
    replies.find(({ status }) => status < 500) ??
    replies[0] ??
    refusal(new ApiError('miroir_not_ready', 'No gateway runs in this program.'))
  )
}

function withDefaults({ status, body }: AdminReply, { defaults }: ClusterRoutes): AdminReply {
  if (status !== 200 || !isObject(body)) return { status, body }
  return { status, body: { shards: defaults.shards, replication_factor: defaults.replicationFactor, ...body } }
}

function refusal(error: ApiError): AdminReply {
  return { status: error.status, body: { ...error.body } }
}

/** `{"id", "address", "replica_group"}`, and of ours `master_key`, `region`, `engine`, `disk_bytes`, `memory_bytes`. */
function decodeNode(sent: Json | undefined): NewNode {
  const known = ['id', 'address', 'replica_group', 'master_key', 'region', 'engine', 'disk_bytes', 'memory_bytes']
  const body = fieldsOf(sent, known)
  const { engine = 'meilisearch' } = body
  if (engine !== 'meilisearch' && engine !== 'embedded') throw wrong('`engine` is `meilisearch` or `embedded`.')
  const diskBytes = wholeAt(body, 'disk_bytes')
  const memoryBytes = wholeAt(body, 'memory_bytes')
  const id = textAt(body, 'id')
  const url = textAt(body, 'address')
  if (id === null || url === null) throw wrong('`id` and `address` are needed.')
  return {
    id,
    url,
    key: textAt(body, 'master_key'),
    region: textAt(body, 'region') ?? 'local',
    group: wholeAt(body, 'replica_group') ?? 0,
    engine,
    capacity: diskBytes === null && memoryBytes === null ? null : { diskBytes, memoryBytes },
  }
}

/** `{}`, or `{"index"}`. */
function decodeRun(body: Json | undefined): string | null {
  if (!isObject(body)) throw wrong('The body is to be a JSON object of at most 64 KiB.')
  const unknown = Object.keys(body).find((name) => name !== 'index')
  if (unknown !== undefined) throw wrong(`There is no field \`${unknown}\`: \`index\` is known.`)
  return textAt(body, 'index')
}

function textAt(body: JsonObject, name: string): string | null {
  const value = body[name] ?? null
  if (value === null || (typeof value === 'string' && value !== '' && value.length <= 1_000)) return value
  throw wrong(`\`${name}\` is a text of at most 1000 characters.`)
}

function wholeAt(body: JsonObject, name: string): number | null {
  const value = body[name] ?? null
  if (value === null || (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0)) return value
  throw wrong(`\`${name}\` is a whole number.`)
}
