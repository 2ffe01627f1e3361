/** Vectors of neighbouring documents, packed for the search of the nearest, and a cache of them that is bounded in bytes. */

/** Of a stored row, before the numbers: count, then flags. */
export const headBytes = 8

/** How many vectors a stored row holds. */
export const readCount = (stored: Uint8Array): number =>
  stored[0]! + stored[1]! * 2 ** 8 + stored[2]! * 2 ** 16 + stored[3]! * 2 ** 24

/** Documents per block. */
export const vectorBlockSize = 1024

export interface VectorBlock {
  /** The document of every row, ascending: a document's rows stand together, in their order. */
  readonly docids: Uint32Array
  /** Rows one after the other, each `dimensions` long. */
  readonly values: Float32Array
  readonly dimensions: number
  /** Sum of the squares of each row. */
  readonly squares: Float64Array
}

/** `docids` ascending. Shorter vectors are filled up with zeros. */
export function packVectors(
  docids: readonly number[],
  vectorsOf: (docid: number) => readonly ArrayLike<number>[],
): VectorBlock {
  const owners: number[] = []
  const rows: ArrayLike<number>[] = []
  let dimensions = 0
  for (const docid of docids) {
    for (const vector of vectorsOf(docid)) {
      owners.push(docid)
      rows.push(vector)
      dimensions = Math.max(dimensions, vector.length)
    }
  }
  const values = new Float32Array(rows.length * dimensions)
  for (const [row, vector] of rows.entries()) values.set(vector, row * dimensions)
  return block(owners, values, dimensions)
}

function block(owners: readonly number[], values: Float32Array, dimensions: number): VectorBlock {
  const squares = new Float64Array(owners.length)
  for (let row = 0; row < owners.length; row += 1) squares[row] = sumOfSquares(values, row * dimensions, dimensions)
  return { docids: Uint32Array.from(owners), values, dimensions, squares }
}

/**
 * The same from rows as they are stored (`vector-table.ts`), copied once; undefined when their vectors differ in length.
 *
 * @param read  the row of a document; its bytes last until the next call.
 */
export function packStored(
  docids: readonly number[],
  read: (docid: number) => Uint8Array | undefined,
): VectorBlock | undefined {
  const owners: number[] = []
  let bytes = new Uint8Array()
  let rowBytes = 0
  for (const docid of docids) {
    const stored = read(docid)
    const count = stored === undefined ? 0 : readCount(stored)
    if (stored === undefined || count === 0) continue
    const size = stored.length - headBytes
    if (rowBytes === 0) rowBytes = size / count
    if (size !== rowBytes * count) return undefined
    const from = owners.length * rowBytes
    if (from + size > bytes.length) {
      const larger = new Uint8Array(Math.max(from + size, bytes.length * 2, docids.length * rowBytes))
      larger.set(bytes.subarray(0, from))
      bytes = larger
    }
    bytes.set(stored.subarray(headBytes), from)
    for (let row = 0; row < count; row += 1) owners.push(docid)
  }
  const values = new Float32Array(bytes.buffer, 0, (owners.length * rowBytes) / 4)
  return block(owners, values, rowBytes / 4)
}

/** `row` is a place in `values`. Four sums at once, since each addition waits for the one before it. */
export function dotProduct(values: Float32Array, row: number, other: Float64Array, length: number): number {
  let first = 0
  let second = 0
  let third = 0
  let fourth = 0
  let at = 0
  for (; at + 3 < length; at += 4) {
    const from = row + at
    first += values[from]! * other[at]!
    second += values[from + 1]! * other[at + 1]!
    third += values[from + 2]! * other[at + 2]!
    fourth += values[from + 3]! * other[at + 3]!
  }
  for (; at < length; at += 1) first += values[row + at]! * other[at]!
  return first + second + (third + fourth)
}

function sumOfSquares(values: Float32Array, row: number, length: number): number {
  let sum = 0
  for (let at = row; at < row + length; at += 1) sum += values[at]! * values[at]!
  return sum
}

const byteCountOf = ({ docids, values, squares }: VectorBlock): number =>
  docids.byteLength + values.buffer.byteLength + squares.byteLength + 500

interface Kept {
  readonly folder: string
  readonly version: number
  readonly block: VectorBlock
  scan: number
}

/** Blocks of recent searches. One per thread; shared by its indexes. */
export class VectorCache {
  readonly #byteCountMax: number
  /** Least recently used first. */
  readonly #blocks = new Map<string, Kept>()
  #byteCount = 0
  #scan = 0

  constructor(byteCountMax: number) {
    this.#byteCountMax = byteCountMax
  }

  /** A search begins: what it uses is not dropped for what it reads later, or a set that is too large would never be met. */
  beginScan(): void {
    this.#scan += 1
  }

  /** `version`: changes with the block's content. */
  get(folder: string, name: string, version: number): VectorBlock | undefined {
    const key = `${folder}\0${name}`
    const kept = this.#blocks.get(key)
    if (kept === undefined) return undefined
    this.#blocks.delete(key)
    if (kept.version !== version) {
      this.#byteCount -= byteCountOf(kept.block)
      return undefined
    }
    kept.scan = this.#scan
    this.#blocks.set(key, kept)
    return kept.block
  }

  put(folder: string, name: string, version: number, block: VectorBlock): void {
    const byteCount = byteCountOf(block)
    for (const [key, kept] of this.#blocks) {
      if (this.#byteCount + byteCount <= this.#byteCountMax) break
      if (kept.scan === this.#scan) return
      this.#drop(key, kept)
    }
    if (this.#byteCount + byteCount > this.#byteCountMax) return
    this.#byteCount += byteCount
    this.#blocks.set(`${folder}\0${name}`, { folder, version, block, scan: this.#scan })
  }

  forget(folder: string): void {
    for (const [key, kept] of this.#blocks) if (kept.folder === folder) this.#drop(key, kept)
  }

  #drop(key: string, { block }: Kept): void {
    this.#blocks.delete(key)
    this.#byteCount -= byteCountOf(block)
  }
}
