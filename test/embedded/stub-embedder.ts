/** A local embedding server: the same text always gives the same vector. Answers by path, for tests of failures. */
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Json, JsonObject } from '../../src/lib/json.ts'

export interface StubEmbedder {
  readonly url: string
  /** Texts that were asked for since the last call, in order. */
  takeTexts(): readonly Json[]
  close(): Promise<void>
}

export const stubDimensions = 6

/** Numbers from -1 to 1 that a 32-bit float holds exactly. */
export function stubVector(text: string, dimensions = stubDimensions): number[] {
  return Array.from(
    { length: dimensions },
    (_, index) => createHash('sha256').update(`${index}:${text}`).digest().readInt16BE(0) / 32768,
  )
}

/**
 * `/multi` takes `{input: [texts]}`, `/one` `{text}`; `/busy` fails every other request with 503, `/refuse` always with 400,
 * `/explode` when a text holds that word, `/short` sends vectors that are too small.
 */
export async function startStubEmbedder(): Promise<StubEmbedder> {
  let texts: Json[] = []
  let busyCount = 0
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (piece: Buffer) => {
      body += piece.toString('utf8')
    })
    request.on('end', () => {
      const sent = JSON.parse(body) as JsonObject
      const input: readonly Json[] = Array.isArray(sent.input) ? sent.input : [sent.text ?? sent.input ?? null]
      const send = (status: number, value: Json) => {
        response.writeHead(status, { 'content-type': 'application/json' })
        response.end(JSON.stringify(value))
      }
      busyCount += 1
      if (request.url === '/busy' && busyCount % 2 === 1) return send(503, 'busy')
      if (request.url === '/refuse' || (request.url === '/explode' && body.includes('explode')))
        return send(400, { error: 'no' })
      texts.push(...input)
      const size = request.url === '/short' ? stubDimensions - 1 : stubDimensions
      const vectors = input.map((text) => stubVector(typeof text === 'string' ? text : JSON.stringify(text), size))
      send(200, { data: request.url === '/one' ? vectors[0]! : vectors })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    takeTexts() {
      const taken = texts
      texts = []
      return taken
    },
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}

/** Settings of a `rest` embedder at the stub. */
export function stubSettings(url: string, more: JsonObject = {}): JsonObject {
  return {
    source: 'rest',
    url: `${url}/multi`,
    request: { input: ['{{text}}', '{{..}}'] },
    response: { data: ['{{embedding}}', '{{..}}'] },
    documentTemplate: '{{doc.name}}',
    ...more,
  }
}
