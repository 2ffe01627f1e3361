/**
 * XXH64 with seed 0 of less than 32 bytes, in 32-bit halves. The library answers a `bigint` through a copy of its input; for short
 * keys that costs several times what hashing does, and a write hashes the key of every document. Compared with it in a test.
 *
 * @see https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
 */

/** The five primes, in halves. */
const [high1, low1] = [0x9e3779b1 | 0, 0x85ebca87 | 0]
const [high2, low2] = [0xc2b2ae3d | 0, 0x27d4eb4f | 0]
const [high3, low3] = [0x165667b1 | 0, 0x9e3779f9 | 0]
const [high4, low4] = [0x85ebca77 | 0, 0xc2b2ae63 | 0]
const [high5, low5] = [0x27d4eb2f | 0, 0x165667c5 | 0]

/** Longest input. */
export const shortBytesMax = 31

/** The upper half of the product of two unsigned 32-bit numbers. */
function productHigh(a: number, b: number): number {
  const a0 = a & 0xffff
  const a1 = a >>> 16
  const b0 = b & 0xffff
  const b1 = b >>> 16
  const cross = Math.imul(a1, b0)
  const middle = Math.imul(a0, b1)
  const sum = (Math.imul(a0, b0) >>> 16) + (cross & 0xffff) + (middle & 0xffff)
  return (Math.imul(a1, b1) + (cross >>> 16) + (middle >>> 16) + (sum >>> 16)) | 0
}

/**
 * Hashes the first `length` bytes.
 *
 * @param length  at most `shortBytesMax`.
 * @param digest  gets the lower half at 0 and the upper half at 1.
 */
export function shortXxh64(bytes: Uint8Array, length: number, digest: Int32Array): void {
  // Everything stays in local variables: kept elsewhere, halves between steps take longer than the arithmetic.
  let high = high5
  let low = (low5 + length) | 0
  let wordHigh: number
  let word: number
  let held: number
  let at = 0
  for (; at + 8 <= length; at += 8) {
    word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    wordHigh = bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24)
    wordHigh = (productHigh(word, low2) + Math.imul(word, high2) + Math.imul(wordHigh, low2)) | 0
    word = Math.imul(word, low2)
    held = (wordHigh << 31) | (word >>> 1)
    word = (word << 31) | (wordHigh >>> 1)
    wordHigh = held
    high ^= productHigh(word, low1) + Math.imul(word, high1) + Math.imul(wordHigh, low1)
    low ^= Math.imul(word, low1)
    held = (high << 27) | (low >>> 5)
    low = (low << 27) | (high >>> 5)
    high = held
    high = (productHigh(low, low1) + Math.imul(low, high1) + Math.imul(high, low1) + high4) | 0
    held = Math.imul(low, low1)
    low = (held + low4) | 0
    if (low >>> 0 < held >>> 0) high = (high + 1) | 0
  }
  if (at + 4 <= length) {
    word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    high ^= productHigh(word, low1) + Math.imul(word, high1)
    low ^= Math.imul(word, low1)
    held = (high << 23) | (low >>> 9)
    low = (low << 23) | (high >>> 9)
    high = held
    high = (productHigh(low, low2) + Math.imul(low, high2) + Math.imul(high, low2) + high3) | 0
    held = Math.imul(low, low2)
    low = (held + low3) | 0
    if (low >>> 0 < held >>> 0) high = (high + 1) | 0
    at += 4
  }
  for (; at < length; at += 1) {
    word = bytes[at]!
    high ^= productHigh(word, low5) + Math.imul(word, high5)
    low ^= Math.imul(word, low5)
    held = (high << 11) | (low >>> 21)
    low = (low << 11) | (high >>> 21)
    high = held
    high = (productHigh(low, low1) + Math.imul(low, high1) + Math.imul(high, low1)) | 0
    low = Math.imul(low, low1)
  }
  low ^= high >>> 1
  high = (productHigh(low, low2) + Math.imul(low, high2) + Math.imul(high, low2)) | 0
  low = Math.imul(low, low2)
  held = high >>> 29
  low ^= (low >>> 29) | (high << 3)
  high ^= held
  high = (productHigh(low, low3) + Math.imul(low, high3) + Math.imul(high, low3)) | 0
  low = Math.imul(low, low3)
  digest[0] = low ^ high
  digest[1] = high
}
