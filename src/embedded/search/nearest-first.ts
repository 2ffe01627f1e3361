/** Documents by likeness, most similar first, ties by number: ordered only as far as they are asked for. */

export interface Neighbour {
  readonly docid: number
  /** 0 to 1. */
  readonly similarity: number
}

/** A heap over two arrays, which it takes over. */
export class NearestFirst {
  readonly #docids: Uint32Array
  readonly #similarities: Float32Array
  #size: number

  constructor(docids: Uint32Array, similarities: Float32Array) {
    this.#docids = docids
    this.#similarities = similarities
    this.#size = docids.length
    for (let at = (this.#size >>> 1) - 1; at >= 0; at -= 1) this.#sink(at)
  }

  get first(): Neighbour | undefined {
    return this.#size === 0 ? undefined : { docid: this.#docids[0]!, similarity: this.#similarities[0]! }
  }

  take(): Neighbour | undefined {
    const { first } = this
    if (first === undefined) return undefined
    this.#size -= 1
    this.#docids[0] = this.#docids[this.#size]!
    this.#similarities[0] = this.#similarities[this.#size]!
    this.#sink(0)
    return first
  }

  #sink(from: number): void {
    const docids = this.#docids
    const similarities = this.#similarities
    const docid = docids[from]!
    const similarity = similarities[from]!
    let at = from
    for (;;) {
      let child = 2 * at + 1
      if (child >= this.#size) break
      const other = child + 1
      if (other < this.#size && isNearer(similarities[other]!, docids[other]!, similarities[child]!, docids[child]!))
        child = other
      if (!isNearer(similarities[child]!, docids[child]!, similarity, docid)) break
      docids[at] = docids[child]!
      similarities[at] = similarities[child]!
      at = child
    }
    docids[at] = docid
    similarities[at] = similarity
  }
}

const isNearer = (similarity: number, docid: number, otherSimilarity: number, otherDocid: number): boolean =>
  similarity > otherSimilarity || (similarity === otherSimilarity && docid < otherDocid)
