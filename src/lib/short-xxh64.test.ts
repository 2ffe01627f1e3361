import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from './random.ts'
import { shortBytesMax, shortXxh64 } from './short-xxh64.ts'
import { xxh64 } from './xxh64.ts'

test('short inputs hash as by the library, whatever their length and bytes', () => {
  const seed = Date.now() % 1e6
  const random = seededRandom(seed)
  const digest = new Int32Array(2)
  const patterns = [() => 0, () => 0xff, () => 0x80, () => random.integer(256)]
  for (let round = 0; round < 8_000; round += 1) {
    const length = round % (shortBytesMax + 1)
    const bytes = Uint8Array.from({ length }, patterns[round % patterns.length]!)
    shortXxh64(bytes, length, digest)
    const [low = 0, high = 0] = digest
    const found = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
    assert.equal(found, xxh64(bytes), `seed ${seed}: ${Buffer.from(bytes).toString('hex')}`)
  }
})
