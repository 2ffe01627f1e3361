/**
 * Kept-alive HTTP/1.1 connections to one node, a bounded number of them; requests beyond it wait in order. A client of its own, since
 * the relay of searches is the hot path: a general one took more of its time than all that the gateway does (`npm run bench
 * gateway`).
 */
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Clock } from '../lib/clock.ts'
import { type AnswerEvents, AnswerReader, BadAnswer } from './answer-reader.ts'
import type { UpstreamFailure } from './failure.ts'

export interface ConnectionPoolOptions {
  /** Connections at most; further requests wait. */
  readonly connectionsMax: number
  readonly connectTimeoutMs: number
  /** From the request to the first byte of the answer, and between two pieces of it. */
  readonly answerTimeoutMs: number
  readonly clock: Pick<Clock, 'monotonic'>
}

export interface NodeRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** With query string. */
  readonly path: string
  /** Names and values in turn, without host, authorization and length, which the connection adds. */
  readonly headers: readonly string[]
  readonly body: Uint8Array | null
}

export interface AnswerReceiver extends AnswerEvents {
  /** Called once, or `onFailure` is. */
  onEnd(): void
  onFailure(failure: UpstreamFailure): void
}

/** A connection that idles longer is closed by us, before the node may close it under a request. */
const idleMsMax = 4_000
const sweepMs = 500
const readBytes = 64 * 1024
/** A body up to this size is copied behind its head, so that both are one write. */
const joinedBytesMax = 32 * 1024

/** A request under way. */
export class PendingAnswer {
  readonly request: NodeRequest
  readonly receiver: AnswerReceiver
  readonly since: number
  connection: Connection | undefined
  readonly #pool: ConnectionPool

  constructor(pool: ConnectionPool, request: NodeRequest, receiver: AnswerReceiver, since: number) {
    this.#pool = pool
    this.request = request
    this.receiver = receiver
    this.since = since
  }

  /** Ends it with `onFailure`; nothing happens when it has ended. */
  abort(reason: string): void {
    this.#pool.abort(this, reason)
  }

  /** After `onData` answered false. */
  resume(): void {
    this.connection?.resume()
  }
}

export class ConnectionPool {
  readonly #origin: URL
  readonly #headTail: string
  readonly #options: ConnectionPoolOptions
  readonly #open = new Set<Connection>()
  /** The latest used last. */
  readonly #idle: Connection[] = []
  readonly #waiting = new Set<PendingAnswer>()
  #sweeper: NodeJS.Timeout | undefined
  #whenClosed: (() => void) | undefined
  #isClosing = false

  constructor(origin: URL, authorization: string | undefined, options: ConnectionPoolOptions) {
    this.#origin = origin
    this.#options = options
    this.#headTail = ` HTTP/1.1\r\nhost: ${origin.host}\r\n${
      authorization === undefined ? '' : `authorization: ${checked(authorization)}\r\n`
    }`
  }

  send(request: NodeRequest, receiver: AnswerReceiver): PendingAnswer {
    const pending = new PendingAnswer(this, request, receiver, this.#options.clock.monotonic())
    const connection = this.#idle.pop()
    if (connection !== undefined) connection.send(pending)
    else {
      this.#waiting.add(pending)
      this.#openWhenWanted()
    }
    return pending
  }

  /** Ends idle connections at once and busy ones with their answers. */
  close(): Promise<void> {
    this.#isClosing = true
    return new Promise((resolve) => {
      this.#whenClosed = resolve
      for (const connection of [...this.#idle]) connection.destroy()
      this.#closeWhenEmpty()
    })
  }

  abort(pending: PendingAnswer, reason: string): void {
    const failure: UpstreamFailure = { kind: 'aborted', reason }
    if (this.#waiting.delete(pending)) pending.receiver.onFailure(failure)
    else pending.connection?.fail(failure)
  }

  /** The connection's turn is over. @returns the next request for it, if any. */
  next(connection: Connection): PendingAnswer | undefined {
    const [first] = this.#waiting
    if (first !== undefined) {
      this.#waiting.delete(first)
      return first
    }
    if (this.#isClosing) connection.destroy()
    else this.#idle.push(connection)
    return undefined
  }

  closed(connection: Connection): void {
    this.#open.delete(connection)
    const at = this.#idle.indexOf(connection)
    if (at >= 0) this.#idle.splice(at, 1)
    this.#openWhenWanted()
    this.#closeWhenEmpty()
  }

  /** No connection could be made: what waits the longest is told so. */
  refused(failure: UpstreamFailure): void {
    const [first] = this.#waiting
    if (first === undefined) return
    this.#waiting.delete(first)
    first.receiver.onFailure(failure)
  }

  writeHead({ method, path, headers, body }: NodeRequest): string {
    let head = `${method} ${checked(path)}${this.#headTail}`
    for (let at = 0; at < headers.length; at += 2) head += `${headers[at]}: ${checked(headers[at + 1]!)}\r\n`
    if (body !== null) return `${head}content-length: ${body.length}\r\n\r\n`
    return method === 'GET' || method === 'HEAD' ? `${head}\r\n` : `${head}content-length: 0\r\n\r\n`
  }

  #openWhenWanted(): void {
    let opening = 0
    for (const connection of this.#open) if (connection.isOpening) opening += 1
    while (opening < this.#waiting.size && this.#open.size < this.#options.connectionsMax) {
      this.#open.add(new Connection(this, this.#origin, this.#options))
      opening += 1
    }
    if (this.#open.size === 0) return
    this.#sweeper ??= setInterval(() => this.#sweep(), sweepMs).unref()
  }

  /** One timer for all: a timer for each request would cost more than the bounds are worth in precision. */
  #sweep(): void {
    const { clock, answerTimeoutMs } = this.#options
    const now = clock.monotonic()
    for (const connection of [...this.#open]) connection.sweep(now)
    for (const pending of [...this.#waiting]) {
      if (now - pending.since < answerTimeoutMs) break
      this.#waiting.delete(pending)
      pending.receiver.onFailure({ kind: 'timed-out', reason: 'no connection came free' })
    }
  }

  #closeWhenEmpty(): void {
    if (this.#open.size > 0 || this.#waiting.size > 0) return
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
    this.#whenClosed?.()
  }
}

class Connection {
  readonly #pool: ConnectionPool
  readonly #socket: Socket
  readonly #options: ConnectionPoolOptions
  readonly #reader = new AnswerReader()
  #pending: PendingAnswer | undefined
  #activeAt: number
  isOpening = true
  #isClosed = false

  constructor(pool: ConnectionPool, origin: URL, options: ConnectionPoolOptions) {
    this.#pool = pool
    this.#options = options
    this.#activeAt = options.clock.monotonic()
    const isTls = origin.protocol === 'https:'
    const host = origin.hostname.replace(/^\[|\]$/g, '')
    const target = {
      host,
      port: Number(origin.port || (isTls ? 443 : 80)),
      noDelay: true,
      onread: {
        // Read into again and again; what goes on is copied.
        buffer: Buffer.allocUnsafeSlow(readBytes),
        callback: (length: number, bytes: Uint8Array) => this.#read(bytes, length),
      },
    }
    this.#socket = isTls ? connectTls({ ...target, servername: host }) : connectTcp(target)
    this.#socket.once(isTls ? 'secureConnect' : 'connect', () => {
      this.isOpening = false
      this.#turn()
    })
    this.#socket.on('end', () => this.#end())
    this.#socket.on('error', (error: Error & { code?: string }) => this.#broken(error.code ?? error.message))
    this.#socket.on('close', () => this.#broken('the connection was closed'))
  }

  send(pending: PendingAnswer): void {
    const { request } = pending
    this.#pending = pending
    pending.connection = this
    this.#activeAt = this.#options.clock.monotonic()
    this.#reader.begin(pending.receiver, request.method === 'HEAD')
    const { body } = request
    const head = this.#pool.writeHead(request)
    if (body === null) {
      this.#socket.write(head, 'latin1')
    } else if (body.length <= joinedBytesMax) {
      const message = Buffer.allocUnsafe(head.length + body.length)
      message.write(head, 0, 'latin1')
      message.set(body, head.length)
      this.#socket.write(message)
    } else {
      this.#socket.cork()
      this.#socket.write(head, 'latin1')
      this.#socket.write(body)
      this.#socket.uncork()
    }
  }

  resume(): void {
    this.#activeAt = this.#options.clock.monotonic()
    this.#socket.resume()
  }

  fail(failure: UpstreamFailure): void {
    const pending = this.#release()
    this.#reader.abandon()
    this.destroy()
    pending?.receiver.onFailure(failure)
  }

  destroy(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#socket.destroy()
    this.#pool.closed(this)
  }

  sweep(now: number): void {
    const forMs = now - this.#activeAt
    if (this.isOpening) {
      if (forMs >= this.#options.connectTimeoutMs) this.#broken('no connection in time')
    } else if (this.#pending !== undefined) {
      if (forMs >= this.#options.answerTimeoutMs) this.fail({ kind: 'timed-out', reason: 'no answer in time' })
    } else if (forMs >= idleMsMax) this.destroy()
  }

  /** @returns whether to go on reading. */
  #read(bytes: Uint8Array, length: number): boolean {
    this.#activeAt = this.#options.clock.monotonic()
    try {
      const goesOn = this.#reader.read(Buffer.from(bytes.buffer, bytes.byteOffset, length))
      if (!this.#reader.isDone || this.#pending === undefined) return goesOn
    } catch (error) {
      // A receiver that throws ends its own request too, and no other.
      this.fail({ kind: 'bad-answer', reason: error instanceof BadAnswer ? error.message : String(error) })
      return true
    }
    this.#finish()
    return true
  }

  #finish(): void {
    const pending = this.#release()
    if (this.#reader.isKeptAlive) this.#turn()
    else this.destroy()
    pending?.receiver.onEnd()
  }

  #turn(): void {
    const next = this.#pool.next(this)
    if (next !== undefined) this.send(next)
  }

  #release(): PendingAnswer | undefined {
    const pending = this.#pending
    this.#pending = undefined
    if (pending !== undefined) pending.connection = undefined
    return pending
  }

  /** The node ended the connection: the end of an answer, or of an idle time. */
  #end(): void {
    try {
      this.#reader.end()
    } catch {
      this.#broken('the connection ended within an answer')
      return
    }
    if (this.#pending === undefined) this.destroy()
    else this.#finish()
  }

  #broken(reason: string): void {
    if (this.#isClosed) return
    if (!this.isOpening) {
      this.fail({ kind: 'lost', reason })
      return
    }
    this.isOpening = false
    this.#pool.refused({ kind: 'unreachable', reason })
    this.destroy()
  }
}

const headText = /^[\t\x20-\x7e\x80-\xff]*$/

/** Whatever comes here was checked; a line end in it would be a second request. */
function checked(text: string): string {
  if (!headText.test(text)) throw new TypeError('a control character in the head of a request')
  return text
}
