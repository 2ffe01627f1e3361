/** A thin listener over `node:http`: bounds of time and headers, an answer for what is no HTTP, an orderly end. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { assert } from './assert.ts'
import type { Clock } from './clock.ts'
import { Http2Listener } from './http2-listener.ts'
import type { Http2Request } from './http2-request.ts'
import { PlainListener, type PlainListenerOptions } from './plain-listener.ts'
import type { PlainRequest } from './plain-request.ts'
import type { HttpResponse } from './plain-response.ts'
import { followTlsFiles, readTlsFiles, type TlsFiles, type TlsLog, tlsOptions } from './tls-files.ts'

/** A request as it was read by `node:http`, by the listener of plain requests, or from a stream of HTTP/2. */
export type HttpRequest = IncomingMessage | PlainRequest | Http2Request

export interface HttpServerOptions {
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
  readonly clock: Clock
  /** Must not reject: it answers its own errors. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void
  /** Answers plain requests, for less than `node:http` takes. Absent = `handle` answers all. Must not reject either. */
  readonly handlePlain?: (request: PlainRequest, response: HttpResponse) => void
  /** Answers over TLS (1.2 or newer), with the certificate that the files hold at any time. Absent = plain HTTP. */
  readonly tls?: TlsFiles
  /** Answers clients that choose `h2` over TLS. Absent = HTTP/1.1 alone is offered. Must not reject either. */
  readonly handleHttp2?: (request: Http2Request, response: HttpResponse) => void
  /** Told about certificates that cannot be used. */
  readonly log?: TlsLog
  /** JSON body for a request that never reached `handle`. */
  readonly refusal: (status: 400 | 431) => string
}

export interface HttpServer {
  /** `http://host:port` or `https://host:port`, as bound. */
  readonly url: string
  /** Stops accepting, lets requests end for at most `drainMs`, then closes every connection. May run twice. */
  close(drainMs: number): Promise<void>
}

const headersBytesMax = 64 * 1024
const headerCountMax = 100
const keepAliveMs = 75_000
/** Also until the first byte. */
const headersMs = 60_000

const bounds = {
  maxHeaderSize: headersBytesMax,
  keepAliveTimeout: keepAliveMs,
  headersTimeout: headersMs,
  // A slow upload is bounded by the size of its body, not by a total time.
  requestTimeout: 0,
  noDelay: true,
} as const

/** Listens when it resolves; rejects when the address is taken, or a certificate cannot be used. */
export async function listenHttp(options: HttpServerOptions): Promise<HttpServer> {
  const { tls, log } = options
  if (tls === undefined) return listenOn(createServer(bounds, options.handle), options)
  const pair = await readTlsFiles(tls)
  const ALPNProtocols = options.handleHttp2 === undefined ? ['http/1.1'] : ['h2', 'http/1.1']
  const server = createTlsServer({ ...bounds, ...tlsOptions, ...pair, ALPNProtocols }, options.handle)
  const unfollow = followTlsFiles(tls, pair, {
    clock: options.clock,
    log,
    use: (fresh) => server.setSecureContext({ ...tlsOptions, ...fresh }),
  })
  server.once('close', unfollow)
  return listenOn(server, options)
}

function listenOn(server: Server, options: HttpServerOptions): Promise<HttpServer> {
  server.maxHeadersCount = headerCountMax
  server.on('clientError', (error: Error & { code?: string }, socket: Duplex) => {
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy()
      return
    }
    refuse(socket, error.code === 'HPE_HEADER_OVERFLOW' ? 431 : 400)
  })

  function refuse(socket: Duplex, status: 400 | 431): void {
    const words = status === 431 ? 'Request Header Fields Too Large' : 'Bad Request'
    const body = options.refusal(status)
    // Nobody knows where the next request begins, so the connection ends.
    socket.end(
      `HTTP/1.1 ${status} ${words}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    )
  }

  const { handlePlain, handleHttp2 } = options
  const http2 =
    handleHttp2 &&
    listenForHttp2(
      server,
      new Http2Listener({
        handle: handleHttp2,
        refusal: options.refusal,
        headersBytesMax,
        headerCountMax,
        keepAliveMs,
      }),
    )
  const handshakes = options.tls === undefined ? undefined : followHandshakes(server)
  const plain =
    handlePlain &&
    listenBefore(server, (handOver) => ({
      handle: handlePlain,
      handOver,
      refuse: (socket) => refuse(socket, 400),
      now: () => options.clock.now(),
      firstRequestMs: headersMs,
      keepAliveMs,
    }))

  let closing: Promise<void> | undefined
  async function close(drainMs: number): Promise<void> {
    const ended = new Promise<void>((resolve) => server.close(() => resolve()))
    server.closeIdleConnections()
    plain?.closeIdle()
    http2?.closeIdle()
    for (const socket of handshakes?.values() ?? []) socket.destroy()
    const waiting = new AbortController()
    const tooLate = options.clock.sleep(drainMs, waiting.signal).catch(() => undefined)
    await Promise.race([ended, tooLate])
    waiting.abort(new Error('closed'))
    server.closeAllConnections()
    plain?.closeAll()
    http2?.closeAll()
    await ended
  }

  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: options.host, port: options.port }, () => {
      server.off('error', reject)
      const { port } = server.address() as AddressInfo
      const host = options.host === '0.0.0.0' || options.host === '' ? '127.0.0.1' : options.host
      resolve({
        url: `${options.tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`,
        close: (drainMs) => {
          closing ??= close(drainMs)
          return closing
        },
      })
    })
  })
}

/** Puts a listener of plain requests before the server's own, which takes what is handed over. */
function listenBefore(
  server: Server,
  optionsOf: (handOver: (socket: Socket) => void) => PlainListenerOptions,
): PlainListener {
  const [own, ...others] = server.listeners('connection')
  assert(own !== undefined && others.length === 0, 'a server of node:http takes connections in one place')
  const plain = new PlainListener(optionsOf((socket) => Reflect.apply(own, server, [socket])))
  server.removeAllListeners('connection')
  server.on('connection', (socket) => plain.accept(socket))
  return plain
}

/** The server keeps the connections that did not choose `h2`. */
function listenForHttp2(server: Server, http2: Http2Listener): Http2Listener {
  const [own, ...others] = server.listeners('secureConnection')
  assert(own !== undefined && others.length === 0, 'a server of node:https takes connections in one place')
  server.removeAllListeners('secureConnection')
  server.on('secureConnection', (socket: TLSSocket) => {
    if (socket.alpnProtocol === 'h2') http2.accept(socket)
    else Reflect.apply(own, server, [socket])
  })
  return http2
}

/** Connections that are none of HTTP yet, by where they come from: nobody else would end them. */
function followHandshakes(server: Server): ReadonlyMap<string, Socket> {
  const sockets = new Map<string, Socket>()
  const placeOf = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress} ${remotePort}`
  server.prependListener('connection', (socket: Socket) => {
    const place = placeOf(socket)
    sockets.set(place, socket)
    socket.once('close', () => sockets.get(place) === socket && sockets.delete(place))
  })
  server.prependListener('secureConnection', (socket: TLSSocket) => sockets.delete(placeOf(socket)))
  return sockets
}
