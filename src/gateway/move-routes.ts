/** `/internal/moves…` on the operators' listener (P-35): what `flapjack move` and `flapjack index move` do, over HTTP. */
import type { MoveOrders, NamedMove, OrderedIndexMove } from '../control/move-orders.ts'
import { isDailyWindow } from '../lib/daily-window.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { keepMsMax, moveView } from '../store/moves.ts'
import { moveWishes } from '../topology/move-steps.ts'
import { movePriorities } from '../topology/move-turns.ts'
import type { AdminReply } from './gateway-admin.ts'
import { decodedName, fieldsOf, textAt, wholeAt, wrong } from './operator-body.ts'
import { answerBelow, type OperatorRequest, unknownRoute } from './operator-route.ts'

const base = '/internal/moves'
const listedMax = 1_000
const listedDefault = 100

/** Of a request whose token was checked; `undefined` = it is about something else. */
export async function answerMoves(request: OperatorRequest, orders: MoveOrders): Promise<AdminReply | undefined> {
  return answerBelow(base, request, (parts) => reply(request, orders, parts))
}

async function reply(
  request: OperatorRequest,
  orders: MoveOrders,
  [id = '', action, ...more]: readonly string[],
): Promise<AdminReply> {
  const { method, url, body } = request
  const name = decodedName(id)
  const place = `${method} ${id === '' ? '' : 'id'}${action === undefined ? '' : `/${action}`}`
  if (more.length === 0) {
    switch (place) {
      case 'GET ':
        return { status: 200, body: { results: (await orders.list(decodeFilter(url))).map(view) } }
      case 'POST ': {
        const { order, isDry } = decodeOrder(await body())
        if (!isDry) return { status: 202, body: view(await orders.open(order)) }
        const plan = await orders.plan(order)
        return { status: 200, body: { ...plan, shards: [...plan.shards] } }
      }
      case 'GET id':
        return { status: 200, body: view(await orders.find(name)) }
      case 'POST id/pause':
      case 'POST id/resume':
        return { status: 200, body: view(await orders.setPaused(name, action === 'pause')) }
    }
    const wish = method === 'POST' ? moveWishes.find((one) => one === action) : undefined
    if (wish !== undefined) return { status: 202, body: view(await orders.wish(name, wish)) }
  }
  throw unknownRoute(request)
}

function view({ move, uid }: NamedMove): JsonObject {
  return { ...moveView(move), indexUid: uid }
}

function decodeFilter({ searchParams }: URL): Parameters<MoveOrders['list']>[0] {
  const open = searchParams.get('open')
  if (open !== null && open !== 'true' && open !== 'false') throw wrong('`open` is `true` or `false`.')
  const limit = Number(searchParams.get('limit') ?? listedDefault)
  if (!Number.isInteger(limit) || limit < 1 || limit > listedMax) {
    throw wrong(`\`limit\` is a whole number from 1 to ${listedMax}.`)
  }
  return { project: searchParams.get('project'), isOpen: open === null ? null : open === 'true', limit }
}

const known = [
  ...['index', 'to', 'project', 'from', 'shard', 'keepMs', 'bytesPerSecond', 'priority', 'windows', 'dryRun'],
]

function decodeOrder(sent: Json | undefined): { readonly order: OrderedIndexMove; readonly isDry: boolean } {
  const body = fieldsOf(sent, known)
  const [index, target] = [textAt(body, 'index'), textAt(body, 'to')]
  if (index === undefined || target === undefined) throw wrong('`index` and `to` are needed.')
  const source = textAt(body, 'from')
  const shard = wholeAt(body, 'shard', 0, 4_095)
  const keepMs = wholeAt(body, 'keepMs', 0, keepMsMax)
  const bytesPerSecond = wholeAt(body, 'bytesPerSecond', 1_024, 2 ** 50)
  const { priority: wanted, windows, dryRun = false } = body
  const priority = movePriorities.find((one) => one === wanted)
  if (wanted !== undefined && priority === undefined)
    throw wrong(`\`priority\` is one of ${movePriorities.join(', ')}.`)
  if (typeof dryRun !== 'boolean') throw wrong('`dryRun` is true or false.')
  return {
    order: {
      ...{ index, target, project: textAt(body, 'project') ?? null },
      ...(source === undefined ? {} : { source }),
      ...(shard === undefined ? {} : { shard }),
      options: {
        ...(keepMs === undefined ? {} : { keepMs }),
        ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
        ...(priority === undefined ? {} : { priority }),
        ...(windows === undefined ? {} : { windows: decodeWindows(windows) }),
      },
    },
    isDry: dryRun,
  }
}

function decodeWindows(value: Json): readonly string[] {
  const texts = Array.isArray(value) ? value : undefined
  const windows = texts?.filter((one) => typeof one === 'string' && isDailyWindow(one)).map(String)
  if (windows === undefined || windows.length !== texts?.length) {
    throw wrong('`windows` are times of day in UTC, such as `["22:00-06:00"]`.')
  }
  return windows
}
