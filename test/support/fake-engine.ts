/** An engine that tells what it was asked and answers what it is told to. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface FakeEngine {
  readonly server: Server
  readonly url: string
  readonly seen: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[]
  answer: (url: string, body: string) => FakeAnswer | Promise<FakeAnswer>
}

interface FakeAnswer {
  readonly status: number
  readonly body: string | Buffer
  readonly headers?: Record<string, string>
}

/** On a free port; the caller closes `server`. Answers no hits until it is told something else. */
export async function startFakeEngine(): Promise<FakeEngine> {
  const seen: FakeEngine['seen'] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      const { method = '', url = '', headers } = request
      seen.push({ method, url, headers, body })
      const give = ({ status, body: text, headers: more = {} }: FakeAnswer) => {
        response.writeHead(status, { 'content-type': 'application/json', 'x-inner': 'n1', ...more })
        response.end(text)
      }
      const answer = engine.answer(url, body)
      if (answer instanceof Promise) void answer.then(give)
      else give(answer)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const engine: FakeEngine = { server, url, seen, answer: () => ({ status: 200, body: '{"hits":[]}' }) }
  return engine
}
