/** A request that came over HTTP/2, and its answer, in the form of those of HTTP/1.1. */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import { Readable } from 'node:stream'
import type { BodySource } from './http-body.ts'
import type { HttpResponse } from './plain-response.ts'

/** Where a request came from. */
export interface RequestSide {
  readonly remoteAddress?: string | undefined
}

/**
 * The body is whole only when the client said that it is (END_STREAM): one whose stream was reset, with whatever code, ends as
 * a connection does that closes half-way.
 */
export class Http2Request extends Readable implements BodySource {
  readonly method: string
  readonly url: string
  /** Names and values in turn, without pseudo-headers; `:authority` stands as `host`. */
  readonly rawHeaders: readonly string[]
  readonly headers: BodySource['headers']
  readonly socket: RequestSide
  complete = false
  readonly #stream: ServerHttp2Stream

  /**
   * @param raw  names and values in turn, as they came.
   * @param hasBody  whether anything follows the headers.
   */
  constructor(
    stream: ServerHttp2Stream,
    sent: {
      readonly headers: IncomingHttpHeaders
      readonly raw: readonly string[]
      readonly hasBody: boolean
      readonly socket: RequestSide
      readonly headerCountMax: number
    },
  ) {
    super()
    this.#stream = stream
    this.method = String(sent.headers[':method'])
    this.url = String(sent.headers[':path'] ?? '/')
    this.headers = sent.headers
    this.socket = sent.socket
    this.rawHeaders = plainHeaders(sent.raw, sent.headerCountMax)
    if (!sent.hasBody) {
      this.complete = true
      this.push(null)
      return
    }
    stream.pause()
    stream.on('data', (piece: Buffer) => {
      if (!this.push(piece)) stream.pause()
    })
    stream.once('end', () => {
      // A stream that was reset ends as well.
      if (stream.closed || stream.aborted) return
      this.complete = true
      this.push(null)
    })
    stream.once('close', () => {
      if (!this.complete) this.destroy()
    })
  }

  override _read(): void {
    if (!this.complete && !this.#stream.destroyed) this.#stream.resume()
  }
}

function plainHeaders(raw: readonly string[], countMax: number): readonly string[] {
  const plain: string[] = []
  let authority: string | undefined
  for (let at = 0; at < raw.length && plain.length < 2 * countMax; at += 2) {
    const name = raw[at] ?? ''
    const value = raw[at + 1] ?? ''
    if (name === ':authority') {
      authority = value
      plain.push('host', value)
    } else if (!name.startsWith(':') && !(name === 'host' && value === authority)) plain.push(name, value)
  }
  return plain
}

/** What only means something to a connection of HTTP/1.1 (RFC 9113, 8.2.2). */
const connectionNames: ReadonlySet<string> = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'],
])

export class Http2Response implements HttpResponse {
  statusCode = 200
  headersSent = false
  writableFinished = false
  readonly #stream: ServerHttp2Stream
  readonly #request: Http2Request
  #hasBody = true
  #more: Record<string, string> = {}
  #isLast = false

  constructor(stream: ServerHttp2Stream, request: Http2Request) {
    this.#stream = stream
    this.#request = request
  }

  get destroyed(): boolean {
    return this.#stream.destroyed || (this.#stream.closed && !this.writableFinished)
  }

  /** `connection: close`, as of HTTP/1.1: no further request is taken on the connection. */
  setHeader(name: string, value: string): void {
    if (name.toLowerCase() === 'connection') this.#isLast = value.toLowerCase() === 'close'
    else this.#more[name.toLowerCase()] = value
  }

  writeHead(status: number, headers: readonly string[]): void {
    if (this.headersSent) throw new Error('the head of an answer was written before')
    this.statusCode = status
    this.headersSent = true
    this.#hasBody = status !== 204 && status !== 304 && this.#request.method !== 'HEAD'
    if (this.#isGone()) return
    const own: Record<string, string | string[]> = {}
    for (let at = 0; at < headers.length; at += 2) {
      const name = (headers[at] ?? '').toLowerCase()
      const value = headers[at + 1] ?? ''
      if (connectionNames.has(name)) continue
      const before = own[name]
      own[name] = before === undefined ? value : [before, value].flat()
    }
    this.#stream.respond({ ...this.#more, ...own, ':status': status }, { endStream: !this.#hasBody })
    // Says that nothing further is taken; what is under way goes on.
    if (this.#isLast) this.#stream.session?.close()
  }

  write(chunk: Uint8Array): boolean {
    if (!this.headersSent) this.writeHead(this.statusCode, [])
    if (!this.#hasBody || this.#isGone()) return true
    return this.#stream.write(chunk)
  }

  end(chunk?: string | Uint8Array): void {
    if (this.writableFinished) return
    if (!this.headersSent) this.writeHead(this.statusCode, [])
    this.writableFinished = true
    if (this.#isGone()) return
    if (this.#hasBody) this.#stream.end(chunk)
    // As over HTTP/1.1: what nobody reads of the request is dropped. A reset would take what the client has not got yet of
    // the answer along.
    if (this.#request.readableFlowing === null) this.#request.resume()
  }

  /** Half an answer must not look like a whole one: `close` of a stream would end what was written first, in good order. */
  destroy(): void {
    this.#stream.destroy(new Error('the answer is broken off'))
  }

  once(event: 'close' | 'drain', listener: () => void): void {
    this.#stream.once(event, listener)
  }

  #isGone(): boolean {
    return this.#stream.destroyed || this.#stream.closed
  }
}
