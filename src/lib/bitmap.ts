/**
 * Compressed sets of 32-bit unsigned integers, in the manner of Roaring bitmaps, in plain memory that the collector frees
 * (a WASM port needs explicit disposal and a heap per worker).
 *
 * Operations never change their operands unless their name says so (`add`, `remove`, `addMany`). Results share chunks with
 * their operands; a chunk is copied before it is changed in place.
 */
import { assert } from './assert.ts'
import type { Chunk } from './bitmap-chunk.ts'
import {
  arrayChunk,
  arraySizeMax,
  bitsChunk,
  chunkAnd,
  chunkAndNot,
  chunkAndSize,
  chunkEquals,
  chunkHas,
  chunkMax,
  chunkMin,
  chunkMinCommon,
  chunkOr,
  chunkRank,
  chunkUnion,
  copyChunk,
  eachValue,
  erase,
  insert,
  rangeChunk,
  settled,
} from './bitmap-chunk.ts'

export interface BitmapReader {
  readonly size: number
  has(value: number): boolean
}

/** Up to this many values are written as differences in variable length. */
const listSizeMax = 64
const chunkedTag = 255

export class Bitmap implements BitmapReader {
  /** High halves of the values, ascending; `#chunks` are the low halves. No chunk is empty. */
  readonly #keys: number[]
  readonly #chunks: Chunk[]
  /** Chunks that this bitmap alone holds and may change in place. */
  #owned: Set<Chunk> | undefined
  #size = -1

  private constructor(keys: number[], chunks: Chunk[]) {
    this.#keys = keys
    this.#chunks = chunks
  }

  static of(...values: number[]): Bitmap {
    return Bitmap.from(values)
  }

  static from(values: Iterable<number>): Bitmap {
    const bitmap = new Bitmap([], [])
    bitmap.addMany(values)
    return bitmap
  }

  /** From ascending values without repeats: the fast way in. */
  static fromSorted(values: ArrayLike<number>, count = values.length): Bitmap {
    const keys: number[] = []
    const chunks: Chunk[] = []
    let start = 0
    while (start < count) {
      const key = values[start]! >>> 16
      let end = start + 1
      while (end < count && values[end]! >>> 16 === key) end += 1
      const size = end - start
      keys.push(key)
      if (size <= arraySizeMax) {
        const low = new Uint16Array(size)
        for (let index = 0; index < size; index += 1) low[index] = values[start + index]! & 0xffff
        chunks.push(arrayChunk(low))
      } else {
        const words = new Uint32Array(2048)
        for (let index = start; index < end; index += 1)
          words[(values[index]! & 0xffff) >>> 5]! |= 1 << (values[index]! & 31)
        chunks.push(bitsChunk(words, size))
      }
      start = end
    }
    return new Bitmap(keys, chunks)
  }

  /** `from` inclusive, `to` exclusive. */
  static range(from: number, to: number): Bitmap {
    const keys: number[] = []
    const chunks: Chunk[] = []
    for (let start = from; start < to; ) {
      const key = Math.floor(start / 65536)
      const end = Math.min(to, (key + 1) * 65536)
      keys.push(key)
      chunks.push(rangeChunk(start & 0xffff, (end - 1) & 0xffff))
      start = end
    }
    return new Bitmap(keys, chunks)
  }

  static union(bitmaps: readonly Bitmap[]): Bitmap {
    if (bitmaps.length === 0) return new Bitmap([], [])
    if (bitmaps.length === 1) return bitmaps[0]!.clone()
    if (bitmaps.length === 2) return bitmaps[0]!.or(bitmaps[1]!)
    const groups = new Map<number, Chunk[]>()
    for (const bitmap of bitmaps) {
      bitmap.#owned = undefined
      for (const [index, key] of bitmap.#keys.entries()) {
        const group = groups.get(key)
        if (group) group.push(bitmap.#chunks[index]!)
        else groups.set(key, [bitmap.#chunks[index]!])
      }
    }
    const keys = [...groups.keys()].sort((a, b) => a - b)
    return new Bitmap(
      keys,
      keys.map((key) => chunkUnion(groups.get(key)!)),
    )
  }

  /** Reads what `serialize` wrote; may keep views of `bytes`, which must not change afterwards. */
  static deserialize(bytes: Uint8Array): Bitmap {
    const tag = bytes[0] ?? 0
    if (tag !== chunkedTag) return readShortList(bytes, tag)
    // Not `slice`: that of a Buffer is a view.
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes)
    const view = new DataView(aligned.buffer, aligned.byteOffset, aligned.byteLength)
    const count = view.getUint16(2, true) || 65536
    const keys: number[] = []
    const chunks: Chunk[] = []
    let at = aligned.byteOffset + 4 + count * 4
    for (let index = 0; index < count; index += 1) {
      const size = view.getUint16(6 + index * 4, true) + 1
      keys.push(view.getUint16(4 + index * 4, true))
      if (size > arraySizeMax) {
        chunks.push(bitsChunk(new Uint32Array(aligned.buffer, at, 2048), size))
        at += 8192
      } else {
        chunks.push(arrayChunk(new Uint16Array(aligned.buffer, at, size)))
        at += (size + (size & 1)) * 2
      }
    }
    return new Bitmap(keys, chunks)
  }

  /** Bits of values by their high halves; the arrays are the bitmap's own afterwards. */
  static ofBits(words: ReadonlyMap<number, Uint32Array>): Bitmap {
    const keys: number[] = []
    const chunks: Chunk[] = []
    for (const key of [...words.keys()].sort((a, b) => a - b)) {
      const chunk = bitsChunk(words.get(key)!)
      if (chunk.size === 0) continue
      keys.push(key)
      chunks.push(settled(chunk))
    }
    return new Bitmap(keys, chunks)
  }

  /** Visits the values of a written bitmap that is a short list; false when it is another one, and none was visited. */
  static readList(bytes: Uint8Array, visit: (value: number) => void): boolean {
    const count = bytes[0] ?? 0
    if (count > listSizeMax) return false
    let at = 1
    let value = 0
    for (let index = 0; index < count; index += 1) {
      let scale = 1
      let byte = bytes[at++]!
      while (byte > 127) {
        value += (byte & 127) * scale
        scale *= 128
        byte = bytes[at++]!
      }
      value += byte * scale
      visit(value)
    }
    return true
  }

  /** What `fromSorted(values).serialize()` gives, without the bitmap where they are few. */
  static serializeSorted(values: readonly number[]): Uint8Array {
    return values.length <= listSizeMax ? writeList(values) : Bitmap.fromSorted(values).serialize()
  }

  /** A written list with `values` behind its own; undefined when they do not all come after, or when it gets too long. */
  static appendToList(bytes: Uint8Array, values: readonly number[]): Uint8Array | undefined {
    const count = bytes[0] ?? 0
    const first = values[0]
    if (first === undefined || count + values.length > listSizeMax) return undefined
    let last = 0
    let at = 1
    for (let index = 0; index < count; index += 1) {
      let scale = 1
      let byte = bytes[at++]!
      while (byte > 127) {
        last += (byte & 127) * scale
        scale *= 128
        byte = bytes[at++]!
      }
      last += byte * scale
    }
    if (count > 0 && first <= last) return undefined
    listBytes.set(bytes.subarray(0, at))
    return writeListFrom(count, last, at, values)
  }

  serialize(): Uint8Array {
    if (this.size <= listSizeMax) return writeList(this.toArray())
    let byteCount = 4 + this.#chunks.length * 4
    for (const chunk of this.#chunks)
      byteCount += chunk.size > arraySizeMax ? 8192 : (chunk.size + (chunk.size & 1)) * 2
    const bytes = new Uint8Array(byteCount)
    const view = new DataView(bytes.buffer)
    bytes[0] = chunkedTag
    view.setUint16(2, this.#chunks.length & 0xffff, true)
    let at = 4 + this.#chunks.length * 4
    for (const [index, chunk] of this.#chunks.entries()) {
      view.setUint16(4 + index * 4, this.#keys[index]!, true)
      view.setUint16(6 + index * 4, chunk.size - 1, true)
      if (chunk.kind === 'bits') {
        bytes.set(new Uint8Array(chunk.words.buffer, chunk.words.byteOffset, 8192), at)
        at += 8192
      } else {
        bytes.set(new Uint8Array(chunk.values.buffer, chunk.values.byteOffset, chunk.size * 2), at)
        at += (chunk.size + (chunk.size & 1)) * 2
      }
    }
    return bytes
  }

  clone(): Bitmap {
    // The copy and this one share their chunks from now on, so neither may change them in place.
    this.#owned = undefined
    return new Bitmap([...this.#keys], [...this.#chunks])
  }

  get size(): number {
    if (this.#size < 0) {
      let size = 0
      for (const chunk of this.#chunks) size += chunk.size
      this.#size = size
    }
    return this.#size
  }

  /** About how many bytes of memory this bitmap holds. */
  get byteCount(): number {
    let byteCount = 160
    for (const chunk of this.#chunks) byteCount += 120 + (chunk.kind === 'bits' ? 8192 : chunk.values.length * 2)
    return byteCount
  }

  isEmpty(): boolean {
    return this.#chunks.length === 0
  }

  has(value: number): boolean {
    const index = this.#find(value >>> 16)
    return index >= 0 && chunkHas(this.#chunks[index]!, value & 0xffff)
  }

  add(value: number): void {
    const key = value >>> 16
    let index = this.#find(key)
    if (index < 0) {
      index = ~index
      this.#keys.splice(index, 0, key)
      const fresh = arrayChunk(new Uint16Array(4), 0)
      this.#own(fresh)
      this.#chunks.splice(index, 0, fresh)
    }
    const chunk = this.#writable(index)
    this.#keep(index, chunk, insert(chunk, value & 0xffff))
  }

  remove(value: number): void {
    const index = this.#find(value >>> 16)
    if (index < 0) return
    const chunk = this.#writable(index)
    const after = erase(chunk, value & 0xffff)
    this.#keep(index, chunk, after)
    if (after.size > 0) return
    this.#keys.splice(index, 1)
    this.#chunks.splice(index, 1)
  }

  addMany(values: Iterable<number>): void {
    for (const value of values) this.add(value)
  }

  and(other: Bitmap): Bitmap {
    const result = new Bitmap([], [])
    this.#eachCommon(other, (key, left, right) => {
      const chunk = left === right ? left : chunkAnd(left, right)
      if (chunk.size > 0) result.#push(key, chunk)
    })
    this.#shareWith(other)
    return result
  }

  or(other: Bitmap): Bitmap {
    const result = new Bitmap([], [])
    this.#eachPair(other, (key, left, right) => {
      result.#push(key, left && right ? (left === right ? left : chunkOr(left, right)) : (left ?? right)!)
    })
    this.#shareWith(other)
    return result
  }

  andNot(other: Bitmap): Bitmap {
    const result = new Bitmap([], [])
    this.#eachPair(other, (key, left, right) => {
      if (!left) return
      const chunk = right ? chunkAndNot(left, right) : left
      if (chunk.size > 0) result.#push(key, chunk)
    })
    this.#shareWith(other)
    return result
  }

  /** `andNot` of a bitmap that has nothing which this one has not: at once when it has everything. */
  withoutSubset(subset: Bitmap): Bitmap {
    if (subset.isEmpty()) return this
    return subset.size === this.size ? new Bitmap([], []) : this.andNot(subset)
  }

  xor(other: Bitmap): Bitmap {
    return this.andNot(other).or(other.andNot(this))
  }

  andSize(other: Bitmap): number {
    let size = 0
    this.#eachCommon(other, (_key, left, right) => {
      size += left === right ? left.size : chunkAndSize(left, right)
    })
    return size
  }

  intersects(other: Bitmap): boolean {
    let l = 0
    let r = 0
    while (l < this.#keys.length && r < other.#keys.length) {
      const a = this.#keys[l]!
      const b = other.#keys[r]!
      if (a === b) {
        if (chunkAndSize(this.#chunks[l]!, other.#chunks[r]!) > 0) return true
        l += 1
        r += 1
      } else if (a < b) l += 1
      else r += 1
    }
    return false
  }

  /** The lowest value that both have. */
  minCommon(other: Bitmap): number | undefined {
    let l = 0
    let r = 0
    while (l < this.#keys.length && r < other.#keys.length) {
      const [a, b] = [this.#keys[l]!, other.#keys[r]!]
      if (a === b) {
        const low = chunkMinCommon(this.#chunks[l++]!, other.#chunks[r++]!)
        if (low !== undefined) return a * 65536 + low
      } else if (a < b) l += 1
      else r += 1
    }
    return undefined
  }

  equals(other: Bitmap): boolean {
    return (
      this.size === other.size &&
      this.#keys.length === other.#keys.length &&
      this.#keys.every((key, index) => key === other.#keys[index]) &&
      this.#chunks.every((chunk, index) => chunkEquals(chunk, other.#chunks[index]!))
    )
  }

  min(): number | undefined {
    return this.isEmpty() ? undefined : this.#keys[0]! * 65536 + chunkMin(this.#chunks[0]!)
  }

  max(): number | undefined {
    return this.isEmpty() ? undefined : this.#keys.at(-1)! * 65536 + chunkMax(this.#chunks.at(-1)!)
  }

  /** How many values are below or equal to `value`. */
  rank(value: number): number {
    const key = value >>> 16
    let rank = 0
    for (const [index, chunk] of this.#chunks.entries()) {
      if (this.#keys[index]! < key) rank += chunk.size
      else if (this.#keys[index] === key) rank += chunkRank(chunk, value & 0xffff)
      else break
    }
    return rank
  }

  /** The high halves of the values, ascending, with their low halves, which must not be changed. */
  eachChunk(visit: (key: number, chunk: Chunk) => void): void {
    for (const [index, chunk] of this.#chunks.entries()) visit(this.#keys[index]!, chunk)
  }

  /** Calls `visit` with every value, ascending; faster than the iterator. */
  forEach(visit: (value: number) => void): void {
    for (const [index, chunk] of this.#chunks.entries()) {
      const high = this.#keys[index]! * 65536
      eachValue(chunk, (low) => visit(high + low))
    }
  }

  *[Symbol.iterator](): IterableIterator<number> {
    for (const [index, chunk] of this.#chunks.entries()) {
      const high = this.#keys[index]! * 65536
      if (chunk.kind === 'array') {
        for (let at = 0; at < chunk.size; at += 1) yield high + chunk.values[at]!
        continue
      }
      for (let at = 0; at < 2048; at += 1) {
        let word = chunk.words[at]!
        while (word !== 0) {
          yield high + (at << 5) + 31 - Math.clz32(word & -word)
          word &= word - 1
        }
      }
    }
  }

  toArray(): number[] {
    const values: number[] = new Array(this.size)
    let size = 0
    this.forEach((value) => {
      values[size++] = value
    })
    return values
  }

  /** Index of a key, or the complement of where it belongs. */
  #find(key: number): number {
    const keys = this.#keys
    const last = keys.length - 1
    if (last < 0 || keys[last]! < key) return ~(last + 1)
    let low = 0
    let high = last
    while (low <= high) {
      const middle = (low + high) >>> 1
      const found = keys[middle]!
      if (found === key) return middle
      if (found < key) low = middle + 1
      else high = middle - 1
    }
    return ~low
  }

  #writable(index: number): Chunk {
    const chunk = this.#chunks[index]!
    this.#size = -1
    if (this.#owned?.has(chunk)) return chunk
    const copy = copyChunk(chunk)
    this.#chunks[index] = copy
    this.#own(copy)
    return copy
  }

  #keep(index: number, before: Chunk, after: Chunk): void {
    if (before === after) return
    this.#owned?.delete(before)
    this.#own(after)
    this.#chunks[index] = after
  }

  #own(chunk: Chunk): void {
    this.#owned ??= new Set()
    this.#owned.add(chunk)
  }

  #push(key: number, chunk: Chunk): void {
    this.#keys.push(key)
    this.#chunks.push(chunk)
  }

  /** A result now holds chunks of both: neither may change them in place any more. */
  #shareWith(other: Bitmap): void {
    this.#owned = undefined
    other.#owned = undefined
  }

  #eachCommon(other: Bitmap, visit: (key: number, left: Chunk, right: Chunk) => void): void {
    let l = 0
    let r = 0
    while (l < this.#keys.length && r < other.#keys.length) {
      const a = this.#keys[l]!
      const b = other.#keys[r]!
      if (a === b) visit(a, this.#chunks[l++]!, other.#chunks[r++]!)
      else if (a < b) l += 1
      else r += 1
    }
  }

  #eachPair(other: Bitmap, visit: (key: number, left: Chunk | undefined, right: Chunk | undefined) => void): void {
    let l = 0
    let r = 0
    while (l < this.#keys.length || r < other.#keys.length) {
      const a = this.#keys[l] ?? Number.POSITIVE_INFINITY
      const b = other.#keys[r] ?? Number.POSITIVE_INFINITY
      visit(Math.min(a, b), a <= b ? this.#chunks[l++] : undefined, b <= a ? other.#chunks[r++] : undefined)
    }
  }
}

const listBytes = new Uint8Array(1 + listSizeMax * 5)

const writeList = (values: readonly number[]): Uint8Array => writeListFrom(0, 0, 1, values)

/** Goes on behind `count` values that end at byte `at`. */
function writeListFrom(count: number, last: number, start: number, values: readonly number[]): Uint8Array {
  let at = start
  let before = last
  listBytes[0] = count + values.length
  for (const value of values) {
    let rest = value - before
    before = value
    while (rest > 127) {
      listBytes[at++] = (rest & 127) | 128
      rest = Math.floor(rest / 128)
    }
    listBytes[at++] = rest
  }
  return listBytes.slice(0, at)
}

/** Values of a list while it is read. */
const listValues = new Float64Array(listSizeMax)

function readShortList(bytes: Uint8Array, count: number): Bitmap {
  let index = 0
  const isList = Bitmap.readList(bytes, (value) => {
    listValues[index++] = value
  })
  assert(isList, `bitmap: unknown tag ${count}`)
  return Bitmap.fromSorted(listValues, count)
}
