import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { after, test } from 'node:test'
import type { Config } from '../config/config.ts'
import { loadConfig } from '../config/config.ts'
import { systemClock, systemTimers } from '../lib/clock.ts'
import { seededRandom } from '../lib/random.ts'
import type { Node } from '../store/catalogue.ts'
import { coverShards, defaultGroupRule, type NodeView, type Replica } from './covering-set.ts'
import { HedgeBudget } from './hedge-budget.ts'
import { type AskDeps, type Asked, askLegs, type ReadToAsk } from './hedged-ask.ts'
import { FleetHealth } from './node-health.ts'
import { createNodePools } from './node-pools.ts'
import { otherReplicas } from './other-replicas.ts'
import { ReplicaScores } from './replica-scores.ts'

type Handler = (request: IncomingMessage, response: ServerResponse, turn: number) => void

const initial: Config = loadConfig({ env: {}, flags: {} })
const closers: (() => Promise<void>)[] = []
after(async () => {
  for (const close of closers) await close()
})

const answers: Handler = (request, response) => {
  request.resume()
  response.end(JSON.stringify({ path: request.url }))
}

/** Nodes that hold shards, as servers on real sockets. */
async function fleet(
  held: Readonly<Record<string, readonly number[]>>,
  {
    groups = {},
    options = {},
  }: { groups?: Readonly<Record<string, number>>; options?: Partial<Config['cluster']> } = {},
) {
  const handlers = new Map<string, Handler>()
  const asked = new Map<string, number>()
  const aborted = new Set<string>()
  const nodes = new Map<string, Node>()
  for (const id of Object.keys(held)) {
    const server = createServer((request, response) => {
      const turn = (asked.get(id) ?? 0) + 1
      asked.set(id, turn)
      response.on('close', () => {
        if (!response.writableEnded) aborted.add(id)
      })
      const handle = handlers.get(id) ?? answers
      handle(request, response, turn)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    assert(address !== null && typeof address === 'object')
    const url = `http://127.0.0.1:${address.port}`
    nodes.set(id, {
      id,
      engine: 'embedded',
      url,
      region: 'x',
      group: groups[id] ?? 0,
      capacity: null,
      state: 'active',
      key: null,
    })
    closers.push(
      () =>
        new Promise((resolve) => {
          server.close(() => resolve())
          server.closeAllConnections()
        }),
    )
  }
  const pools = createNodePools({
    connectionsMax: 8,
    connectTimeoutMs: 1_000,
    answerTimeoutMs: 30_000,
    clock: systemClock,
  })
  closers.unshift(() => pools.close())
  const { cluster } = initial
  const settings = { ...cluster, ...options }
  const scores = new ReplicaScores(settings.replicaSelection, systemClock)
  const health = new FleetHealth({
    options: settings.health,
    connect: (node) => pools.connection(node, null),
    nodes: () => nodes.values(),
    clock: systemClock,
    timers: systemTimers,
    random: seededRandom(1),
  })
  const hedges: string[] = []
  const errors: string[] = []
  let retries = 0
  const deps: AskDeps = {
    clock: systemClock,
    timers: systemTimers,
    health,
    scores,
    options: settings,
    budget: new HedgeBudget(settings.hedging.maxExtraLoad),
    onRetry: () => {
      retries += 1
    },
    onHedge: (outcome) => hedges.push(outcome),
    onNodeError: (node, type) => errors.push(`${node} ${type}`),
  }
  const replicas: readonly Replica[] = Object.entries(held).map(([node, shards]) => ({
    node,
    group: groups[node] ?? 0,
    shards,
    physicalUid: `uid-${node}`,
  }))
  /** The first node is the cheapest, so that it is asked first. */
  const view: NodeView = {
    turn: 0,
    standing: () => 'good',
    cost: (node) => 10 ** replicas.findIndex((replica) => replica.node === node),
  }
  const ask = (more: Partial<ReadToAsk<Replica>> = {}, shards = [...new Set(Object.values(held).flat())].sort()) => {
    const rule = { ...defaultGroupRule, preferred: 0 }
    const plan = coverShards(replicas, shards, view, rule)
    assert.deepEqual(plan.missing, [])
    return askLegs(
      {
        legs: plan.legs,
        request: ({ replica, shards: own, isWhole }) => ({
          method: 'POST',
          path: `/indexes/${replica.physicalUid}/search?shards=${isWhole ? 'all' : own.join()}`,
          headers: ['content-type', 'application/json'],
          body: Buffer.from('{}'),
        }),
        connect: (node) => pools.connection(nodes.get(node)!, null),
        alternatives: otherReplicas(replicas, view, rule),
        operation: 'search',
        deadlineAt: systemClock.monotonic() + 10_000,
        answerBytesMax: 1_000_000,
        signal: new AbortController().signal,
        ...more,
      },
      deps,
    )
  }
  const link = (id: string, url?: string) =>
    pools.connection({ ...nodes.get(id)!, ...(url === undefined ? {} : { url }) }, null)
  return { ask, link, deps, scores, handlers, asked, aborted, hedges, errors, retries: () => retries }
}

/** Who answered for which shards. */
function shown({ answers: got, missing }: Asked<Replica>) {
  const seen = got.flatMap(({ leg }) => leg.shards)
  assert.equal(new Set(seen).size, seen.length, 'a shard was answered twice')
  return {
    answers: got.map(({ leg }) => `${leg.replica.node} ${leg.shards}`).sort(),
    missing: missing.map(({ shards, failure }) => `${shards} ${failure.kind}`).sort(),
  }
}

const noHedging = { hedging: { ...initial.cluster.hedging, enabled: false } }
const hangs: Handler = () => {}

test('every leg is answered by its replica, under its own name and with its own shards', async () => {
  const { ask, asked } = await fleet({ a: [0, 1], b: [2, 3] })
  const result = await ask()
  assert.deepEqual(shown(result), { answers: ['a 0,1', 'b 2,3'], missing: [] })
  assert.equal(String(result.answers[0]!.reply.body), '{"path":"/indexes/uid-a/search?shards=all"}')
  assert.deepEqual(Object.fromEntries(asked), { a: 1, b: 1 })
})

test('a replica that refuses, dies within its answer or lies is replaced by others for the same shards', async () => {
  const troubles: Record<string, Handler> = {
    'refused server': (_, response) => response.writeHead(500).end('{}'),
    'refused auth': (_, response) => response.writeHead(403).end('{}'),
    lost: (request) => request.socket.destroy(),
    'lost ': (request, response) => {
      response.writeHead(200, { 'content-length': '100' })
      response.write('{"hits":')
      response.on('close', () => request.destroy())
      setImmediate(() => request.socket.destroy())
    },
    'bad-answer': (request) => request.socket.end('ICY 200 OK\r\n\r\n'),
  }
  for (const [trouble, handler] of Object.entries(troubles)) {
    // b and c hold one half each of what a holds.
    const { ask, handlers, asked, retries } = await fleet({ a: [0, 1], b: [0, 9], c: [1, 9] }, { options: noHedging })
    handlers.set('a', handler)
    assert.deepEqual(shown(await ask({}, [0, 1])), { answers: ['b 0', 'c 1'], missing: [] }, trouble)
    assert.deepEqual(Object.fromEntries(asked), { a: 1, b: 1, c: 1 }, trouble)
    assert.equal(retries(), 2)
  }
})

test('a node that cannot be reached, or is gone from the routes, costs no read', async () => {
  const { ask, link, asked } = await fleet({ a: [0], b: [0] })
  for (const a of [link('a', 'http://127.0.0.1:1'), undefined]) {
    const connect = (node: string) => (node === 'a' ? a : link(node))
    assert.deepEqual(shown(await ask({ connect })), { answers: ['b 0'], missing: [] })
  }
  assert.equal(asked.get('a'), undefined)
  const deadlineAt = systemClock.monotonic() + 100
  const nowhere = await ask({ connect: () => undefined, deadlineAt })
  assert.deepEqual(shown(nowhere), { answers: [], missing: ['0 unreachable'] })
})

test('a replica that hangs is left when its time is over, and asked no second time', async () => {
  const scatter = { ...initial.cluster.scatter, nodeTimeoutMs: 60 }
  const { ask, handlers, asked, aborted, errors } = await fleet(
    { a: [0], b: [0] },
    { options: { ...noHedging, scatter } },
  )
  handlers.set('a', hangs)
  assert.deepEqual(shown(await ask()), { answers: ['b 0'], missing: [] })
  assert.deepEqual(errors, ['a timed-out'])
  assert.equal(asked.get('a'), 1)
  await until(() => aborted.has('a'))
  handlers.set('b', hangs)
  assert.deepEqual(shown(await ask()), { answers: [], missing: ['0 timed-out'] })
})

test('when its node has no copy elsewhere, a read waits for it to start again', async () => {
  const { ask, handlers, asked } = await fleet({ a: [0], b: [1] })
  handlers.set('a', (request, response, turn) => {
    if (turn <= 3) request.socket.destroy()
    else answers(request, response, turn)
  })
  assert.deepEqual(shown(await ask()), { answers: ['a 0', 'b 1'], missing: [] })
  assert.deepEqual(Object.fromEntries(asked), { a: 4, b: 1 })
})

test('a part that nobody can answer is named, and the others are answered', async () => {
  const { ask, handlers } = await fleet({ a: [0, 1], b: [0], c: [2] }, { options: noHedging })
  handlers.set('a', (_, response) => response.writeHead(500).end())
  const { answers: got, missing } = shown(await ask())
  assert.deepEqual(got, ['b 0', 'c 2'])
  assert.deepEqual(missing, ['1 refused'])
})

test('what a node says about the request itself is an answer, and asked of nobody else', async () => {
  const { ask, handlers, asked } = await fleet({ a: [0], b: [0] })
  handlers.set('a', (_, response) => response.writeHead(400).end('{"code":"invalid_search_filter"}'))
  const { answers: got } = await ask()
  assert.equal(got[0]!.reply.status, 400)
  assert.equal(asked.get('b'), undefined)
  handlers.set('a', (_, response) => response.writeHead(404).end('{"code":"index_not_found"}'))
  const accepts = ({ status }: { status: number }) => status !== 404
  assert.deepEqual(shown(await ask({ accepts })), { answers: ['b 0'], missing: [] })
})

test('a busy node gives way to another, and is asked again when it said when to come back', async () => {
  const busy: Handler = (request, response, turn) => {
    if (turn <= 2) response.writeHead(503, { 'retry-after': '0' }).end('{"code":"too_many_search_requests"}')
    else answers(request, response, turn)
  }
  const { ask, handlers, asked } = await fleet({ a: [0], b: [0] })
  handlers.set('a', busy)
  assert.deepEqual(shown(await ask()), { answers: ['b 0'], missing: [] })
  handlers.set('b', (_, response) => response.writeHead(503, { 'retry-after': '0' }).end())
  assert.deepEqual(shown(await ask()), { answers: ['a 0'], missing: [] })
  assert.equal(asked.get('a'), 3)
  // Later than the client's deadline: its answer is what the client gets.
  const late: Handler = (_, response) => response.writeHead(429, { 'retry-after': '60' }).end('{}')
  handlers.set('a', late)
  handlers.set('b', late)
  const { missing } = await ask()
  assert(missing[0]?.failure.kind === 'refused')
  assert.equal(missing[0].failure.reply.status, 429)
  assert.equal(missing[0].failure.reply.retryAfterMs, 60_000)
})

test('a slow replica is helped by another after its usual time, and the slower answer is given up', async () => {
  const { ask, handlers, asked, aborted, hedges, deps } = await fleet({ a: [0, 1], b: [0], c: [1] })
  handlers.set('a', hangs)
  const startedAt = systemClock.monotonic()
  const result = await ask({}, [0, 1])
  assert.deepEqual(shown(result), { answers: ['b 0', 'c 1'], missing: [] })
  assert.ok(result.answers.every(({ isHedge }) => isHedge))
  assert.ok(systemClock.monotonic() - startedAt >= 15)
  assert.deepEqual(hedges, ['winner'])
  await until(() => aborted.has('a'))
  // Two were the whole allowance of the process at its start.
  assert.equal(deps.budget.take(1), false)
  assert.deepEqual(Object.fromEntries(asked), { a: 1, b: 1, c: 1 })
})

test('a hedge that fails does not fail the read, and one that loses is given up', async () => {
  const slowly: Handler = (request, response, turn) => {
    setTimeout(() => answers(request, response, turn), 150)
  }
  for (const trouble of ['fails', 'hangs'] as const) {
    const { ask, handlers, hedges, aborted } = await fleet({ a: [0], b: [0] })
    handlers.set('a', slowly)
    handlers.set('b', trouble === 'hangs' ? hangs : (_, response) => response.writeHead(500).end())
    assert.deepEqual(shown(await ask()), { answers: ['a 0'], missing: [] })
    assert.deepEqual(hedges, ['loser'])
    if (trouble === 'hangs') await until(() => aborted.has('b'))
  }
})

test('one read sends no more hedges than it may, and none when they are turned off', async () => {
  const held = { a: [0], b: [1], c: [2], far: [0, 1, 2] }
  for (const [maxHedgesPerQuery, expected] of [
    [2, 2],
    [0, 0],
  ] as const) {
    const scatter = { ...initial.cluster.scatter, nodeTimeoutMs: 150, retryOnTimeout: false }
    const hedging = { ...initial.cluster.hedging, maxHedgesPerQuery }
    const { ask, handlers, asked } = await fleet(held, { groups: { far: 1 }, options: { hedging, scatter } })
    for (const node of ['a', 'b', 'c']) handlers.set(node, hangs)
    const { answers: got, missing } = await ask()
    assert.equal(got.length, expected)
    assert.equal(missing.length, 3 - expected)
    assert.equal(asked.get('far') ?? 0, expected)
  }
})

test('a client that goes away ends everything that was sent for it', async () => {
  const { ask, handlers, aborted, scores } = await fleet({ a: [0], b: [0], c: [1] })
  for (const node of ['a', 'b', 'c']) handlers.set(node, hangs)
  const client = new AbortController()
  const asking = ask({ signal: client.signal })
  setTimeout(() => client.abort('gone'), 120)
  assert.deepEqual(shown(await asking), { answers: [], missing: ['0 aborted', '1 aborted'] })
  await until(() => aborted.size === 3)
  for (const node of ['a', 'b', 'c']) assert.ok(scores.score(node) < 1_000, 'nothing is counted as in flight for ever')
  assert.deepEqual(shown(await ask({ signal: client.signal })).missing, ['0 aborted', '1 aborted'])
})

test('an answer beyond the bound is refused, and not held', async () => {
  const { ask, handlers } = await fleet({ a: [0], b: [0] }, { options: noHedging })
  handlers.set('a', (_, response) => response.end(Buffer.alloc(2_000_000)))
  assert.deepEqual(shown(await ask()), { answers: ['b 0'], missing: [] })
})

/** Waits for what a socket brings in its own time. */
async function until(isDone: () => boolean): Promise<void> {
  for (let turn = 0; turn < 500 && !isDone(); turn += 1) await systemClock.sleep(10)
  assert.ok(isDone())
}
