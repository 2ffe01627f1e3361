/** Data keys of organisations (P-26): what belongs to one stands under its key and goes down with it alone. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openStore, type Store, type StoreOptions } from '../../src/journal/open-store.ts'
import { sealedColumns } from '../../src/journal/reseal.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { newId } from '../../src/lib/ordered-id.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { SealBroken } from '../../src/lib/seal.ts'
import { masterKeyContext, webhookContext } from '../../src/store/catalogue-rows.ts'
import { type Database, openDatabase } from '../../src/store/database.ts'
import { migrations } from '../../src/store/migrations/migrations.ts'
import { nodeKeyContext } from '../../src/store/node-row.ts'
import { World } from './journal-world.ts'
import { testDatabase, testSealingKey } from './stores.ts'

const folder = await mkdtemp(join(tmpdir(), 'flapjack-organisations-'))
const database = testDatabase(folder)
const stores: Store[] = []
const direct: Database[] = []
const complaints: object[] = []
after(async () => {
  for (const store of stores) await store.close()
  for (const opened of direct) await opened.close()
  await database.close()
  await rm(folder, { recursive: true, force: true })
})

const quiet = { info: () => undefined, warn: () => undefined, error: (fields: object) => void complaints.push(fields) }

async function open(target: StoreOptions['database']): Promise<Store> {
  const store = await openStore({
    ...{ database: target, blobFolder: join(folder, 'blobs'), sealingKey: testSealingKey, logger: quiet },
    ...{ clock: systemClock, random: seededRandom(stores.length) },
  })
  stores.push(store)
  return store
}

async function begin() {
  const target = await database.create()
  const store = await open(target)
  await store.migrate()
  const owner = openDatabase(target, { connectionCountMax: 2, logger: quiet })
  direct.push(owner)
  return { target, store, owner }
}

const random = seededRandom(77)
const secretSettings = { embedders: { e: { source: 'openAi', apiKey: 'sk-1' } } }

async function fill(store: Store, world: World) {
  const project = world.project.id
  await world.append('films', { kind: 'settings', settings: secretSettings })
  await world.append(null, { kind: 'export', url: 'http://x', apiKey: 'k', payloadSize: null, indexes: {} })
  const webhook = { project, uuid: '00000000-0000-4000-8000-000000000001', url: 'http://example.com' }
  await store.catalogue.putWebhook({ ...webhook, headers: { a: 'b' }, isEditable: true })
  await store.catalogue.changeNetwork(project, (network) => ({ ...network, self: 'me' }))
  await store.catalogue.changeChats(project, (chats) => chats)
  await store.engineCredentials.put({ id: `n1/${project}`, node: 'n1', project, key: 'k', generation: 1, madeAt: 1 })
  const ids = { id: newId(systemClock, random), index: newId(systemClock, random), project }
  const nothing = { place: null, folder: null, primaryKey: null, spread: null, sources: [], parts: [], failure: null }
  await store.backups.adopt({
    ...{
      ...ids,
      ...nothing,
      uid: 'films',
      state: 'done',
      isScheduled: false,
      bytesPerSecond: null,
      from: 0,
      position: 0,
    },
    ...{
      takenAt: 1,
      createdAt: 1,
      updatedAt: 1,
      finishedAt: 1,
      documents: 0,
      documentCount: 0,
      byteCount: 0,
      attempts: 0,
    },
    key: Buffer.alloc(32, 1),
  })
}

/** Sealed values by whose data key they stand under: 'installation', or the organisation's name. */
async function standing(owner: Database) {
  const found: Record<string, readonly string[]> = {}
  for (const { table, column, project } of sealedColumns) {
    const { rows } = await owner.pool.query<{ own: string; under: string }>(
      `select coalesce(mine.name, 'installation') as own, coalesce(o.name, 'installation') as under
       from ${table} t
         join data_keys k on k.id = encode(substring(t.${column} from 2 for 4), 'hex')
         left join organisations o on o.id = k.organisation_id
         left join projects p on p.id = ${project === null ? 'null' : `t.${project}`}
         left join organisations mine on mine.id = p.organisation_id`,
    )
    assert.ok(rows.length > 0 || column === 'settings_done_sealed', `${table}.${column} has values`)
    found[`${table}.${column}`] = rows
      .filter(({ own, under }) => own !== under)
      .map(({ own, under }) => `${own} ${under}`)
  }
  return found
}

const allInPlace = Object.fromEntries(sealedColumns.map(({ table, column }) => [`${table}.${column}`, []]))

async function twoOrganisations(store: Store) {
  const ours = await World.open(store)
  const other = await store.catalogue.createOrganisation('Other')
  const project = await store.catalogue.createProject({ organisation: other.id, name: 'theirs' })
  const theirs = new World(store, project, ours.lease)
  return { ours, theirs, other }
}

test('what an organisation keeps stands under its own data key, and what belongs to none under the installation’s', async () => {
  const { store, owner } = await begin()
  const { ours, theirs } = await twoOrganisations(store)
  for (const world of [ours, theirs]) await fill(store, world)
  assert.deepEqual(await standing(owner), allInPlace)
  const { rows } = await owner.pool.query('select organisation_id from data_keys group by organisation_id')
  assert.equal(rows.length, 3)
})

test('a process learns of organisations that others make, and seals under their keys at once', async () => {
  const { target, store, owner } = await begin()
  const second = await open(target)
  await second.unlock()
  const { ours, theirs } = await twoOrganisations(store)
  // Neither has seen the projects: the first writes without reading the catalogue, the other reads it.
  await fill(second, new World(second, theirs.project, ours.lease))
  const third = await open(target)
  await third.unlock()
  await fill(store, ours)
  assert.equal((await third.catalogue.snapshot()).projects.length, 2)
  assert.deepEqual(await standing(owner), allInPlace)
})

test('a database of before organisations had keys gets them at the start, and its secrets go under them once', async () => {
  const target = await database.create()
  const owner = openDatabase(target, { connectionCountMax: 2, logger: quiet })
  direct.push(owner)
  await owner.pool.query(
    'create table schema_versions (version int primary key, name text not null, applied_at bigint not null)',
  )
  for (const { version, name, sql } of migrations.filter(({ version }) => version < 15)) {
    await owner.pool.query(sql)
    await owner.pool.query('insert into schema_versions values ($1, $2, 0)', [version, name])
  }
  const id = '00000000-0000-4000-8000-000000000003'
  const canary = testSealingKey.seal('flapjack', 'instance:canary')
  const headers = testSealingKey.seal('{"a":"b"}', webhookContext(id, id))
  await owner.pool.query('insert into instance (id, canary_sealed, created_at) values (1, $1, 0)', [canary])
  await owner.pool.query('insert into organisations values ($1, $2, 0)', [id, 'Old'])
  await owner.pool.query(
    `insert into projects (id, organisation_id, ref, name, state, master_key_sealed, created_at)
     values ($1, $1, 'abcdefghijkl', 'old', 'active', $2, 0)`,
    [id, testSealingKey.seal('old master key', masterKeyContext(id))],
  )
  await owner.pool.query(
    `insert into webhooks (project_id, uuid, url, headers_sealed, is_editable) values ($1, $1, 'http://x', $2, true)`,
    [id, headers],
  )
  await owner.pool.query(
    `insert into nodes (id, engine, url, region, state, key_sealed) values ('n1', 'embedded', 'http://n1', 'local', 'active', $1)`,
    [testSealingKey.seal('node', nodeKeyContext('n1'))],
  )
  const store = await open(target)
  await store.migrate()
  const check = async () => {
    assert.equal((await store.catalogue.findProject('old'))?.masterKey, 'old master key')
    assert.deepEqual((await store.catalogue.webhooks(id))[0]?.headers, { a: 'b' })
    assert.equal((await store.catalogue.nodes())[0]?.key, 'node')
  }
  await check()
  assert.equal(await store.placeSecrets(), 2)
  assert.equal(await store.placeSecrets(), 0)
  await check()
  const { rows } = await owner.pool.query<{ count: number }>(
    `select count(*) as count from projects p join data_keys k on k.organisation_id = p.organisation_id
     where k.id = encode(substring(p.master_key_sealed from 2 for 4), 'hex')`,
  )
  assert.equal(rows[0]?.count, 1)
})

test('an organisation’s data key that was altered takes out its projects alone, and the log says so', async () => {
  const { target, store, owner } = await begin()
  const { ours, theirs, other } = await twoOrganisations(store)
  for (const world of [ours, theirs]) await fill(store, world)
  await owner.pool.query(
    'update data_keys set wrapped = set_byte(wrapped, 40, 255 - get_byte(wrapped, 40)) where organisation_id = $1',
    [other.id],
  )
  const fresh = await open(target)
  complaints.length = 0
  await fresh.migrate()
  const states = (await fresh.catalogue.snapshot()).projects.map(({ name, state }) => [name, state])
  assert.deepEqual(states, [
    ['books', 'active'],
    ['theirs', 'unreadable'],
  ])
  assert.ok(complaints.some((fields) => JSON.stringify(fields).includes(masterKeyContext(theirs.project.id))))
  // Writes of both, in one transaction of the journal.
  const world = new World(fresh, ours.project, ours.lease)
  const settings = { kind: 'settings', settings: secretSettings } as const
  const refused = fresh.journal.append({ ...world.request('films', settings), project: theirs.project.id })
  const [done, failure] = await Promise.all([world.append('films', settings), refused.catch((error: unknown) => error)])
  assert.ok(done.task > 0)
  assert.ok(failure instanceof SealBroken)
  // The data keys that others have are replaced all the same.
  await fresh.rotateSealingKey(testSealingKey)
  assert.equal(await fresh.placeSecrets(), 0)
})

test('a secret of one index that does not open fails its own writes, and nobody else’s of the same moment', async () => {
  const { target, store, owner } = await begin()
  const { ours, theirs } = await twoOrganisations(store)
  for (const world of [ours, theirs]) await fill(store, world)
  await owner.pool.query(
    `update indexes set settings_sealed = set_byte(settings_sealed, 40, 255 - get_byte(settings_sealed, 40)) where project_id = $1`,
    [theirs.project.id],
  )
  await owner.pool.query(
    `update changes set secret_sealed = set_byte(secret_sealed, 40, 255 - get_byte(secret_sealed, 40))
     where project_id = $1 and operation = 'export'`,
    [ours.project.id],
  )
  const fresh = await open(target)
  await fresh.unlock()
  const world = new World(fresh, ours.project, ours.lease)
  const settings = { kind: 'settings', settings: secretSettings } as const
  const refused = fresh.journal.append({ ...world.request('films', settings), project: theirs.project.id })
  const [done, failure] = await Promise.all([world.append('films', settings), refused.catch((error: unknown) => error)])
  assert.ok(done.task > 0)
  assert.ok(failure instanceof SealBroken)
  // An export that cannot be read does not hold up those behind it.
  const claims = []
  for (let turn = 0; turn < 2; turn += 1) claims.push(await fresh.laneJournal.claimProjectChange('worker', 60_000))
  assert.deepEqual(
    claims.map((change) => change?.project),
    [undefined, theirs.project.id],
  )
})
