/**
 * Cuts an NDJSON payload at line ends into slices of about equal size, in one pass and without holding it. Slice `k` holds
 * the lines that begin in bytes `k × sliceBytes` to `(k + 1) × sliceBytes`, so that every reader cuts at the same places;
 * a slice may be empty when a line is longer than one.
 */
const lineFeed = 0x0a

export function sliceCount(byteCount: number, sliceBytes: number): number {
  return Math.max(1, Math.ceil(byteCount / sliceBytes))
}

export class PayloadSlices {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #byteCount: number
  readonly #sliceBytes: number
  #position = 0
  #rest: Uint8Array | undefined

  constructor(chunks: AsyncIterable<Uint8Array>, byteCount: number, sliceBytes: number) {
    this.#chunks = chunks[Symbol.asyncIterator]()
    this.#byteCount = byteCount
    this.#sliceBytes = sliceBytes
  }

  /** Slices are asked for in order; each must have been read to its end before the next one. */
  isEmpty(slice: number): boolean {
    return this.#position >= this.#endOf(slice)
  }

  async *read(slice: number): AsyncGenerator<Uint8Array> {
    const end = this.#endOf(slice)
    while (this.#position < end) {
      const chunk = await this.#nextChunk()
      if (chunk === undefined) return
      // The slice ends behind the first line feed at or behind its last byte.
      const from = end - 1 - this.#position
      const cut = from < chunk.length ? chunk.indexOf(lineFeed, Math.max(0, from)) : -1
      if (cut >= 0) {
        yield* this.#take(chunk, cut + 1)
        return
      }
      yield* this.#take(chunk, chunk.length)
      if (from < chunk.length) return yield* this.#finishLine()
    }
  }

  async close(): Promise<void> {
    await this.#chunks.return?.()
  }

  async *#finishLine(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = await this.#nextChunk()
      if (chunk === undefined) return
      const cut = chunk.indexOf(lineFeed)
      yield* this.#take(chunk, cut < 0 ? chunk.length : cut + 1)
      if (cut >= 0) return
    }
  }

  *#take(chunk: Uint8Array, length: number): Generator<Uint8Array> {
    this.#rest = length < chunk.length ? chunk.subarray(length) : undefined
    this.#position += length
    yield length < chunk.length ? chunk.subarray(0, length) : chunk
  }

  async #nextChunk(): Promise<Uint8Array | undefined> {
    if (this.#rest !== undefined) return this.#rest
    const next = await this.#chunks.next()
    return next.done === true ? undefined : next.value
  }

  #endOf(slice: number): number {
    return Math.min(this.#byteCount, (slice + 1) * this.#sliceBytes)
  }
}
