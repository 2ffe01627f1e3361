import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type FakeEngine, startFakeEngine } from '../../test/support/fake-engine.ts'
import { legAnswer, type SpreadGateway, startSpreadGateway } from '../../test/support/spread-gateway.ts'
import { shardOfKey } from '../topology/rendezvous.ts'

let engines: FakeEngine[] = []
let spread: SpreadGateway

before(async () => {
  engines = await Promise.all([0, 1, 2].map(() => startFakeEngine()))
  engines.forEach((engine, at) => {
    engine.answer = () => ({ status: 200, body: legAnswer(at, 3) })
  })
  const urls = engines.map(({ url }) => url)
  spread = await startSpreadGateway({
    nodes: [
      { id: 'n1', url: urls[0]!, group: 0, shards: [0, 2] },
      { id: 'n2', url: urls[1]!, group: 0, shards: [1, 3] },
      { id: 'n3', url: urls[2]!, group: 1, shards: [0, 1, 2] },
    ],
    settings: { filterableAttributes: ['genre', 'id'], sortableAttributes: ['price'] },
    plain: { notes: 'n3' },
  })
})

after(async () => {
  await spread.gateway.close(0)
  for (const { server } of engines) server.close()
})

const asked = () => engines.map(({ seen }) => seen.length)

async function call(
  path: string,
  body: object | undefined,
  key = spread.masterKey,
  headers: Record<string, string> = {},
) {
  const answer = await fetch(`${spread.gateway.url}/indexes/${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      authorization: `Bearer ${key}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: JSON.parse(await answer.text()) }
}

test('a search over shards is explained without asking any node', async () => {
  const { status, body } = await call('books/explain', { q: 'tin', sort: ['price:asc'] })
  assert.equal(status, 200, JSON.stringify(body))
  assert.deepEqual(asked(), [0, 0, 0])
  const sent = { q: 'tin', sort: ['price:asc'], showRankingScore: true, showRankingScoreDetails: true }
  // Whoever could take the first leg over holds more; nobody could take over the second one.
  const clause = '_miroir_shard IN ["!!!!", "!!!("]'
  const common = {
    ...{ group: 0, health: 'up', score: 50, reason: 'the only replica of the group for some of these shards' },
    ...{ estimated_p95_ms: null, settings_version: 3, method: 'POST', path: '/indexes/books/search' },
  }
  const replica = { health: 'up', standing: 'good', score: 50, p95_ms: null }
  assert.deepEqual(body, {
    resolved_uid: 'books',
    plan: {
      route_version: 1,
      settings_version: 3,
      broadcast_pending: false,
      spread: { shards: 4, replication_factor: 1 },
      kind: 'keyword',
      narrowed: false,
      narrowing_reason: 'no filter restricts the search',
      target_shards: [0, 1, 2, 3],
      missing_shards: [],
      chosen_group: { id: 0, reason: 'its healthy nodes hold more shards than those of any other group' },
      target_nodes: { 0: 'n1', 1: 'n2', 2: 'n1', 3: 'n2' },
      legs: [
        { node: 'n1', ...common, hedge_trigger_ms: 60, shards: [0, 2], clause, body: { ...sent, filter: clause } },
        { node: 'n2', ...common, hedge_trigger_ms: null, shards: [1, 3], clause: null, body: sent },
      ],
      replicas: [
        { node: 'n1', group: 0, ...replica },
        { node: 'n2', group: 0, ...replica },
        { node: 'n3', group: 1, ...replica },
      ],
      merge_keys: [
        ...['words', 'typo', 'proximity', 'attributeRank', 'price:asc', 'wordPosition', 'exactness'],
        'order of the index',
      ],
      follow_ups: [],
      search_rules: [],
      coalescing_eligible: true,
      hedging_armed: true,
      estimated_p95_ms: null,
    },
    warnings: [],
  })
})

test('a plan that is carried out names the nodes that were called, and comes with the answer', async () => {
  const before = asked()
  const { status, body } = await call('books/search?explain=true&execute=true', { q: 'tin' })
  assert.equal(status, 200, JSON.stringify(body))
  assert.equal(body.result.hits.length, 6)
  assert.equal(body.result.query, 'tin')
  const called = ['n1', 'n2', 'n3'].filter((_, at) => asked()[at]! > before[at]!)
  assert.deepEqual(
    called,
    body.plan.legs.map(({ node }: { node: string }) => node),
  )
  const bodies = called.map((node) => JSON.parse(engines[Number(node[1]) - 1]!.seen.at(-1)!.body))
  assert.deepEqual(
    bodies,
    body.plan.legs.map(({ body: sent }: { body: object }) => sent),
  )
  // What was measured by then is told from then on.
  const { body: later } = await call('books/explain', { q: 'tin' })
  assert.ok(later.plan.estimated_p95_ms > 0)
})

test('a filter on ids leaves one shard, in searches by parameters as well', async () => {
  const { status, body } = await call('books/search?explain=true&filter=id%20%3D%207', undefined)
  assert.equal(status, 200, JSON.stringify(body))
  assert.deepEqual(
    [body.plan.narrowed, body.plan.narrowing_reason, body.plan.target_shards],
    [true, 'the filter names ids', [shardOfKey('7', 4)]],
  )
  assert.equal(body.plan.legs.length, 1)
  assert.deepEqual(Object.keys(body.plan.target_nodes), [`${shardOfKey('7', 4)}`])
})

test('a plain index has one leg, which carries the search as it came', async () => {
  const { body } = await call('notes/explain', { q: 'tin', limit: 3 })
  assert.equal(body.plan.spread, null)
  assert.deepEqual(
    body.plan.legs.map(({ node, shards, clause, body: sent }: Record<string, unknown>) => [node, shards, clause, sent]),
    [['n3', [0], null, { q: 'tin', limit: 3 }]],
  )
  assert.deepEqual([body.plan.merge_keys, body.plan.coalescing_eligible, body.plan.hedging_armed], [[], false, false])
  const { body: carried } = await call('notes/explain?execute=true', { q: 'tin', limit: 3 })
  assert.equal(carried.result.hits.length, 3)
})

test('what a search will be refused for or pay for is warned of', async () => {
  const types = async (sent: object, headers: Record<string, string> = {}) => {
    const { body } = await call('books/explain', sent, spread.masterKey, headers)
    return body.warnings.map(({ type }: { type: string }) => type)
  }
  assert.deepEqual(await types({ filter: 'price > 3' }), ['UnfilterableAttribute'])
  assert.deepEqual(await types({ filter: 'id != 3' }), ['NarrowingNotPossible'])
  assert.deepEqual(await types({ limit: 20_000 }), ['LargeOffsetLimit'])
  assert.deepEqual(await types({ facets: ['*'] }), ['UnboundedWildcard'])
  assert.deepEqual(await types({}, { 'X-Miroir-Min-Settings-Version': '5' }), ['SettingsVersionBelowFloor'])
})

test('a key for searches sees no plan, and a missing index and a bad search are refused as by a search', async () => {
  for (const path of ['books/explain', 'books/search?explain=true']) {
    const { status, body } = await call(path, { q: 'tin' }, spread.searchKey)
    assert.deepEqual([status, body.code], [403, 'invalid_api_key'], path)
  }
  assert.equal((await call('nowhere/explain', {})).body.code, 'index_not_found')
  assert.equal((await call('books/explain', { limit: 'a' })).body.code, 'invalid_search_limit')
  assert.equal((await call('books/search?explain=true', { q: 3 })).body.code, 'invalid_search_q')
  const before = asked()
  assert.equal((await call('books/search?explain=false', { q: 'tin' })).body.hits.length, 6)
  assert.notDeepEqual(asked(), before)
})
