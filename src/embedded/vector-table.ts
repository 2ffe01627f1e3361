/** Vectors of documents by embedder. A row without vectors says that the document was asked and has none. */
import { Bitmap } from '../lib/bitmap.ts'
import { type IndexEnv, mainKeys, readBitmap, readRevision } from './index-env.ts'
import { KeyBuilder } from './index-keys.ts'
import { headBytes, readCount, vectorBlockSize } from './vector-blocks.ts'

export interface StoredVectors {
  readonly vectors: readonly ArrayLike<number>[]
  /** Computed again when the document changes. */
  readonly regenerate: boolean
  /** The embedder made them; otherwise they came with the document. */
  readonly isGenerated: boolean
}

const regenerateFlag = 1
const generatedFlag = 2

/** Count, then flags, then the numbers. */
export function encodeVectors({ vectors, regenerate, isGenerated }: StoredVectors): Uint8Array {
  const dimensions = vectors[0]?.length ?? 0
  const bytes = new Uint8Array(headBytes + vectors.length * dimensions * 4)
  const head = new Uint32Array(bytes.buffer, 0, 2)
  head[0] = vectors.length
  head[1] = (regenerate ? regenerateFlag : 0) | (isGenerated ? generatedFlag : 0)
  const numbers = new Float32Array(bytes.buffer, headBytes)
  for (const [index, vector] of vectors.entries()) numbers.set(vector, index * dimensions)
  return bytes
}

export interface DecodedVectors extends StoredVectors {
  readonly vectors: readonly Float32Array[]
}

export function decodeVectors(bytes: Uint8Array): DecodedVectors {
  // Copied into a buffer of its own: numbers must stand at multiples of four.
  const own = new Uint8Array(bytes)
  const [count = 0, flags = 0] = new Uint32Array(own.buffer, 0, 2)
  const numbers = new Float32Array(own.buffer, headBytes)
  const dimensions = count > 0 ? numbers.length / count : 0
  return {
    vectors: Array.from({ length: count }, (_, index) =>
      numbers.subarray(index * dimensions, (index + 1) * dimensions),
    ),
    regenerate: (flags & regenerateFlag) !== 0,
    isGenerated: (flags & generatedFlag) !== 0,
  }
}

/** What is kept of vectors that are quantised to one bit: 1 where a number is above 0. */
export function quantised(vector: ArrayLike<number>): Float32Array {
  return Float32Array.from(vector, (value) => (value > 0 ? 1 : 0))
}

/** Two numbers per block of documents: the revision of its last change, and its vectors; unknown in indexes of before. */
export function readBlockFacts(env: IndexEnv, embedder: string): Uint32Array {
  const bytes = env.main.getBinary(mainKeys.vectorBlocks(embedder))
  return bytes === undefined ? new Uint32Array() : new Uint32Array(new Uint8Array(bytes).buffer)
}

export const versionOf = (facts: Uint32Array, block: number): number => facts[2 * block] ?? 0

const unknownCount = 2 ** 32 - 1

/** Vectors of an embedder in all its documents `docids`. */
export function countVectors(env: IndexEnv, embedder: string, docids: Bitmap): number {
  const facts = readBlockFacts(env, embedder)
  const keys = new KeyBuilder()
  let count = 0
  const unknown = new Set<number>()
  let block = -1
  for (const docid of docids) {
    const own = Math.floor(docid / vectorBlockSize)
    if (own !== block) {
      block = own
      const known = facts[2 * block + 1] ?? unknownCount
      if (known === unknownCount) unknown.add(block)
      else count += known
    }
    if (unknown.has(block)) count += countOf(env.vectors.getBinary(keys.vector(embedder, docid)))
  }
  return count
}

const countOf = (bytes: Uint8Array | undefined): number => (bytes === undefined ? 0 : readCount(bytes))

export class VectorTable {
  readonly #env: IndexEnv
  readonly #embedders: readonly string[]
  readonly #keys = new KeyBuilder()
  readonly #docids = new Map<string, Bitmap>()
  /** By embedder, how many blocks have no known count. */
  readonly #uncounted = new Map<string, number>()
  /** By embedder and block, by how many vectors it grew. */
  readonly #changes = new Map<string, Map<number, number>>()

  constructor(env: IndexEnv, embedders: readonly string[]) {
    this.#env = env
    this.#embedders = embedders
  }

  read(embedder: string, docid: number): DecodedVectors | undefined {
    const bytes = this.#env.vectors.getBinary(this.#keys.vector(embedder, docid))
    return bytes === undefined ? undefined : decodeVectors(bytes)
  }

  put(embedder: string, docid: number, stored: StoredVectors): void {
    this.#count(embedder, docid, stored.vectors.length)
    this.#env.vectors.putSync(this.#keys.vector(embedder, docid), encodeVectors(stored))
  }

  deleteAll(docid: number): void {
    for (const embedder of this.#embedders) {
      this.#count(embedder, docid, 0)
      this.#env.vectors.removeSync(this.#keys.vector(embedder, docid))
    }
  }

  /** `docids`: all documents that may have a row. */
  drop(embedder: string, docids: Iterable<number>): void {
    for (const docid of docids) this.#env.vectors.removeSync(this.#keys.vector(embedder, docid))
    this.#docids.delete(embedder)
    this.#changes.delete(embedder)
    this.#env.main.removeSync(mainKeys.vectorDocids(embedder))
    this.#env.main.removeSync(mainKeys.vectorBlocks(embedder))
  }

  clear(): void {
    this.#env.vectors.clearSync()
    for (const embedder of this.#embedders) {
      this.#docids.set(embedder, Bitmap.of())
      this.#uncounted.delete(embedder)
      this.#changes.delete(embedder)
      this.#env.main.removeSync(mainKeys.vectorBlocks(embedder))
    }
  }

  flush(): void {
    for (const [embedder, docids] of this.#docids)
      this.#env.main.putSync(mainKeys.vectorDocids(embedder), docids.serialize())
    for (const [embedder, changes] of this.#changes) this.#flushFacts(embedder, changes)
    this.#changes.clear()
  }

  /** Before the row is written: what it holds is counted. */
  #count(embedder: string, docid: number, after: number): void {
    const docids = this.#docidsOf(embedder)
    const hadAny = docids.has(docid)
    if (!hadAny && after === 0) return
    const before = hadAny ? countOf(this.#env.vectors.getBinary(this.#keys.vector(embedder, docid))) : 0
    if (after > 0) docids.add(docid)
    else docids.remove(docid)
    let changes = this.#changes.get(embedder)
    if (changes === undefined) {
      changes = new Map()
      this.#changes.set(embedder, changes)
    }
    const block = Math.floor(docid / vectorBlockSize)
    changes.set(block, (changes.get(block) ?? 0) + after - before)
  }

  #flushFacts(embedder: string, changes: ReadonlyMap<number, number>): void {
    const known = readBlockFacts(this.#env, embedder)
    const uncounted = this.#uncounted.get(embedder) ?? 0
    const facts = new Uint32Array(2 * Math.max(known.length / 2, uncounted, Math.max(...changes.keys()) + 1))
    for (let block = 0; block < uncounted; block += 1) facts[2 * block + 1] = unknownCount
    facts.set(known)
    const revision = readRevision(this.#env) + 1
    for (const [block, by] of changes) {
      facts[2 * block] = revision
      if (facts[2 * block + 1] !== unknownCount) facts[2 * block + 1]! += by
    }
    this.#env.main.putSync(mainKeys.vectorBlocks(embedder), new Uint8Array(facts.buffer))
  }

  #docidsOf(embedder: string): Bitmap {
    let docids = this.#docids.get(embedder)
    if (docids === undefined) {
      docids = readBitmap(this.#env.main, mainKeys.vectorDocids(embedder))
      this.#docids.set(embedder, docids)
      // An index of before the facts of blocks: what its blocks hold is counted when it is asked for.
      const isUncounted = this.#env.main.getBinary(mainKeys.vectorBlocks(embedder)) === undefined
      this.#uncounted.set(embedder, isUncounted ? Math.ceil(((docids.max() ?? -1) + 1) / vectorBlockSize) : 0)
    }
    return docids
  }
}
