/** Vectors of documents by embedder. A row without vectors says that the document was asked and has none. */
import { Bitmap } from '../lib/bitmap.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { GivenVectors } from './document-check.ts'
import { type IndexEnv, mainKeys, readBitmap } from './index-env.ts'
import { KeyBuilder } from './index-keys.ts'

/** Count, then whether they are to be computed again, then the numbers. */
export function encodeVectors({ vectors, regenerate }: GivenVectors): Uint8Array {
  const dimensions = vectors[0]?.length ?? 0
  const bytes = new Uint8Array(8 + vectors.length * dimensions * 4)
  const head = new Uint32Array(bytes.buffer, 0, 2)
  head[0] = vectors.length
  head[1] = regenerate ? 1 : 0
  const numbers = new Float32Array(bytes.buffer, 8)
  for (const [index, vector] of vectors.entries()) numbers.set(vector, index * dimensions)
  return bytes
}

export function decodeVectors(bytes: Uint8Array): { readonly vectors: Float32Array[]; readonly regenerate: boolean } {
  const own = Uint8Array.from(bytes)
  const [count, regenerate] = new Uint32Array(own.buffer, 0, 2)
  const numbers = new Float32Array(own.buffer, 8)
  const dimensions = count! > 0 ? numbers.length / count! : 0
  return {
    vectors: Array.from({ length: count! }, (_, index) =>
      numbers.subarray(index * dimensions, (index + 1) * dimensions),
    ),
    regenerate: regenerate === 1,
  }
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

  /** The document itself says what its vectors are, or that it has none. */
  has(embedder: string, docid: number): boolean {
    return this.read(embedder, docid)?.regenerate === false
  }

  read(embedder: string, docid: number): GivenVectors | undefined {
    const bytes = this.#env.vectors.getBinary(this.#keys.vector(embedder, docid))
    if (bytes === undefined) return undefined
    const { vectors, regenerate } = decodeVectors(bytes)
    return { vectors: vectors.map((vector) => [...vector]), regenerate }
  }

  put(docid: number, vectors: ReadonlyMap<string, GivenVectors>): void {
    for (const [embedder, given] of vectors) {
      this.#env.vectors.putSync(this.#keys.vector(embedder, docid), encodeVectors(given))
      if (given.vectors.length > 0) this.#docidsOf(embedder).add(docid)
      else this.#docidsOf(embedder).remove(docid)
    }
  }

  deleteAll(docid: number): void {
    for (const embedder of this.#embedders) {
      const docids = this.#docidsOf(embedder)
      this.#env.vectors.removeSync(this.#keys.vector(embedder, docid))
      docids.remove(docid)
    }
  }

  /** Vectors given in a stored document; those that cannot be read are left where they are. */
  parse(given: JsonObject, embedders: readonly string[]): ReadonlyMap<string, GivenVectors> {
    const found = new Map<string, GivenVectors>()
    for (const name of embedders) {
      const value = given[name]
      if (value === undefined) continue
      const list = isObject(value) ? value.embeddings : value
      const vectors = listOfVectors(list ?? [])
      if (vectors !== undefined) found.set(name, { vectors, regenerate: isObject(value) && value.regenerate === true })
    }
    return found
  }

  drop(embedder: string): void {
    for (const docid of this.#docidsOf(embedder).toArray())
      this.#env.vectors.removeSync(this.#keys.vector(embedder, docid))
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

function listOfVectors(value: Json): number[][] | undefined {
  if (!Array.isArray(value)) return undefined
  if (value.length === 0) return []
  const lists: readonly Json[] = Array.isArray(value[0]) ? value : [value]
  const vectors = lists.map((list) =>
    Array.isArray(list) ? list.filter((number): number is number => typeof number === 'number') : [],
  )
  return vectors.some((vector) => vector.length === 0) ? undefined : vectors
}
