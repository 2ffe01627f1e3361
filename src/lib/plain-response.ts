/** The answer to a request that `plain-listener.ts` read: the same bytes as a `ServerResponse` writes, in one packet if small. */
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'

/** What answers are written to. A `ServerResponse` is one too. */
export interface HttpResponse {
  readonly statusCode: number
  readonly headersSent: boolean
  readonly destroyed: boolean
  /** The answer is whole. */
  readonly writableFinished: boolean
  /** A header beside those of `writeHead`, whose own win. */
  setHeader(name: string, value: string): unknown
  /** @param headers  names and values in turn. */
  writeHead(status: number, headers: string[]): unknown
  /** @returns whether to go on at once; otherwise `drain` tells when. */
  write(chunk: Uint8Array): boolean
  end(chunk?: string | Uint8Array): unknown
  /** Ends the connection at once. */
  destroy(): unknown
  /** `close`: the connection ended before the answer was whole; a `ServerResponse` tells the end of any answer so. */
  once(event: 'close' | 'drain', listener: () => void): unknown
}

/** What a response needs of its connection. */
export interface ResponseSide {
  readonly socket: Socket
  readonly keepAliveSeconds: number
  /** No request will follow on the connection. */
  readonly isEnding: () => boolean
  /** `Date: …` with its line end. */
  readonly dateLine: () => string
  /** The last byte was written, or handed to the socket. */
  readonly onEnd: (response: PlainResponse) => void
}

const forbidden = /[^\t\x20-\x7e\x80-\xff]/

export class PlainResponse implements HttpResponse {
  statusCode = 200
  headersSent = false
  destroyed = false
  writableFinished = false
  /** The connection ends behind this answer. */
  isLast = false
  readonly #side: ResponseSide
  /** Not written yet: it goes out with the first piece of the body. */
  #head = ''
  #isChunked = false
  #hasBody = true
  #more: Map<string, string> | undefined
  #closeListeners: (() => void)[] = []
  #drainListeners: (() => void)[] = []

  constructor(side: ResponseSide) {
    this.#side = side
  }

  setHeader(name: string, value: string): void {
    this.#more ??= new Map()
    this.#more.set(name, value)
  }

  writeHead(status: number, headers: readonly string[]): void {
    if (this.headersSent) throw new Error('the head of an answer was written before')
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n`
    let isFramed = false
    let namesConnection = false
    if (this.#more !== undefined) {
      for (const [name, value] of this.#more) {
        if (has(headers, name)) continue
        head += headerLine(name, value)
        if (name.toLowerCase() === 'connection') {
          namesConnection = true
          this.isLast = value.toLowerCase() === 'close'
        }
      }
    }
    for (let at = 0; at < headers.length; at += 2) {
      const name = headers[at]!
      head += headerLine(name, headers[at + 1]!)
      if (name.length === 14 && name.toLowerCase() === 'content-length') isFramed = true
    }
    head += this.#side.dateLine()
    if (!namesConnection) {
      this.isLast = this.#side.isEnding()
      head += this.isLast
        ? 'Connection: close\r\n'
        : `Connection: keep-alive\r\nKeep-Alive: timeout=${this.#side.keepAliveSeconds}\r\n`
    }
    this.#hasBody = status !== 204 && status !== 304
    if (this.#hasBody && !isFramed) {
      this.#isChunked = true
      head += 'Transfer-Encoding: chunked\r\n'
    }
    this.#head = `${head}\r\n`
    this.statusCode = status
    this.headersSent = true
  }

  write(chunk: Uint8Array): boolean {
    return this.#send(chunk, '')
  }

  end(chunk?: string | Uint8Array): void {
    if (this.writableFinished || this.destroyed) return
    const rest = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    this.#send(rest ?? nothing, this.#isChunked ? '0\r\n\r\n' : '')
    this.writableFinished = true
    this.#side.onEnd(this)
  }

  destroy(): void {
    this.#side.socket.destroy()
  }

  once(event: 'close' | 'drain', listener: () => void): void {
    if (event === 'close') this.#closeListeners.push(listener)
    else this.#drainListeners.push(listener)
  }

  /** The socket takes more. */
  drained(): void {
    const listeners = this.#drainListeners
    this.#drainListeners = []
    for (const listener of listeners) listener()
  }

  /** The connection takes nothing any more. */
  breakOff(): void {
    if (this.destroyed || this.writableFinished) return
    this.destroyed = true
    const listeners = this.#closeListeners
    this.#closeListeners = []
    this.#drainListeners = []
    for (const listener of listeners) listener()
  }

  #send(chunk: Uint8Array, tail: string): boolean {
    if (!this.headersSent) this.writeHead(this.statusCode, [])
    const { socket } = this.#side
    if (this.destroyed || this.writableFinished || !socket.writable) return true
    const body = this.#hasBody ? chunk : nothing
    const before = this.#isChunked && body.length > 0 ? `${this.#head}${body.length.toString(16)}\r\n` : this.#head
    const after = this.#isChunked && body.length > 0 ? `\r\n${tail}` : tail
    this.#head = ''
    if (before !== '' && after === '' && body.length > 0 && body.length <= joinedBytesMax) {
      const message = Buffer.allocUnsafe(before.length + body.length)
      message.write(before, 0, 'latin1')
      message.set(body, before.length)
      return socket.write(message)
    }
    // Corked, so that all of it is one packet.
    socket.cork()
    if (before !== '') socket.write(before, 'latin1')
    if (body.length > 0) socket.write(body)
    if (after !== '') socket.write(after, 'latin1')
    socket.uncork()
    return !socket.writableNeedDrain
  }
}

const nothing = new Uint8Array(0)
/** A body up to this size is copied behind its head: two pieces in one write cost more. */
const joinedBytesMax = 32 * 1024

function headerLine(name: string, value: string): string {
  // A line end in a value would be a header, or an answer, of its own.
  if (forbidden.test(value)) throw new TypeError(`a control character in the header ${name}`)
  return `${name}: ${value}\r\n`
}

function has(headers: readonly string[], wanted: string): boolean {
  const name = wanted.toLowerCase()
  for (let at = 0; at < headers.length; at += 2) if (headers[at]!.toLowerCase() === name) return true
  return false
}
