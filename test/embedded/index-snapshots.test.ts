/** Snapshots of single indexes over a running engine process. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { JsonObject } from '../../src/lib/json.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { type EngineProcess, resultsOf, startEngine } from './engine-process.ts'

const root = mkdtempSync(join(tmpdir(), 'flapjack-sis-'))
let engine: EngineProcess
let target: EngineProcess
before(async () => {
  ;[engine, target] = await Promise.all([startEngine(join(root, 'source')), startEngine(join(root, 'target'))])
})
after(async () => {
  await Promise.all([engine?.kill(), target?.kill()])
  rmSync(root, { recursive: true, force: true })
})

async function ended(node: EngineProcess, job: JsonObject): Promise<JsonObject> {
  for (;;) {
    const now = (await node.call('GET', `/sis/jobs/${job.id}`)).json
    if (now.state === 'succeeded' || now.state === 'failed') return now
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function snapshot(uid: string): Promise<JsonObject> {
  const asked = await engine.call('POST', `/sis/indexes/${uid}/snapshots`)
  assert.equal(asked.status, 202, asked.body.toString())
  const job = await ended(engine, asked.json)
  assert.equal(job.state, 'succeeded', JSON.stringify(job))
  return job
}

async function restore(node: EngineProcess, body: JsonObject): Promise<JsonObject> {
  const asked = await node.call('POST', '/sis/imports', body)
  assert.equal(asked.status, 202, asked.body.toString())
  return ended(node, asked.json)
}

const documents = (from: number, count: number, wave: number) =>
  Array.from({ length: count }, (_, index) => ({
    id: from + index,
    title: `book ${from + index} of wave ${wave}`,
    wave,
  }))

test('a snapshot made while documents are written holds exactly what its task says, on any engine, under any name', async () => {
  await engine.write('PATCH', '/indexes/books/settings', {
    filterableAttributes: ['wave'],
    synonyms: { tome: ['book'] },
  })
  // Every wave rewrites all documents, so a copy of two moments would show two waves.
  const waves: Promise<JsonObject>[] = []
  for (let wave = 1; wave <= 3; wave += 1)
    waves.push(engine.write('POST', '/indexes/books/documents', documents(0, 400, wave)))
  await Promise.race(waves)
  const jobs = await Promise.all([snapshot('books'), snapshot('books')])
  const tasks = await Promise.all(waves)
  const last = await engine.write('POST', '/indexes/books/documents', documents(0, 400, 4))

  for (const [number, { name, snapshot: made }] of jobs.entries()) {
    const { task, documentCount, uid } = made as JsonObject
    assert.equal(uid, 'books')
    assert.equal(documentCount, 400)
    const of = tasks.findIndex((wave) => wave.uid === task)
    assert(of >= 0, `task ${task} is one of those of the waves`)
    assert((task as number) < (last.uid as number))

    const file = await engine.call('GET', `/sis/files/${name}`)
    assert.equal(file.status, 200)
    assert.equal((await target.call('PUT', `/sis/files/copy${number}.fjsis`, file.body)).status, 200)
    const job = await restore(target, { name: `copy${number}.fjsis`, uid: `shelf${number}` })
    assert.equal(job.state, 'succeeded', JSON.stringify(job))
    const stored = resultsOf(await target.call('GET', `/indexes/shelf${number}/documents?limit=1000`))
    assert.equal(stored.length, 400)
    assert.deepEqual([...new Set(stored.map(({ wave }) => wave))], [of + 1])
    const settings = (await target.call('GET', `/indexes/shelf${number}/settings`)).json
    assert.deepEqual(settings.synonyms, { tome: ['book'] })
    const found = (await target.call('POST', `/indexes/shelf${number}/search`, { q: 'tome', limit: 400 })).json
    assert.equal((found.hits as Json[]).length, 400)
  }
})

type Json = JsonObject[string]

test('tasks of the engine that a restored index comes to are applied to it, whatever their numbers', async () => {
  await target.write('POST', '/indexes/shelf0/documents', documents(1000, 1, 9))
  assert.equal((await target.call('GET', '/indexes/shelf0/documents/1000')).json.wave, 9)
})

test('a restore replaces an index whole, when it is asked to', async () => {
  await target.write('POST', '/indexes/old/documents', [{ id: 'only', title: 'gone soon' }])
  const refused = await target.call('POST', '/sis/imports', { name: 'copy0.fjsis', uid: 'old' })
  assert.equal(refused.status, 409)
  assert.equal(refused.json.code, 'index_already_exists')
  const job = await restore(target, { name: 'copy0.fjsis', uid: 'old', mode: 'replace' })
  assert.equal(job.state, 'succeeded', JSON.stringify(job))
  assert.equal((await target.call('GET', '/indexes/old/documents/only')).status, 404)
  assert.equal((await target.call('GET', '/indexes/old/stats')).json.numberOfDocuments, 400)
  // The waiting task finds the restored index.
  await target.write('DELETE', '/indexes/old/documents/0', undefined)
  assert.equal((await target.call('GET', '/indexes/old/stats')).json.numberOfDocuments, 399)
})

test('a download can be resumed by ranges', async () => {
  const name = String(resultsOf(await engine.call('GET', '/sis/files'))[0]!.name)
  const whole = (await engine.call('GET', `/sis/files/${name}`)).body
  const first = await engine.call('GET', `/sis/files/${name}`, undefined, { range: 'bytes=0-999' })
  const rest = await engine.call('GET', `/sis/files/${name}`, undefined, { range: 'bytes=1000-' })
  assert.deepEqual([first.status, rest.status], [206, 206])
  assert.equal(rest.headers.get('content-range'), `bytes 1000-${whole.length - 1}/${whole.length}`)
  assert(Buffer.concat([first.body, rest.body]).equals(whole))
  assert.equal(
    (await engine.call('GET', `/sis/files/${name}`, undefined, { range: `bytes=${whole.length}-` })).status,
    416,
  )
})

test('a snapshot with any bit changed, cut anywhere, or with more behind its end is refused and leaves nothing', async () => {
  const seed = 20_261
  const random = seededRandom(seed)
  const name = String(resultsOf(await engine.call('GET', '/sis/files'))[0]!.name)
  const whole = (await engine.call('GET', `/sis/files/${name}`)).body
  const damaged = [
    Buffer.alloc(0),
    Buffer.concat([whole, Buffer.from([0])]),
    whole.subarray(0, whole.length - 1),
    whole.subarray(0, random.integer(whole.length)),
    ...Array.from({ length: 8 }, () => {
      const copy = Buffer.from(whole)
      copy[random.integer(copy.length)]! ^= 1 << random.integer(8)
      return copy
    }),
  ]
  for (const [number, bytes] of damaged.entries()) {
    const put = await target.call('PUT', '/sis/files/damaged.fjsis', bytes)
    assert.equal(put.status, 200, put.body.toString())
    const job = await restore(target, { name: 'damaged.fjsis', uid: 'damaged' })
    assert.equal(job.state, 'failed', `seed ${seed}, damage ${number}`)
    assert.equal((job.error as JsonObject).code, 'snapshot_invalid')
  }
  assert.equal((await target.call('GET', '/indexes/damaged')).status, 404)
  const uids = resultsOf(await target.call('GET', '/indexes')).map(({ uid }) => uid)
  assert.equal(readdirSync(join(root, 'target', 'indexes')).length, uids.length)
})

test('a snapshot of a newer version is refused with what to do', async () => {
  const { header, rewrite } = await rewritten()
  for (const [change, words] of [
    [{ format: 2 }, /newer version/],
    [{ indexFormat: 99 }, /dump/],
  ] as const) {
    await target.call('PUT', '/sis/files/newer.fjsis', rewrite({ ...header, ...change }))
    const job = await restore(target, { name: 'newer.fjsis', uid: 'newer' })
    assert.equal(job.state, 'failed')
    assert.match(String((job.error as JsonObject).message), words)
  }
  assert.equal((await target.call('GET', '/indexes/newer')).status, 404)
})

/** The header of a snapshot, and a function that makes the file's bytes with another header. */
async function rewritten() {
  const { crc32 } = await import('node:zlib')
  const name = String(resultsOf(await engine.call('GET', '/sis/files'))[0]!.name)
  const whole = (await engine.call('GET', `/sis/files/${name}`)).body
  const length = whole.readUInt32LE(9)
  const header = JSON.parse(whole.toString('utf8', 17, 17 + length)) as JsonObject
  const rewrite = (next: JsonObject): Buffer => {
    const body = Buffer.from(JSON.stringify(next))
    const head = Buffer.alloc(9)
    head[0] = 1
    head.writeUInt32LE(body.length, 1)
    head.writeUInt32LE(crc32(body, crc32(head.subarray(0, 5))), 5)
    return Buffer.concat([whole.subarray(0, 8), head, body, whole.subarray(17 + length)])
  }
  return { header, rewrite }
}

test('files that are not there, names that are none and bodies that say nothing are refused', async () => {
  assert.equal((await engine.call('GET', '/sis/files/nothing.fjsis')).status, 404)
  assert.equal((await engine.call('DELETE', '/sis/files/nothing.fjsis')).status, 404)
  assert.equal((await engine.call('GET', '/sis/files/..%2fengine.pid')).status, 400)
  assert.equal((await engine.call('PUT', '/sis/files/a.txt', 'x')).status, 400)
  assert.equal((await engine.call('POST', '/sis/indexes/nothing/snapshots')).status, 404)
  assert.equal((await engine.call('POST', '/sis/imports', { name: 'nothing.fjsis', uid: 'a' })).status, 404)
  assert.equal((await engine.call('POST', '/sis/imports', { name: 'nothing.fjsis', uid: 'a b' })).status, 400)
  assert.equal((await engine.call('POST', '/sis/imports', { uid: 'a' })).status, 400)
  assert.equal((await engine.call('GET', '/sis/jobs/nothing')).status, 404)
})
