/** Damage to files at rest: every flipped bit, cut or stale page is harmless or reported, and never served as truth. */
import assert from 'node:assert/strict'
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { decodeSearchQuery } from '../../src/api/search-query.ts'
import type { DamagedFile } from '../../src/embedded/core.ts'
import { openEngine } from '../../src/embedded/engine-core.ts'
import { type IndexEnv, openIndexEnv } from '../../src/embedded/index-env.ts'
import { checkSlowly, verifyPages } from '../../src/embedded/integrity/page-check.ts'
import { FileDamaged, sealPages } from '../../src/embedded/integrity/page-sums.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { engineExit, resultsOf, startEngine } from './engine-process.ts'

const waitMsMax = 60_000
const root = mkdtempSync(join(tmpdir(), 'flapjack-integrity-'))
after(() => rmSync(root, { recursive: true, force: true }))

const sound = join(root, 'sound')
const tables = ['main', 'documents', 'ids', 'postings', 'vocabulary', 'facets', 'vectors'] as const

function write(env: IndexEnv, from: number, count: number): void {
  env.root.transactionSync(() => {
    for (let each = from; each < from + count; each += 1) {
      env.documents.putSync(Buffer.from(`document ${each}`), Buffer.alloc(each % 20 === 0 ? 12_000 : 150, each))
      env.ids.putSync(Buffer.from(`id ${each}`), Buffer.from(String(each)))
      env.postings.putSync(Buffer.from(`word ${each % 97}`), Buffer.alloc(700, each))
    }
  })
}

function contentOf(folder: string): string {
  const env = openIndexEnv(folder, 'write')
  const lines = tables.flatMap((name) =>
    [...env[name].getRange()].map(
      ({ key, value }) => `${name} ${Buffer.from(key).toString('hex')} ${Buffer.from(value).toString('hex')}`,
    ),
  )
  void env.root.close()
  return lines.join('\n')
}

let content = ''
let bytes: Buffer
let older: Buffer
before(async () => {
  const env = openIndexEnv(sound, 'write')
  write(env, 0, 400)
  await sealPages(sound)
  older = readFileSync(join(sound, 'data.mdb'))
  // Old pages become free ones, and some of them are used again.
  for (let round = 0; round < 6; round += 1) write(env, round * 50, 60)
  await sealPages(sound)
  await env.root.close()
  bytes = readFileSync(join(sound, 'data.mdb'))
  content = contentOf(sound)
})

let copies = 0
/** The index with another data file. */
function damaged(data: Buffer): string {
  const folder = join(root, `copy${copies++}`)
  mkdirSync(folder)
  cpSync(join(sound, 'pages.sum'), join(folder, 'pages.sum'))
  writeFileSync(join(folder, 'data.mdb'), data)
  return folder
}

async function isReported(folder: string): Promise<boolean> {
  try {
    assert.equal(await verifyPages(folder), true)
    return false
  } catch (error) {
    if (!(error instanceof FileDamaged)) throw error
    return true
  }
}

test('an index that was not damaged is not reported', async () => {
  assert.equal(await isReported(damaged(bytes)), false)
})

test('every flipped bit is reported, or lies where nothing is stored', async () => {
  const seed = 4_711
  const random = seededRandom(seed)
  let reported = 0
  for (let flip = 0; flip < 200; flip += 1) {
    // One in ten hits the pages that say where everything is.
    const at = flip % 10 === 0 ? random.integer(2 * 4096) : random.integer(bytes.length)
    const bit = random.integer(8)
    const copy = Buffer.from(bytes)
    copy[at]! ^= 1 << bit
    const folder = damaged(copy)
    const what = `seed ${seed}: bit ${bit} of byte ${at}`
    if (await isReported(folder)) reported += 1
    else assert.equal(contentOf(folder), content, what)
    rmSync(folder, { recursive: true })
  }
  assert(reported > 100, `seed ${seed}: ${reported} of 200 reported`)
})

test('a file that is cut off, and pages that were never written or are those of before, are reported or not in use', async () => {
  const seed = 4_712
  const random = seededRandom(seed)
  const pageCount = bytes.length / 4096
  for (let round = 0; round < 60; round += 1) {
    const copy = Buffer.from(bytes)
    const page = 2 + random.integer(pageCount - 2)
    const stale = 2 + random.integer(older.length / 4096 - 2)
    if (round % 2 === 0) copy.fill(0, page * 4096, (page + 1) * 4096)
    else older.copy(copy, stale * 4096, stale * 4096, (stale + 1) * 4096)
    const folder = damaged(copy)
    if (!(await isReported(folder))) assert.equal(contentOf(folder), content, `seed ${seed}, page ${page}`)
    rmSync(folder, { recursive: true })
  }
  for (let round = 0; round < 20; round += 1) {
    const folder = damaged(bytes)
    const length = random.integer(bytes.length)
    truncateSync(join(folder, 'data.mdb'), length)
    if (!(await isReported(folder))) assert.equal(contentOf(folder), content, `seed ${seed}, length ${length}`)
    rmSync(folder, { recursive: true })
  }
  const stale = damaged(older)
  assert.equal(await isReported(stale), true)
})

test('pages that a crash left without checksums are told apart from damaged ones', async () => {
  const folder = join(root, 'unclean')
  cpSync(sound, folder, { recursive: true })
  const env = openIndexEnv(folder, 'write')
  for (let round = 0; round < 3; round += 1) write(env, 1000 + round * 30, 30)
  await env.root.close()
  assert.equal(await isReported(folder), false)
  const newer = readFileSync(join(folder, 'data.mdb'))
  const newerContent = contentOf(folder)
  const seed = 4_713
  const random = seededRandom(seed)
  let reported = 0
  for (let flip = 0; flip < 100; flip += 1) {
    const at = 2 * 4096 + random.integer(bytes.length - 2 * 4096)
    // A page of before that is still in use has its checksum.
    const page = Math.floor(at / 4096) * 4096
    if (!newer.subarray(page, page + 4096).equals(bytes.subarray(page, page + 4096))) continue
    const copy = Buffer.from(newer)
    copy[at]! ^= 1 << random.integer(8)
    const flipped = damaged(copy)
    if (await isReported(flipped)) reported += 1
    else assert.equal(contentOf(flipped), newerContent, `seed ${seed}, byte ${at}`)
    rmSync(flipped, { recursive: true })
  }
  assert(reported > 10, `${reported} reported`)
})

test('an engine names a damaged index and what to do, serves the others, and can delete it', async () => {
  const folder = join(root, 'engine')
  const documents = Array.from({ length: 500 }, (_, id) => ({ id, title: `whale ${id}` }))
  const first = await startEngine(folder)
  await first.write('POST', '/indexes/sound/documents', documents)
  await first.write('POST', '/indexes/broken/documents', documents)
  await first.stop()
  const second = await startEngine(folder)
  const { dataFile } = await fileOf(folder, 'broken')
  await second.stop()
  const data = readFileSync(dataFile)
  for (let page = 2; page < data.length / 4096; page += 1) data[page * 4096 + 2000]! ^= 1
  writeFileSync(dataFile, data)

  const engine = await startEngine(folder)
  try {
    const refused = await engine.call('POST', '/indexes/broken/search', { q: 'whale' })
    assert.equal(refused.status, 500)
    assert.equal(refused.json.code, 'invalid_store_file')
    assert.match(String(refused.json.message), /Restore the index from a snapshot, or delete it/)
    assert.equal((await engine.call('POST', '/indexes/sound/search', { q: 'whale' })).status, 200)
    const write = await engine.call('POST', '/indexes/broken/documents', documents.slice(0, 1))
    const task = await engine.waitForTask(Number(write.json.taskUid))
    assert.equal(task.status, 'failed')
    await engine.write('DELETE', '/indexes/broken', undefined)
    await engine.write('POST', '/indexes/broken/documents', documents.slice(0, 1))
    assert.equal(resultsOf(await engine.call('GET', '/indexes/broken/documents')).length, 1)
  } finally {
    await engine.stop()
  }
})

async function fileOf(folder: string, uid: string): Promise<{ readonly dataFile: string }> {
  const { openMetaEnv } = await import('../../src/embedded/meta-env.ts')
  const copy = join(root, `meta${copies++}`)
  cpSync(join(folder, 'tasks'), copy, { recursive: true })
  const meta = openMetaEnv(copy)
  const entry = meta.indexes.get(uid)
  await meta.root.close()
  assert(entry !== undefined)
  return { dataFile: join(folder, 'indexes', entry.folder, 'data.mdb') }
}

test('an engine whose tasks are damaged does not start, and says what to do', async () => {
  const folder = join(root, 'tasks')
  const engine = await startEngine(folder)
  for (let n = 0; n < 5; n += 1) await engine.write('POST', '/indexes/a/documents', [{ id: n }])
  await engine.stop()
  const file = join(folder, 'tasks', 'data.mdb')
  const data = readFileSync(file)
  for (let page = 2; page < data.length / 4096; page += 1) data[page * 4096 + 30]! ^= 8
  writeFileSync(file, data)
  const { code, text } = await engineExit(['--data-dir', folder])
  assert.notEqual(code, 0)
  assert.match(text, /tasks is damaged.*--import-snapshot/)
})

// Bits that turn on the disk change no times of the file, and nobody opens it again.
test('damage to an open file is noticed, told and no longer served; a start tells of it before anybody asks', async () => {
  const folder = join(root, 'scrubbed')
  const documents = Array.from({ length: 2_000 }, (_, id) => ({ id, title: `whale ${id} of many` }))
  const first = await startEngine(folder)
  await first.write('POST', '/indexes/broken/documents', documents)
  await first.write('POST', '/indexes/sound/documents', documents)
  await first.stop()
  const { dataFile } = await fileOf(folder, 'broken')
  const found: DamagedFile[] = []
  const options = {
    scrubEveryMs: 20,
    scrubBytesPerSecond: 2 ** 30,
    onDamage: (damaged: DamagedFile) => found.push(damaged),
  }
  const engine = await openEngine(folder, options)
  const features = {}
  const search = (uid: string) =>
    engine.search(uid, decodeSearchQuery({ q: 'whale' }), { features, withMetadata: false })
  try {
    await search('broken')
    await until(() => engine.integrity().lastPassAt !== null)
    assert.equal(found.length, 0)
    const file = openSync(dataFile, 'r+')
    // The middle of every page, in place: the file keeps its inode and its length.
    const page = Buffer.alloc(4096)
    for (let at = 2 * 4096; readSync(file, page, 0, 4096, at) === 4096; at += 4096) {
      page[2_000]! ^= 1
      writeSync(file, page, 0, 4096, at)
    }
    closeSync(file)
    await until(() => found.length > 0)
    assert.equal(found[0]?.indexUid, 'broken')
    await assert.rejects(search('broken'), /Restore the index from a snapshot, or delete it/)
    assert.equal((await search('sound')).length > 0, true)
    assert.deepEqual(
      engine.integrity().damaged.map(({ indexUid }) => indexUid),
      ['broken'],
    )
  } finally {
    await engine.close()
  }
  const again: DamagedFile[] = []
  const next = await openEngine(folder, { onDamage: (damaged) => again.push(damaged) })
  await until(() => again.length > 0)
  assert.equal(again[0]?.indexUid, 'broken')
  await next.close()
})

// The list of tasks is written to for months; its sums must not wait for an ordered end.
test('the open file of tasks gets checksums while it rests, and damage to it is noticed', async () => {
  const folder = join(root, 'resting')
  const options = { scrubEveryMs: 20, scrubBytesPerSecond: 2 ** 30 }
  const engine = await openEngine(folder, options)
  const mark = 'z'.repeat(500)
  const operation = { kind: 'index-create', primaryKey: null } as const
  const request = { uid: 'a', operation, customMetadata: mark, allowIndexCreation: true }
  const { taskUid } = await engine.enqueue(request)
  assert.equal((await engine.waitForTask(taskUid, 60_000))?.status, 'succeeded')
  const path = join(folder, 'tasks', 'data.mdb')
  try {
    await until(async () => (await checkSlowly(join(folder, 'tasks'), async () => undefined)).kind === 'sound')
    assert.deepEqual(engine.integrity().damaged, [])
    const bytes = readFileSync(path)
    const file = openSync(path, 'r+')
    for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1))
      writeSync(file, Buffer.from('y'), 0, 1, at + 7)
    closeSync(file)
    await until(() => engine.integrity().damaged.length > 0)
    const [damaged] = engine.integrity().damaged
    assert.equal(damaged?.indexUid, null)
    assert.match(String(damaged?.message), /tasks is damaged.*Make a dump/)
  } finally {
    await engine.close()
  }
  await assert.rejects(openEngine(folder, {}), /tasks is damaged.*--import-snapshot/)
})

// A page may be freed and written anew between the reading of a block and of its sums.
test('files that are written to while they are compared give no false alarm', async () => {
  const folder = join(root, 'busy')
  const seed = 4_714
  const random = seededRandom(seed)
  const found: DamagedFile[] = []
  const engine = await openEngine(folder, {
    scrubEveryMs: 1,
    scrubBytesPerSecond: 2 ** 40,
    onDamage: (damaged) => found.push(damaged),
  })
  const indexFolder = () => join(folder, 'indexes', readdirSync(join(folder, 'indexes'))[0]!)
  const put = async () => {
    const lines = Array.from({ length: 200 }, () => {
      const id = random.integer(1_000)
      return JSON.stringify({ id, title: `whale ${random.integer(5_000)} and ${random.integer(5_000)}` })
    })
    const operation = { kind: 'documents-put', merge: false, skipCreation: false, primaryKey: 'id' } as const
    const payload = Readable.from([Buffer.from(lines.join('\n'))])
    const request = { uid: 'a', operation, payload, customMetadata: null, allowIndexCreation: true }
    const { taskUid } = await engine.enqueue(request)
    assert.equal((await engine.waitForTask(taskUid, 60_000))?.status, 'succeeded')
  }
  try {
    let sealed = ''
    for (let round = 0; round < 4; round += 1) {
      for (let batch = 0; batch < 6; batch += 1) await put()
      // Sums come with the first rest; then the file is compared with them and written to at once.
      await until(() => sealed !== stateOf(join(indexFolder(), 'pages.sum')))
      sealed = stateOf(join(indexFolder(), 'pages.sum'))
    }
    assert(engine.integrity().checkedBytes > 0, 'nothing was compared')
    assert.deepEqual(found, [], `seed ${seed}`)
  } finally {
    await engine.close()
  }
})

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (
    const end = performance.now() + waitMsMax;
    !(await isSo());
    await new Promise((resolve) => setTimeout(resolve, 5))
  )
    assert(performance.now() < end, 'it did not come')
}

function stateOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false })
  return found === undefined ? '' : String(found.ino)
}
