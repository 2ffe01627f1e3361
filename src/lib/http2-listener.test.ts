import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { request as requestTls } from 'node:https'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { systemClock } from './clock.ts'
import { type BodySource, bodyStream, readBody } from './http-body.ts'
import { type HttpRequest, type HttpServer, listenHttp } from './http-server.ts'
import { PlainRequest } from './plain-request.ts'
import type { HttpResponse } from './plain-response.ts'

const certificates = join(import.meta.dirname, '..', '..', 'test', 'support', 'certificates')
const tls = { certFile: join(certificates, 'one.cert.pem'), keyFile: join(certificates, 'one.key.pem') }

/** What came of each body: its text, or the fault. */
const bodies: string[] = []
let held: HttpResponse[] = []
let server: HttpServer
let session: ClientHttp2Session

function handle(request: HttpRequest, response: HttpResponse): void {
  assert(!(request instanceof PlainRequest))
  response.setHeader('x-more', 'more')
  switch (request.url) {
    case '/echo':
      return void readBody(request, 1024 * 1024).then(
        (body) => {
          bodies.push(`${body.length}`)
          const raw = JSON.stringify(request.rawHeaders)
          response.writeHead(200, [
            'content-type',
            'text/plain',
            'vary',
            'a',
            'vary',
            'b',
            'connection',
            'keep-alive',
            'x-raw',
            raw,
          ])
          response.end(body)
        },
        (error: { fault: string }) => {
          bodies.push(error.fault)
          response.writeHead(413, [])
          response.end('too large')
        },
      )
    case '/first':
      return void firstPiece(request).then(() => {
        response.writeHead(400, ['content-type', 'text/plain'])
        response.end('enough')
      })
    case '/big':
      stream(response, 64)
      return
    case '/broken':
      response.writeHead(200, [])
      response.write(Buffer.from('half'))
      return void setImmediate(() => response.destroy())
    case '/none':
      response.writeHead(204, [])
      return void response.end()
    case '/last':
      response.setHeader('connection', 'close')
      break
    case '/held':
      held.push(response)
      return
  }
  response.writeHead(200, ['content-length', '2'])
  response.end('ok')
}

async function firstPiece(request: BodySource): Promise<void> {
  for await (const piece of bodyStream(request, 1e9)) if (piece.length > 0) return
}

/** Pieces of 64 KB, as fast as the client takes them. */
function stream(response: HttpResponse, left: number): void {
  if (!response.headersSent) response.writeHead(200, [])
  for (let count = left; count > 0; count -= 1) {
    if (response.write(Buffer.alloc(65_536, 120))) continue
    response.once('drain', () => stream(response, count - 1))
    return
  }
  response.end()
}

const open = () =>
  listenHttp({
    ...{ host: '127.0.0.1', port: 0, clock: systemClock, tls, handle, handleHttp2: handle },
    refusal: (status) => JSON.stringify({ refused: status }),
  })
const dial = async (url: string) => {
  const dialled = connect(url, { rejectUnauthorized: false, maxSessionMemory: 1_000 })
  await once(dialled, 'connect')
  dialled.on('error', () => undefined)
  return dialled
}

before(async () => {
  server = await open()
  session = await dial(server.url)
})
after(async () => {
  session.destroy()
  await server.close(0)
})

interface Reply {
  readonly headers: OutgoingHttpHeaders
  readonly text: string
  readonly resetBy: number
}

function begin(
  headers: OutgoingHttpHeaders,
  on = session,
): { readonly stream: ClientHttp2Stream; readonly reply: Promise<Reply> } {
  const asked = on.request({ ':method': headers[':method'] ?? 'GET', ...headers }, { endStream: false })
  let head: OutgoingHttpHeaders = {}
  const pieces: Buffer[] = []
  asked.on('response', (found) => {
    head = found
  })
  asked.on('error', () => undefined)
  asked.on('data', (piece: Buffer) => void pieces.push(piece))
  const reply = new Promise<Reply>((resolve) => {
    asked.once('close', () =>
      resolve({ headers: head, text: Buffer.concat(pieces).toString(), resetBy: asked.rstCode ?? 0 }),
    )
  })
  return { stream: asked, reply }
}

function ask(headers: OutgoingHttpHeaders, body?: string | Buffer, on = session): Promise<Reply> {
  const { stream: asked, reply } = begin(headers, on)
  asked.end(body)
  return reply
}

test('a client chooses HTTP/2 or HTTP/1.1 over TLS 1.2 or 1.3, and one that chooses nothing gets HTTP/1.1', async () => {
  const { hostname, port } = new URL(server.url)
  const chosen = (ALPNProtocols: string[] | undefined, version: 'TLSv1.2' | 'TLSv1.3') =>
    new Promise((resolve, reject) => {
      const protocols = ALPNProtocols === undefined ? {} : { ALPNProtocols }
      const options = {
        host: hostname,
        port: Number(port),
        rejectUnauthorized: false,
        maxVersion: version,
        minVersion: version,
      }
      const socket = connectTls({ ...options, ...protocols }, () => {
        resolve([socket.alpnProtocol, socket.getProtocol()])
        socket.destroy()
      })
      socket.once('error', reject)
    })
  assert.deepEqual(await chosen(['h2', 'http/1.1'], 'TLSv1.3'), ['h2', 'TLSv1.3'])
  assert.deepEqual(await chosen(['h2', 'http/1.1'], 'TLSv1.2'), ['h2', 'TLSv1.2'])
  assert.deepEqual(await chosen(['http/1.1'], 'TLSv1.3'), ['http/1.1', 'TLSv1.3'])
  assert.deepEqual(await chosen(undefined, 'TLSv1.2'), [false, 'TLSv1.2'])
  const version = await new Promise((resolve, reject) => {
    const sent = requestTls(`${server.url}/`, { rejectUnauthorized: false, agent: false }, (answer) => {
      answer.resume()
      resolve([answer.statusCode, answer.httpVersion, answer.headers['x-more']])
    })
    sent.once('error', reject)
    sent.end()
  })
  assert.deepEqual(version, [200, '1.1', 'more'])
})

test('requests over HTTP/2 look as those of HTTP/1.1, and so do answers', async () => {
  const { headers, text } = await ask(
    { ':method': 'POST', ':path': '/echo', 'x-request-id': 'r', cookie: 'a=1' },
    'hello',
  )
  assert.deepEqual([headers[':status'], text, headers['x-more'], headers.vary], [200, 'hello', 'more', 'a, b'])
  assert.equal(headers.connection, undefined)
  const host = new URL(server.url).host
  assert.deepEqual(JSON.parse(String(headers['x-raw'])), ['host', host, 'x-request-id', 'r', 'cookie', 'a=1'])
  const head = await ask({ ':method': 'HEAD', ':path': '/any' })
  assert.deepEqual([head.headers[':status'], head.headers['content-length'], head.text], [200, '2', ''])
  assert.equal((await ask({ ':path': '/none' })).headers[':status'], 204)
})

test('many requests share one connection, and bodies of megabytes go both ways', async () => {
  const body = Buffer.alloc(1_000_000, 97)
  const replies = await Promise.all(
    Array.from({ length: 40 }, (_, at) =>
      ask(
        at % 8 === 0 ? { ':path': '/big' } : { ':method': 'POST', ':path': '/echo' },
        at % 8 === 0 ? undefined : body,
      ),
    ),
  )
  for (const [at, { text }] of replies.entries()) assert.equal(text.length, at % 8 === 0 ? 64 * 65_536 : body.length)
})

const frame = (type: number, flags: number, streamId: number, payload: Buffer) => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(streamId, 5)
  return Buffer.concat([head, payload])
}

// A reset with the code for "no error" ends a stream of node:http2 as a whole body does. Its client sends no such reset.
test('a body whose stream was reset is never taken for a whole one', async () => {
  const socket = connectTls({
    host: '127.0.0.1',
    port: Number(new URL(server.url).port),
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
  })
  await once(socket, 'secureConnect')
  socket.resume()
  socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0, Buffer.alloc(0))]))
  // POST, https, and `:path` and `:authority` as literals (RFC 7541).
  const literal = (index: number, text: string) => Buffer.concat([Buffer.of(index, text.length), Buffer.from(text)])
  const headers = Buffer.concat([Buffer.of(0x83, 0x87), literal(4, '/echo'), literal(1, 'host')])
  for (const [at, code] of [constants.NGHTTP2_NO_ERROR, constants.NGHTTP2_CANCEL, undefined].entries()) {
    bodies.length = 0
    const streamId = 1 + 2 * at
    socket.write(frame(1, 4, streamId, headers))
    socket.write(frame(0, 0, streamId, Buffer.from('{"id":1}\n{"id":')))
    await ask({ ':path': '/any' })
    const reason = Buffer.alloc(4)
    reason.writeUInt32BE(code ?? 0)
    // Without a code the whole connection ends.
    if (code === undefined) socket.destroy()
    else socket.write(frame(3, 0, streamId, reason))
    while (bodies.length === 0) await systemClock.sleep(5)
    assert.deepEqual(bodies, ['client-gone'], `code ${code}`)
  }
})

test('a body above the limit is refused, and the connection goes on', async () => {
  const { headers, text } = await ask({ ':method': 'POST', ':path': '/echo' }, Buffer.alloc(2 * 1024 * 1024))
  assert.deepEqual([headers[':status'], text], [413, 'too large'])
  // What comes behind an answer is dropped.
  const { stream: asked, reply } = begin({ ':method': 'POST', ':path': '/first' })
  asked.write('x')
  await once(asked, 'response')
  asked.end(Buffer.alloc(1_000_000))
  const early = await reply
  assert.deepEqual([early.headers[':status'], early.text, early.resetBy], [400, 'enough', 0])
  assert.equal((await ask({ ':path': '/any' })).text, 'ok')
})

test('headers that are too large are refused, and half an answer does not look like a whole one', async () => {
  const wide = connect(server.url, { rejectUnauthorized: false, maxSendHeaderBlockLength: 200_000 })
  const many = Array.from({ length: 9 }, (_, at) => [`x-large-${at}`, 'x'.repeat(8_000)])
  const large = await ask({ ':path': '/any', ...Object.fromEntries(many) }, undefined, wide)
  wide.destroy()
  assert.deepEqual([large.headers[':status'], large.text], [431, '{"refused":431}'])
  const broken = await ask({ ':path': '/broken' })
  assert.equal(broken.resetBy, constants.NGHTTP2_INTERNAL_ERROR)
  assert.equal((await ask({ ':path': '/any' })).text, 'ok')
})

test('a handler is told when its client gives up waiting', async () => {
  held = []
  const { stream: asked, reply } = begin({ ':path': '/held' })
  asked.end()
  while (held.length === 0) await systemClock.sleep(5)
  const [response] = held
  assert.ok(response !== undefined)
  const told = new Promise<void>((resolve) => void response.once('close', resolve))
  asked.close(constants.NGHTTP2_CANCEL)
  await Promise.all([told, reply])
  assert.deepEqual([response.destroyed, response.writableFinished], [true, false])
  response.writeHead(200, [])
  response.end('to nobody')
})

test('an answer that is the last closes the connection behind the others that are under way', async () => {
  const own = await dial(server.url)
  held = []
  const waiting = ask({ ':path': '/held' }, undefined, own)
  while (held.length === 0) await systemClock.sleep(5)
  assert.equal((await ask({ ':path': '/last' }, undefined, own)).text, 'ok')
  held[0]?.writeHead(200, [])
  held[0]?.end('late')
  assert.equal((await waiting).text, 'late')
  if (!own.destroyed) await once(own, 'close')
})

test('a server that stops lets open requests of HTTP/2 end, and closes connections without any at once', async () => {
  const stopping = await open()
  const [idle, busy] = [await dial(stopping.url), await dial(stopping.url)]
  const handshake = connectTls({
    host: '127.0.0.1',
    port: Number(new URL(stopping.url).port),
    rejectUnauthorized: false,
  })
  handshake.on('error', () => undefined)
  held = []
  const waiting = ask({ ':path': '/held' }, undefined, busy)
  while (held.length === 0) await systemClock.sleep(5)
  const idleEnded = once(idle, 'close')
  const closed = stopping.close(60_000)
  await idleEnded
  held[0]?.writeHead(200, [])
  held[0]?.end('in time')
  assert.equal((await waiting).text, 'in time')
  await closed
  const late = await open()
  const stuck = await dial(late.url)
  held = []
  const never = ask({ ':path': '/held' }, undefined, stuck)
  while (held.length === 0) await systemClock.sleep(5)
  await late.close(10)
  assert.equal((await never).text, '')
})
