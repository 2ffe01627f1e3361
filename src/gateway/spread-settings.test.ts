import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { type FakeEngine, startFakeEngine } from '../../test/support/fake-engine.ts'
import { legAnswer, type SpreadGateway, startSpreadGateway } from '../../test/support/spread-gateway.ts'

let engines: FakeEngine[] = []
let spread: SpreadGateway | undefined

afterEach(async () => {
  await spread?.gateway.close(0)
  for (const { server } of engines) server.close()
})

/** Two shards; a node per entry. */
async function start(groups: readonly number[]) {
  engines = await Promise.all(groups.map(() => startFakeEngine()))
  engines.forEach((engine, at) => {
    engine.answer = () => ({ status: 200, body: legAnswer(at, 3) })
  })
  spread = await startSpreadGateway({
    nodes: engines.map(({ url }, at) => ({ id: `n${at}`, url, group: groups[at]!, shards: [at % 2] })),
    settings: { filterableAttributes: ['genre'] },
    env: { FLAPJACK_CLUSTER_HEDGING_ENABLED: 'false' },
  })
  return spread
}

async function post(path: string, body: object) {
  const { gateway, masterKey } = spread!
  const answer = await fetch(`${gateway.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${masterKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const text = await answer.text()
  assert.equal(answer.status, 200, text)
  const header = (name: string) => answer.headers.get(`x-miroir-settings-${name}`)
  return {
    inconsistent: header('inconsistent'),
    version: header('version'),
    pending: header('pending'),
    body: JSON.parse(text),
  }
}

const asked = () => engines.map(({ seen }) => seen.length)

async function turn(nodes: readonly string[]) {
  spread!.turn(nodes)
  const isPending = async () => (await post('/indexes/books/explain', {})).body.plan.broadcast_pending
  while ((await isPending()) !== nodes.length > 0) await new Promise((resolve) => setImmediate(resolve))
}

const reads: readonly (readonly [string, object])[] = [
  ['/indexes/books/search', {}],
  ['/multi-search', { queries: [{ indexUid: 'books' }] }],
]

test('while one group takes a settings change, the other answers every read', async () => {
  await start([0, 0, 1, 1])
  await turn(['n0', 'n1'])
  for (let times = 0; times < 8; times += 1) {
    for (const [path, body] of reads) assert.equal((await post(path, body)).inconsistent, null)
  }
  assert.deepEqual(asked(), [0, 0, 16, 16])
  const { body } = await post('/indexes/books/explain', {})
  assert.deepEqual(
    body.plan.legs.map((leg: { node: string; settings_version: number }) => [leg.node, leg.settings_version]),
    [
      ['n2', 3],
      ['n3', 3],
    ],
  )
  assert.equal(body.warnings[0].type, 'settings_broadcast_in_flight')
  await turn([])
  // Which group answers is a matter of how fast each was.
  for (let times = 0; asked()[0] === 0; times += 1) {
    assert.ok(times < 500, 'the first group is read again')
    await post('/indexes/books/search', {})
  }
})

test('where no replicas agree on the settings, the answer says that it may mix two of them', async () => {
  await start([0, 0])
  assert.equal((await post('/indexes/books/search', {})).inconsistent, null)
  await turn(['n0'])
  for (const [path, body] of reads) assert.equal((await post(path, body)).inconsistent, 'true')
  const { plan } = (await post('/indexes/books/explain', {})).body
  assert.deepEqual(
    plan.legs.map(({ settings_version }: { settings_version: number | null }) => settings_version),
    [null, 3],
  )
  const executed = await post('/indexes/books/explain?execute=true', {})
  assert.equal(executed.pending, 'true')
  assert.equal(executed.body.result.hits.length, 6)
})

test('a node that does not answer is made up for by one that takes the change, and the answer says so', async () => {
  await start([0, 0, 1, 1])
  await turn(['n0', 'n1'])
  engines[2]!.answer = () => ({ status: 500, body: '{}' })
  const { inconsistent, body } = await post('/indexes/books/search', {})
  assert.equal(body.hits.length, 6)
  assert.equal(inconsistent, 'true')
})

// A replica may have been read before its turn and another one behind it.
test('a read that a settings change meets on the way is done again', async () => {
  await start([0, 0, 1, 1])
  let isMet = false
  for (const engine of engines.slice(0, 2)) {
    engine.answer = async () => {
      if (!isMet) {
        isMet = true
        await turn(['n0', 'n1'])
      }
      return { status: 200, body: legAnswer(0, 3) }
    }
  }
  while (!isMet) assert.equal((await post('/indexes/books/search', {})).inconsistent, null)
  const [first, , third] = asked()
  assert.ok(first! > 0)
  assert.ok(third! > 0)
})

// Its lane drops the index as soon as all gateways know: what was on the way then may have found it empty.
test('a read of a replica that is taken away on the way is done again by another one', async () => {
  await start([0, 0, 1, 1])
  const { empty } = spread!
  let isMet = false
  const takenAway = async () => {
    empty(['n0', 'n1'])
    const legs = async () => (await post('/indexes/books/explain', {})).body.plan.legs
    while ((await legs()).some(({ node }: { node: string }) => node < 'n2')) await new Promise(setImmediate)
  }
  for (const engine of engines.slice(0, 2)) {
    engine.answer = async () => {
      if (!isMet) {
        isMet = true
        await takenAway()
      }
      return { status: 200, body: legAnswer(0, 0) }
    }
  }
  while (!isMet) assert.equal((await post('/indexes/books/search', {})).body.hits.length, 6)
})
