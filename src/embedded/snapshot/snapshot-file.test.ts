import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Random, seededRandom } from '../../lib/random.ts'
import { readSnapshot, type SnapshotHeader, SnapshotInvalid, sectionName, writeSnapshot } from './snapshot-file.ts'

const header: SnapshotHeader = {
  uid: 'books',
  primaryKey: 'id',
  documentCount: 3,
  task: 7,
  indexFormat: 1,
  madeAt: 1_700_000_000_000,
}

async function* pieces(...all: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* all
}

async function written(data: Uint8Array): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of writeSnapshot(header, [{ name: sectionName, bytes: pieces(data) }])) parts.push(part)
  return Buffer.concat(parts)
}

/** What the file holds, or undefined when it is refused. Any other error fails the test. */
async function read(source: AsyncIterable<Uint8Array>): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = []
  try {
    for await (const part of readSnapshot(source)) if (part.kind === 'chunk') chunks.push(part.bytes)
  } catch (error) {
    if (error instanceof SnapshotInvalid) return undefined
    throw error
  }
  return Buffer.concat(chunks)
}

test('a snapshot read in pieces of any size is what was written', async () => {
  const random = seededRandom(1)
  const data = random.bytes(20_000)
  const file = await written(data)
  for (const size of [1, 7, 4096, file.length]) {
    const split = Array.from({ length: Math.ceil(file.length / size) }, (_, n) =>
      file.subarray(n * size, (n + 1) * size),
    )
    const found = await read(pieces(...split))
    assert(found?.equals(data), `pieces of ${size}`)
  }
})

/** One change that a broken disk, a broken link or an enemy could make. */
function changed(file: Buffer, random: Random): Buffer {
  const copy = Buffer.from(file)
  const at = random.integer(copy.length)
  switch (random.integer(6)) {
    case 0:
      copy[at]! ^= 1 << random.integer(8)
      return copy
    case 1:
      return copy.subarray(0, at)
    case 2:
      copy.writeUInt32LE(random.integer(2 ** 32), Math.min(at, copy.length - 4))
      return copy
    case 3:
      return Buffer.concat([copy.subarray(0, at), Buffer.from(random.bytes(1 + random.integer(50))), copy.subarray(at)])
    case 4:
      return Buffer.concat([copy, copy.subarray(at)])
    default:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(Math.min(copy.length, at + 1 + random.integer(100)))])
  }
}

// One parser of files that come from outside: no crash, no long turn, no memory beyond a few chunks.
test('whatever is done to a snapshot file, it is read whole or refused, within 100 ms', async () => {
  const seed = 99
  const random = seededRandom(seed)
  const data = random.bytes(3_000)
  const file = await written(data)
  for (let round = 0; round < 2_000; round += 1) {
    const bytes = round % 50 === 0 ? Buffer.from(random.bytes(random.integer(300))) : changed(file, random)
    const before = process.cpuUsage()
    const found = await read(pieces(bytes))
    const { user, system } = process.cpuUsage(before)
    assert((user + system) / 1000 < 100, `seed ${seed}, round ${round}: ${(user + system) / 1000} ms`)
    // A change may cut off nothing, or put a byte's own value in its place.
    if (found !== undefined) assert(bytes.equals(file) && found.equals(data), `seed ${seed}, round ${round}`)
  }
})

test('a chunk that says it is huge, or unpacks to more than it may, is refused before memory is spent', async () => {
  const file = await written(Buffer.alloc(10))
  const huge = Buffer.from(file)
  huge.writeUInt32LE(0x7fff_ffff, 9)
  let pulled = 0
  async function* endless(): AsyncGenerator<Uint8Array> {
    yield huge
    for (;;) {
      pulled += 1
      yield Buffer.alloc(65_536)
    }
  }
  assert.equal(await read(endless()), undefined)
  assert.equal(pulled, 0)
})
