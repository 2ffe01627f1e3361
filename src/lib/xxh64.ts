/** XXH64 with seed 0 (https://xxhash.com), as the library computes it, ready as soon as this module is imported. */
import xxhash from 'xxhash-wasm'

/** Compiling takes a millisecond, so that whoever imports this may hash without waiting. */
const { h64Raw } = await xxhash()

/** An unsigned 64-bit number. */
export function xxh64(bytes: Uint8Array): bigint {
  return h64Raw(bytes)
}
