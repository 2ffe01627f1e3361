import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../lib/random.ts'
import { type AnswerEvents, AnswerReader, BadAnswer } from './answer-reader.ts'

interface Read {
  status: number
  headers: readonly string[]
  body: string
}

/** Feeds the answer in pieces that end at `cuts`, each from memory that is overwritten afterwards. */
function read(text: string, cuts: readonly number[] = [], { isHead = false, ends = false, takesWhole = false } = {}) {
  const found: Read = { status: 0, headers: [], body: '' }
  const events: AnswerEvents = {
    onHead(status, headers) {
      found.status = status
      found.headers = headers
    },
    onData(piece) {
      found.body += piece.toString('latin1')
      return true
    },
    ...(takesWhole
      ? {
          onWhole(body: Buffer) {
            assert.equal(found.body, '', 'nothing of it was given before')
            found.body = body.toString('latin1')
          },
        }
      : {}),
  }
  const reader = new AnswerReader()
  reader.begin(events, isHead)
  const bytes = Buffer.from(text, 'latin1')
  const cutEnds = [...cuts, bytes.length]
  for (let at = 0, turn = 0; turn < cutEnds.length; at = cutEnds[turn]!, turn += 1) {
    const shared = Buffer.from(bytes.subarray(at, cutEnds[turn]))
    if (shared.length > 0) reader.read(shared)
    shared.fill(0x21)
  }
  if (ends) reader.end()
  return { ...found, isDone: reader.isDone, isKeptAlive: reader.isKeptAlive }
}

const sized = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 11\r\n\r\n{"hits":[]}'
const chunked =
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nx:  a \r\n\r\n5\r\nhello\r\n00B;name=value\r\n, or\r\nelse!\r\n0\r\nTrailer: 1\r\n\r\n'

test('an answer is the same wherever its bytes are cut', () => {
  for (const text of [sized, chunked]) {
    const whole = read(text)
    assert.equal(whole.isDone, true)
    for (let cut = 1; cut < text.length; cut += 1) {
      assert.deepEqual(read(text, [cut]), whole, `cut at ${cut}`)
      assert.deepEqual(read(text, [cut], { takesWhole: true }), whole, `cut at ${cut}`)
    }
    const random = seededRandom(7)
    for (let turn = 0; turn < 200; turn += 1) {
      const cuts = Array.from({ length: 6 }, () => random.integer(text.length)).sort((a, b) => a - b)
      assert.deepEqual(read(text, cuts), whole, `cuts ${cuts}`)
    }
  }
  assert.deepEqual(read(sized), {
    status: 200,
    headers: ['content-type', 'application/json', 'content-length', '11'],
    body: '{"hits":[]}',
    isDone: true,
    isKeptAlive: true,
  })
  assert.deepEqual([read(chunked).status, read(chunked).body], [404, 'hello, or\r\nelse!'])
})

test('answers without a body end with their head', () => {
  for (const [text, isHead] of [
    ['HTTP/1.1 204 No Content\r\n\r\n', false],
    ['HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n', false],
    ['HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n', true],
    ['HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n', false],
  ] as const) {
    assert.deepEqual([read(text, [], { isHead }).isDone, read(text, [], { isHead }).body], [true, ''], text)
  }
})

test('a connection is used again only when both sides agree on where the next answer begins', () => {
  assert.equal(read('HTTP/1.1 200 OK\r\ncontent-length: 1\r\nConnection: Close\r\n\r\na').isKeptAlive, false)
  assert.equal(read('HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na').isKeptAlive, false)
  const untilClose = read('HTTP/1.1 200 OK\r\n\r\nall of it', [25], { ends: true })
  assert.deepEqual([untilClose.body, untilClose.isDone, untilClose.isKeptAlive], ['all of it', true, false])
})

test('what two readers could take differently is refused', () => {
  const head = 'HTTP/1.1 200 OK\r\n'
  const bad = [
    'SSH-2.0-OpenSSH\r\n\r\n',
    'HTTP/2 200\r\n\r\n',
    'HTTP/1.1 20 OK\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    `${head}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd`,
    `${head}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n`,
    `${head}content-length: -3\r\n\r\n`,
    `${head}content-length: 3,3\r\n\r\n`,
    `${head}transfer-encoding: gzip, chunked\r\n\r\n`,
    `${head}no colon\r\n\r\n`,
    `${head}: no name\r\n\r\n`,
    `${head}name : value\r\n\r\n`,
    `${head} folded\r\n\r\n`,
    `${head}a: b\nc: d\r\n\r\n`,
    `${head}a: b\u0001\r\n\r\n`,
    `${head}transfer-encoding: chunked\r\n\r\nxyz\r\n`,
    `${head}transfer-encoding: chunked\r\n\r\n123456789\r\n`,
    `${head}transfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n`,
    `${head}transfer-encoding: chunked\r\n\r\n3\nabc\r\n`,
    `${head}content-length: 2\r\n\r\nabc`,
    `${head}${'x: y\r\n'.repeat(200)}\r\n`,
    `${head}x: ${'y'.repeat(70_000)}`,
  ]
  for (const text of bad) {
    assert.throws(() => read(text), BadAnswer, text.slice(0, 80))
    assert.throws(() => read(text, [3, 20]), BadAnswer, text.slice(0, 80))
  }
  for (const text of [head, `${head}content-length: 5\r\n\r\nabc`, chunked.slice(0, -2)]) {
    assert.throws(() => read(text, [], { ends: true }), BadAnswer, text)
  }
})
