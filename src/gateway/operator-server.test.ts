import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, test } from 'node:test'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { loadConfig } from '../config/config.ts'
import { createFleetOrders } from '../control/fleet-orders.ts'
import { createMoveOrders } from '../control/move-orders.ts'
import { createReplicaCheckOrders } from '../control/replica-check-orders.ts'
import { createReshardOrders } from '../control/reshard-orders.ts'
import { openMemoryStore } from '../journal/open-memory-store.ts'
import { systemClock } from '../lib/clock.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { seededRandom } from '../lib/random.ts'
import { type Catalogue, StoreUnavailable } from '../store/ports.ts'
import { type Gateway, startGateway } from './gateway.ts'
import { type OperatorServer, startOperatorServer } from './operator-server.ts'

const ending: (() => Promise<unknown>)[] = []
after(async () => {
  for (const end of ending.reverse()) await end()
})

async function startEngine(name: string): Promise<string> {
  const server = createServer((request, response) => response.end(JSON.stringify({ name, url: request.url })))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  ending.push(async () => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const away = (): Promise<never> => Promise.reject(new StoreUnavailable('away'))

/** A gateway without any database, and its operators' listener. */
async function start(isTestMode: boolean): Promise<{ gateway: Gateway; operator: OperatorServer }> {
  const drawn = { clock: systemClock, random: seededRandom(1) }
  const { catalogue, journal, ...store } = openMemoryStore(drawn)
  const absent: Catalogue = { ...catalogue, snapshot: away, changesAfter: away, version: away }
  const gateway = await startGateway({
    httpAddr: '127.0.0.1:0',
    catalogue: isTestMode ? absent : catalogue,
    journal,
    logger: pino({ level: 'silent' }),
    metrics: new Registry(),
    isTestMode,
  })
  ending.push(() => gateway.close(0))
  const operator = await startOperatorServer({
    ...{ host: '127.0.0.1', port: 0, token: 'operator token', readMetrics: async () => 'some_metric 1\n' },
    cluster: {
      defaults: { shards: 16, replicationFactor: 2 },
      addNode: async (node) => ({ ...node, state: 'active' }),
      checks: createReplicaCheckOrders({ catalogue, replicaChecks: store.replicaChecks }),
    },
    ask: async (command) => [await gateway.admin(command)],
    moves: createMoveOrders({ ...store, catalogue, ...drawn }),
    reshards: createReshardOrders({
      ...{ ...store, catalogue, ...drawn, keepsPayloads: true },
      defaults: { replicationFactor: 1, exactTies: true },
    }),
    fleet: createFleetOrders({
      ...{ ...store, catalogue },
      config: loadConfig({ env: {}, flags: {} }).fleet,
      engine: 'embedded',
      ...drawn,
    }),
  })
  ending.push(() => operator.close())
  return { gateway, operator }
}

async function ask(operator: OperatorServer, method: string, path: string, body?: Json, token = 'operator token') {
  const answer = await fetch(`${operator.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  const parsed: unknown = text.startsWith('{') ? JSON.parse(text) : {}
  assert.ok(isObject(parsed))
  const gateways = Array.isArray(parsed.gateways) ? (parsed.gateways as readonly JsonObject[]) : []
  return { status: answer.status, text, reply: gateways[0] ?? {} }
}

test('routes set by hand, without any database, lead the next request to the other engine', async () => {
  const { gateway, operator } = await start(true)
  const engines = { one: await startEngine('one'), two: await startEngine('two') }
  const project = 'abcdefghijkl'
  const search = async () => {
    const url = `${gateway.url}/indexes/films/search`
    const answer = await fetch(url, { headers: { authorization: 'Bearer by-hand-master-key' } })
    return { status: answer.status, body: (await answer.json()) as JsonObject }
  }
  assert.equal((await search()).status, 403)
  const place = (node: 'one' | 'two', more: JsonObject = {}) =>
    ask(operator, 'PUT', '/internal/routes', { project, index: 'films', node, url: engines[node], ...more })
  assert.equal((await place('one')).status, 404)
  assert.equal((await place('one', { masterKey: 'by-hand-master-key' })).status, 200)
  assert.deepEqual((await search()).body, { name: 'one', url: `/indexes/${project}_films/search` })
  assert.equal((await place('two', { physicalUid: 'elsewhere' })).status, 200)
  assert.deepEqual((await search()).body, { name: 'two', url: '/indexes/elsewhere/search' })
  const { reply } = await ask(operator, 'GET', `/internal/routes?project=${project}`)
  assert.match(JSON.stringify(reply.indexes), /"uid":"films".*"node":"two","physicalUid":"elsewhere"/)
  for (const wrong of [null, {}, { project, index: 'films', node: 'one', url: 'no url' }]) {
    assert.equal((await ask(operator, 'PUT', '/internal/routes', wrong)).status, 400)
  }
})

test('operators see the state without secrets, and no one else sees anything', async () => {
  const { gateway, operator } = await start(false)
  for (const [method, path] of [
    ['GET', '/internal/state'],
    ['PUT', '/internal/routes'],
    ['POST', '/internal/nothing'],
  ] as const) {
    const refused = await ask(operator, method, path, method === 'PUT' ? {} : undefined, 'wrong')
    assert.deepEqual([refused.status, refused.text], [401, ''], path)
  }
  const open = await fetch(`${operator.url}/internal/state`)
  assert.deepEqual([open.status, await open.text()], [401, ''])
  const refused = await ask(operator, 'PUT', '/internal/routes', {})
  assert.deepEqual([refused.status, refused.reply.code], [403, 'route_not_available'])
  const { status, reply } = await ask(operator, 'GET', '/internal/state')
  assert.equal(status, 200)
  assert.ok(isObject(reply.routes))
  assert.deepEqual([reply.ready, reply.routes.source, reply.routes.standing], [true, 'store', 'fresh'])
  assert.equal((await ask(operator, 'GET', '/internal/cache')).reply.projects, 0)
  assert.equal((await ask(operator, 'POST', '/internal/resync')).status, 200)
  assert.equal((await ask(operator, 'GET', '/internal/routes?project=x')).status, 404)

  assert.equal((await fetch(`${operator.url}/ready`)).status, 200)
  assert.equal((await ask(operator, 'POST', '/internal/drain')).status, 200)
  assert.equal((await fetch(`${operator.url}/ready`)).status, 503)
  // Requests are still answered, so that nobody is turned away before the load balancer knows.
  assert.equal((await fetch(`${gateway.url}/health`)).status, 200)
  assert.equal((await ask(operator, 'DELETE', '/internal/drain')).status, 200)
  assert.equal((await fetch(`${operator.url}/ready`)).status, 200)
  assert.match(await (await fetch(`${operator.url}/metrics`)).text(), /some_metric 1/)
  assert.equal((await fetch(`${operator.url}/metrics`, { method: 'POST' })).status, 405)
})

test('the cluster layer shows its nodes and shards to whoever has the token, and takes new nodes', async () => {
  const { operator } = await start(true)
  const url = await startEngine('one')
  const place = { project: 'abcdefghijkl', index: 'films', node: 'one', url, masterKey: 'by-hand-master-key' }
  assert.equal((await ask(operator, 'PUT', '/internal/routes', place)).status, 200)
  const cluster = async (method: string, path: string, body?: string, headers: Record<string, string> = {}) => {
    const sent = { 'x-admin-key': 'operator token', ...headers }
    const answer = await fetch(`${operator.url}/_miroir${path}`, { method, headers: sent, body: body ?? null })
    const parsed: unknown = await answer.json()
    assert.ok(isObject(parsed))
    return { status: answer.status, body: parsed as JsonObject }
  }
  assert.deepEqual((await cluster('GET', '/topology', undefined, { 'x-admin-key': 'wrong' })).status, 401)
  const topology = await cluster('GET', '/topology')
  assert.equal(topology.status, 200)
  assert.match(
    JSON.stringify(topology.body),
    /^{"shards":16,"replication_factor":2,"nodes":\[{"id":"one",.*"status":"healthy"/,
  )
  assert.equal(topology.body.fully_covered, true)
  assert.match(JSON.stringify((await cluster('GET', '/nodes')).body), /^{"results":\[{"id":"one"/)
  const shards = await cluster('GET', '/shards?index=films')
  assert.deepEqual(shards.body.shard, { 0: { 0: ['one'] } })
  assert.deepEqual(
    [(await cluster('GET', '/shards?index=none')).body.code, (await cluster('GET', '/shards')).body.code],
    ['miroir_not_found', 'miroir_invalid_request'],
  )
  assert.equal((await cluster('GET', '/nothing')).body.code, 'miroir_not_found')

  const added = await cluster('POST', '/nodes', JSON.stringify({ id: 'two', address: url, replica_group: 1 }))
  assert.deepEqual([added.status, added.body.id, added.body.replica_group], [202, 'two', 1])
  for (const wrong of [
    '',
    '[]',
    '{}',
    '{"id":"two"}',
    '{"id":1,"address":"a"}',
    '{"id":"a","address":"b","group":1}',
  ]) {
    const refused = await cluster('POST', '/nodes', wrong)
    assert.deepEqual([refused.status, refused.body.code], [400, 'miroir_invalid_request'], wrong)
  }
  const open = await fetch(`${operator.url}/_miroir/ready`)
  assert.equal(open.status, 200)
  assert.match(await (await fetch(`${operator.url}/_miroir/metrics`)).text(), /some_metric 1/)
})
