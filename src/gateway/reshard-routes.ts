/** `/_miroir/indexes/{uid}/reshard…` on the operators' listener (C-26): what `flapjack index reshard` does, over HTTP. */
import { ApiError } from '../api/errors.ts'
import type { MoveOrders } from '../control/move-orders.ts'
import type { IndexName } from '../control/named-index.ts'
import type { OrderedReshard, ReshardOrders } from '../control/reshard-orders.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import type { Move } from '../store/moves.ts'
import { isEnded, type MoveStep } from '../topology/move-steps.ts'
import type { AdminReply } from './gateway-admin.ts'
import { decodedName, fieldsOf, wholeAt, wrong } from './operator-body.ts'
import { answerBelow, type OperatorRequest, unknownRoute } from './operator-route.ts'

export interface ReshardDeps {
  readonly reshards: ReshardOrders
  readonly moves: Pick<MoveOrders, 'wish'>
}

const base = '/_miroir/indexes'
const shardsMax = 4_096
const copiesMax = 64
const documentsMax = 1_000_000_000

/** Names of the contract for the steps of a reshard. */
const phaseOf: Readonly<Partial<Record<MoveStep, string>>> = {
  planned: 'shadow',
  copying: 'backfill',
  catching_up: 'backfill',
  clearing: 'backfill',
  verifying: 'verify',
  switching: 'swap',
  undoing: 'swap',
  keeping_back: 'cleanup',
  closing: 'cleanup',
}

/** Of a request whose token was checked; `undefined` = it is about something else. */
export async function answerReshards(request: OperatorRequest, deps: ReshardDeps): Promise<AdminReply | undefined> {
  return answerBelow(base, request, (parts) => reply(request, deps, parts))
}

async function reply(
  request: OperatorRequest,
  { reshards, moves }: ReshardDeps,
  [uid = '', word, action, ...more]: readonly string[],
): Promise<AdminReply> {
  const { method, url, body } = request
  if (word !== 'reshard' || more.length > 0) throw unknownRoute(request)
  const name = { index: decodedName(uid), project: url.searchParams.get('project') }
  switch (`${method} ${action ?? ''}`) {
    case 'POST ': {
      const { order, isDry } = decodeOrder(name, await body())
      if (!isDry) return { status: 202, body: statusOf(await reshards.open(order)) }
      const plan = await reshards.plan(order)
      const places = plan.places.map(({ node, shards }) => ({ node, shards: [...shards] }))
      return { status: 200, body: { ...plan, places } }
    }
    case 'GET status':
      return { status: 200, body: statusOf(await reshards.newest(name)) }
    case 'POST abort':
    case 'POST rollback': {
      const newest = await reshards.newest(name)
      if (newest === undefined) throw new ApiError('miroir_not_found', `\`${name.index}\` was never resharded.`)
      const { move } = await moves.wish(newest.id, action === 'abort' ? 'cancel' : 'undo')
      return { status: 202, body: statusOf(move) }
    }
    default:
      throw unknownRoute(request)
  }
}

/** @param move  `undefined` = the index was never resharded. */
function statusOf(move: Move | undefined): JsonObject {
  if (move === undefined) {
    const none = { old_shards: null, new_shards: null, docs_total: null, docs_backfilled: null, pct: null }
    return { phase: 'idle', ...none, started_at: null, error: null, move: null, step: null }
  }
  const { step, takes, options, progress, createdAt, failure } = move
  const old = new Set(takes.flatMap(({ shards }) => shards)).size
  const isCopied = step !== 'planned' && step !== 'copying' && step !== 'clearing'
  const part = isCopied ? 1 : (progress.shardsCopied ?? 0) / old
  return {
    phase: phaseOf[step] ?? 'idle',
    old_shards: old,
    new_shards: options.reshard?.spread?.shards ?? 1,
    docs_total: progress.documentCount ?? null,
    docs_backfilled: progress.documents ?? null,
    pct: isEnded(step) && step !== 'closed' ? null : Math.round(part * 100),
    started_at: new Date(createdAt).toISOString(),
    error: failure,
    ...{ move: move.id, step },
  }
}

const known = ['new_shards', 'plain', 'replication_factor', 'throttle_docs_per_sec', 'force', 'dry_run', 'project']

function decodeOrder(
  name: IndexName,
  sent: Json | undefined,
): { readonly order: OrderedReshard; readonly isDry: boolean } {
  const body = fieldsOf(sent, known)
  const { project = name.project } = body
  if (project !== null && typeof project !== 'string') throw wrong('`project` is a name or a reference.')
  const shards = wholeAt(body, 'new_shards', 1, shardsMax)
  const isPlain = flagAt(body, 'plain')
  if (isPlain === (shards !== undefined)) throw wrong('Say how the index is to lie: `new_shards`, or `"plain": true`.')
  const replicationFactor = wholeAt(body, 'replication_factor', 1, copiesMax)
  if (isPlain && replicationFactor !== undefined) throw wrong('A plain index has no `replication_factor`.')
  const throttle = wholeAt(body, 'throttle_docs_per_sec', 0, documentsMax) ?? 0
  const order = {
    ...{ index: name.index, project, shards: shards ?? null },
    ...(replicationFactor === undefined ? {} : { replicationFactor }),
    ...{ documentsPerSecond: throttle === 0 ? null : throttle, isUrgent: flagAt(body, 'force') },
  }
  return { order, isDry: flagAt(body, 'dry_run') }
}

function flagAt(body: JsonObject, name: string): boolean {
  const value = body[name] ?? false
  if (typeof value === 'boolean') return value
  throw wrong(`\`${name}\` is true or false.`)
}
