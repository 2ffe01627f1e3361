/** Connections of HTTP/2 that another server accepted: bounds of streams, headers and idle time, an orderly end. */
import {
  constants,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import { Http2Request, Http2Response } from './http2-request.ts'
import type { HttpResponse } from './plain-response.ts'

export interface Http2ListenerOptions {
  /** Must not reject: it answers its own errors. */
  readonly handle: (request: Http2Request, response: HttpResponse) => void
  /** JSON body for a request that never reached `handle`. */
  readonly refusal: (status: 400 | 431) => string
  readonly headersBytesMax: number
  /** Headers beyond it are dropped, as `node:http` does. */
  readonly headerCountMax: number
  /** A connection without open requests is closed after this time. */
  readonly keepAliveMs: number
}

/** Requests of one connection at a time; a client sends no more before some are answered. */
const streamsMax = 128
/** Of a body that was not read yet: 256 KB for each stream, 1 MB for each connection. */
const streamWindowBytes = 256 * 1024
const connectionWindowBytes = 1024 * 1024
/** Of answers that the clients of a connection have not taken yet; beyond it new requests are refused. */
const connectionMegabytesMax = 256

export class Http2Listener {
  readonly #server: ReturnType<typeof createServer>
  readonly #sessions = new Set<ServerHttp2Session>()
  readonly #options: Http2ListenerOptions

  constructor(options: Http2ListenerOptions) {
    this.#options = options
    this.#server = createServer({
      settings: {
        maxConcurrentStreams: streamsMax,
        initialWindowSize: streamWindowBytes,
        // Twice of what is taken: in between there is an answer, beyond it the stream is reset.
        maxHeaderListSize: 2 * options.headersBytesMax,
        enablePush: false,
      },
      maxHeaderListPairs: 2 * options.headerCountMax,
      maxSessionMemory: connectionMegabytesMax,
    })
    this.#server.on('session', (session) => this.#follow(session))
  }

  /** @param socket  of a client that chose `h2`. */
  accept(socket: Socket): void {
    this.#server.emit('connection', socket)
  }

  /** Takes no further requests; those under way go on. */
  closeIdle(): void {
    for (const session of this.#sessions) session.close()
  }

  closeAll(): void {
    // With a code that is an error to whoever waits for the rest of an answer.
    for (const session of this.#sessions) session.destroy(new Error('closed'), constants.NGHTTP2_CANCEL)
  }

  #follow(session: ServerHttp2Session): void {
    const { keepAliveMs } = this.#options
    let openCount = 0
    this.#sessions.add(session)
    session.setLocalWindowSize(connectionWindowBytes)
    session.once('close', () => this.#sessions.delete(session))
    // The connection ends, and its streams with it, who tell their requests.
    session.on('error', () => undefined)
    // Tells each time that nothing came or went for so long.
    session.setTimeout(keepAliveMs)
    session.on('timeout', () => {
      if (openCount === 0) session.close()
    })
    session.on(
      'stream',
      (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, raw: readonly string[]) => {
        openCount += 1
        stream.once('close', () => {
          openCount -= 1
        })
        stream.on('error', () => undefined)
        const hasBody = (flags & constants.NGHTTP2_FLAG_END_STREAM) === 0
        const { headerCountMax, handle } = this.#options
        const socket = { remoteAddress: session.socket?.remoteAddress }
        const request = new Http2Request(stream, { headers, raw, hasBody, socket, headerCountMax })
        const response = new Http2Response(stream, request)
        if (request.method === 'CONNECT') return this.#refuse(response, 400)
        if (sizeOf(raw) > this.#options.headersBytesMax) return this.#refuse(response, 431)
        if (headers.expect === '100-continue' && hasBody) stream.additionalHeaders({ ':status': 100 })
        handle(request, response)
      },
    )
  }

  #refuse(response: Http2Response, status: 400 | 431): void {
    const body = this.#options.refusal(status)
    response.writeHead(status, ['content-type', 'application/json', 'content-length', `${Buffer.byteLength(body)}`])
    response.end(body)
  }
}

function sizeOf(raw: readonly string[]): number {
  let size = 0
  for (const text of raw) size += text.length
  return size
}
