/** One suite over every place where objects lie: a folder, and a real S3 server where one can be had. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { seededRandom } from '../../src/lib/random.ts'
import { openFolderObjects } from '../../src/store/objects/folder-objects.ts'
import { ObjectMissing, type ObjectStore, ObjectsUnavailable, readWhole } from '../../src/store/objects/object-store.ts'
import { openObjects } from '../../src/store/objects/open-objects.ts'
import { openS3Objects } from '../../src/store/objects/s3-objects.ts'
import { s3Program, startS3 } from '../support/s3-server.ts'

const folder = await mkdtemp(join(tmpdir(), 'flapjack-objects-'))
const opened: ObjectStore[] = [openFolderObjects(join(folder, 'objects'))]
const program = s3Program()
const server = program === undefined ? undefined : await startS3(program)
if (server !== undefined) opened.push(openS3Objects(server.options))
after(async () => {
  for (const objects of opened) objects.close()
  await server?.close()
  await rm(folder, { recursive: true, force: true })
})

const bytes = Buffer.from(seededRandom(5).bytes(2 ** 20))

/** 17 MiB in uneven chunks. */
async function* large(): AsyncGenerator<Uint8Array> {
  for (let count = 0; count < 17; count += 1) {
    yield bytes.subarray(0, 700_001)
    yield bytes.subarray(700_001)
  }
}

const digest = (chunk: Uint8Array) => createHash('sha256').update(chunk).digest('hex')
const names = async (objects: ObjectStore, prefix: string) => {
  const found: string[] = []
  for await (const { name, byteCount } of objects.list(prefix)) found.push(`${name} ${byteCount}`)
  return found.sort()
}

for (const objects of opened) {
  const kind = objects.place.startsWith('s3:') ? 'S3' : 'a folder'
  test(`objects in ${kind} come back whole, are listed, replaced and deleted`, async () => {
    assert.equal(await objects.find('a/b/one'), undefined)
    await objects.put('a/b/one', bytes.subarray(0, 10))
    await objects.put('a/b/none', Buffer.of())
    await objects.put('a/c/two', bytes.subarray(0, 20))
    assert.deepEqual(await objects.find('a/b/one'), { name: 'a/b/one', byteCount: 10 })
    assert.deepEqual(await readWhole(objects.get('a/b/one')), bytes.subarray(0, 10))
    assert.deepEqual(await names(objects, 'a/'), ['a/b/none 0', 'a/b/one 10', 'a/c/two 20'])
    assert.deepEqual(await names(objects, 'a/b/'), ['a/b/none 0', 'a/b/one 10'])
    assert.deepEqual(await names(objects, 'elsewhere/'), [])
    await objects.put('a/b/one', bytes.subarray(5, 10))
    assert.deepEqual(await readWhole(objects.get('a/b/one')), bytes.subarray(5, 10))
    await objects.delete('a/b/one')
    await objects.delete('a/b/one')
    await assert.rejects(readWhole(objects.get('a/b/one')), ObjectMissing)
  })

  test(`large objects in ${kind} go in parts, and a broken one leaves what was there`, async () => {
    const { byteCount } = await objects.put('large', large())
    assert.equal(byteCount, 17 * 2 ** 20)
    const whole = await readWhole(objects.get('large'))
    assert.equal(digest(whole), digest(Buffer.concat(Array.from({ length: 17 }, () => bytes))))
    const broken = async function* () {
      yield* large()
      throw new Error('the source broke')
    }
    await assert.rejects(objects.put('large', broken()), /the source broke/)
    assert.deepEqual(await names(objects, 'large'), [`large ${byteCount}`])
    assert.equal(digest(await readWhole(objects.get('large'))), digest(whole))
    const stopped = AbortSignal.abort(new Error('stopped'))
    await assert.rejects(objects.put('other', bytes, { signal: stopped }))
    assert.equal(await objects.find('other'), undefined)
  })

  test(`whoever has an address of an object in ${kind} reads or writes it, where there are such`, async () => {
    await objects.put('signed', bytes.subarray(0, 100))
    const { presign } = objects
    assert.equal(presign === null, kind === 'a folder')
    if (presign === null) return
    const [read, write] = [await presign('signed', 'GET', 60), await presign('signed', 'PUT', 60)]
    const found = await fetch(read)
    assert.deepEqual(Buffer.from(await found.arrayBuffer()), bytes.subarray(0, 100))
    const put = await fetch(write, { method: 'PUT', body: bytes.subarray(0, 7) })
    assert.equal(put.status, 200, await put.text())
    assert.deepEqual(await objects.find('signed'), { name: 'signed', byteCount: 7 })
    assert.notEqual((await fetch(read.replace('X-Amz-Signature=', 'X-Amz-Signature=0'))).status, 200)
  })
}

test('a place that does not answer, or refuses, is told from an object that is missing', async () => {
  const away = { target: 's3://bucket/x', endpoint: 'http://127.0.0.1:9', region: 'r' } as const
  const objects = await openObjects({ ...away, accessKeyId: 'a', secretAccessKey: 'b' })
  await assert.rejects(objects.find('a'), ObjectsUnavailable)
  objects.close()
  await openFolderObjects(folder).put('file', bytes.subarray(0, 1))
  const wrong = openFolderObjects(join(folder, 'file'))
  await assert.rejects(wrong.put('a', bytes.subarray(0, 1)), ObjectsUnavailable)
})
