/**
 * Chunks of a `Bitmap`: sets of 16-bit values, as a sorted array while they hold at most 4,096 values and as 65,536 bits
 * above that. Functions here never change their operands; `insert` and `erase` do and say so.
 */

export const arraySizeMax = 4096
export const wordCount = 2048

export interface ArrayChunk {
  readonly kind: 'array'
  /** Sorted; only the first `size` count. */
  values: Uint16Array
  size: number
}

export interface BitsChunk {
  readonly kind: 'bits'
  readonly words: Uint32Array
  size: number
}

export type Chunk = ArrayChunk | BitsChunk

export const arrayChunk = (values: Uint16Array, size = values.length): ArrayChunk => ({ kind: 'array', values, size })
export const bitsChunk = (words: Uint32Array, size = countBits(words)): BitsChunk => ({ kind: 'bits', words, size })

function popcount(word: number): number {
  let v = word - ((word >>> 1) & 0x55555555)
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333)
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

function countBits(words: Uint32Array): number {
  let size = 0
  for (let index = 0; index < wordCount; index += 1) size += popcount(words[index]!)
  return size
}

/** Index of the first value that is not below `value`. */
function lowerBound(chunk: ArrayChunk, value: number): number {
  let low = 0
  let high = chunk.size
  while (low < high) {
    const middle = (low + high) >>> 1
    if (chunk.values[middle]! < value) low = middle + 1
    else high = middle
  }
  return low
}

export function chunkHas(chunk: Chunk, value: number): boolean {
  if (chunk.kind === 'bits') return ((chunk.words[value >>> 5]! >>> (value & 31)) & 1) === 1
  const index = lowerBound(chunk, value)
  return index < chunk.size && chunk.values[index] === value
}

export function copyChunk(chunk: Chunk): Chunk {
  return chunk.kind === 'bits'
    ? bitsChunk(chunk.words.slice(), chunk.size)
    : arrayChunk(chunk.values.slice(0, chunk.size))
}

function toBits(chunk: ArrayChunk): BitsChunk {
  const words = new Uint32Array(wordCount)
  for (let index = 0; index < chunk.size; index += 1) {
    const value = chunk.values[index]!
    words[value >>> 5]! |= 1 << (value & 31)
  }
  return bitsChunk(words, chunk.size)
}

/** Calls `visit` with every value, ascending. */
export function eachValue(chunk: Chunk, visit: (value: number) => void): void {
  if (chunk.kind === 'array') {
    for (let index = 0; index < chunk.size; index += 1) visit(chunk.values[index]!)
    return
  }
  for (let index = 0; index < wordCount; index += 1) {
    let word = chunk.words[index]!
    while (word !== 0) {
      visit((index << 5) + 31 - Math.clz32(word & -word))
      word &= word - 1
    }
  }
}

/** Where operations gather bits before the result's size is known: most results are small, and 8 KB each would be waste. */
const scratch = new Uint32Array(wordCount)

/** A chunk of the bits in `scratch`. */
function fromScratch(): Chunk {
  const size = countBits(scratch)
  return size > arraySizeMax ? bitsChunk(scratch.slice(), size) : settled({ kind: 'bits', words: scratch, size })
}

/** The chunk in the form that its size asks for. */
export function settled(chunk: BitsChunk): Chunk {
  if (chunk.size > arraySizeMax) return chunk
  const values = new Uint16Array(chunk.size)
  let size = 0
  for (let index = 0; index < wordCount; index += 1) {
    let word = chunk.words[index]!
    while (word !== 0) {
      values[size++] = (index << 5) + 31 - Math.clz32(word & -word)
      word &= word - 1
    }
  }
  return arrayChunk(values)
}

/** Adds in place; answers the chunk to keep, which is another one when the form changes. */
export function insert(chunk: Chunk, value: number): Chunk {
  if (chunk.kind === 'bits') {
    const bit = 1 << (value & 31)
    const word = chunk.words[value >>> 5]!
    if ((word & bit) === 0) {
      chunk.words[value >>> 5] = word | bit
      chunk.size += 1
    }
    return chunk
  }
  const last = chunk.size === 0 ? -1 : chunk.values[chunk.size - 1]!
  const index = value > last ? chunk.size : lowerBound(chunk, value)
  if (index < chunk.size && chunk.values[index] === value) return chunk
  if (chunk.size >= arraySizeMax) return insert(toBits(chunk), value)
  if (chunk.size === chunk.values.length) {
    const grown = new Uint16Array(Math.min(arraySizeMax, Math.max(8, chunk.size * 2)))
    grown.set(chunk.values)
    chunk.values = grown
  }
  chunk.values.copyWithin(index + 1, index, chunk.size)
  chunk.values[index] = value
  chunk.size += 1
  return chunk
}

/** Removes in place; answers the chunk to keep. */
export function erase(chunk: Chunk, value: number): Chunk {
  if (chunk.kind === 'bits') {
    const bit = 1 << (value & 31)
    const word = chunk.words[value >>> 5]!
    if ((word & bit) === 0) return chunk
    chunk.words[value >>> 5] = word & ~bit
    chunk.size -= 1
    return settled(chunk)
  }
  const index = lowerBound(chunk, value)
  if (index >= chunk.size || chunk.values[index] !== value) return chunk
  chunk.values.copyWithin(index, index + 1, chunk.size)
  chunk.size -= 1
  return chunk
}

export function chunkAnd(left: Chunk, right: Chunk): Chunk {
  if (left.kind === 'bits' && right.kind === 'bits') {
    let size = 0
    for (let index = 0; index < wordCount; index += 1) {
      const word = left.words[index]! & right.words[index]!
      scratch[index] = word
      if (word !== 0) size += popcount(word)
    }
    return size > arraySizeMax ? bitsChunk(scratch.slice(), size) : settled({ kind: 'bits', words: scratch, size })
  }
  const small =
    left.kind === 'array' && (right.kind === 'bits' || left.size <= right.size) ? left : (right as ArrayChunk)
  const large = small === left ? right : left
  const values = new Uint16Array(small.size)
  return arrayChunk(values, intersect(small, large, values))
}

export function chunkAndSize(left: Chunk, right: Chunk): number {
  if (left.kind === 'bits' && right.kind === 'bits') {
    let size = 0
    for (let index = 0; index < wordCount; index += 1) size += popcount(left.words[index]! & right.words[index]!)
    return size
  }
  const small =
    left.kind === 'array' && (right.kind === 'bits' || left.size <= right.size) ? left : (right as ArrayChunk)
  return intersect(small, small === left ? right : left, undefined)
}

/** The lowest value that both have. */
export function chunkMinCommon(left: Chunk, right: Chunk): number | undefined {
  if (left.kind === 'bits' && right.kind === 'bits') {
    for (let index = 0; index < wordCount; index += 1) {
      const word = left.words[index]! & right.words[index]!
      if (word !== 0) return (index << 5) + 31 - Math.clz32(word & -word)
    }
    return undefined
  }
  const [small, large] = left.kind === 'array' ? [left, right] : [right as ArrayChunk, left]
  for (let index = 0; index < small.size; index += 1)
    if (chunkHas(large, small.values[index]!)) return small.values[index]!
  return undefined
}

/** Writes what both have into `values`, if given, and answers how many there are. */
function intersect(small: ArrayChunk, large: Chunk, values: Uint16Array | undefined): number {
  let size = 0
  if (large.kind === 'bits') {
    for (let index = 0; index < small.size; index += 1) {
      const value = small.values[index]!
      if (((large.words[value >>> 5]! >>> (value & 31)) & 1) === 0) continue
      if (values) values[size] = value
      size += 1
    }
    return size
  }
  // Looking each value up is faster than walking both once one side is much larger.
  if (small.size * 16 < large.size) {
    for (let index = 0; index < small.size; index += 1) {
      const value = small.values[index]!
      if (!chunkHas(large, value)) continue
      if (values) values[size] = value
      size += 1
    }
    return size
  }
  let l = 0
  let r = 0
  while (l < small.size && r < large.size) {
    const a = small.values[l]!
    const b = large.values[r]!
    if (a === b) {
      if (values) values[size] = a
      size += 1
      l += 1
      r += 1
    } else if (a < b) l += 1
    else r += 1
  }
  return size
}

export function chunkOr(left: Chunk, right: Chunk): Chunk {
  if (left.kind === 'array' && right.kind === 'array' && left.size + right.size <= arraySizeMax) {
    const values = new Uint16Array(left.size + right.size)
    let l = 0
    let r = 0
    let size = 0
    while (l < left.size && r < right.size) {
      const a = left.values[l]!
      const b = right.values[r]!
      values[size++] = Math.min(a, b)
      if (a <= b) l += 1
      if (b <= a) r += 1
    }
    while (l < left.size) values[size++] = left.values[l++]!
    while (r < right.size) values[size++] = right.values[r++]!
    return arrayChunk(values, size)
  }
  const words = left.kind === 'bits' ? left.words.slice() : toBits(left).words
  return settled(mergeInto(bitsChunk(words, left.size), right))
}

/** Adds `right` to the bits, in place. */
export function mergeInto(bits: BitsChunk, right: Chunk): BitsChunk {
  if (right.kind === 'bits') {
    for (let index = 0; index < wordCount; index += 1) bits.words[index]! |= right.words[index]!
    bits.size = countBits(bits.words)
    return bits
  }
  for (let index = 0; index < right.size; index += 1) insert(bits, right.values[index]!)
  return bits
}

/** Union of many chunks at once. */
export function chunkUnion(chunks: readonly Chunk[]): Chunk {
  if (chunks.length === 1) return chunks[0]!
  if (chunks.length === 2) return chunkOr(chunks[0]!, chunks[1]!)
  scratch.fill(0)
  for (const chunk of chunks) {
    if (chunk.kind === 'bits') {
      for (let index = 0; index < wordCount; index += 1) scratch[index]! |= chunk.words[index]!
    } else {
      for (let index = 0; index < chunk.size; index += 1) {
        const value = chunk.values[index]!
        scratch[value >>> 5]! |= 1 << (value & 31)
      }
    }
  }
  return fromScratch()
}

const emptyChunk: Chunk = arrayChunk(new Uint16Array(0))

export function chunkAndNot(left: Chunk, right: Chunk): Chunk {
  if (left === right) return emptyChunk
  if (left.kind === 'array') return right.kind === 'bits' ? withoutBits(left, right) : withoutArray(left, right)
  let size = left.size
  if (right.kind === 'bits') {
    size = 0
    for (let index = 0; index < wordCount; index += 1) {
      const word = left.words[index]! & ~right.words[index]!
      scratch[index] = word
      if (word !== 0) size += popcount(word)
    }
  } else {
    scratch.set(left.words)
    for (let index = 0; index < right.size; index += 1) {
      const value = right.values[index]!
      const word = scratch[value >>> 5]!
      const bit = 1 << (value & 31)
      if ((word & bit) === 0) continue
      scratch[value >>> 5] = word & ~bit
      size -= 1
    }
  }
  return size > arraySizeMax ? bitsChunk(scratch.slice(), size) : settled({ kind: 'bits', words: scratch, size })
}

function withoutBits(left: ArrayChunk, right: BitsChunk): Chunk {
  const values = new Uint16Array(left.size)
  let size = 0
  for (let index = 0; index < left.size; index += 1) {
    const value = left.values[index]!
    if (((right.words[value >>> 5]! >>> (value & 31)) & 1) === 0) values[size++] = value
  }
  return arrayChunk(values, size)
}

function withoutArray(left: ArrayChunk, right: ArrayChunk): Chunk {
  const values = new Uint16Array(left.size)
  const [from, out] = [left.values, right.values]
  let size = 0
  let r = 0
  for (let l = 0; l < left.size; l += 1) {
    const value = from[l]!
    while (r < right.size && out[r]! < value) r += 1
    if (r === right.size || out[r] !== value) values[size++] = value
  }
  return arrayChunk(values, size)
}

export function chunkEquals(left: Chunk, right: Chunk): boolean {
  if (left.size !== right.size || left.kind !== right.kind)
    return left.size === right.size && chunkAndSize(left, right) === left.size
  if (left.kind === 'bits' && right.kind === 'bits')
    return left.words.every((word, index) => word === right.words[index])
  return chunkAndSize(left, right) === left.size
}

export function chunkMin(chunk: Chunk): number {
  if (chunk.kind === 'array') return chunk.values[0]!
  const index = chunk.words.findIndex((word) => word !== 0)
  const word = chunk.words[index]!
  return (index << 5) + 31 - Math.clz32(word & -word)
}

export function chunkMax(chunk: Chunk): number {
  if (chunk.kind === 'array') return chunk.values[chunk.size - 1]!
  const index = chunk.words.findLastIndex((word) => word !== 0)
  return (index << 5) + 31 - Math.clz32(chunk.words[index]!)
}

/** How many values are below or equal to `value`. */
export function chunkRank(chunk: Chunk, value: number): number {
  if (chunk.kind === 'array') return lowerBound(chunk, value + 1)
  let rank = 0
  const last = value >>> 5
  for (let index = 0; index < last; index += 1) rank += popcount(chunk.words[index]!)
  const bits = value & 31
  return rank + popcount(bits === 31 ? chunk.words[last]! : chunk.words[last]! & ((1 << (bits + 1)) - 1))
}

/** `from` to `to`, both inclusive. */
export function rangeChunk(from: number, to: number): Chunk {
  const size = to - from + 1
  if (size <= arraySizeMax) return arrayChunk(Uint16Array.from({ length: size }, (_, index) => from + index))
  const words = new Uint32Array(wordCount)
  for (let value = from; value <= to; ) {
    if ((value & 31) === 0 && value + 31 <= to) {
      words[value >>> 5] = 0xffffffff
      value += 32
    } else {
      words[value >>> 5]! |= 1 << (value & 31)
      value += 1
    }
  }
  return bitsChunk(words, size)
}
