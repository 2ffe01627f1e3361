import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../lib/random.ts'
import { PayloadSlices, sliceCount } from './payload-slices.ts'

test('slices of a payload hold whole lines and are the same however it is read', async () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const random = seededRandom(seed)
    const lines = Array.from({ length: random.integer(30) }, () => 'x'.repeat(1 + random.integer(40)))
    const end = random.float() < 0.5 ? '\n' : ''
    const bytes = Buffer.from(lines.join('\n') + (lines.length > 0 ? end : ''))
    const sliceBytes = 1 + random.integer(60)
    const read = async () => {
      async function* chunks() {
        for (let at = 0; at < bytes.length; ) {
          const length = 1 + random.integer(50)
          yield bytes.subarray(at, at + length)
          at += length
        }
      }
      const slices = new PayloadSlices(chunks(), bytes.length, sliceBytes)
      const found: string[] = []
      for (let slice = 0; slice < sliceCount(bytes.length, sliceBytes); slice += 1) {
        const isEmpty = slices.isEmpty(slice)
        const parts: Uint8Array[] = []
        for await (const part of slices.read(slice)) parts.push(part)
        const text = Buffer.concat(parts).toString()
        assert.equal(isEmpty, text === '', `seed ${seed}`)
        assert.ok(text === '' || text.endsWith('\n') || bytes.toString().endsWith(text), `seed ${seed}: ${text}`)
        found.push(text)
      }
      assert.equal(found.join(''), bytes.toString(), `seed ${seed}`)
      return found
    }
    assert.deepEqual(await read(), await read(), `seed ${seed}`)
  }
})
