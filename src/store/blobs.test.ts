import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemClock } from '../lib/clock.ts'
import { seededRandom } from '../lib/random.ts'
import { openBlobs } from './blobs.ts'

const folder = await mkdtemp(join(tmpdir(), 'flapjack-blobs-'))
const blobs = openBlobs(folder, { clock: systemClock, random: seededRandom(1) })
after(() => rm(folder, { recursive: true, force: true }))

async function* chunks(count: number, failAt = -1) {
  for (let at = 0; at < count; at += 1) {
    if (at === failAt) throw new Error('the client went away')
    yield Buffer.alloc(100_000, at)
  }
}

async function byteCountOf(bytes: AsyncIterable<Uint8Array>): Promise<number> {
  let count = 0
  for await (const chunk of bytes) count += chunk.byteLength
  return count
}

test('a blob comes back whole', async () => {
  const { name, byteCount } = await blobs.write(chunks(30))
  assert.equal(byteCount, 3_000_000)
  assert.equal(await byteCountOf(blobs.open(name)), 3_000_000)
  await blobs.delete(name)
  await blobs.delete(name)
  await assert.rejects(byteCountOf(blobs.open(name)))
})

test('a payload that breaks off leaves nothing behind', async () => {
  await assert.rejects(blobs.write(chunks(30, 25)), /the client went away/)
  const files = await readdir(folder, { recursive: true })
  assert.deepEqual(
    files.filter((file) => file.length > 2),
    [],
  )
})

test('a name from outside never leaves the folder', () => {
  for (const name of ['../x', '', 'AA'.repeat(16), `${'a'.repeat(31)}/`]) assert.throws(() => blobs.open(name))
})

test('only old blobs are offered for sweeping, and half-written ones of a crash go at once', async () => {
  const { name: old } = await blobs.write(chunks(1))
  const { name: young } = await blobs.write(chunks(1))
  const hourAgo = new Date(Date.now() - 3_700_000)
  const partial = join(folder, old.slice(0, 2), `${'0'.repeat(32)}.part`)
  await writeFile(partial, 'half')
  for (const path of [join(folder, old.slice(0, 2), old), partial]) await utimes(path, hourAgo, hourAgo)
  const names: string[] = []
  for await (const group of blobs.olderThan(3_600_000)) names.push(...group)
  assert.deepEqual(names, [old])
  assert(!(await readdir(join(folder, old.slice(0, 2)))).some((file) => file.endsWith('.part')))
  await blobs.delete(young)
})
