import assert from 'node:assert/strict'
import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { systemClock } from '../lib/clock.ts'
import { ConnectionPool, type ConnectionPoolOptions, type NodeRequest } from './connection-pool.ts'
import type { UpstreamFailure } from './failure.ts'

const options: ConnectionPoolOptions = {
  connectionsMax: 2,
  connectTimeoutMs: 2_000,
  answerTimeoutMs: 5_000,
  clock: systemClock,
}

async function listening(listener: RequestListener): Promise<{ server: Server; origin: URL; sockets: Set<Socket> }> {
  const server = createServer(listener)
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, origin: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`), sockets }
}

type Outcome = { readonly status: number; readonly body: Buffer } | UpstreamFailure

function ask(pool: ConnectionPool, request: Partial<NodeRequest> = {}) {
  const pieces: Buffer[] = []
  let status = 0
  let settle: (outcome: Outcome) => void
  const outcome = new Promise<Outcome>((resolve) => {
    settle = resolve
  })
  const pending = pool.send(
    { method: 'GET', path: '/', headers: [], body: null, ...request },
    {
      onHead(sent) {
        status = sent
      },
      onData(piece) {
        pieces.push(piece)
        return true
      },
      onEnd: () => settle({ status, body: Buffer.concat(pieces) }),
      onFailure: (failure) => settle(failure),
    },
  )
  return { outcome, pending }
}

const kindOf = (outcome: Outcome) => ('kind' in outcome ? outcome.kind : outcome.status)

test('requests share a bounded number of connections, in order, with their own bodies', async () => {
  const { server, origin, sockets } = await listening((request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => {
      response.setHeader('x-auth', request.headers.authorization ?? '')
      response.end(Buffer.concat([Buffer.from(`${request.method} ${request.url} `), ...pieces]))
    })
  })
  const pool = new ConnectionPool(origin, 'Bearer key', options)
  const large = Buffer.alloc(300_000, 'ab')
  const asked = Array.from({ length: 20 }, (_, turn) =>
    ask(pool, { method: 'POST', path: `/${turn}`, body: turn % 2 === 0 ? Buffer.from(`body ${turn}`) : large }),
  )
  for (const [turn, { outcome }] of asked.entries()) {
    const answer = await outcome
    assert.ok(!('kind' in answer))
    const sent = turn % 2 === 0 ? Buffer.from(`body ${turn}`) : large
    assert.deepEqual(answer.body, Buffer.concat([Buffer.from(`POST /${turn} `), sent]))
  }
  assert.equal(sockets.size, 2)
  await pool.close()
  server.close()
})

test('a receiver that is slow holds the sender back, and loses nothing', async () => {
  const whole = Buffer.alloc(20_000_000, 'abcdefg')
  const { server, origin } = await listening((_, response) => response.end(whole))
  const pool = new ConnectionPool(origin, undefined, options)
  const pieces: Buffer[] = []
  let pauses = 0
  await new Promise<void>((resolve, reject) => {
    const pending = pool.send(
      { method: 'GET', path: '/', headers: [], body: null },
      {
        onHead() {},
        onData(piece) {
          pieces.push(piece)
          if (pieces.length % 50 !== 0) return true
          pauses += 1
          setImmediate(() => pending.resume())
          return false
        },
        onEnd: resolve,
        onFailure: (failure) => reject(new Error(failure.reason)),
      },
    )
  })
  assert.ok(pauses > 1)
  assert.ok(Buffer.concat(pieces).equals(whole))
  await pool.close()
  server.close()
})

test('an aborted request ends alone: those that wait and those that come later are answered', async () => {
  const held: (() => void)[] = []
  let whenHeld = () => {}
  const twoHeld = new Promise<void>((resolve) => {
    whenHeld = resolve
  })
  const { server, origin } = await listening((request, response) => {
    if (request.url !== '/held') return response.end('later')
    held.push(() => response.end('held'))
    if (held.length === 2) whenHeld()
  })
  const pool = new ConnectionPool(origin, undefined, options)
  const [first, second] = [ask(pool, { path: '/held' }), ask(pool, { path: '/held' })]
  const [waiting, aborted] = [ask(pool, { path: '/waiting' }), ask(pool, { path: '/aborted' })]
  await twoHeld
  aborted.pending.abort('no more')
  assert.deepEqual(await aborted.outcome, { kind: 'aborted', reason: 'no more' })
  first.pending.abort('gone')
  assert.equal(kindOf(await first.outcome), 'aborted')
  assert.equal(kindOf(await waiting.outcome), 200)
  for (const end of held) end()
  assert.equal(kindOf(await second.outcome), 200)
  second.pending.abort('too late')
  assert.equal(kindOf(await ask(pool).outcome), 200)
  await pool.close()
  server.close()
})

test('what went wrong has a kind', async () => {
  const answers: Record<string, (socket: Socket) => void> = {
    '/lost': (socket) => socket.destroy(),
    '/cut': (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc'),
    '/bad': (socket) => socket.write('220 ready\r\n\r\n'),
    '/more': (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nabc'),
    '/silent': () => {},
  }
  const server = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (bytes) => answers[bytes.toString('latin1').split(' ')[1]!]!(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const pool = new ConnectionPool(origin, undefined, { ...options, answerTimeoutMs: 600 })
  const kinds = { '/lost': 'lost', '/cut': 'lost', '/bad': 'bad-answer', '/more': 'bad-answer', '/silent': 'timed-out' }
  for (const [path, kind] of Object.entries(kinds)) assert.equal(kindOf(await ask(pool, { path }).outcome), kind, path)
  await pool.close()
  await new Promise((resolve) => server.close(resolve))
  const closed = new ConnectionPool(origin, undefined, options)
  assert.equal(kindOf(await ask(closed).outcome), 'unreachable')
  await closed.close()
})

test('closing lets requests end that are under way', async () => {
  let answer = () => {}
  let whenAsked = () => {}
  const asked = new Promise<void>((resolve) => {
    whenAsked = resolve
  })
  const { server, origin } = await listening((_, response) => {
    answer = () => response.end('whole')
    whenAsked()
  })
  const pool = new ConnectionPool(origin, undefined, options)
  const { outcome } = ask(pool)
  await asked
  const closed = pool.close()
  answer()
  assert.equal(kindOf(await outcome), 200)
  await closed
  server.close()
})

test('no text can end a line of the head', () => {
  const pool = new ConnectionPool(new URL('http://127.0.0.1:9'), undefined, options)
  const head = (request: Partial<NodeRequest>) =>
    pool.writeHead({ method: 'GET', path: '/', headers: [], body: null, ...request })
  assert.throws(() => head({ path: '/a\r\nx: y' }), TypeError)
  assert.throws(() => head({ headers: ['content-type', 'a\nb'] }), TypeError)
  assert.throws(() => new ConnectionPool(new URL('http://127.0.0.1:9'), 'Bearer a\nb', options), TypeError)
})
