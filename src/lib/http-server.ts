/** A thin listener over `node:http`: bounds of time and headers, an answer for what is no HTTP, an orderly end. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock } from './clock.ts'

export interface HttpServerOptions {
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
  readonly clock: Clock
  /** Must not reject: it answers its own errors. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void
  /** JSON body for a request that never reached `handle`. */
  readonly refusal: (status: 400 | 431) => string
}

export interface HttpServer {
  /** `http://host:port`, as bound. */
  readonly url: string
  /** Stops accepting, lets requests end for at most `drainMs`, then closes every connection. May run twice. */
  close(drainMs: number): Promise<void>
}

const headersBytesMax = 64 * 1024
const headerCountMax = 100

/** Listens when it resolves; rejects when the address is taken. */
export function listenHttp(options: HttpServerOptions): Promise<HttpServer> {
  const server = createServer(
    {
      maxHeaderSize: headersBytesMax,
      keepAliveTimeout: 75_000,
      headersTimeout: 60_000,
      // A slow upload is bounded by the size of its body, not by a total time.
      requestTimeout: 0,
      noDelay: true,
    },
    options.handle,
  )
  server.maxHeadersCount = headerCountMax
  server.on('clientError', (error: Error & { code?: string }, socket: Duplex) => {
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy()
      return
    }
    const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : 400
    const words = status === 431 ? 'Request Header Fields Too Large' : 'Bad Request'
    const body = options.refusal(status)
    // Nobody knows where the next request begins, so the connection ends.
    socket.end(
      `HTTP/1.1 ${status} ${words}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    )
  })

  let closing: Promise<void> | undefined
  async function close(drainMs: number): Promise<void> {
    const ended = new Promise<void>((resolve) => server.close(() => resolve()))
    server.closeIdleConnections()
    const waiting = new AbortController()
    const tooLate = options.clock.sleep(drainMs, waiting.signal).catch(() => undefined)
    await Promise.race([ended, tooLate])
    waiting.abort(new Error('closed'))
    server.closeAllConnections()
    await ended
  }

  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: options.host, port: options.port }, () => {
      server.off('error', reject)
      const { port } = server.address() as AddressInfo
      const host = options.host === '0.0.0.0' || options.host === '' ? '127.0.0.1' : options.host
      resolve({
        url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
        close: (drainMs) => {
          closing ??= close(drainMs)
          return closing
        },
      })
    })
  })
}
