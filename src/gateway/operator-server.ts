/** A listener for operators, apart from the public one: metrics in Prometheus' format, and whether this process lives. */
import { createServer } from 'node:http'
import { assert } from '../lib/assert.ts'

export interface OperatorServer {
  readonly url: string
  close(): Promise<void>
}

export interface OperatorOptions {
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
  /** Text of all metrics of this program's processes. */
  readonly readMetrics: () => Promise<string>
}

export async function startOperatorServer({ host, port, readMetrics }: OperatorOptions): Promise<OperatorServer> {
  const server = createServer((request, response) => {
    if (request.method !== 'GET') return void response.writeHead(405, { allow: 'GET' }).end()
    if (request.url === '/health') return void response.end('{"status":"available"}')
    if (request.url !== '/metrics') return void response.writeHead(404).end()
    readMetrics().then(
      (text) => response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(text),
      () => response.writeHead(500).end(),
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const address = server.address()
  assert(address !== null && typeof address === 'object', 'a TCP server has an address')
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
