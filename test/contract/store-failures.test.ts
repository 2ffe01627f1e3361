import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import pg from 'pg'
import { openStore, type Store } from '../../src/journal/open-store.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { sealingKey } from '../../src/lib/seal.ts'
import { openDatabase } from '../../src/store/database.ts'
import { migrations } from '../../src/store/migrations/migrations.ts'
import { startPostgres } from '../../src/store/postgres-server.ts'
import { migrate } from '../../src/store/schema.ts'
import { line, put, World } from './journal-world.ts'
import { testDatabase, testSealingKey } from './stores.ts'

const folder = await mkdtemp(join(tmpdir(), 'flapjack-failures-'))
const database = testDatabase(join(folder, 'shared'))
const stores: Store[] = []
after(async () => {
  for (const store of stores) await store.close()
  await database.close()
  await rm(folder, { recursive: true, force: true })
})

async function open(target: Awaited<ReturnType<typeof database.create>>): Promise<Store> {
  const store = await openStore({
    database: target,
    blobFolder: join(folder, 'blobs'),
    sealingKey: testSealingKey,
    clock: systemClock,
    random: seededRandom(stores.length),
  })
  stores.push(store)
  return store
}

test('several processes may bring one database up to date at once, and again', async () => {
  const target = await database.create()
  const all = await Promise.all([open(target), open(target), open(target)])
  await Promise.all(all.map((store) => store.migrate()))
  for (const store of all) await store.migrate()
  assert.equal((await all[0].catalogue.snapshot()).version, 0)
})

test('a database of a newer program is refused and left alone', async () => {
  const target = await database.create()
  const store = await open(target)
  await store.migrate()
  const options = { sealing: testSealingKey, clock: systemClock }
  const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const direct = openDatabase(target, { connectionCountMax: 2, logger: quiet })
  const next = { version: 1_000, name: 'of the future', sql: 'create table future ()' }
  await migrate(direct, { ...options, steps: [...migrations, next] })
  await assert.rejects(store.migrate(), { name: 'SchemaTooNew', message: /schema 1000.*newer/ })
  // A step that fails leaves the version before it.
  const broken = { version: 1_001, name: 'broken', sql: 'create table half (); select nonsense' }
  await assert.rejects(migrate(direct, { ...options, steps: [...migrations, next, broken] }))
  await migrate(direct, { ...options, steps: [...migrations, next] })
  await direct.close()
})

test('a lost or wrong sealing key shows at start, not when the first secret is needed', async () => {
  const target = await database.create()
  await (await open(target)).migrate()
  const other = await openStore({
    database: target,
    blobFolder: folder,
    sealingKey: sealingKey(Buffer.alloc(32, 9)),
    clock: systemClock,
    random: seededRandom(1),
  })
  await assert.rejects(other.migrate(), { name: 'WrongSealingKey' })
  await other.close()
})

test('no secret can be read from the tables', async () => {
  const target = await database.create()
  const store = await open(target)
  await store.migrate()
  const world = await World.open(store)
  const secret = 'sk-very-secret-0123456789'
  await world.append('a', { kind: 'settings', settings: { embedders: { e: { source: 'openAi', apiKey: secret } } } })
  await world.append(null, { kind: 'export', url: 'http://x', apiKey: secret, payloadSize: null, indexes: {} })
  await store.catalogue.putWebhook({
    project: world.project.id,
    uuid: '00000000-0000-4000-8000-000000000001',
    url: 'http://example.com',
    headers: { Authorization: secret },
    isEditable: true,
  })
  await store.catalogue.changeNetwork(world.project.id, (before) => ({
    ...before,
    remotes: { a: { url: 'http://a', searchApiKey: secret, writeApiKey: secret } },
  }))
  const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const direct = openDatabase(target, { connectionCountMax: 2, logger: quiet })
  const tables = await direct.pool.query<{ name: string }>(
    "select table_name as name from information_schema.tables where table_schema = 'public'",
  )
  for (const { name } of tables.rows) {
    const { rows } = await direct.pool.query(`select row_to_json(t)::text as text from ${pg.escapeIdentifier(name)} t`)
    const text = rows.map((row) => row.text).join('\n')
    for (const hidden of [secret, world.project.masterKey, 'node-secret']) {
      for (const form of [hidden, Buffer.from(hidden).toString('hex')]) assert(!text.includes(form), `${name} shows it`)
    }
  }
  await direct.close()
})

test('without a database writes are unavailable, and reads say so', async () => {
  const store = await open({ kind: 'url', url: 'postgres://nobody@127.0.0.1:1/none' })
  const world = { project: '00000000-0000-7000-8000-000000000001' }
  const request = {
    ...world,
    uid: 'a',
    operation: put,
    payload: null,
    customMetadata: null,
    mayCreateIndex: true,
    refusal: null,
  }
  assert.equal((await store.journal.append(request)).kind, 'unavailable')
  await assert.rejects(store.catalogue.snapshot(), { name: 'StoreUnavailable' })
  await assert.rejects(store.journal.task(world.project, 1), { name: 'StoreUnavailable' })
  await assert.rejects(store.ping(), { name: 'StoreUnavailable' })
})

// The server is killed at random moments of a stream of writes; what got an answer must be there exactly once, in order.
test('what was acknowledged survives kill -9 of the database, and what was refused is not there', async () => {
  const own = join(folder, 'own')
  let server = await startPostgres({ folder: own, searchPath: process.env.PATH ?? '' })
  const store = await open({ kind: 'postgres', connection: server.connection })
  await store.migrate()
  const world = await World.open(store)
  const random = seededRandom(5)
  const acknowledged: { readonly task: number; readonly mark: string }[] = []
  const unanswered: string[] = []
  for (let round = 0; round < 6; round += 1) {
    let isAlive = true
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let count = 0; isAlive; count += 1) {
        const mark = `${round}.${writer}.${count}`
        const outcome = await store.journal.append(
          world.request(writer % 2 === 0 ? 'a' : 'b', put, {
            payload: { kind: 'inline', bytes: line },
            inferred: { primaryKey: 'id' },
            customMetadata: mark,
          }),
        )
        if (outcome.kind === 'appended') acknowledged.push({ task: outcome.task, mark })
        else unanswered.push(mark)
      }
    })
    const killAfter = acknowledged.length + 20 + random.integer(60)
    while (acknowledged.length < killAfter) await new Promise((done) => setImmediate(done))
    process.kill(server.pid, 'SIGKILL')
    await server.exited
    isAlive = false
    server = await startPostgres({ folder: own, searchPath: process.env.PATH ?? '' })
    await Promise.all(writers)
  }
  const { results } = await store.journal.tasks(world.project.id, { filter: {}, limit: 100_000, reverse: true })
  assert.deepEqual(
    results.map(({ uid }) => uid),
    results.map((_, at) => at),
    'task numbers have no gaps',
  )
  const stored = new Map(results.map((view) => [view.customMetadata, view.uid]))
  assert.equal(stored.size, results.length, 'nothing is there twice')
  for (const { task, mark } of acknowledged) assert.equal(stored.get(mark), task, `${mark} was acknowledged`)
  for (const mark of unanswered) assert(!stored.has(mark), `${mark} was refused`)
  await store.close()
  stores.splice(stores.indexOf(store), 1)
  await server.stop()
})
