/** `/internal/fleet…` on the operators' listener (P-35): what `flapjack fleet` and `flapjack node restart` do, over HTTP. */
import { ApiError } from '../api/errors.ts'
import type { FleetOrders } from '../control/fleet-orders.ts'
import { isObject, type Json } from '../lib/json.ts'
import { machineWishes } from '../store/fleet.ts'
import type { AdminReply } from './gateway-admin.ts'
import { answerBelow, type OperatorRequest, unknownRoute } from './operator-route.ts'

const base = '/internal/fleet'
const listedMax = 1_000
const listedDefault = 100
const groupsMax = 64

/** Of a request whose token was checked; `undefined` = it is about something else. */
export async function answerFleet(request: OperatorRequest, orders: FleetOrders): Promise<AdminReply | undefined> {
  return answerBelow(base, request, (parts) => reply(request, orders, parts))
}

async function reply(
  request: OperatorRequest,
  orders: FleetOrders,
  [part = '', id, action, ...more]: readonly string[],
): Promise<AdminReply> {
  const { method, url, body } = request
  const { searchParams } = url
  if (more.length === 0) {
    switch (`${method} ${part}${id === undefined ? '' : '/id'}${action === undefined ? '' : '/action'}`) {
      case 'GET ': {
        const { nodes, proposals, ...status } = await orders.status()
        return { status: 200, body: { ...status, nodes: [...nodes], proposals: [...proposals] } }
      }
      case 'GET events': {
        const results = await orders.events(
          searchParams.get('node'),
          wholeOf(searchParams, 'limit', 1, listedMax, listedDefault),
        )
        return { status: 200, body: { results: [...results] } }
      }
      case 'GET nodes/id/action': {
        if (id === undefined || action !== 'samples') break
        const since = wholeOf(searchParams, 'since', 0, Number.MAX_SAFE_INTEGER, 0)
        return { status: 200, body: { results: [...(await orders.samples(id, since))] } }
      }
      case 'POST nodes': {
        const node = await orders.add(decodeGroup(await body()))
        return { status: 202, body: { id: node, life: 'requested' } }
      }
      case 'POST nodes/id/action': {
        const wish = machineWishes.find((one) => one === action)
        if (id === undefined || wish === undefined) break
        await orders.wish(id, wish)
        return { status: 202, body: { id, wish } }
      }
      case 'POST release':
        return { status: 200, body: { released: await orders.release() } }
    }
  }
  throw unknownRoute(request)
}

function wholeOf(parameters: URLSearchParams, name: string, min: number, max: number, initial: number): number {
  const text = parameters.get(name)
  const value = text === null ? initial : Number(text)
  if (text !== '' && Number.isSafeInteger(value) && value >= min && value <= max) return value
  throw new ApiError('miroir_invalid_request', `\`${name}\` is a whole number from ${min} to ${max}.`)
}

/** `{"group"}`; default 0. */
function decodeGroup(body: Json | undefined): number {
  const group = isObject(body) ? (body.group ?? 0) : undefined
  const isKnown = isObject(body) && Object.keys(body).every((name) => name === 'group')
  if (isKnown && typeof group === 'number' && Number.isInteger(group) && group >= 0 && group < groupsMax) return group
  throw new ApiError(
    'miroir_invalid_request',
    `The body is such as \`{"group": 0}\`, with a group from 0 to ${groupsMax - 1}.`,
  )
}
