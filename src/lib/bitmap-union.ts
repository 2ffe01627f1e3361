/** The union of many written bitmaps, most of them short lists, without making a bitmap of each. */
import { Bitmap } from './bitmap.ts'
import { type Chunk, wordCount } from './bitmap-chunk.ts'

/** Up to this many values are gathered as they come, so that small unions cost no bits. */
const gatheredMax = 512

export class BitmapUnion {
  readonly #gathered: number[] = []
  /** Bits of values with one high half. */
  readonly #words = new Map<number, Uint32Array>()
  #key = -1
  #current: Uint32Array = new Uint32Array(0)

  /** @param bytes  what `Bitmap.serialize` wrote; they may change afterwards. */
  add(bytes: Uint8Array): void {
    const isList = Bitmap.readList(bytes, (value) => {
      if (this.#gathered.length < gatheredMax) this.#gathered.push(value)
      else this.#addValue(value)
    })
    if (!isList) this.addBitmap(Bitmap.deserialize(bytes))
  }

  addBitmap(bitmap: Bitmap): void {
    bitmap.eachChunk((key, chunk) => this.#addChunk(key, chunk))
  }

  /** @param values  in any order. */
  addValues(values: readonly number[]): void {
    for (const value of values) {
      if (this.#gathered.length < gatheredMax) this.#gathered.push(value)
      else this.#addValue(value)
    }
  }

  build(): Bitmap {
    if (this.#words.size === 0) return Bitmap.fromSorted([...new Set(this.#gathered)].sort((a, b) => a - b))
    for (const value of this.#gathered) this.#addValue(value)
    return Bitmap.ofBits(this.#words)
  }

  #addValue(value: number): void {
    const key = value >>> 16
    if (key !== this.#key) this.#move(key)
    this.#current[(value & 0xffff) >>> 5]! |= 1 << (value & 31)
  }

  #addChunk(key: number, chunk: Chunk): void {
    this.#move(key)
    const words = this.#current
    if (chunk.kind === 'bits') for (let index = 0; index < wordCount; index += 1) words[index]! |= chunk.words[index]!
    else
      for (let index = 0; index < chunk.size; index += 1) {
        const value = chunk.values[index]!
        words[value >>> 5]! |= 1 << (value & 31)
      }
  }

  #move(key: number): void {
    let words = this.#words.get(key)
    if (words === undefined) {
      words = new Uint32Array(wordCount)
      this.#words.set(key, words)
    }
    this.#key = key
    this.#current = words
  }
}
