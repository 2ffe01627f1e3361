/**
 * Counts different ids in bounded memory: a table of 53-bit hashes. Two ids of ten million collide with a chance below
 * one in a hundred; above `entriesMax` ids count as new, which only makes the count too high.
 */
export class IdSet {
  #slots = new Float64Array(1024)
  #count = 0
  #beyond = 0

  static readonly entriesMax = 6_000_000

  get size(): number {
    return this.#count + this.#beyond
  }

  add(id: string): void {
    const hash = hashOf(id)
    const slot = this.#find(this.#slots, hash)
    if (this.#slots[slot] === hash) return
    if (this.#count >= IdSet.entriesMax) {
      this.#beyond += 1
      return
    }
    this.#slots[slot] = hash
    this.#count += 1
    if (this.#count * 10 > this.#slots.length * 7) this.#grow()
  }

  #grow(): void {
    const wider = new Float64Array(this.#slots.length * 2)
    for (const hash of this.#slots) if (hash !== 0) wider[this.#find(wider, hash)] = hash
    this.#slots = wider
  }

  #find(slots: Float64Array, hash: number): number {
    const mask = slots.length - 1
    let slot = (hash >>> 0) & mask
    while (slots[slot] !== 0 && slots[slot] !== hash) slot = (slot + 1) & mask
    return slot
  }
}

/** 1 to 2^53: two multiplicative hashes side by side (cyrb53). */
function hashOf(text: string): number {
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    high = Math.imul(high ^ code, 2654435761)
    low = Math.imul(low ^ code, 1597334677)
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909)
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909)
  return 4294967296 * (2097151 & low) + (high >>> 0) + 1
}
