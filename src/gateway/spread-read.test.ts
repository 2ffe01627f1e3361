import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before, test } from 'node:test'
import { type FakeEngine, startFakeEngine } from '../../test/support/fake-engine.ts'
import { legAnswer, type SpreadGateway, searchKeyUid, startSpreadGateway } from '../../test/support/spread-gateway.ts'
import { loadConfig } from '../config/config.ts'

let engines: FakeEngine[] = []
let spread: SpreadGateway
/** Nodes answer when it is settled. */
let held: Promise<void> = Promise.resolve()

function answerSearches() {
  engines.forEach((engine, at) => {
    engine.answer = async () => {
      await held
      return { status: 200, body: legAnswer(at, 3) }
    }
  })
}

/** A search that does not come in this time does not come at all, however much the machine has to do. */
const arrivalMsMax = 60_000
const env = {
  FLAPJACK_CLUSTER_SCATTER_NODE_TIMEOUT_MS: String(arrivalMsMax),
  FLAPJACK_CLUSTER_HEDGING_ENABLED: 'false',
}
const { cluster } = loadConfig({ env, flags: {} })

before(async () => {
  engines = [await startFakeEngine(), await startFakeEngine()]
  answerSearches()
  spread = await startSpreadGateway({
    nodes: engines.map(({ url }, at) => ({ id: `n${at + 1}`, url, shards: [at] })),
    more: { cluster: { ...cluster, queryCoalescing: { ...cluster.queryCoalescing, windowMs: arrivalMsMax } } },
  })
})

after(async () => {
  await spread.gateway.close(0)
  for (const { server } of engines) server.close()
})

const search = (key: string, body: object, headers: Record<string, string> = {}) =>
  post('/indexes/books/search', key, body, headers)

async function post(path: string, key: string, body: object, headers: Record<string, string> = {}) {
  const answer = await fetch(`${spread.gateway.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  return { status: answer.status, text: await answer.text() }
}

function tokenOf(filter: string | null): string {
  const rule = filter === null ? {} : { filter }
  const parts = [
    { alg: 'HS256', typ: 'JWT' },
    { apiKeyUid: searchKeyUid, searchRules: { books: rule } },
  ]
  const signed = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${signed}.${createHmac('sha256', spread.searchKey).update(signed).digest('base64url')}`
}

async function metric(name: string): Promise<number> {
  const metrics = await spread.registry.getMetricsAsJSON()
  const values = metrics.find((metric) => metric.name === name)?.values ?? []
  return values.reduce((sum, { value }) => sum + value, 0)
}

/** Resolves when it holds. @param told  what is there instead, for the failure. */
async function arrived(holds: () => boolean | Promise<boolean>, told: () => string): Promise<void> {
  const deadline = performance.now() + arrivalMsMax
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, told())
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** Searches that come while the nodes hold their answers; they answer when this many have joined another one. */
async function together(joins: number, searches: () => readonly Promise<{ status: number; text: string }>[]) {
  const before = await metric('miroir_query_coalesce_subscribers_total')
  const asked = engines.map(({ seen }) => seen.length)
  let release = () => {}
  held = new Promise((resolve) => {
    release = resolve
  })
  const answers = searches()
  let early = 'none'
  for (const answer of answers) {
    answer.then(
      ({ status, text }) => {
        early = `${status} ${text}`
      },
      (error: unknown) => {
        early = String(error)
      },
    )
  }
  const legs = () => engines.reduce((sum, { seen }, at) => sum + seen.length - asked[at]!, 0)
  const legsDue = (answers.length - joins) * engines.length
  let joined = 0
  const haveCome = async () => {
    assert.equal(early, 'none', 'a search was answered before its nodes did')
    joined = (await metric('miroir_query_coalesce_subscribers_total')) - before
    return joined >= joins && legs() >= legsDue
  }
  await arrived(haveCome, () => `${joined} of ${joins} joined, ${legs()} of ${legsDue} legs`).finally(release)
  const given = await Promise.all(answers)
  for (const { status, text } of given) assert.equal(status, 200, text)
  return { texts: given.map(({ text }) => text), legs: legs() }
}

test('two hundred identical searches at once are one for the nodes, and each has an id of its own', async () => {
  const ask = () => search(spread.searchKey, { q: 'two words' })
  const { texts, legs } = await together(199, () => Array.from({ length: 200 }, ask))
  assert.equal(legs, 2)
  const answers = texts.map((text) => JSON.parse(text))
  assert.equal(new Set(answers.map(({ requestUid }) => requestUid)).size, 200)
  for (const { requestUid } of answers) assert.match(requestUid, /^[0-9a-f-]{36}$/)
  assert.equal(new Set(answers.map(({ hits }) => JSON.stringify(hits))).size, 1)
  assert.equal(answers[0].hits.length, 6)
})

test('metadata of searches that are shared names each query by an id of its own', async () => {
  const ask = () => search(spread.searchKey, { q: 'tin' }, { 'Meili-Include-Metadata': 'true' })
  const { texts, legs } = await together(1, () => [ask(), ask()])
  assert.equal(legs, 2)
  const uids = texts.flatMap((text) => [JSON.parse(text).requestUid, JSON.parse(text).metadata.queryUid])
  assert.equal(new Set(uids).size, 4)
})

test('identical multi-searches and facet searches are one for the nodes as well, and others are not', async () => {
  const queries = { queries: [{ indexUid: 'books', q: 'tin' }, { indexUid: 'books' }] }
  const multi = (key: string, body: object) => post('/multi-search', key, body)
  const { texts, legs } = await together(2, () => [
    multi(spread.searchKey, queries),
    multi(spread.searchKey, queries),
    multi(spread.searchKey, queries),
  ])
  assert.equal(legs, 4)
  const uids = texts.flatMap((text) => JSON.parse(text).results.map((one: { requestUid: string }) => one.requestUid))
  assert.equal(new Set(uids).size, uids.length)
  const federated = { queries: [{ indexUid: 'books', q: 'tin' }], federation: {} }
  const apart = await together(1, () => [
    multi(spread.searchKey, { queries: [{ indexUid: 'books', q: 'tin' }] }),
    multi(spread.searchKey, federated),
    multi(tokenOf('tenant = 1'), federated),
    multi(tokenOf('tenant = 2'), federated),
    multi(tokenOf('tenant = 2'), federated),
  ])
  assert.equal(apart.legs, 8)
  for (const engine of engines) {
    engine.answer = async () => {
      await held
      return {
        status: 200,
        body: JSON.stringify({ facetHits: [{ value: 'a', count: 1 }], facetQuery: 'a', processingTimeMs: 1 }),
      }
    }
  }
  const facet = (facetQuery: string) =>
    post('/indexes/books/facet-search', spread.searchKey, { facetName: 'genre', facetQuery })
  const facets = await together(1, () => [facet('a'), facet('a'), facet('b')])
  assert.equal(facets.legs, 4)
  assert.deepEqual(JSON.parse(facets.texts[0]!).facetHits, [{ value: 'a', count: 2 }])
  answerSearches()
})

test('tenants with different filters, other keys and other questions never share an answer', async () => {
  const one = tokenOf('tenant = 1')
  const body = { q: 'red' }
  const { legs } = await together(1, () => [
    search(one, body),
    search(one, body),
    search(tokenOf('tenant = 2'), body),
    search(tokenOf(null), body),
    search(spread.searchKey, { q: 'red', filter: 'tenant = 1' }),
    search(spread.masterKey, body),
    search(spread.searchKey, { q: 'red', limit: 5 }),
  ])
  assert.equal(legs, 12)
  const filters = engines[0]!.seen.slice(-6).map(({ body: sent }) => JSON.parse(sent).filter ?? null)
  assert.equal(filters.filter((filter) => JSON.stringify(filter)?.includes('tenant = 1')).length, 2)
  assert.equal(filters.filter((filter) => JSON.stringify(filter)?.includes('tenant = 2')).length, 1)
})

test('a read under a session is asked by itself', async () => {
  const ask = (headers: Record<string, string>) => search(spread.searchKey, { q: 'mine' }, headers)
  const { legs } = await together(0, () => [ask({}), ask({ 'X-Miroir-Session': 'one' })])
  assert.equal(legs, 4)
})

// A search that begins before a write is applied may miss it; whoever saw the task succeed must not get its answer.
test('who was told that a task finished does not share a search that began before', async () => {
  const ask = () => search(spread.searchKey, { q: 'new' })
  const askWhenTold = async () => {
    const asked = engines[0]!.seen.length
    await arrived(
      () => engines[0]!.seen.length > asked,
      () => 'the first search does not come',
    )
    const headers = { authorization: `Bearer ${spread.masterKey}` }
    const told = await fetch(`${spread.gateway.url}/tasks/3`, { headers })
    assert.match(await told.text(), /"status":"succeeded"/)
    return ask()
  }
  const { legs } = await together(0, () => [ask(), askWhenTold()])
  assert.equal(legs, 4)
})

test('what searches over shards do is told to operators', async () => {
  const fanOut = await spread.registry.getSingleMetricAsString('miroir_scatter_fan_out_size')
  assert.match(fanOut, /_sum 38\n/)
  const requests = await spread.registry.getSingleMetricAsString('miroir_node_request_duration_seconds')
  assert.match(requests, /_count\{node_id="n1",operation="search"\} 18\n/)
  const before = await metric('miroir_query_plan_narrowable_total')
  assert.equal((await search(spread.searchKey, { filter: 'id = 7' })).status, 200)
  assert.equal((await metric('miroir_query_plan_narrowable_total')) - before, 1)
  const narrowable = await spread.registry.getSingleMetricAsString('miroir_query_plan_narrowable_total')
  assert.match(narrowable, /\{narrowed="yes"\} 1/)
  engines[0]!.answer = () => ({ status: 500, body: '{}' })
  engines[1]!.answer = () => ({ status: 500, body: '{}' })
  assert.equal((await search(spread.searchKey, {})).status, 503)
  const errors = await spread.registry.getSingleMetricAsString('miroir_node_errors_total')
  assert.match(errors, /\{node_id="n1",error_type="server"\} [1-9]/)
})
