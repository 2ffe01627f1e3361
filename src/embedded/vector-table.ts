/** Vectors of documents by embedder. A row without vectors says that the document was asked and has none. */
import { Bitmap } from '../lib/bitmap.ts'
import { type IndexEnv, mainKeys, readBitmap } from './index-env.ts'
import { KeyBuilder } from './index-keys.ts'

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
  const bytes = new Uint8Array(8 + vectors.length * dimensions * 4)
  const head = new Uint32Array(bytes.buffer, 0, 2)
  head[0] = vectors.length
  head[1] = (regenerate ? regenerateFlag : 0) | (isGenerated ? generatedFlag : 0)
  const numbers = new Float32Array(bytes.buffer, 8)
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
  const numbers = new Float32Array(own.buffer, 8)
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

export class VectorTable {
  readonly #env: IndexEnv
  readonly #embedders: readonly string[]
  readonly #keys = new KeyBuilder()
  readonly #docids = new Map<string, Bitmap>()

  constructor(env: IndexEnv, embedders: readonly string[]) {
    this.#env = env
    this.#embedders = embedders
  }

  read(embedder: string, docid: number): DecodedVectors | undefined {
    const bytes = this.#env.vectors.getBinary(this.#keys.vector(embedder, docid))
    return bytes === undefined ? undefined : decodeVectors(bytes)
  }

  put(embedder: string, docid: number, stored: StoredVectors): void {
    this.#env.vectors.putSync(this.#keys.vector(embedder, docid), encodeVectors(stored))
    if (stored.vectors.length > 0) this.#docidsOf(embedder).add(docid)
    else this.#docidsOf(embedder).remove(docid)
  }

  deleteAll(docid: number): void {
    for (const embedder of this.#embedders) {
      this.#env.vectors.removeSync(this.#keys.vector(embedder, docid))
      this.#docidsOf(embedder).remove(docid)
    }
  }

  /** `docids`: all documents that may have a row. */
  drop(embedder: string, docids: Iterable<number>): void {
    for (const docid of docids) this.#env.vectors.removeSync(this.#keys.vector(embedder, docid))
    this.#docids.delete(embedder)
    this.#env.main.removeSync(mainKeys.vectorDocids(embedder))
  }

  clear(): void {
    this.#env.vectors.clearSync()
    for (const embedder of this.#embedders) this.#docids.set(embedder, Bitmap.of())
  }

  flush(): void {
    for (const [embedder, docids] of this.#docids)
      this.#env.main.putSync(mainKeys.vectorDocids(embedder), docids.serialize())
  }

  #docidsOf(embedder: string): Bitmap {
    let docids = this.#docids.get(embedder)
    if (docids === undefined) {
      docids = readBitmap(this.#env.main, mainKeys.vectorDocids(embedder))
      this.#docids.set(embedder, docids)
    }
    return docids
  }
}
