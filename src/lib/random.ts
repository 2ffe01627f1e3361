/** Randomness, passed in so that a seed gives the same run. */
import { randomBytes, randomUUID } from 'node:crypto'

export interface Random {
  /** A float in [0, 1). */
  float(): number
  /** An integer in [0, below). */
  integer(below: number): number
  bytes(count: number): Uint8Array
  /** A version 4 UUID, lower case, hyphenated. */
  uuid(): string
}

export const systemRandom: Random = {
  float: () => Math.random(),
  integer: (below) => Math.floor(Math.random() * below),
  bytes: (count) => randomBytes(count),
  uuid: () => randomUUID(),
}

/** A seeded source for tests and the simulator (sfc32). The same seed gives the same sequence on every machine. */
export function seededRandom(seed: number): Random {
  let a = 0x9e3779b9 ^ seed
  let b = 0x243f6a88
  let c = 0xb7e15162
  let d = seed | 1
  const next = () => {
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + t) | 0
    return t >>> 0
  }
  for (let round = 0; round < 12; round += 1) next()
  const integer = (below: number) => Math.floor((next() / 2 ** 32) * below)
  const bytes = (count: number) => Uint8Array.from({ length: count }, () => integer(256))
  return {
    float: () => next() / 2 ** 32,
    integer,
    bytes,
    uuid: () => {
      const raw = bytes(16)
      raw[6] = (raw[6]! & 0x0f) | 0x40
      raw[8] = (raw[8]! & 0x3f) | 0x80
      const hex = Buffer.from(raw).toString('hex')
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
    },
  }
}
