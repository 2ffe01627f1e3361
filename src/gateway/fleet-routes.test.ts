import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { loadConfig } from '../config/config.ts'
import { createFleetOrders, type FleetOrders } from '../control/fleet-orders.ts'
import { openMemoryStore } from '../journal/open-memory-store.ts'
import { systemClock } from '../lib/clock.ts'
import { isObject, type Json } from '../lib/json.ts'
import { seededRandom } from '../lib/random.ts'
import type { Machine, NodeSample } from '../store/fleet.ts'
import { answerFleet } from './fleet-routes.ts'

const machine: Machine = {
  ...{ node: 'h1', driver: 'hetzner', life: 'active', engine: 'meilisearch', region: 'local', group: 0, generation: 1 },
  ...{ health: 'down', healthSince: 1_000, record: { restarts: [2_000] }, wish: null, createdAt: 0 },
}
const sample: NodeSample = {
  ...{
    node: 'h1',
    at: Date.now(),
    cpuPercent: 40,
    memoryBytes: null,
    memoryBytesMax: null,
    dataBytes: 7,
    diskBytesFree: null,
  },
  ...{ diskBytesMax: null, indexes: 1, documents: 2, searchesPerSecond: null, searchMsP95: null, probeMs: 1 },
}

let orders: FleetOrders
let store: ReturnType<typeof openMemoryStore>
beforeEach(async () => {
  store = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
  const env = { FLAPJACK_FLEET_DRIVER: 'local', FLAPJACK_FLEET_SCALING_CPU_PERCENT_MAX: '80' }
  const config = loadConfig({ env, flags: {} }).fleet
  orders = createFleetOrders({ ...store, config, engine: 'embedded', clock: systemClock })
  const epoch = (await store.fleet.lead('w', 'watch', 60_000)) ?? 0
  const events = [{ node: 'h1', at: 3_000, kind: 'proposal', text: 'restart: it has been down for 9 s' }]
  await store.fleet.note(epoch, { machines: [machine], samples: [sample], events, halted: 'too many' })
})

async function ask(method: string, path: string, body?: Json) {
  const url = new URL(path, 'http://operator')
  const answer = await answerFleet({ method, url, body: async () => body }, orders)
  assert(answer !== undefined && isObject(answer.body))
  return { status: answer.status, body: answer.body }
}

test('operators see the fleet, its events and what a node carried', async () => {
  const { status, body } = await ask('GET', '/internal/fleet')
  assert.deepEqual([status, body.mode, body.halted], [200, 'watch', 'too many'])
  assert(Array.isArray(body.nodes) && isObject(body.nodes[0]))
  assert.deepEqual(body.nodes[0].usage, { what: 'its processor', ratio: 0.5 })
  const events = await ask('GET', '/internal/fleet/events?node=h1&limit=5')
  assert(Array.isArray(events.body.results) && isObject(events.body.results[0]))
  assert.equal(events.body.results[0].kind, 'proposal')
  const samples = await ask('GET', '/internal/fleet/nodes/h1/samples')
  assert(Array.isArray(samples.body.results) && isObject(samples.body.results[0]))
  assert.equal(samples.body.results[0].dataBytes, 7)
})

test('operators ask for what the command line can', async () => {
  assert.deepEqual(await ask('POST', '/internal/fleet/nodes/h1/restart'), {
    status: 202,
    body: { id: 'h1', wish: 'restart' },
  })
  assert.equal((await store.fleet.machines())[0]?.wish, 'restart')
  assert.deepEqual(await ask('POST', '/internal/fleet/nodes', { group: 2 }), {
    status: 202,
    body: { id: 'n1', life: 'requested' },
  })
  assert.deepEqual((await ask('POST', '/internal/fleet/release')).body, { released: 'too many' })
})

test('what cannot be is refused', async () => {
  for (const [method, path, code, body] of [
    ['POST', '/internal/fleet/nodes/h9/restart', 'miroir_not_found', undefined],
    ['POST', '/internal/fleet/nodes/h1/explode', 'miroir_not_found', undefined],
    ['GET', '/internal/fleet/else', 'miroir_not_found', undefined],
    ['GET', '/internal/fleet/events?node=h9', 'miroir_not_found', undefined],
    ['GET', '/internal/fleet/events?limit=x', 'miroir_invalid_request', undefined],
    ['POST', '/internal/fleet/nodes', 'miroir_invalid_request', { groups: 1 }],
    ['POST', '/internal/fleet/nodes', 'miroir_invalid_request', undefined],
  ] as const) {
    assert.equal((await ask(method, path, body)).body.code, code, `${method} ${path}`)
  }
  await store.fleet.resign('w')
  assert.equal((await ask('POST', '/internal/fleet/nodes/h1/restart')).body.code, 'miroir_conflict')
})
