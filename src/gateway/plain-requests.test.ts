import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { openMemoryStore } from '../journal/open-memory-store.ts'
import { systemClock } from '../lib/clock.ts'
import { seededRandom } from '../lib/random.ts'
import type { IndexEntry, Placement } from '../store/catalogue.ts'
import { type Gateway, startGateway } from './gateway.ts'

const none = { search: null, write: null, admin: null }
let gateway: Gateway
let engine: Server
/** How the engine answers; what it began and did not end. */
let answer: (response: ServerResponse) => void = (response) => response.end('{"hits":[]}')
const given: ServerResponse[] = []

before(async () => {
  engine = createServer((request, response) => {
    request.resume()
    given.push(response)
    response.setHeader('content-type', 'application/json')
    answer(response)
  })
  engine.listen(0, '127.0.0.1')
  await once(engine, 'listening')
  const { catalogue, journal } = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
  const url = `http://127.0.0.1:${(engine.address() as AddressInfo).port}`
  await catalogue.putNode({ id: 'n1', engine: 'meilisearch', url, region: 'r', key: null })
  const organisation = await catalogue.createOrganisation('Acme')
  const { id: project } = await catalogue.createProject({
    organisation: organisation.id,
    name: 'shop',
    masterKey: 'master',
  })
  const index: IndexEntry = {
    id: 'i',
    project,
    uid: 'films',
    primaryKey: 'id',
    createdAt: 1,
    updatedAt: 1,
    settingsPosition: 0,
    spread: null,
  }
  const placement: Placement = {
    ...{ index: 'i', generation: 1, shards: [0], node: 'n1', physicalUid: 'p_films', state: 'active' },
    ...{ applied: 0, revision: 0 },
  }
  const whole = await catalogue.snapshot()
  catalogue.snapshot = async () => ({ ...whole, indexes: [index], placements: [placement] })
  gateway = await startGateway({
    ...{ httpAddr: '127.0.0.1:0', catalogue, journal, logger: pino({ level: 'silent' }), metrics: new Registry() },
    limits: { searchBytesMax: 1_000 },
    rateLimits: { key: none, project: { ...none, search: 1_000_000 }, burstSeconds: 3, shareCount: 1 },
  })
})

after(async () => {
  await gateway.close(0)
  engine.closeAllConnections()
  engine.close()
})

/** A whole request; `more` = further header lines, each with its end. */
function head(line: string, body: string | undefined, more = '', key = 'master'): string {
  const framing = body === undefined ? '' : `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`
  const credential = key === '' ? '' : `Authorization: Bearer ${key}\r\n`
  return `${line} HTTP/1.1\r\nHost: h\r\n${credential}${framing}${more}\r\n${body ?? ''}`
}

function open(): Socket {
  return connect({ host: '127.0.0.1', port: Number(new URL(gateway.url).port), allowHalfOpen: true })
}

/** The answer, up to its `Keep-Alive` connection's end by us. */
async function exchange(bytes: string): Promise<string> {
  const socket = open()
  let text = ''
  socket.write(bytes)
  for await (const piece of socket) {
    text += (piece as Buffer).toString('latin1')
    const [, length] = /content-length: (\d+)\r\n/i.exec(text) ?? []
    const isWhole =
      length === undefined
        ? /\r\n0\r\n\r\n$|^HTTP\/1.1 204/.test(text)
        : text.endsWith('\r\n\r\n') || Number(length) > 0
    if (isWhole && text.length >= text.indexOf('\r\n\r\n') + 4 + Number(length ?? 0)) break
  }
  socket.destroy()
  return text
}

test('a request is answered alike whether node:http reads it or not', async () => {
  answer = (response) => response.end('{"hits":[{"id":1}]}')
  const search = 'POST /indexes/films/search'
  const requests: [string, string | undefined, string?, string?][] = [
    [search, '{"q":"a"}'],
    [`${search}?x=%20`, '{}', 'X-Request-Id: mine\r\n'],
    ['POST /v1/indexes/films/search/', '{"q":"a"}'],
    ['GET /indexes/films/search?q=a', undefined],
    [search, '{"q":"a"}', '', ''],
    [search, '{"q":"a"}', '', 'wrong'],
    [search, '{"q":"a"}', 'X-Meili-API-Key: other\r\n'],
    [search, '{"q":"a"}', 'Content-Type: text/plain\r\n'],
    [search, '{"q":', ''],
    [search, `{"q":"${'a'.repeat(2_000)}"}`],
    [search, 'no gzip', 'Content-Encoding: gzip\r\n'],
    ['POST /indexes/nowhere/search', '{"q":1}'],
    ['POST /indexes/films/../search', '{}'],
    ['POST /multi-search', '{"queries":[{"indexUid":"films"}]}'],
    ['POST /indexes/films/documents', '[{"id":1'],
    ['GET /indexes', undefined],
    ['GET /health', undefined],
    ['GET /nothing', undefined],
    ['PUT /indexes', '{}'],
    ['DELETE /keys/none', undefined],
    ['OPTIONS /indexes/films/search', undefined, 'Origin: https://a.b\r\nAccess-Control-Request-Method: POST\r\n'],
    ['OPTIONS /indexes/films/search', undefined],
  ]
  const seen = new Set<string>()
  const clean = (text: string) =>
    text
      .replace(/(?<=Date: |x-request-id: |ratelimit-remaining: |ratelimit-reset: |"requestUid":")[^\r"]*/gi, '…')
      .replace(/request [0-9a-f-]{36}/, 'request …')
      .replace(/"processingTimeMs":\d+/, '')
  for (const [line, body, more = '', key = 'master'] of requests) {
    const ours = clean(await exchange(head(line, body, more, key)))
    // A header that means nothing to us, and takes the request off the plain path.
    const expected = clean(await exchange(head(line, body, `${more}TE: trailers\r\n`, key)))
    assert.equal(ours, expected, line)
    if (line === search) seen.add(ours.slice(9, 12))
    assert.match(ours, /^HTTP\/1\.1 \d+ [\s\S]+Keep-Alive: timeout=75/, line)
  }
  assert.deepEqual([...seen].sort(), ['200', '400', '401', '403', '413'])
})

test('when the client leaves, the search on the engine ends', async () => {
  for (const begin of [() => undefined, (response: ServerResponse) => void response.write('{"hits":[')]) {
    answer = begin
    given.length = 0
    const socket = open()
    socket.write(head('POST /indexes/films/search', '{"q":"a"}'))
    while (given.length === 0) await new Promise((resolve) => setImmediate(resolve))
    const ended = once(given[0]!, 'close')
    socket.resetAndDestroy()
    await ended
    assert.equal(given.length, 1)
  }
})

test('an answer that a client does not read is not gathered in memory', async () => {
  const piece = Buffer.alloc(1024 * 1024, ' ')
  let sent = 0
  let isStuck = false
  answer = (response) => {
    const more = () => {
      while (!isStuck && response.write(piece)) sent += piece.length
    }
    response.on('drain', more)
    more()
  }
  given.length = 0
  const socket = open()
  socket.pause()
  socket.write(head('POST /indexes/films/search', '{"q":"a"}'))
  while (given.length === 0) await new Promise((resolve) => setImmediate(resolve))
  // As long as anything moves; what the system's buffers take has an end.
  for (let quiet = 0, before = -1; quiet < 50; quiet += 1) {
    await new Promise((resolve) => setImmediate(resolve))
    if (sent === before) continue
    before = sent
    quiet = 0
    assert.ok(sent < 100 * piece.length, 'the gateway reads on')
  }
  isStuck = true
  const ended = once(given[0]!, 'close')
  socket.destroy()
  await ended
})
