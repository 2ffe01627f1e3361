/**
 * Gathers what documents add to and remove from postings, in flat arrays: one list per posting, found by a hash of two
 * numbers. A posting is named by `a` and by `b`, whose upper four bits are its kind.
 *
 * | kind | a | lower bits of b |
 * |---|---|---|
 * | word, exact | word | – |
 * | field | word | field |
 * | position | word | bucket |
 * | pair 1–3 | left word | right word |
 * | count | field | words in the field |
 * | facet string | string | field |
 * | facet number | number's place in the interner | field |
 * | exists, null, empty | field | – |
 * | geo | – | – |
 */

export const kinds = {
  word: 0,
  exact: 1,
  field: 2,
  position: 3,
  pair1: 4,
  pair2: 5,
  pair3: 6,
  count: 7,
  facetString: 8,
  facetNumber: 9,
  exists: 10,
  isNull: 11,
  isEmpty: 12,
  geo: 13,
} as const

export const kindShift = 28
export const valueMask = (1 << kindShift) - 1

const hashOf = (a: number, b: number): number => {
  let hash = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b, 0xc2b2ae35)
  hash ^= hash >>> 15
  hash = Math.imul(hash, 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) >>> 0
}

/** The postings of one document, each once. */
export class KeySet {
  #slots = new Int32Array(1024).fill(-1)
  a = new Uint32Array(512)
  b = new Uint32Array(512)
  size = 0

  clear(): void {
    if (this.size > 0) this.#slots.fill(-1)
    this.size = 0
  }

  has(a: number, b: number): boolean {
    return this.#slots[this.#slotOf(a, b)]! >= 0
  }

  add(a: number, b: number): void {
    const slot = this.#slotOf(a, b)
    if (this.#slots[slot]! >= 0) return
    if (this.size === this.a.length) {
      this.#grow()
      this.add(a, b)
      return
    }
    this.#slots[slot] = this.size
    this.a[this.size] = a
    this.b[this.size] = b
    this.size += 1
  }

  #slotOf(a: number, b: number): number {
    const mask = this.#slots.length - 1
    let slot = hashOf(a, b) & mask
    for (;;) {
      const index = this.#slots[slot]!
      if (index === -1 || (this.a[index] === a && this.b[index] === b)) return slot
      slot = (slot + 1) & mask
    }
  }

  #grow(): void {
    const [a, b] = [new Uint32Array(this.a.length * 2), new Uint32Array(this.b.length * 2)]
    a.set(this.a)
    b.set(this.b)
    this.a = a
    this.b = b
    this.#slots = new Int32Array(this.#slots.length * 2).fill(-1)
    for (let index = 0; index < this.size; index += 1) this.#slots[this.#slotOf(a[index]!, b[index]!)] = index
  }
}

/** Numbers for strings, in the order in which they came. */
export class Interner {
  readonly #numbers = new Map<string, number>()
  readonly strings: string[] = []
  #byteCount = 0

  get byteCount(): number {
    return this.#byteCount
  }

  number(text: string): number {
    const known = this.#numbers.get(text)
    if (known !== undefined) return known
    const number = this.strings.length
    this.#numbers.set(text, number)
    this.strings.push(text)
    this.#byteCount += 80 + text.length
    return number
  }

  clear(): void {
    this.#numbers.clear()
    this.strings.length = 0
    this.#byteCount = 0
  }
}

const absent = 0xffffffff

export class PostingTable {
  #slots = new Uint32Array(1 << 15).fill(absent)
  #a = new Uint32Array(1 << 14)
  #b = new Uint32Array(1 << 14)
  #heads = new Uint32Array(1 << 14)
  #listCount = 0
  /** docid × 2, plus 1 for a removal. */
  #entries = new Uint32Array(1 << 16)
  #nexts = new Uint32Array(1 << 16)
  #entryCount = 0

  get listCount(): number {
    return this.#listCount
  }

  get byteCount(): number {
    return this.#listCount * 20 + this.#entryCount * 8
  }

  push(a: number, b: number, docid: number, isRemoval: boolean): void {
    const slot = this.#slotOf(a, b)
    let list = this.#slots[slot]!
    if (list === absent) {
      if (this.#listCount === this.#a.length) {
        this.#growLists()
        this.push(a, b, docid, isRemoval)
        return
      }
      list = this.#listCount
      this.#listCount += 1
      this.#slots[slot] = list
      this.#a[list] = a
      this.#b[list] = b
      this.#heads[list] = absent
    }
    if (this.#entryCount === this.#entries.length) {
      this.#entries = grown(this.#entries)
      this.#nexts = grown(this.#nexts)
    }
    const entry = this.#entryCount
    this.#entryCount += 1
    this.#entries[entry] = docid * 2 + (isRemoval ? 1 : 0)
    this.#nexts[entry] = this.#heads[list]!
    this.#heads[list] = entry
  }

  /** Lists are numbered from 0; `a` and `b` are their names. */
  aOf(list: number): number {
    return this.#a[list]!
  }

  bOf(list: number): number {
    return this.#b[list]!
  }

  /** What came for one posting: documents added and removed, ascending; the last word on a document counts. */
  changes(list: number): PostingChange {
    const head = this.#heads[list]!
    if (this.#nexts[head]! === absent) {
      const only = this.#entries[head]!
      return only % 2 === 1 ? { added: nothing, removed: [only >>> 1] } : { added: [only >>> 1], removed: nothing }
    }
    // Newest first. Most lists take new documents only, in order.
    let count = 0
    let isPlain = true
    let before = Number.POSITIVE_INFINITY
    for (let entry = head; entry !== absent; entry = this.#nexts[entry]!) {
      const value = this.#entries[entry]!
      if (value % 2 === 1 || value >= before) isPlain = false
      before = value
      count += 1
    }
    const entries = new Array<number>(count)
    for (let entry = head; entry !== absent; entry = this.#nexts[entry]!) {
      count -= 1
      entries[count] = isPlain ? this.#entries[entry]! >>> 1 : this.#entries[entry]!
    }
    return isPlain ? { added: entries, removed: nothing } : lastChanges(entries)
  }

  clear(): void {
    this.#slots.fill(absent)
    this.#listCount = 0
    this.#entryCount = 0
  }

  #slotOf(a: number, b: number): number {
    const mask = this.#slots.length - 1
    let slot = hashOf(a, b) & mask
    for (;;) {
      const list = this.#slots[slot]!
      if (list === absent || (this.#a[list] === a && this.#b[list] === b)) return slot
      slot = (slot + 1) & mask
    }
  }

  #growLists(): void {
    this.#a = grown(this.#a)
    this.#b = grown(this.#b)
    this.#heads = grown(this.#heads)
    this.#slots = new Uint32Array(this.#slots.length * 2).fill(absent)
    for (let list = 0; list < this.#listCount; list += 1)
      this.#slots[this.#slotOf(this.#a[list]!, this.#b[list]!)] = list
  }
}

export interface PostingChange {
  readonly added: readonly number[]
  readonly removed: readonly number[]
}

function grown(array: Uint32Array): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(array.length * 2)
  larger.set(array)
  return larger
}

const nothing: readonly number[] = []

/** @param entries  oldest first. */
function lastChanges(entries: readonly number[]): PostingChange {
  const kept = new Map<number, boolean>()
  for (const entry of entries) kept.set(entry >>> 1, entry % 2 === 1)
  const ascending = [...kept].sort(([a], [b]) => a - b)
  const of = (isRemoval: boolean) => ascending.flatMap(([docid, isGone]) => (isGone === isRemoval ? [docid] : []))
  return { added: of(false), removed: of(true) }
}
