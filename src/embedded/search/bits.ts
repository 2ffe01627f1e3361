/** Small sets of small numbers: nodes and conditions of a query's graphs. */

export class Bits {
  #words: Uint32Array

  constructor(words: Uint32Array = new Uint32Array(1)) {
    this.#words = words
  }

  static of(values: Iterable<number>): Bits {
    const bits = new Bits()
    for (const value of values) bits.add(value)
    return bits
  }

  has(value: number): boolean {
    return ((this.#words[value >>> 5] ?? 0) & (1 << (value & 31))) !== 0
  }

  add(value: number): void {
    this.#grow((value >>> 5) + 1)
    this.#words[value >>> 5]! |= 1 << (value & 31)
  }

  delete(value: number): void {
    if (value >>> 5 < this.#words.length) this.#words[value >>> 5]! &= ~(1 << (value & 31))
  }

  clear(): void {
    this.#words.fill(0)
  }

  clone(): Bits {
    return new Bits(this.#words.slice())
  }

  /** Takes in all of `other`. */
  addAll(other: Bits): void {
    this.#grow(other.#words.length)
    for (let index = 0; index < other.#words.length; index += 1) this.#words[index]! |= other.#words[index]!
  }

  intersects(other: Bits): boolean {
    const length = Math.min(this.#words.length, other.#words.length)
    for (let index = 0; index < length; index += 1) if (this.#words[index]! & other.#words[index]!) return true
    return false
  }

  isSubsetOf(other: Bits): boolean {
    for (let index = 0; index < this.#words.length; index += 1)
      if (this.#words[index]! & ~(other.#words[index] ?? 0)) return false
    return true
  }

  isEmpty(): boolean {
    return this.#words.every((word) => word === 0)
  }

  /** Ascending. */
  *[Symbol.iterator](): IterableIterator<number> {
    for (let index = 0; index < this.#words.length; index += 1) {
      let word = this.#words[index]!
      while (word !== 0) {
        const bit = 31 - Math.clz32(word & -word)
        yield index * 32 + bit
        word &= word - 1
      }
    }
  }

  #grow(length: number): void {
    if (length <= this.#words.length) return
    const words = new Uint32Array(Math.max(length, this.#words.length * 2))
    words.set(this.#words)
    this.#words = words
  }
}
