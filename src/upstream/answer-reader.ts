/**
 * Reads answers of HTTP/1.1 from the bytes of one connection, for as little as a relay needs: a head in one piece, then the
 * body as it comes. Whatever two readers could take differently is refused, and the connection with it.
 */

/** Takes one answer: a head, pieces, an end. */
export interface AnswerEvents {
  /** @param headers  names in lower case and values in turn; at most `headerLinesMax` of them. */
  onHead(status: number, headers: readonly string[]): void
  /** The piece is the receiver's own. @returns whether to go on reading at once. */
  onData(piece: Buffer): boolean
  /** In place of `onData`, where the whole body came in one piece: its bytes may be overwritten after the call. */
  onWhole?(body: Buffer): void
}

export class BadAnswer extends Error {
  override readonly name = 'BadAnswer'
}

const headBytesMax = 64 * 1024
const headerLinesMax = 128
const headEnd = Buffer.from('\r\n\r\n')
const emptyBytes = Buffer.alloc(0)

type Phase =
  | 'head'
  /** `#missing` bytes are still to come. */
  | 'length'
  | 'chunk-size'
  | 'chunk'
  /** The line end behind a chunk. */
  | 'chunk-end'
  | 'trailers'
  /** The body ends with the connection. */
  | 'until-close'
  | 'done'

export class AnswerReader {
  #phase: Phase = 'done'
  #events: AnswerEvents | undefined
  #isHead = false
  #missing = 0
  /** Nothing of the body was given. */
  #isUntouched = true
  #isKeptAlive = true
  /** A head or a line that has not come whole. */
  #partial: Buffer = emptyBytes

  /** @param isHead  the request was a HEAD: its answer has no body, whatever it says. */
  begin(events: AnswerEvents, isHead: boolean): void {
    this.#events = events
    this.#isHead = isHead
    this.#phase = 'head'
    this.#isKeptAlive = true
  }

  /** Nobody takes the answer any more; the connection is not used again. */
  abandon(): void {
    this.#events = undefined
  }

  get isDone(): boolean {
    return this.#phase === 'done'
  }

  /** Another request may follow on the connection. */
  get isKeptAlive(): boolean {
    return this.#isKeptAlive
  }

  /**
   * @param bytes  may be overwritten after the call.
   * @returns whether to go on reading at once.
   * @throws BadAnswer: the connection is of no more use.
   */
  read(bytes: Buffer): boolean {
    let at = 0
    let goesOn = true
    while (at < bytes.length) {
      switch (this.#phase) {
        case 'head':
          at = this.#readHead(bytes, at)
          break
        case 'length':
        case 'chunk': {
          const piece = bytes.subarray(at, at + this.#missing)
          at += piece.length
          this.#missing -= piece.length
          const isWhole = this.#isUntouched && this.#missing === 0 && this.#phase === 'length'
          this.#isUntouched = false
          if (this.#missing === 0) this.#phase = this.#phase === 'chunk' ? 'chunk-end' : 'done'
          if (isWhole && this.#events?.onWhole !== undefined) this.#events.onWhole(piece)
          else goesOn = this.#give(piece) && goesOn
          break
        }
        case 'until-close':
          goesOn = this.#give(bytes.subarray(at)) && goesOn
          at = bytes.length
          break
        case 'done':
          throw new BadAnswer('bytes behind the end of an answer')
        default:
          at = this.#readLine(bytes, at)
      }
    }
    return goesOn
  }

  /** The other side ended the connection. @throws BadAnswer when the answer is not whole. */
  end(): void {
    if (this.#phase === 'until-close') this.#phase = 'done'
    if (this.#phase !== 'done') throw new BadAnswer('the connection ended within an answer')
  }

  #give(piece: Buffer): boolean {
    return this.#events?.onData(Buffer.from(piece)) ?? true
  }

  #readHead(bytes: Buffer, from: number): number {
    const found = this.#partial.length === 0 ? bytes.indexOf(headEnd, from) : -1
    if (found >= 0) {
      this.#takeHead(bytes.toString('latin1', from, found))
      return found + headEnd.length
    }
    const before = this.#partial.length
    const joined = Buffer.concat([this.#partial, bytes.subarray(from)])
    const end = joined.indexOf(headEnd, Math.max(0, before - headEnd.length))
    if (end < 0) {
      if (joined.length > headBytesMax) throw new BadAnswer('the head of an answer is too long')
      this.#partial = joined
      return bytes.length
    }
    this.#partial = emptyBytes
    this.#takeHead(joined.toString('latin1', 0, end))
    return from + end + headEnd.length - before
  }

  #takeHead(head: string): void {
    const lineEnd = head.indexOf('\r\n')
    const first = lineEnd < 0 ? head : head.slice(0, lineEnd)
    const statusLine = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: |$)/.exec(first)
    if (statusLine === null) throw new BadAnswer('the answer is no HTTP/1.1')
    const status = Number(statusLine[2])
    let isKeptAlive = statusLine[1] === '1'
    let length: number | undefined
    let isChunked = false
    const headers: string[] = []
    for (let at = lineEnd < 0 ? head.length : lineEnd + 2; at < head.length; ) {
      const end = head.indexOf('\r\n', at)
      const line = head.slice(at, end < 0 ? head.length : end)
      at = end < 0 ? head.length : end + 2
      const colon = line.indexOf(':')
      if (colon <= 0 || !headerName.test(line.slice(0, colon))) throw new BadAnswer('a header line has no name')
      const name = line.slice(0, colon).toLowerCase()
      const value = line.slice(colon + 1).trim()
      if (control.test(value)) throw new BadAnswer('a header value has a control character')
      if (name === 'content-length') length = contentLength(value, length)
      else if (name === 'transfer-encoding') isChunked = chunkedOnly(value)
      else if (name === 'connection') isKeptAlive = !/\bclose\b/i.test(value) && isKeptAlive
      headers.push(name, value)
      if (headers.length > headerLinesMax * 2) throw new BadAnswer('an answer has too many headers')
    }
    if (status < 200) {
      if (status === 101) throw new BadAnswer('an answer changes the protocol')
      return
    }
    if (isChunked && length !== undefined) throw new BadAnswer('an answer has two lengths')
    this.#isKeptAlive = isKeptAlive
    if (this.#isHead || status === 204 || status === 304 || length === 0) this.#phase = 'done'
    else if (isChunked) this.#phase = 'chunk-size'
    else if (length !== undefined) {
      this.#phase = 'length'
      this.#missing = length
      this.#isUntouched = true
    } else {
      this.#phase = 'until-close'
      this.#isKeptAlive = false
    }
    this.#events?.onHead(status, headers)
  }

  /** Lines around the chunks of a body. */
  #readLine(bytes: Buffer, from: number): number {
    const newline = bytes.indexOf(0x0a, from)
    const end = newline < 0 ? bytes.length : newline + 1
    const line = Buffer.concat([this.#partial, bytes.subarray(from, end)])
    if (line.length > headBytesMax) throw new BadAnswer('a line between chunks is too long')
    if (newline < 0) {
      this.#partial = line
      return end
    }
    this.#partial = emptyBytes
    if (line.at(-2) !== 0x0d) throw new BadAnswer('a line between chunks has no end')
    this.#takeLine(line.toString('latin1', 0, line.length - 2))
    return end
  }

  #takeLine(line: string): void {
    if (this.#phase === 'chunk-end') {
      if (line !== '') throw new BadAnswer('a chunk is longer than it says')
      this.#phase = 'chunk-size'
    } else if (this.#phase === 'chunk-size') {
      const size = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line)
      if (size === null) throw new BadAnswer('a chunk has no size')
      this.#missing = Number.parseInt(size[1]!, 16)
      this.#phase = this.#missing === 0 ? 'trailers' : 'chunk'
    } else if (line === '') this.#phase = 'done'
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const control = /[\0-\x08\x0a-\x1f\x7f]/
const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

function contentLength(value: string, before: number | undefined): number {
  const length = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN
  if (Number.isNaN(length) || (before !== undefined && before !== length)) {
    throw new BadAnswer('an answer has no clear length')
  }
  return length
}

function chunkedOnly(value: string): true {
  if (value.toLowerCase() !== 'chunked') throw new BadAnswer(`transfer encoding ${value}`)
  return true
}
