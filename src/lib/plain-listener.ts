/**
 * Answers plain requests (`request-head.ts`) on sockets of an HTTP server without `node:http`, which costs more than all
 * that a gateway does to a search. Whatever is not plain is given to `node:http` with all bytes that were not used, and the
 * connection with it for good: limits, refusals and oddities are told by one program only.
 *
 * One request at a time: the next one of a connection is looked at when the one before has been read to the end of its body
 * and its answer to the last byte.
 */
import type { Socket } from 'node:net'
import { PlainRequest } from './plain-request.ts'
import { PlainResponse, type ResponseSide } from './plain-response.ts'
import { readRequestHead } from './request-head.ts'

export interface PlainListenerOptions {
  readonly handle: (request: PlainRequest, response: PlainResponse) => void
  /** Takes a socket that nobody listens to any more; what it has to read was put back. */
  readonly handOver: (socket: Socket) => void
  /** Answers what is no HTTP, and ends the connection. */
  readonly refuse: (socket: Socket) => void
  /** Milliseconds of the wall clock, for `Date`. */
  readonly now: () => number
  /** A connection that sends nothing from its beginning on is refused. */
  readonly firstRequestMs: number
  /** A connection that sends nothing more behind an answer is closed. */
  readonly keepAliveMs: number
}

/** A body that is longer may as well be read by `node:http`: reading it is not what it costs. */
const bodyBytesMax = 64 * 1024
/** Of further requests while one is being answered; then reading stops. */
const aheadBytesMax = 64 * 1024
/** One timer for all connections, for as long as there are any. */
const sweepMs = 5_000

export class PlainListener {
  readonly options: PlainListenerOptions
  readonly #connections = new Set<PlainConnection>()
  #sweeper: NodeJS.Timeout | undefined
  #second = -1
  #dateLine = ''
  isClosing = false

  constructor(options: PlainListenerOptions) {
    this.options = options
  }

  accept(socket: Socket): void {
    this.#connections.add(new PlainConnection(this, socket))
    this.#sweeper ??= setInterval(() => this.#sweep(), sweepMs).unref()
  }

  forget(connection: PlainConnection): void {
    this.#connections.delete(connection)
    if (this.#connections.size > 0) return
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
  }

  /** Closes connections that wait for a request; the others close behind their answers. */
  closeIdle(): void {
    this.isClosing = true
    for (const connection of [...this.#connections]) connection.closeWhenIdle()
  }

  closeAll(): void {
    for (const connection of [...this.#connections]) connection.destroy()
  }

  dateLine(): string {
    const now = this.options.now()
    const second = Math.floor(now / 1_000)
    if (second !== this.#second) {
      this.#second = second
      this.#dateLine = `Date: ${new Date(now).toUTCString()}\r\n`
    }
    return this.#dateLine
  }

  #sweep(): void {
    for (const connection of [...this.#connections]) connection.sweep(sweepMs)
  }
}

class PlainConnection implements ResponseSide {
  readonly socket: Socket
  readonly keepAliveSeconds: number
  readonly #listener: PlainListener
  /** Of the request whose body or answer is not whole. */
  #request: PlainRequest | undefined
  #response: PlainResponse | undefined
  /** Of its body, still to come. */
  #missing = 0
  /** Behind it, not looked at yet. */
  #ahead: Buffer | undefined
  /** No further request is read. */
  #isOver = false
  #quietMs = 0
  #answerCount = 0
  readonly #onData = (bytes: Buffer) => this.#read(bytes)
  readonly #onDrain = () => this.#drained()
  readonly #onEnd = () => this.#ended()
  readonly #onClose = () => this.#closed()

  constructor(listener: PlainListener, socket: Socket) {
    this.#listener = listener
    this.socket = socket
    this.keepAliveSeconds = Math.floor(listener.options.keepAliveMs / 1_000)
    socket.on('data', this.#onData)
    socket.on('drain', this.#onDrain)
    socket.on('end', this.#onEnd)
    socket.on('close', this.#onClose)
    socket.on('error', ignore)
  }

  isEnding(): boolean {
    return this.#listener.isClosing
  }

  dateLine(): string {
    return this.#listener.dateLine()
  }

  /** An answer is whole. */
  onEnd(response: PlainResponse): void {
    if (this.#response !== response) return
    this.#response = undefined
    this.#quietMs = 0
    this.#answerCount += 1
    if (response.isLast || this.isEnding()) {
      this.#isOver = true
      this.socket.destroySoon()
      return
    }
    if (this.#missing > 0) this.#request?.dropRest()
    else this.#request = undefined
    // Not from within the answer before: whoever gives it has things to do behind it.
    if (this.#ahead !== undefined) process.nextTick(() => this.#goOn())
  }

  /** Behind what the client has not taken yet of the answer before. */
  closeWhenIdle(): void {
    if (this.#response !== undefined) return
    this.#isOver = true
    this.socket.destroySoon()
  }

  destroy(): void {
    this.socket.destroy()
  }

  sweep(passedMs: number): void {
    // A client may take its time to read an answer.
    if (this.#response !== undefined || this.socket.writableLength > 0) return
    this.#quietMs += passedMs
    const { firstRequestMs, keepAliveMs, refuse } = this.#listener.options
    if (this.#answerCount > 0 || this.#isOver) {
      if (this.#quietMs >= keepAliveMs) this.destroy()
    } else if (this.#quietMs >= firstRequestMs) {
      this.#isOver = true
      refuse(this.socket)
    }
  }

  #read(bytes: Buffer): void {
    this.#quietMs = 0
    if (this.#isOver) return
    const rest = this.#missing > 0 ? this.#readBody(bytes) : bytes
    if (rest.length === 0) return
    if (this.#response === undefined && this.#ahead === undefined && this.#missing === 0) this.#begin(rest)
    else this.#keep(rest)
  }

  /** @returns what is behind the body. */
  #readBody(bytes: Buffer): Buffer {
    const request = this.#request
    const piece = bytes.length <= this.#missing ? bytes : bytes.subarray(0, this.#missing)
    this.#missing -= piece.length
    const isLast = this.#missing === 0
    if (isLast && this.#response === undefined) this.#request = undefined
    request?.push(piece, isLast)
    return bytes.subarray(piece.length)
  }

  #keep(bytes: Buffer): void {
    this.#ahead = this.#ahead === undefined ? bytes : Buffer.concat([this.#ahead, bytes])
    if (this.#ahead.length > aheadBytesMax) this.socket.pause()
  }

  #drained(): void {
    this.#response?.drained()
    this.#goOn()
  }

  /** Looks at what was sent ahead, as soon as its turn has come. */
  #goOn(): void {
    const bytes = this.#ahead
    if (bytes === undefined || this.#isOver || this.#response !== undefined || this.#missing > 0) return
    // Who does not read answers gets no further ones.
    if (this.socket.writableNeedDrain) return
    this.#ahead = undefined
    if (this.socket.isPaused()) this.socket.resume()
    this.#begin(bytes)
  }

  /** @param bytes  begin with a request. */
  #begin(bytes: Buffer): void {
    const head = readRequestHead(bytes, bodyBytesMax)
    if (head === undefined) {
      this.#handOver(bytes)
      return
    }
    const request = new PlainRequest(head, this.socket)
    const response = new PlainResponse(this)
    this.#request = request
    this.#response = response
    this.#missing = head.bodyBytes
    let rest = bytes.subarray(head.end)
    // Before the handler runs, so that it finds a body that came with its head.
    if (this.#missing > 0 && rest.length > 0) rest = this.#readBody(rest)
    // Before, too: an answer that is given at once looks for what is ahead.
    if (rest.length > 0) this.#keep(rest)
    this.#listener.options.handle(request, response)
  }

  #handOver(bytes: Buffer): void {
    const { socket } = this
    this.#isOver = true
    socket.off('data', this.#onData)
    socket.off('drain', this.#onDrain)
    socket.off('end', this.#onEnd)
    socket.off('close', this.#onClose)
    socket.off('error', ignore)
    socket.pause()
    socket.unshift(bytes)
    this.#listener.forget(this)
    this.#listener.options.handOver(socket)
    socket.resume()
  }

  /** The client sends nothing more. As with `node:http`, an answer that is not given yet is not given any more. */
  #ended(): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#missing > 0) this.#listener.options.refuse(this.socket)
    else this.socket.end()
  }

  #closed(): void {
    this.#isOver = true
    this.#listener.forget(this)
    this.#request?.breakOff()
    this.#response?.breakOff()
  }
}

function ignore(): void {
  // `close` follows.
}
