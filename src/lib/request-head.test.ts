import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { seededRandom } from './random.ts'
import { readRequestHead } from './request-head.ts'

const read = (text: string) => readRequestHead(Buffer.from(text, 'latin1'), 1_000)
const withLines = (...lines: string[]) =>
  read(`POST /a HTTP/1.1\r\nHost: x\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`)

test('a plain head is read as it stands, up to the first byte behind it', () => {
  const text =
    'POST /indexes/a%20b/search?q=1&x= HTTP/1.1\r\nHost: h:1\r\nX-One:  a b\t \r\nempty:\r\nContent-length:7\r\n\r\n{"q":1}GET'
  assert.deepEqual(read(text), {
    method: 'POST',
    url: '/indexes/a%20b/search?q=1&x=',
    rawHeaders: ['Host', 'h:1', 'X-One', 'a b', 'empty', '', 'Content-length', '7'],
    bodyBytes: 7,
    end: text.indexOf('{'),
  })
  assert.equal(read('DELETE / HTTP/1.1\r\nhost:\r\nConnection: Keep-Alive\r\n\r\n')?.bodyBytes, 0)
})

test('whatever two programs could read differently is not plain', () => {
  assert.notEqual(withLines('content-length: 5'), undefined)
  const lines: string[][] = [
    ['Content-Length: 5', 'Content-Length: 5'],
    ['Content-Length: 5', 'content-length: 6'],
    ['Content-Length: 5, 5'],
    ['Content-Length: +5'],
    ['Content-Length: -0'],
    ['Content-Length: 05'],
    ['Content-Length: 0x5'],
    ['Content-Length: 5 5'],
    ['Content-Length: 5;'],
    ['Content-Length: '],
    ['Content-Length: 1001'],
    ['Content-Length: 99999999999999999999'],
    ['Content-Length : 5'],
    [' Content-Length: 5'],
    ['X: a', ' Content-Length: 5'],
    ['X: a', '\tfolded'],
    ['Content-Length: 5', 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: chunked'],
    ['transfer-encoding: identity'],
    ['Transfer-Encoding : chunked'],
    ['Transfer-Encoding:\x0bchunked'],
    ['TRANSFER-ENCODING: x'],
    ['X: a\rTransfer-Encoding: chunked'],
    ['X: a\nTransfer-Encoding: chunked'],
    ['X: a\n'],
    ['X: a\r'],
    ['X: \0'],
    ['X: \x7f'],
    ['X: \xff'],
    ['X\0: a'],
    ['X\xe9: a'],
    ['X Y: a'],
    ['X'],
    [': a'],
    ['"X": a'],
    ['Host: y'],
    ['Expect: 100-continue'],
    ['Upgrade: websocket'],
    ['Connection: close'],
    ['Connection: keep-alive, upgrade'],
    ['Connection: keep-alive', 'Connection: keep-alive'],
    ['Proxy-Connection: keep-alive'],
    ['Trailer: x'],
    ['TE: trailers'],
    Array.from({ length: 64 }, (_, at) => `X-${at}: a`),
    [`X: ${'a'.repeat(16 * 1024)}`],
  ]
  for (const each of lines) assert.equal(withLines(...each), undefined, JSON.stringify(each).slice(0, 80))
  const host = 'Host: x\r\n\r\n'
  const heads = [
    `GET /a HTTP/1.0\r\n${host}`,
    `GET /a HTTP/1.10\r\n${host}`,
    `GET /a HTTP/2.0\r\n${host}`,
    `GET /a\r\n${host}`,
    `GET  /a HTTP/1.1\r\n${host}`,
    `GET /a  HTTP/1.1\r\n${host}`,
    `GET /a HTTP/1.1 \r\n${host}`,
    `GET /a HTTP/1.1\n${host}`,
    `\r\nGET /a HTTP/1.1\r\n${host}`,
    ` GET /a HTTP/1.1\r\n${host}`,
    `GET\t/a HTTP/1.1\r\n${host}`,
    `get /a HTTP/1.1\r\n${host}`,
    `GETS /a HTTP/1.1\r\n${host}`,
    `HEAD /a HTTP/1.1\r\n${host}`,
    `OPTIONS * HTTP/1.1\r\n${host}`,
    `CONNECT a:1 HTTP/1.1\r\n${host}`,
    `GET http://x/a HTTP/1.1\r\n${host}`,
    `GET a HTTP/1.1\r\n${host}`,
    `GET /a#b HTTP/1.1\r\n${host}`,
    `GET /a\\b HTTP/1.1\r\n${host}`,
    `GET /a\0 HTTP/1.1\r\n${host}`,
    `GET /\xe9 HTTP/1.1\r\n${host}`,
    'GET /a HTTP/1.1\r\n\r\n',
    'GET /a HTTP/1.1\r\nX: a\r\n\r\n',
    `GET /a HTTP/1.1\r\nContent-Length: 0\r\n${host}`,
    `OPTIONS /a HTTP/1.1\r\nContent-Length: 1\r\n${host}`,
    'GET /a HTTP/1.1\r\nHost: x\r\n',
    'GET /a HTTP/1.1\r\nHost: x\n\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    '',
  ]
  for (const head of heads) assert.equal(read(head), undefined, JSON.stringify(head))
})

/** What `node:http` makes of the same bytes, at once. */
function readByNode(bytes: Buffer): readonly unknown[] | undefined {
  let found: readonly unknown[] | undefined
  const server = createServer({ maxHeaderSize: 64 * 1024 }, ({ method, url, rawHeaders, headers, httpVersion }) => {
    found ??= [method, url, rawHeaders, httpVersion, headers['content-length'] ?? '0', headers['transfer-encoding']]
  })
  const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  server.emit('connection', socket)
  socket.emit('data', bytes)
  socket.destroy()
  return found
}

test('a head that was damaged anywhere is read as node:http reads it, or left to it', () => {
  const sound =
    'POST /indexes/a/search HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nContent-Type: a/json\r\nContent-Length: 12\r\n\r\n'
  const marks = '\r\n\t :,;0123456789/?#%\0\x0b\x7f\x80\xffchunkedTransfer-Encoding'
  const seed = 20_261
  const random = seededRandom(seed)
  let plainCount = 0
  for (let round = 0; round < 6_000; round += 1) {
    let text = sound
    for (let times = 1 + random.integer(3); times > 0; times -= 1) {
      const at = random.integer(text.length)
      const added = random.integer(4) === 0 ? '' : marks[random.integer(marks.length)]!
      text = text.slice(0, at) + added + text.slice(at + random.integer(2))
    }
    const bytes = Buffer.from(text, 'latin1')
    const head = readRequestHead(bytes, 1_000)
    if (head === undefined) continue
    plainCount += 1
    assert.equal(bytes.toString('latin1', head.end - 4, head.end), '\r\n\r\n')
    const { method, url, rawHeaders, bodyBytes } = head
    const expected = [method, url, rawHeaders, '1.1', String(bodyBytes), undefined]
    assert.deepEqual(readByNode(bytes), expected, `seed ${seed}, round ${round}: ${JSON.stringify(text)}`)
  }
  assert.ok(plainCount > 500, `only ${plainCount} heads were plain`)
})
