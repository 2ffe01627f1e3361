/**
 * Keys of an index's databases. Every key is short enough for LMDB (1,978 bytes): words are at most 250 bytes, facet
 * strings are cut at 468, document ids are at most 511.
 *
 * Words contain no NUL, so a NUL ends them where something follows.
 */

/** Bytes at which facet strings are cut (M-F1). */
export const facetStringBytesMax = 468

export const postingKind = { word: 0x77, exact: 0x78, field: 0x66, position: 0x70, pair: 0x71, count: 0x63 } as const
export const facetKind = {
  number: 0x6e,
  string: 0x73,
  exists: 0x65,
  isNull: 0x75,
  isEmpty: 0x6d,
  values: 0x64,
  geoBlock: 0x47,
  boxBlock: 0x42,
  geoDocids: 0x67,
} as const

/** Documents per block of positions. */
export const geoBlockSize = 256

const asciiMax = 24

/** Builds keys in one buffer that is used again: a key lasts until the next one is built. */
export class KeyBuilder {
  readonly #buffer = Buffer.allocUnsafe(2048)

  /** Answers the number of bytes. Short words in ASCII are written without a call into native code. */
  #write(word: string, at: number): number {
    if (word.length > asciiMax) return this.#buffer.write(word, at)
    for (let index = 0; index < word.length; index += 1) {
      const code = word.charCodeAt(index)
      if (code > 127) return this.#buffer.write(word, at)
      this.#buffer[at + index] = code
    }
    return word.length
  }

  word(kind: number, word: string): Buffer {
    this.#buffer[0] = kind
    return this.#buffer.subarray(0, 1 + this.#write(word, 1))
  }

  /** A word and a number: field or position bucket. */
  wordNumber(kind: number, word: string, number: number): Buffer {
    this.#buffer[0] = kind
    let at = 1 + this.#write(word, 1)
    this.#buffer[at++] = 0
    this.#buffer.writeUInt16BE(number, at)
    return this.#buffer.subarray(0, at + 2)
  }

  pair(left: string, right: string): Buffer {
    this.#buffer[0] = postingKind.pair
    let at = 1 + this.#write(left, 1)
    this.#buffer[at++] = 0
    at += this.#write(right, at)
    return this.#buffer.subarray(0, at)
  }

  fieldCount(field: number, count: number): Buffer {
    this.#buffer[0] = postingKind.count
    this.#buffer.writeUInt16BE(field, 1)
    this.#buffer[3] = count
    return this.#buffer.subarray(0, 4)
  }

  field(kind: number, field: number): Buffer {
    this.#buffer[0] = kind
    this.#buffer.writeUInt16BE(field, 1)
    return this.#buffer.subarray(0, 3)
  }

  facetNumber(field: number, value: number): Buffer {
    this.#buffer[0] = facetKind.number
    this.#buffer.writeUInt16BE(field, 1)
    writeOrderedFloat(this.#buffer, value, 3)
    return this.#buffer.subarray(0, 11)
  }

  facetString(field: number, value: string): Buffer {
    this.#buffer[0] = facetKind.string
    this.#buffer.writeUInt16BE(field, 1)
    return this.#buffer.subarray(0, 3 + this.#buffer.write(value, 3))
  }

  docid(docid: number): Buffer {
    this.#buffer.writeUInt32BE(docid, 0)
    return this.#buffer.subarray(0, 4)
  }

  kindDocid(kind: number, docid: number): Buffer {
    this.#buffer[0] = kind
    this.#buffer.writeUInt32BE(docid, 1)
    return this.#buffer.subarray(0, 5)
  }

  text(text: string): Buffer {
    return this.#buffer.subarray(0, this.#buffer.write(text, 0))
  }

  /** An embedder's vectors of one document. Embedder names are cut: the API bounds them far below. */
  vector(embedder: string, docid: number): Buffer {
    let at = this.#buffer.write(embedder, 0, 512)
    this.#buffer[at++] = 0
    this.#buffer.writeUInt32BE(docid, at)
    return this.#buffer.subarray(0, at + 4)
  }
}

/** Floats in an order of bytes that is their order as numbers. Both zeros are one value. */
export function writeOrderedFloat(buffer: Buffer, value: number, at: number): void {
  buffer.writeDoubleBE(value === 0 ? 0 : value, at)
  if (buffer[at]! & 0x80) for (let index = at; index < at + 8; index += 1) buffer[index] = ~buffer[index]! & 0xff
  else buffer[at]! |= 0x80
}

export function readOrderedFloat(bytes: Uint8Array, at: number): number {
  const copy = Buffer.from(bytes.subarray(at, at + 8))
  if (copy[0]! & 0x80) copy[0]! &= 0x7f
  else for (let index = 0; index < 8; index += 1) copy[index] = ~copy[index]! & 0xff
  return copy.readDoubleBE(0)
}

/** Cuts a facet string at a character border within the bound. */
export function cutFacetString(value: string): string {
  if (value.length * 3 <= facetStringBytesMax || Buffer.byteLength(value) <= facetStringBytesMax) return value
  const bytes = Buffer.from(value)
  let end = facetStringBytesMax
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end -= 1
  return bytes.toString('utf8', 0, end)
}

/** The number that ends a key of a word and a number. */
export function numberAtEnd(key: Uint8Array): number {
  return key[key.length - 2]! * 256 + key[key.length - 1]!
}

/** The first key behind all that begin with `prefix`. */
export function keyAfter(prefix: Uint8Array): Buffer {
  const end = Buffer.from(prefix)
  for (let at = end.length - 1; at >= 0; at -= 1) {
    if (end[at]! < 255) {
      end[at]! += 1
      return end.subarray(0, at + 1)
    }
  }
  return Buffer.alloc(0)
}
