import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { after, test } from 'node:test'
import { type Config, loadConfig } from '../config/config.ts'
import { systemClock, systemTimers } from '../lib/clock.ts'
import { seededRandom } from '../lib/random.ts'
import type { Node } from '../store/catalogue.ts'
import type { Replica } from './covering-set.ts'
import { HedgeBudget } from './hedge-budget.ts'
import { FleetHealth } from './node-health.ts'
import { createNodePools } from './node-pools.ts'
import { LegLost, type ReplicaReadDeps, type ReplicaReadOptions, readReplicas } from './replica-read.ts'
import { ReplicaScores } from './replica-scores.ts'

type Handler = (request: IncomingMessage, response: ServerResponse, turn: number) => void

const initial: Config = loadConfig({ env: {}, flags: {} })
const closers: (() => Promise<void>)[] = []
after(async () => {
  for (const close of closers) await close()
})

const answers: Handler = (request, response) => {
  request.resume()
  response.end(request.url)
}
const hangs: Handler = () => {}
const fails: Handler = (_, response) => response.writeHead(500).end('{}')

interface FleetOptions {
  readonly groups?: Readonly<Record<string, number>>
  readonly settings?: Partial<Config['cluster']>
}

/** Nodes that hold shards, as servers on real sockets. The first is the cheapest, so that it is asked first. */
async function fleet(
  held: Readonly<Record<string, readonly number[]>>,
  { groups = {}, settings = {} }: FleetOptions = {},
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
    nodes.set(id, nodeAt(id, `http://127.0.0.1:${address.port}`, groups[id] ?? 0))
    closers.push(async () => {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    })
  }
  const pools = createNodePools({
    connectionsMax: 8,
    connectTimeoutMs: 1_000,
    answerTimeoutMs: 30_000,
    clock: systemClock,
  })
  closers.unshift(() => pools.close())
  const options = { ...initial.cluster, ...settings }
  const scores = new ReplicaScores(options.replicaSelection, systemClock)
  const health = new FleetHealth({
    options: options.health,
    connect: (node) => pools.connection(node),
    nodes: () => nodes.values(),
    clock: systemClock,
    timers: systemTimers,
    random: seededRandom(1),
  })
  const hedges: string[] = []
  const errors: string[] = []
  let reruns = 0
  const order = Object.keys(held)
  const deps: ReplicaReadDeps = {
    clock: systemClock,
    timers: systemTimers,
    health,
    scores,
    options,
    budget: new HedgeBudget(options.hedging.maxExtraLoad),
    choice: {
      rotation: 'turns',
      next: () => ({ turn: 0, standing: () => 'good', cost: (node) => 10 ** order.indexOf(node) }),
    },
    onHedge: (outcome) => hedges.push(outcome),
    onNodeError: (node, type) => errors.push(`${node} ${type}`),
  }
  const replicas = Object.entries(held).map(
    ([node, shards]): Replica => ({ node, group: groups[node] ?? 0, shards, physicalUid: `uid-${node}` }),
  )
  const link = (id: string, url?: string) =>
    pools.connection({ ...nodes.get(id)!, ...(url === undefined ? {} : { url }) })
  const all = [...new Set(Object.values(held).flat())].sort((a, b) => a - b)
  /** `node: shards` of each answer, and the shards that nobody answered for. */
  const ask = (more: Partial<ReplicaReadOptions> = {}) =>
    readReplicas(
      async ({ plan }) => {
        reruns += 1
        const { legs, missing, ask: askLeg } = await plan(replicas, all)
        const replies = await Promise.all(
          legs.map(async (leg) => {
            const filter = leg.isWhole ? 'all' : leg.shards.join()
            const { status, body } = await askLeg(leg, ({ physicalUid }) => ({
              method: 'POST',
              path: `/indexes/${physicalUid}/search?${filter}`,
              headers: ['content-type', 'application/json'],
              body: Buffer.from('{}'),
            }))
            const [, node = String(body), shards = ''] = /uid-(.*)\/search\?(.*)/.exec(String(body)) ?? []
            return `${status === 200 ? '' : `${status} `}${node} ${shards}`.trim()
          }),
        )
        return missing.length === 0 ? replies.sort() : [...replies.sort(), `missing ${missing}`]
      },
      {
        connect: link,
        operation: 'search',
        preferredGroup: 0,
        deadlineAt: systemClock.monotonic() + 10_000,
        answerBytesMax: 1_000_000,
        signal: new AbortController().signal,
        ...more,
      },
      deps,
    )
  return { ask, link, deps, scores, handlers, asked, aborted, hedges, errors, runs: () => reruns }
}

function nodeAt(id: string, url: string, group: number): Node {
  return { id, engine: 'embedded', url, region: 'x', group, capacity: null, state: 'active', key: null }
}

/** What the last replica of the lost leg met. */
async function lost(read: Promise<unknown>): Promise<LegLost> {
  const error = await read.then(
    () => assert.fail('the read had an answer'),
    (reason: unknown) => reason,
  )
  assert(error instanceof LegLost, String(error))
  return error
}

const noHedging = { hedging: { ...initial.cluster.hedging, enabled: false } }

test('every leg is answered by its replica, under its own name and with its own shards', async () => {
  const { ask, asked } = await fleet({ a: [0, 1], b: [1, 2], c: [3] })
  assert.deepEqual(await ask(), ['a all', 'b 2', 'c all'])
  assert.deepEqual(Object.fromEntries(asked), { a: 1, b: 1, c: 1 })
})

test('a leg names its shards when whoever may take it over holds more', async () => {
  const { ask, handlers } = await fleet({ a: [0], b: [0, 1] }, { settings: noHedging })
  assert.deepEqual(await ask(), ['a 0', 'b 1'])
  handlers.set('a', fails)
  assert.deepEqual(await ask(), ['b 0', 'b 1'])
})

test('a replica that refuses, dies within its answer or lies is replaced by others for the same shards', async () => {
  const troubles: Readonly<Record<string, Handler>> = {
    'refused: server': fails,
    'refused: auth': (_, response) => response.writeHead(403).end('{}'),
    lost: (request) => request.socket.destroy(),
    'lost within': (request, response) => {
      response.writeHead(200, { 'content-length': '100' })
      response.write('{"hits":')
      setImmediate(() => request.socket.destroy())
    },
    'bad-answer': (request) => request.socket.end('ICY 200 OK\r\n\r\n'),
    'too large': (_, response) => response.end(Buffer.alloc(2_000_000)),
  }
  for (const [trouble, handler] of Object.entries(troubles)) {
    const one = await fleet({ a: [0, 1], b: [0, 1] }, { settings: noHedging })
    one.handlers.set('a', handler)
    assert.deepEqual(await one.ask(), ['b all'], trouble)
    assert.equal(one.runs(), 1, trouble)
    // b and c hold one half each of what a holds: the read is planned anew.
    const two = await fleet({ a: [0, 1], b: [0, 9], c: [1, 9] }, { settings: noHedging })
    two.handlers.set('a', handler)
    assert.deepEqual(await two.ask(), ['b all', 'c 1'], trouble)
    assert.equal(two.runs(), 2, trouble)
  }
})

test('a read that is planned anew ends what the plan before still waits for', async () => {
  const { ask, handlers, aborted } = await fleet({ a: [0, 1], b: [0], c: [1], d: [2], e: [2] }, { settings: noHedging })
  handlers.set('a', (_, response) => setTimeout(() => response.writeHead(500).end(), 50))
  handlers.set('d', (request, response, turn) => {
    if (turn > 1) answers(request, response, turn)
  })
  assert.deepEqual(await ask(), ['b 0', 'c 1', 'd all'])
  await until(() => aborted.has('d'))
})

test('a node that cannot be reached, or is gone from the routes, costs no read', async () => {
  const { ask, link, asked } = await fleet({ a: [0], b: [0] })
  for (const a of [link('a', 'http://127.0.0.1:1'), undefined]) {
    assert.deepEqual(await ask({ connect: (node) => (node === 'a' ? a : link(node)) }), ['b all'])
  }
  assert.equal(asked.get('a'), undefined)
  const deadlineAt = systemClock.monotonic() + 100
  const { failure } = await lost(ask({ connect: () => undefined, deadlineAt }))
  assert.equal(failure.kind, 'unreachable')
})

test('a replica that hangs is left when its time is over, and asked no second time', async () => {
  const scatter = { ...initial.cluster.scatter, nodeTimeoutMs: 300 }
  const { ask, handlers, asked, aborted, errors } = await fleet(
    { a: [0], b: [0] },
    { settings: { ...noHedging, scatter } },
  )
  handlers.set('a', hangs)
  assert.deepEqual(await ask(), ['b all'])
  assert.deepEqual(errors, ['a timed-out'])
  assert.equal(asked.get('a'), 1)
  await until(() => aborted.has('a'))
  handlers.set('b', hangs)
  assert.equal((await lost(ask())).failure.kind, 'timed-out')
})

// Else a read fails although somebody would answer it (simulator, parts seed 201317).
test('a replica to which the way broke off is asked again when the other one hangs', async () => {
  const scatter = { ...initial.cluster.scatter, nodeTimeoutMs: 300 }
  for (const settings of [{}, { ...noHedging, scatter }]) {
    const { ask, handlers, asked } = await fleet({ a: [0], b: [0] }, { settings })
    handlers.set('a', (request, response, turn) => {
      if (turn === 1) request.socket.destroy()
      else answers(request, response, turn)
    })
    handlers.set('b', hangs)
    assert.deepEqual(await ask(), ['a all'])
    assert.deepEqual(Object.fromEntries(asked), { a: 2, b: 1 })
  }
})

test('when its node has no copy elsewhere, a read waits for it to start again', async () => {
  const { ask, handlers, asked } = await fleet({ a: [0], b: [1] })
  handlers.set('a', (request, response, turn) => {
    if (turn <= 3) request.socket.destroy()
    else answers(request, response, turn)
  })
  assert.deepEqual(await ask(), ['a all', 'b all'])
  assert.deepEqual(Object.fromEntries(asked), { a: 4, b: 1 })
})

test('shards that nobody answers for end the read, or are told to one that may have gaps', async () => {
  const { ask, handlers } = await fleet({ a: [0, 1], b: [0], c: [2] }, { settings: noHedging })
  handlers.set('a', fails)
  const { failure, shards } = await lost(ask())
  assert.equal(failure.kind, 'refused')
  assert.deepEqual(shards, [0, 1])
  assert.deepEqual(await ask({ allowsGaps: true }), ['b 0', 'c all', 'missing 1'])
})

test('what a node says about the request itself is an answer, and asked of nobody else', async () => {
  const { ask, handlers, asked } = await fleet({ a: [0], b: [0] })
  handlers.set('a', (_, response) => response.writeHead(400).end('{"code":"invalid_search_filter"}'))
  assert.deepEqual(await ask(), ['400 {"code":"invalid_search_filter"}'])
  assert.equal(asked.get('b'), undefined)
  // A node that does not know the index is behind, or was wiped.
  handlers.set('a', (_, response) => response.writeHead(404).end('{"code":"index_not_found"}'))
  assert.deepEqual(await ask(), ['b all'])
  handlers.set('a', (_, response) => response.writeHead(404).end('{"code":"document_not_found"}'))
  assert.deepEqual(await ask(), ['404 {"code":"document_not_found"}'])
})

test('a busy node gives way to another, and is asked again when it said when to come back', async () => {
  const { ask, handlers, asked } = await fleet({ a: [0], b: [0] })
  handlers.set('a', (request, response, turn) => {
    if (turn <= 2) response.writeHead(503, { 'retry-after': '0' }).end('{"code":"too_many_search_requests"}')
    else answers(request, response, turn)
  })
  assert.deepEqual(await ask(), ['b all'])
  handlers.set('b', (_, response) => response.writeHead(503, { 'retry-after': '0' }).end())
  assert.deepEqual(await ask(), ['a all'])
  assert.equal(asked.get('a'), 3)
  // Later than the client's deadline: its answer is what the client gets.
  const late: Handler = (_, response) => response.writeHead(429, { 'retry-after': '60' }).end('{}')
  handlers.set('a', late)
  handlers.set('b', late)
  const { failure } = await lost(ask())
  assert(failure.kind === 'refused')
  assert.equal(failure.reply.status, 429)
  assert.equal(failure.reply.retryAfterMs, 60_000)
})

test('a slow replica is helped by another after its usual time, and the slower answer is given up', async () => {
  const { ask, handlers, asked, aborted, hedges } = await fleet({ a: [0, 1], b: [0, 1] })
  handlers.set('a', hangs)
  const startedAt = systemClock.monotonic()
  assert.deepEqual(await ask(), ['b all'])
  assert.ok(systemClock.monotonic() - startedAt >= 15)
  assert.deepEqual(hedges, ['winner'])
  await until(() => aborted.has('a'))
  assert.deepEqual(Object.fromEntries(asked), { a: 1, b: 1 })
})

test('where no single replica can help a slow one, a second plan without it races the first', async () => {
  const { ask, handlers, asked, aborted, runs, deps, hedges } = await fleet({ a: [0, 1], b: [0], c: [1] })
  handlers.set('a', hangs)
  assert.deepEqual(await ask(), ['b 0', 'c 1'])
  assert.equal(runs(), 2)
  assert.deepEqual(hedges, ['winner'])
  await until(() => aborted.has('a'))
  // Both requests of the second plan count, and two were the whole allowance of the process at its start.
  assert.equal(deps.budget.take(1), false)
  assert.deepEqual(Object.fromEntries(asked), { a: 1, b: 1, c: 1 })
})

test('a hedge that fails does not fail the read, and one that loses is given up', async () => {
  const slowly: Handler = (request, response, turn) => {
    setTimeout(() => answers(request, response, turn), 150)
  }
  for (const held of [
    { a: [0, 1], b: [0, 1] },
    { a: [0, 1], b: [0], c: [1] },
  ]) {
    for (const trouble of [fails, hangs]) {
      const { ask, handlers, aborted } = await fleet(held)
      handlers.set('a', slowly)
      handlers.set('b', trouble)
      assert.match((await ask()).join(), /^a /)
      if (trouble === hangs) await until(() => aborted.has('b'))
    }
  }
})

test('one read sends no more hedges than it may, and none when they are turned off', async () => {
  const held = { a: [0], b: [1], c: [2], far: [0, 1, 2] }
  for (const maxHedgesPerQuery of [2, 0]) {
    const scatter = { ...initial.cluster.scatter, nodeTimeoutMs: 150, retryOnTimeout: false }
    const hedging = { ...initial.cluster.hedging, maxHedgesPerQuery }
    const { ask, handlers, asked } = await fleet(held, { groups: { far: 1 }, settings: { hedging, scatter } })
    for (const node of ['a', 'b', 'c']) handlers.set(node, hangs)
    assert.equal((await lost(ask())).failure.kind, 'timed-out')
    assert.equal(asked.get('far') ?? 0, maxHedgesPerQuery)
  }
})

test('a read that is pinned to a group asks no other, also for hedges and repetitions', async () => {
  const { ask, handlers, asked } = await fleet({ a: [0], far: [0] }, { groups: { far: 1 } })
  handlers.set('a', (request, response, turn) => {
    if (turn === 1) request.socket.destroy()
    else setTimeout(() => answers(request, response, turn), 50)
  })
  assert.deepEqual(await ask({ isPinned: true }), ['a all'])
  assert.equal(asked.get('far'), undefined)
})

test('a client that goes away ends everything that was sent for it', async () => {
  const { ask, handlers, aborted, scores } = await fleet({ a: [0], b: [0], c: [1] })
  for (const node of ['a', 'b', 'c']) handlers.set(node, hangs)
  const client = new AbortController()
  const asking = lost(ask({ signal: client.signal }))
  setTimeout(() => client.abort('gone'), 120)
  assert.equal((await asking).failure.kind, 'aborted')
  await until(() => aborted.size === 3)
  for (const node of ['a', 'b', 'c']) assert.ok(scores.score(node) < 1_000, 'nothing is in flight for ever')
  assert.equal((await lost(ask({ signal: client.signal }))).failure.kind, 'aborted')
})

/** Waits for what a socket brings in its own time. */
async function until(isDone: () => boolean): Promise<void> {
  for (let turn = 0; turn < 500 && !isDone(); turn += 1) await systemClock.sleep(10)
  assert.ok(isDone())
}
