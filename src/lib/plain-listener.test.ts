import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, before, mock, test } from 'node:test'
import { systemClock } from './clock.ts'
import { bodyStream } from './http-body.ts'
import { type HttpRequest, type HttpServer, listenHttp } from './http-server.ts'
import { PlainRequest } from './plain-request.ts'
import type { HttpResponse } from './plain-response.ts'
import { type Random, seededRandom } from './random.ts'

/** The same server twice: with the listener of plain requests before it, and `node:http` alone. */
let plain: HttpServer
let node: HttpServer
let plainCount = 0
const broken: string[] = []

before(async () => {
  const common = { host: '127.0.0.1', port: 0, clock: systemClock, refusal: (status: number) => `refused ${status}` }
  node = await listenHttp({ ...common, handle })
  plain = await listenHttp({
    ...common,
    handle,
    handlePlain(request, response) {
      plainCount += 1
      handle(request, response)
    },
  })
})

after(async () => {
  await Promise.all([plain.close(0), node.close(0)])
})

function whole(request: HttpRequest, done: (body: Buffer) => void): void {
  if (request instanceof PlainRequest) {
    request.collect((body) => (body === undefined ? broken.push(request.url) : done(body)))
    return
  }
  const pieces: Buffer[] = []
  request.on('data', (piece: Buffer) => pieces.push(piece))
  request.on('end', () => done(Buffer.concat(pieces)))
}

async function streamed(request: HttpRequest, done: (body: Buffer) => void): Promise<void> {
  const pieces: Uint8Array[] = []
  for await (const piece of bodyStream(request instanceof PlainRequest ? request.stream() : request, 200_000)) {
    pieces.push(piece)
  }
  done(Buffer.concat(pieces))
}

/** What is answered, and how, stands in the path. */
function handle(request: HttpRequest, response: HttpResponse): void {
  const { method, url = '', rawHeaders } = request
  response.once('close', () => {
    if (!response.writableFinished) broken.push(url)
  })
  const echo = (body: Buffer) => {
    const bytes = Buffer.from(JSON.stringify([method, url, rawHeaders, body.toString('latin1')]))
    if (url.startsWith('/chunks')) {
      response.writeHead(200, ['content-type', 'a/b'])
      for (let at = 0; at < bytes.length; at += 100) response.write(bytes.subarray(at, at + 100))
      response.end()
    } else {
      response.setHeader('X-More', 'yes')
      response.setHeader('Content-Type', 'not/this')
      response.writeHead(url.startsWith('/odd') ? 299 : 200, [
        'content-type',
        'a/b',
        'content-length',
        String(bytes.length),
      ])
      response.end(bytes)
    }
  }
  if (url.startsWith('/hang')) return
  if (url.startsWith('/empty')) {
    response.writeHead(204, ['server', 'x'])
    response.end()
  } else if (url.startsWith('/early')) {
    response.writeHead(401, ['content-length', '2'])
    response.end('no')
  } else if (url.startsWith('/split')) {
    assert.throws(() => response.writeHead(200, ['x-a', 'b\r\nc: d']))
    response.writeHead(200, ['content-length', '0'])
    response.end()
  } else if (url.startsWith('/last')) {
    response.setHeader('connection', 'close')
    whole(request, echo)
  } else if (url.startsWith('/late')) whole(request, (body) => setImmediate(() => echo(body)))
  else if (url.startsWith('/streamed')) void streamed(request, echo).catch(() => broken.push(url))
  else whole(request, echo)
}

/** Sockets of this process need a few turns of the loop, not time. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

class Client {
  readonly socket: Socket
  text = ''
  readonly closed: Promise<unknown>

  constructor({ url }: HttpServer) {
    this.socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port), noDelay: true, allowHalfOpen: true })
    this.socket.on('data', (bytes) => {
      this.text += bytes.toString('latin1')
    })
    this.socket.on('error', () => undefined)
    this.closed = once(this.socket, 'close')
    this.socket.once('end', () => this.socket.end())
  }

  async send(bytes: string): Promise<void> {
    if (this.socket.writable) this.socket.write(bytes, 'latin1')
    await turns(2)
  }

  /** Until nothing more comes. */
  async settle(): Promise<void> {
    for (let quiet = 0, before = this.text.length; quiet < 8; quiet += 1) {
      await turns(1)
      if (this.text.length === before) continue
      before = this.text.length
      quiet = 0
    }
  }

  /** @returns all that was answered, without what the clock had a part in. */
  async end(): Promise<string> {
    await this.settle()
    this.socket.end()
    await this.closed
    return this.text.replace(/Date: [^\r]*\r\n/g, 'Date\r\n')
  }
}

type Step = { readonly send: string } | { readonly settle: true }

async function play(server: HttpServer, steps: readonly Step[]): Promise<string> {
  const client = new Client(server)
  await once(client.socket, 'connect')
  for (const step of steps) {
    if ('send' in step) await client.send(step.send)
    else await client.settle()
  }
  return client.end()
}

async function playBoth(steps: readonly Step[], told: string): Promise<void> {
  const [ours, expected] = await Promise.all([play(plain, steps), play(node, steps)])
  assert.equal(ours, expected, `${told}: ${JSON.stringify(steps)}`)
}

const pick = <T>(random: Random, of: readonly T[]): T => of[random.integer(of.length)]!

const paths = [
  '/a',
  '/a?q=%20x&filter=a=b',
  '/chunks',
  '/empty',
  '/early',
  '/odd',
  '/late',
  '/streamed',
  '/split',
  '/%zz/..//',
]
const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const bodiless = ['GET', 'OPTIONS']

function plainMessage(random: Random): string {
  const method = pick(random, methods)
  const size = bodiless.includes(method) ? 0 : pick(random, [0, 1, 17, 300, 40_000])
  const headers = ['Host: h', 'X-A:  b c \t', 'authorization: Bearer abc', 'Connection: keep-alive', 'X-A: again']
  const kept = headers.filter((_, at) => at === 0 || random.integer(2) === 0)
  if (!bodiless.includes(method) && (size > 0 || random.integer(2) === 0)) kept.push(`Content-Length: ${size}`)
  // A body that looks like a request must stay a body.
  const body = 'GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n'.repeat(Math.ceil(size / 34)).slice(0, size)
  return `${method} ${pick(random, paths)} HTTP/1.1\r\n${kept.join('\r\n')}\r\n\r\n${body}`
}

/** Valid, and read by `node:http` from there on. */
const oddMessages = [
  'HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n',
  'OPTIONS /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc',
  'GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n',
  'GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n',
  '\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n',
  'GET /a HTTP/1.1\r\nHost: h\r\nX: \xe9\r\n\r\n',
  'GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n',
  'GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc',
  'POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
  'POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: t\r\n\r\n',
  'POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc',
  `POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n\r\n${'x'.repeat(70_000)}`,
  'POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 03\r\n\r\nabc',
  `GET /a HTTP/1.1\r\nHost: h\r\n${'X: y\r\n'.repeat(150)}\r\n`,
  'GET /a HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n',
]

/** Refused, or the end of the connection. */
const lastMessages = [
  'GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n',
  'GET /last HTTP/1.1\r\nHost: h\r\n\r\n',
  'GET /a HTTP/1.0\r\n\r\n',
  'GET /a HTTP/1.1\r\n\r\n',
  'POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n',
  'POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n',
  'POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n',
  'POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd',
  'POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc',
  'POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc',
  'POST /a HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\nabc',
  'POST /a HTTP/1.1\r\nHost: h\r\nX: a\r\n Content-Length: 3\r\n\r\nabc',
  'POST /a HTTP/1.1\r\nHost: h\r\nX: a\rContent-Length: 3\r\n\r\nabc',
  'POST /a HTTP/1.1\nHost: h\nContent-Length: 3\n\nabc',
  'GET /a HTTP/1.1\r\nHost: h\nX: y\r\n\r\n',
  'GET /a HTTP/1.1\r\nHost: h\r\nX: \0\r\n\r\n',
  'GET /a b HTTP/1.1\r\nHost: h\r\n\r\n',
  'GARBAGE\r\n\r\n',
  '\x16\x03\x01\x02\0',
  `GET /a HTTP/1.1\r\nHost: h\r\nX: ${'y'.repeat(70_000)}\r\n\r\n`,
  'POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
]

/** The client goes away within them. */
const halfMessages = [
  'GET /a HTTP/1.1\r\nHost',
  'POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc',
  'POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc',
]

/** The bytes in pieces that end anywhere. */
function pieces(random: Random, text: string): Step[] {
  const cuts = Array.from({ length: random.integer(4) }, () => random.integer(text.length)).sort((a, b) => a - b)
  return [0, ...cuts].map((from, at) => ({ send: text.slice(from, cuts[at] ?? text.length) }))
}

test('plain requests, whole or in pieces, alone or pipelined, get the very answers of node:http', async () => {
  const seed = 41
  const random = seededRandom(seed)
  const countBefore = plainCount
  for (let round = 0; round < 80; round += 1) {
    const text = Array.from({ length: 1 + random.integer(5) }, () => plainMessage(random)).join('')
    await playBoth(pieces(random, text), `seed ${seed}, round ${round}`)
  }
  assert.ok(plainCount - countBefore > 100, `${plainCount - countBefore} requests were plain`)
})

test('whatever is unusual is answered as by node:http alone, behind plain requests and before them', async () => {
  const seed = 42
  const random = seededRandom(seed)
  for (const [round, odd] of [...oddMessages, ...oddMessages].entries()) {
    // `node:http` alone sends some things, `100 Continue` for one, before the answers to earlier requests.
    const first: Step[] = round % 2 === 0 ? [] : [...pieces(random, plainMessage(random)), { settle: true }]
    await playBoth([...first, ...pieces(random, odd + plainMessage(random))], `seed ${seed}, round ${round}`)
  }
})

test('what is refused, and what tries to hide a request within another, ends as with node:http alone', async () => {
  const seed = 43
  const random = seededRandom(seed)
  const messages = [...lastMessages, ...halfMessages]
  for (const [round, last] of [...messages, ...messages].entries()) {
    const first: Step[] = round % 2 === 0 ? [] : [...pieces(random, plainMessage(random)), { settle: true }]
    const behind =
      halfMessages.includes(last) || random.integer(2) === 0 ? '' : 'GET /behind HTTP/1.1\r\nHost: h\r\n\r\n'
    await playBoth([...first, ...pieces(random, last + behind)], `seed ${seed}, round ${round}`)
  }
})

test('answers to requests that were sent ahead of something broken come first, in their order', async () => {
  const ask = (path: string) => `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`
  const client = new Client(plain)
  await client.send(`${ask('/late?1')}${ask('/a?2')}${ask('/late?3')}GARBAGE\r\n\r\n`)
  const text = await client.end()
  const found = [...text.matchAll(/\["GET","([^"]+)"|HTTP\/1\.1 400/g)].map(([all, path]) => path ?? all)
  assert.deepEqual(found, ['/late?1', '/a?2', '/late?3', 'HTTP/1.1 400'])
})

test('a client that goes away ends what was begun for it', async () => {
  for (const text of [
    'GET /hang?whole HTTP/1.1\r\nHost: h\r\n\r\n',
    'POST /hang?half HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc',
  ]) {
    for (const leave of [(socket: Socket) => socket.end(), (socket: Socket) => socket.resetAndDestroy()]) {
      broken.length = 0
      const client = new Client(plain)
      await client.send(text)
      leave(client.socket)
      await client.closed
      await turns(8)
      assert.deepEqual(broken, [text.split(' ')[1]])
    }
  }
  for (const path of ['/a', '/streamed']) {
    broken.length = 0
    const client = new Client(plain)
    await client.send(`POST ${path} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc`)
    client.socket.resetAndDestroy()
    await client.closed
    await turns(8)
    assert.deepEqual([...new Set(broken)], [path], 'half a body')
    assert.equal(broken.length, 2, 'the body and the answer')
  }
})

test('who reads a body on behind its answer gets all of it', async () => {
  const found: string[] = []
  const server = await listenHttp({
    ...{ host: '127.0.0.1', port: 0, clock: systemClock, refusal: () => '' },
    handle: () => assert.fail('these requests are plain'),
    handlePlain(request, response) {
      if (request.url === '/collect') request.collect((body) => void found.push(`${body}`))
      else void streamed(request, (body) => void found.push(`${body}`))
      response.writeHead(200, ['content-length', '0'])
      response.end()
    },
  })
  const client = new Client(server)
  for (const url of ['/collect', '/stream']) {
    await client.send(`POST ${url} HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n`)
    await client.send('abc')
    await client.send('def')
  }
  await client.settle()
  assert.deepEqual(found, ['abcdef', 'abcdef'])
  await server.close(0)
})

test('a client that reads slowly holds back its answer, and gets no next one before', async () => {
  let flow: HttpResponse | undefined
  let count = 0
  const server = await listenHttp({
    ...{ host: '127.0.0.1', port: 0, clock: systemClock, refusal: () => '' },
    handle: () => assert.fail('these requests are plain'),
    handlePlain(_request, response) {
      count += 1
      flow = response
      response.writeHead(200, ['content-type', 'a/b'])
    },
  })
  const client = new Client(server)
  await client.send('GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n')
  client.socket.pause()
  const first = flow!
  const piece = Buffer.alloc(1024 * 1024, 'x')
  // The two systems' buffers take some of it.
  let isStuck = false
  for (let sent = 0; !isStuck; sent += piece.length) {
    assert.ok(sent < 64 * piece.length, 'the socket takes without bound')
    let isDrained = first.write(piece)
    first.once('drain', () => {
      isDrained = true
    })
    await turns(10)
    isStuck = !isDrained
  }
  first.end()
  await turns(10)
  assert.equal(count, 1, 'the second answer was begun')
  client.socket.resume()
  while (count < 2) await turns(1)
  flow!.end('second')
  await client.settle()
  assert.ok(client.text.endsWith('6\r\nsecond\r\n0\r\n\r\n'))
  client.socket.destroy()
  await server.close(0)
})

test('closing ends idle connections at once and busy ones behind their answers', async () => {
  const responses: HttpResponse[] = []
  const server = await listenHttp({
    ...{ host: '127.0.0.1', port: 0, clock: systemClock, refusal: () => '' },
    handle: () => assert.fail('these requests are plain'),
    handlePlain: (_request, response) => void responses.push(response),
  })
  const [idle, busy, begun] = [new Client(server), new Client(server), new Client(server)]
  await idle.send('GET /1 HTTP/1.1\r\nHost: h\r\n\r\n')
  responses[0]!.end('one')
  await busy.send('GET /2 HTTP/1.1\r\nHost: h\r\n\r\n')
  await begun.send('GET /3 HTTP/1.1\r\nHost: h\r\n\r\n')
  responses[2]!.write(Buffer.from('be'))
  const closed = server.close(60_000)
  await idle.closed
  assert.equal(busy.socket.destroyed, false)
  responses[1]!.end('two')
  responses[2]!.end('gun')
  await Promise.all([busy.closed, begun.closed, closed])
  assert.match(busy.text, /\r\nConnection: close\r\n[\s\S]*two/)
  assert.match(begun.text, /be\r\n3\r\ngun\r\n0\r\n\r\n$/)
})

test('neither closing nor the quiet of a slow client cuts an answer that it has not taken yet', async () => {
  mock.timers.enable({ apis: ['setInterval'] })
  try {
    const size = 32 * 1024 * 1024
    const server = await listenHttp({
      ...{ host: '127.0.0.1', port: 0, clock: systemClock, refusal: () => '' },
      handle: () => assert.fail('this request is plain'),
      handlePlain(_request, response) {
        response.writeHead(200, ['content-length', String(size)])
        response.end(Buffer.alloc(size, 'x'))
      },
    })
    const client = new Client(server)
    client.socket.pause()
    await client.send('GET /1 HTTP/1.1\r\nHost: h\r\n\r\n')
    mock.timers.tick(300_000)
    const closed = server.close(60_000)
    await turns(4)
    client.socket.resume()
    await Promise.all([client.closed, closed])
    assert.equal(client.text.length - client.text.indexOf('\r\n\r\n') - 4, size)
  } finally {
    mock.timers.reset()
  }
})

test('a silent connection is refused after a minute, and one that was used is closed 75 s after its last answer', async () => {
  mock.timers.enable({ apis: ['setInterval'] })
  try {
    const server = await listenHttp({
      ...{ host: '127.0.0.1', port: 0, clock: systemClock, refusal: () => 'refused' },
      handle,
      handlePlain: handle,
    })
    const [silent, used, busy] = [new Client(server), new Client(server), new Client(server)]
    await used.send('GET /a HTTP/1.1\r\nHost: h\r\n\r\n')
    await busy.send('GET /hang HTTP/1.1\r\nHost: h\r\n\r\n')
    await turns(4)
    mock.timers.tick(55_000)
    await turns(4)
    assert.equal(silent.text, '')
    mock.timers.tick(5_000)
    await silent.closed
    assert.match(silent.text, /^HTTP\/1.1 400 [\s\S]*refused$/)
    mock.timers.tick(10_000)
    await turns(4)
    assert.equal(used.socket.destroyed, false)
    mock.timers.tick(5_000)
    await used.closed
    mock.timers.tick(300_000)
    await turns(4)
    assert.equal(busy.socket.destroyed, false, 'an answer may take its time')
    busy.socket.destroy()
    await server.close(0)
  } finally {
    mock.timers.reset()
  }
})
