/** The floor of any gateway on Node: `node:http` in front, undici `dispatch` behind, bytes through untouched. */
import { createServer, type ServerResponse } from 'node:http'
import { Pool } from 'undici'

const target = process.argv[2]
if (target === undefined) throw new Error('usage: bare-proxy.ts http://host:port')
const pool = new Pool(target, { connections: 64, pipelining: 1 })

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () =>
    pool.dispatch(
      {
        method: request.method as 'GET' | 'POST',
        path: request.url ?? '/',
        headers: { 'content-type': request.headers['content-type'] ?? 'application/json' },
        body: chunks.length === 0 ? null : Buffer.concat(chunks),
      },
      relay(response),
    ),
  )
})

function relay(response: ServerResponse) {
  return {
    onRequestStart() {},
    onResponseStart(_: unknown, status: number, headers: Record<string, string | string[]>) {
      response.writeHead(status, {
        'content-type': String(headers['content-type']),
        'content-length': String(headers['content-length']),
      })
    },
    onResponseData(_: unknown, chunk: Buffer) {
      response.write(chunk)
    },
    onResponseEnd() {
      response.end()
    },
    onResponseError(_: unknown, error: Error) {
      response.destroy(error)
    },
  }
}

server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object' && address !== null) console.log(`127.0.0.1:${address.port}`)
})
