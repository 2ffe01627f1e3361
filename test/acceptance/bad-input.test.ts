/** Malformed requests get a clear 4xx in the API's own form, store nothing, and leave the connection or the server usable. */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { inEveryLayout } from './layouts.ts'
import { type RunningFlapjack, startFlapjack } from './server.ts'

let flapjack: RunningFlapjack
interface RawAnswer {
  readonly status: number
  readonly headers: string
  readonly body: string
}

/** One connection, read answer by answer, so that what happens to the next request can be seen. */
class RawConnection {
  readonly #socket: Socket
  #buffer = Buffer.alloc(0)
  #isOver = false
  #wake: () => void = () => {}

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk])
      this.#wake()
    })
    const over = () => {
      this.#isOver = true
      this.#wake()
    }
    socket.on('close', over)
    socket.on('end', over)
    // A peer that refuses a body may reset the connection while we still write.
    socket.on('error', over)
  }

  static async open(): Promise<RawConnection> {
    const { hostname, port } = new URL(flapjack.url)
    const socket = connect(Number(port), hostname)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new RawConnection(socket)
  }

  send(bytes: string | Buffer): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes)
  }

  get isOver(): boolean {
    return this.#isOver
  }

  close(): void {
    this.#socket.destroy()
  }

  /** The next whole answer; `undefined` when the connection ended before one. */
  async answer(): Promise<RawAnswer | undefined> {
    const deadline = Date.now() + 20_000
    for (;;) {
      const found = this.#parse()
      if (found !== undefined) return found
      if (this.#isOver) return undefined
      assert.ok(Date.now() < deadline, 'no answer within 20 seconds')
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  #parse(): RawAnswer | undefined {
    const end = this.#buffer.indexOf('\r\n\r\n')
    if (end === -1) return undefined
    const headers = this.#buffer.subarray(0, end).toString('latin1')
    const status = Number(headers.slice(9, 12))
    const length = Number(/^content-length: (\d+)$/im.exec(headers)?.[1] ?? Number.NaN)
    if (Number.isNaN(length)) {
      if (/^transfer-encoding: chunked$/im.test(headers)) {
        const stop = this.#buffer.indexOf('\r\n0\r\n\r\n', end)
        const isEmpty = this.#buffer.subarray(end + 4, end + 9).toString() === '0\r\n\r\n'
        if (stop === -1 && !isEmpty) return undefined
        const body = isEmpty
          ? ''
          : this.#buffer
              .subarray(end + 4, stop)
              .toString()
              .replace(/^[0-9a-f]+\r\n/i, '')
        this.#buffer = this.#buffer.subarray(isEmpty ? end + 9 : stop + 7)
        return { status, headers, body }
      }
      const body = this.#buffer.subarray(end + 4).toString()
      this.#buffer = Buffer.alloc(0)
      return { status, headers, body }
    }
    if (this.#buffer.length < end + 4 + length) return undefined
    const body = this.#buffer.subarray(end + 4, end + 4 + length).toString()
    this.#buffer = this.#buffer.subarray(end + 4 + length)
    return { status, headers, body }
  }
}

function head(
  method: string,
  path: string,
  headers: Readonly<Record<string, string | readonly string[]>> = {},
): string {
  const all: Record<string, string | readonly string[]> = {
    Host: 'localhost',
    Authorization: `Bearer ${flapjack.masterKey}`,
    ...headers,
  }
  const lines = Object.entries(all).flatMap(([name, value]) =>
    (typeof value === 'string' ? [value] : value).map((each) => `${name}: ${each}`),
  )
  return `${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`
}

function withBody(method: string, path: string, body: string | Buffer, headers: Record<string, string> = {}): Buffer {
  const bytes = Buffer.from(body as string)
  return Buffer.concat([
    Buffer.from(
      head(method, path, { 'Content-Type': 'application/json', 'Content-Length': String(bytes.length), ...headers }),
    ),
    bytes,
  ])
}

function isApiError(answer: RawAnswer | undefined, what: string): asserts answer is RawAnswer {
  assert.ok(answer !== undefined, `${what}: no answer`)
  assert.ok(answer.status >= 400 && answer.status < 500, `${what}: ${answer.status} ${answer.body}`)
  const error = JSON.parse(answer.body)
  for (const field of ['message', 'code', 'type', 'link'])
    assert.equal(typeof error[field], 'string', `${what}: ${answer.body}`)
}

async function taskCount(): Promise<number> {
  const response = await fetch(`${flapjack.url}/tasks?limit=0`, {
    headers: { authorization: `Bearer ${flapjack.masterKey}` },
  })
  return ((await response.json()) as { total: number }).total
}

/** After an answer the connection either serves the next request properly or is closed; nothing in between. */
async function nextIsUnaffected(connection: RawConnection, what: string): Promise<void> {
  connection.send(head('GET', '/health'))
  const next = await connection.answer()
  if (next === undefined) return
  assert.equal(next.status, 200, `${what}: the next request got ${next.status} ${next.body}`)
  assert.equal(JSON.parse(next.body).status, 'available')
}

const deep = (open: string, close: string) => open.repeat(10_000) + close.repeat(10_000)

const bodies: readonly (readonly [what: string, method: string, path: string, body: string | Buffer])[] = [
  ['cut-off JSON', 'POST', '/indexes/bad/documents', '[{"id": 1, "title": "a'],
  ['JSON with a comma too many', 'POST', '/indexes/bad/documents', '[{"id": 1},]'],
  ['a number as documents', 'POST', '/indexes/bad/documents', '42'],
  ['10,000 nested arrays as documents', 'POST', '/indexes/bad/documents', `[{"id":1,"a":${deep('[', ']')}}]`],
  ['10,000 nested objects as a search', 'POST', '/indexes/bad/search', deep('{"q":', '}')],
  [
    '10,000 nested arrays as a filter',
    'POST',
    '/multi-search',
    `{"queries":[{"indexUid":"a","filter":${deep('[', ']')}}]}`,
  ],
  [
    'invalid UTF-8',
    'POST',
    '/indexes/bad/documents',
    Buffer.from([0x5b, 0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d, 0x5d]),
  ],
  ['an empty body', 'POST', '/indexes/bad/documents', ''],
  ['an unknown field', 'POST', '/indexes', '{"uid":"a","unknown":1}'],
  ['a wrong index name', 'POST', '/indexes', '{"uid":"a b"}'],
  ['settings of a wrong type', 'PATCH', '/indexes/bad/settings', '{"rankingRules":"typo"}'],
]

const paths = [
  '/indexes/%2e%2e/stats',
  '/indexes/..%2fkeys',
  '/indexes/a%2fb',
  '/indexes/a\\b',
  '/indexes/a;b',
  '//indexes',
  '/indexes//documents',
  '/indexes/a%00b',
  '/indexes/%zz',
  '/indexes/%ff%fe',
  '/indexes/../keys',
]

inEveryLayout((layout) => {
  before(async () => {
    flapjack = await startFlapjack({ args: layout.args })
  })

  after(() => flapjack.stop())

  for (const [what, method, path, body] of bodies) {
    test(`${what}: a 4xx in the API's form, and nothing stored`, async () => {
      const before = await taskCount()
      const connection = await RawConnection.open()
      connection.send(withBody(method, path, body))
      isApiError(await connection.answer(), what)
      await nextIsUnaffected(connection, what)
      connection.close()
      assert.equal(await taskCount(), before)
    })
  }

  for (const path of paths) {
    test(`the path ${path} is refused with a 4xx`, async () => {
      const connection = await RawConnection.open()
      connection.send(head('GET', path))
      const answer = await connection.answer()
      assert.ok(answer !== undefined && answer.status >= 400 && answer.status < 500, `${path}: ${answer?.status}`)
      await nextIsUnaffected(connection, path)
      connection.close()
    })
  }

  test('a 200 MB body over the limit gets 413 without being read whole', async () => {
    const before = await taskCount()
    const connection = await RawConnection.open()
    connection.send(
      head('POST', '/indexes/bad/documents', {
        'Content-Type': 'application/json',
        'Content-Length': String(200 * 1024 * 1024),
      }),
    )
    connection.send('[')
    const answer = await connection.answer()
    isApiError(answer, '200 MB')
    assert.equal(answer.status, 413)
    assert.equal(JSON.parse(answer.body).code, 'payload_too_large')
    connection.close()
    assert.equal(await taskCount(), before)
  })

  test('a small gzip body that decodes to more than the limit gets 413', async () => {
    const before = await taskCount()
    const bomb = gzipSync(Buffer.alloc(150 * 1024 * 1024, 0x20))
    const connection = await RawConnection.open()
    connection.send(withBody('POST', '/indexes/bad/documents', bomb, { 'Content-Encoding': 'gzip' }))
    const answer = await connection.answer()
    isApiError(answer, 'gzip bomb')
    assert.equal(answer.status, 413)
    connection.close()
    assert.equal(await taskCount(), before)
  })

  test('a gzip body that is no gzip gets a 4xx', async () => {
    const connection = await RawConnection.open()
    connection.send(withBody('POST', '/indexes/bad/documents', '[{"id":1}]', { 'Content-Encoding': 'gzip' }))
    isApiError(await connection.answer(), 'no gzip')
    connection.close()
  })

  test('missing and wrong content types get 415', async () => {
    for (const headers of [{ 'Content-Type': 'text/plain' }, { 'Content-Type': '' }]) {
      const connection = await RawConnection.open()
      connection.send(withBody('POST', '/indexes/bad/documents', '[{"id":1}]', headers))
      const answer = await connection.answer()
      isApiError(answer, JSON.stringify(headers))
      assert.equal(answer.status, 415)
      connection.close()
    }
  })

  test('duplicate credentials and lengths are refused', async () => {
    for (const headers of [
      { Authorization: [`Bearer ${flapjack.masterKey}`, 'Bearer other'] },
      { 'X-Meili-API-Key': 'another-key' },
      { 'Content-Length': ['3', '4'] },
    ]) {
      const connection = await RawConnection.open()
      connection.send(head('GET', '/indexes', headers))
      const answer = await connection.answer()
      assert.ok(
        answer !== undefined && answer.status >= 400 && answer.status < 500,
        `${JSON.stringify(headers)}: ${answer?.status}`,
      )
      connection.close()
    }
  })

  test('a client that hangs up in mid-body leaves nothing behind', async () => {
    const before = await taskCount()
    const connection = await RawConnection.open()
    connection.send(
      head('POST', '/indexes/bad/documents', { 'Content-Type': 'application/json', 'Content-Length': '1000' }),
    )
    connection.send('[{"id": 1')
    connection.close()
    const response = await fetch(`${flapjack.url}/health`)
    assert.equal(response.status, 200)
    assert.equal(await taskCount(), before)
  })
})
