import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import pg from 'pg'
import { openStore, type Store } from '../../src/journal/open-store.ts'
import { sealedColumns } from '../../src/journal/reseal.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { type SealingKey, sealingKey } from '../../src/lib/seal.ts'
import { masterKeyContext } from '../../src/store/catalogue-rows.ts'
import { openDatabase } from '../../src/store/database.ts'
import { createKeyRing } from '../../src/store/key-ring.ts'
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

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }

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
  const ring = createKeyRing({ clock: systemClock })
  const options = { masters: [testSealingKey] as const, ring, clock: systemClock }
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

test('a row whose secret does not open takes out its own project, and nothing else', async () => {
  const target = await database.create()
  const store = await open(target)
  await store.migrate()
  const world = await World.open(store)
  const other = await store.catalogue.createProject({ organisation: world.project.organisation, name: 'other' })
  const direct = openDatabase(target, { connectionCountMax: 2, logger: quiet })
  await direct.pool.query(
    `update projects set master_key_sealed = set_byte(master_key_sealed, 40, 255 - get_byte(master_key_sealed, 40)) where id = $1`,
    [other.id],
  )
  await direct.pool.query(`update nodes set key_sealed = decode('01', 'hex')`)
  await direct.close()
  const { projects, nodes } = await store.catalogue.snapshot()
  const states = projects.map(({ name, state, masterKey }) => [name, state, masterKey === world.project.masterKey])
  assert.deepEqual(states, [
    ['books', 'active', true],
    ['other', 'unreadable', false],
  ])
  assert.ok(projects.every(({ masterKey }) => masterKey !== other.masterKey && masterKey.length >= 64))
  assert.deepEqual(
    nodes.map(({ state, key }) => [state, key]),
    [['lost', null]],
  )
})

/** Runs ahead of the time as far as a test says. */
const hurried = { ...systemClock, aheadMs: 0, now: () => systemClock.now() + hurried.aheadMs }

test('the sealing key is replaced while everything runs, and what stood under the old one can be sealed anew', async () => {
  const target = await database.create()
  const [first, second] = [1, 2].map((byte) => sealingKey(Buffer.alloc(32, byte)))
  /** What is in the files of keys now. */
  const present: SealingKey[] = []
  const openWith = async (key: SealingKey | undefined, others: readonly SealingKey[] = []) => {
    assert.ok(key !== undefined)
    const store = await openStore({
      ...{ database: target, blobFolder: join(folder, 'blobs'), clock: hurried, random: seededRandom(stores.length) },
      sealingKey: key,
      otherSealingKeys: async () => others,
    })
    stores.push(store)
    return store
  }
  assert.ok(second !== undefined)
  const running = await openWith(first, present)
  await running.migrate()
  const world = await World.open(running)
  const secret = { embedders: { e: { source: 'openAi', apiKey: 'sk-1' } } }
  const { index } = await world.append('a', { kind: 'settings', settings: secret })
  const webhook = { project: world.project.id, uuid: '00000000-0000-4000-8000-000000000002', url: 'http://example.com' }
  await running.catalogue.putWebhook({ ...webhook, headers: { a: 'b' }, isEditable: true })
  await running.catalogue.changeNetwork(world.project.id, (before) => ({ ...before, self: 'me' }))

  await running.rotateSealingKey(second)
  await running.rotateSealingKey(second)
  present.push(second)
  const late = await openWith(first)
  await assert.rejects(late.migrate(), { name: 'WrongSealingKey' })
  await assert.rejects(late.unlock(), { name: 'WrongSealingKey' })
  const fresh = await openWith(second)
  await fresh.migrate()
  const keyOf = async (store: Store) => (await store.catalogue.findProject('books'))?.masterKey
  for (const store of [running, fresh]) assert.equal(await keyOf(store), world.project.masterKey)

  const early = await fresh.reseal()
  assert.equal(early.kind, 'too-early')
  hurried.aheadMs = 180_000
  // What a process seals under a key that another one has not read yet is a matter of a moment, not a loss.
  await fresh.unlock()
  await fresh.catalogue.createProject({ organisation: world.project.organisation, name: 'new' })
  await assert.rejects(running.catalogue.findProject('new'), { name: 'StoreUnavailable' })
  const tokens = running.secrets('tokens')
  for (let turns = 0; ; turns += 1) {
    const found = await running.catalogue.findProject('new').catch(() => undefined)
    if (found !== undefined) break
    assert.ok(turns < 100, 'the new key was not read')
    await systemClock.sleep(20)
  }
  const resealed = await fresh.reseal()
  assert.ok(resealed.kind === 'done' && resealed.resealed >= 6 && resealed.dropped === 0, JSON.stringify(resealed))
  hurried.aheadMs += 26 * 3_600_000
  const dropped = await fresh.reseal()
  assert.ok(dropped.kind === 'done' && dropped.dropped === 2 && dropped.resealed === 0, JSON.stringify(dropped))
  // Tokens that were signed before the change verify as long as they last.
  for (const known of tokens) assert.ok(fresh.secrets('tokens').some((other) => other.equals(known)))

  const last = await openWith(second)
  await last.migrate()
  assert.equal(await keyOf(last), world.project.masterKey)
  assert.equal(last.secrets('tokens').length, 1)
  assert.deepEqual(
    (await last.catalogue.webhooks(world.project.id)).map(({ headers }) => headers),
    [{ a: 'b' }],
  )
  assert.equal((await last.catalogue.network(world.project.id)).self, 'me')
  assert.ok(index !== null)
  const [change] = await last.laneJournal.read(index, 0, 10, 1e6)
  assert.match(JSON.stringify(change), /sk-1/)
})

test('a database of a program without data keys stays readable, and its key can be replaced', async () => {
  const target = await database.create()
  const direct = openDatabase(target, { connectionCountMax: 2, logger: quiet })
  await direct.pool.query(
    'create table schema_versions (version int primary key, name text not null, applied_at bigint not null)',
  )
  for (const { version, name, sql } of migrations.slice(0, 5)) {
    await direct.pool.query(sql)
    await direct.pool.query('insert into schema_versions values ($1, $2, 0)', [version, name])
  }
  const id = '00000000-0000-4000-8000-000000000003'
  const sealed = testSealingKey.seal('old master key', masterKeyContext(id))
  const canary = testSealingKey.seal('flapjack', 'instance:canary')
  await direct.pool.query('insert into instance (id, canary_sealed, created_at) values (1, $1, 0)', [canary])
  await direct.pool.query('insert into organisations values ($1, $2, 0)', [id, 'Old'])
  await direct.pool.query(
    `insert into projects (id, organisation_id, ref, name, state, master_key_sealed, created_at)
     values ($1, $1, 'abcdefghijkl', 'old', 'active', $2, 0)`,
    [id, sealed],
  )
  await direct.close()
  const store = await open(target)
  await store.migrate()
  const keyOf = async () => (await store.catalogue.findProject('old'))?.masterKey
  assert.equal(await keyOf(), 'old master key')
  await store.rotateSealingKey(sealingKey(Buffer.alloc(32, 8)))
  await store.catalogue.createProject({ organisation: id, name: 'new' })
  assert.equal(await keyOf(), 'old master key')
})

test('every sealed column is sealed anew when keys change', async () => {
  const target = await database.create()
  await (await open(target)).migrate()
  const direct = openDatabase(target, { connectionCountMax: 2, logger: quiet })
  const { rows } = await direct.pool.query<{ name: string }>(
    `select table_name || '.' || column_name as name from information_schema.columns
     where table_schema = 'public' and column_name like '%\\_sealed'`,
  )
  await direct.close()
  assert.deepEqual(
    rows.map(({ name }) => name).sort(),
    sealedColumns.map(({ table, column }) => `${table}.${column}`).sort(),
  )
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
