/** A request that `plain-listener.ts` read. Its body is small and comes in pieces, often with the head. */
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { BodySource } from './http-body.ts'
import type { RequestHead } from './request-head.ts'

export class PlainRequest {
  readonly method: string
  readonly url: string
  readonly rawHeaders: readonly string[]
  readonly bodyBytes: number
  readonly socket: Socket
  #state: 'coming' | 'whole' | 'broken'
  #pieces: Buffer[] = []
  #taker: ((body: Buffer | undefined) => void) | undefined
  #stream: PlainBody | undefined
  #isUnwanted = false

  constructor(head: RequestHead, socket: Socket) {
    this.method = head.method
    this.url = head.url
    this.rawHeaders = head.rawHeaders
    this.bodyBytes = head.bodyBytes
    this.socket = socket
    this.#state = head.bodyBytes === 0 ? 'whole' : 'coming'
  }

  /** @param done  called once, at once when the body is there; `undefined` = the client went away before that. */
  collect(done: (body: Buffer | undefined) => void): void {
    if (this.#state === 'coming') this.#taker = done
    else done(this.#state === 'whole' ? this.#joined() : undefined)
  }

  /** The body as a stream. Either this or `collect` is used. */
  stream(): BodySource {
    if (this.#stream === undefined) {
      this.#stream = new PlainBody(this.rawHeaders)
      for (const piece of this.#pieces) this.#stream.push(piece)
      this.#pieces = []
      if (this.#state === 'whole') this.#stream.end()
      if (this.#state === 'broken') this.#stream.destroy()
    }
    return this.#stream
  }

  /** The next bytes of the body. */
  push(piece: Buffer, isLast: boolean): void {
    if (isLast) this.#state = 'whole'
    if (this.#isUnwanted) return
    if (this.#stream === undefined) this.#pieces.push(piece)
    else this.#stream.push(piece)
    if (!isLast) return
    this.#stream?.end()
    this.#taker?.(this.#joined())
    this.#taker = undefined
  }

  /** The answer was given: what is still to come of the body is dropped, unless somebody waits for it. */
  dropRest(): void {
    if (this.#taker !== undefined || this.#stream !== undefined) return
    this.#isUnwanted = true
    this.#pieces = []
  }

  /** The connection is no more. */
  breakOff(): void {
    if (this.#state !== 'coming') return
    this.#state = 'broken'
    this.#pieces = []
    this.#stream?.destroy()
    this.#taker?.(undefined)
    this.#taker = undefined
  }

  #joined(): Buffer {
    const [first = emptyBody] = this.#pieces
    return this.#pieces.length <= 1 ? first : Buffer.concat(this.#pieces)
  }
}

const emptyBody = Buffer.alloc(0)

/** Pieces are few and small, so that nothing is held back from a reader that is slow. */
class PlainBody extends Readable implements BodySource {
  complete = false
  readonly headers: BodySource['headers']

  constructor(rawHeaders: readonly string[]) {
    super()
    const headerOf = (wanted: string) => {
      const at = rawHeaders.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === wanted)
      return at < 0 ? undefined : rawHeaders[at + 1]
    }
    this.headers = {
      'content-encoding': headerOf('content-encoding'),
      'content-length': headerOf('content-length'),
    }
  }

  override _read(): void {}

  end(): void {
    this.complete = true
    this.push(null)
  }
}
