/** Roles of the database: what they see, and what they may do. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type pg from 'pg'
import { openStore, type Store, type StoreOptions } from '../../src/journal/open-store.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { seededRandom } from '../../src/lib/random.ts'
import type { Project } from '../../src/store/catalogue.ts'
import { type Database, openDatabase } from '../../src/store/database.ts'
import { World } from './journal-world.ts'
import { testDatabase, testSealingKey } from './stores.ts'

const folder = await mkdtemp(join(tmpdir(), 'flapjack-roles-'))
const database = testDatabase(folder)
const stores: Store[] = []
const direct: Database[] = []
after(async () => {
  for (const store of stores) await store.close()
  for (const opened of direct) await opened.close()
  await database.close()
  await rm(folder, { recursive: true, force: true })
})

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }

async function open(target: StoreOptions['database']): Promise<Store> {
  const store = await openStore({
    ...{ database: target, blobFolder: join(folder, 'blobs'), sealingKey: testSealingKey },
    ...{ clock: systemClock, random: seededRandom(stores.length) },
  })
  stores.push(store)
  return store
}

/** Every session of it has the role. */
function underRole(target: StoreOptions['database'], role: string): StoreOptions['database'] {
  const url = new URL(target.kind === 'url' ? target.url : 'postgres://host/')
  if (target.kind === 'postgres') {
    const { host, port, user, password, database: name } = target.connection
    url.username = user
    url.password = password ?? ''
    url.pathname = `/${name}`
    url.searchParams.set('host', host)
    url.searchParams.set('port', String(port))
  }
  url.searchParams.set('options', `-c role=${role}`)
  return { kind: 'url', url: url.href }
}

/** Two organisations with rows in every table that holds rows of customers. */
async function fill() {
  const target = await database.create()
  const store = await open(target)
  await store.migrate()
  const { catalogue } = store
  const worlds: World[] = [await World.open(store)]
  const other = await catalogue.createOrganisation('Other')
  const project = await catalogue.createProject({ organisation: other.id, name: 'theirs' })
  const [first] = worlds
  assert.ok(first !== undefined)
  worlds.push(new World(store, project, first.lease))
  const owner = openDatabase(target, { connectionCountMax: 2, logger: quiet })
  direct.push(owner)
  for (const world of worlds) {
    const { id } = world.project
    await world.put('films')
    await world.append(null, { kind: 'dump' })
    await catalogue.putWebhook({
      ...{ project: id, uuid: '00000000-0000-4000-8000-000000000001', url: 'http://example.com', headers: {} },
      isEditable: true,
    })
    await catalogue.changeNetwork(id, (before) => before)
    await store.journal.saveFeedCursor('webhooks', id, 1)
    await owner.pool.query(`insert into waits values ($1, 0, $1, 1) on conflict do nothing`, [id])
    await owner.pool.query(`insert into deletion_waits values ($1, 0, 1) on conflict do nothing`, [id])
    await owner.pool.query(`insert into batches (project_id, uid, key) values ($1, 1000, 'k') on conflict do nothing`, [
      id,
    ])
  }
  return { target, owner, worlds, ours: worlds[0]?.project, theirs: project }
}

async function inRole<T>(
  owner: Database,
  role: string,
  user: string | null,
  work: (client: pg.PoolClient) => Promise<T>,
) {
  const client = await owner.pool.connect()
  try {
    await client.query('begin')
    if (user !== null) await client.query(`select set_config('app.user_id', $1, true)`, [user])
    await client.query(`set local role ${role}`)
    return await work(client)
  } finally {
    await client.query('rollback')
    client.release()
  }
}

const user = '11111111-1111-4111-8111-111111111111'
const addMember = (owner: Database, project: Project, projects: readonly string[] | null) =>
  owner.pool.query('insert into memberships values ($1, $2, $3, $4, 0)', [
    project.organisation,
    user,
    'owner',
    projects,
  ])

test('with the role of a customer no query returns a row of another one, on any table', async () => {
  const { owner, ours, theirs } = await fill()
  assert.ok(ours !== undefined)
  await addMember(owner, ours, null)
  const { rows: tables } = await owner.pool.query<{ name: string; secured: boolean }>(
    `select relname as name, relrowsecurity as secured from pg_class
     where relkind = 'r' and relnamespace = current_schema()::regnamespace order by relname`,
  )
  // A table that is added later needs policies too.
  assert.deepEqual(
    tables.filter(({ secured }) => !secured),
    [],
  )
  let seenCount = 0
  for (const { name } of tables) {
    const all = await owner.pool.query(`select to_jsonb(t) as row from ${name} t`)
    const rowsOf = (who: string | null) =>
      inRole(owner, 'fj_control', who, (client) => client.query(`select to_jsonb(t) as row from ${name} t`)).catch(
        (error: Error) => (/permission denied/.test(error.message) ? { rows: [] } : Promise.reject(error)),
      )
    const seen = (await rowsOf(user)).rows
    const isTheirs = ({ row }: { row: object }) =>
      JSON.stringify(row).includes(theirs.id) || JSON.stringify(row).includes(theirs.organisation)
    assert.ok(!seen.some(isTheirs), `${name} shows a row of another organisation`)
    // Keys are nobody's to see, not even of one's own organisation.
    if (name === 'data_keys') assert.equal(seen.length, 0)
    else if (all.rows.some(isTheirs))
      assert.ok(seen.length > 0 && seen.length < all.rows.length, `${name} shows ours and not theirs`)
    assert.deepEqual((await rowsOf(null)).rows, [], `${name} shows something to nobody`)
    seenCount += seen.length
  }
  assert.ok(seenCount > 15)
  await inRole(owner, 'fj_control', user, async (client) => {
    const changed = await client.query(`update projects set name = name || '!' returning id`)
    assert.deepEqual(changed.rows, [{ id: ours.id }])
    await assert.rejects(
      client.query(
        `insert into webhooks (project_id, uuid, url, headers_sealed, is_editable) values ($1, $1, '', '', true)`,
        [theirs.id],
      ),
      /row-level security/,
    )
  })
})

test('a member of some projects of an organisation sees these only', async () => {
  const { owner, worlds, theirs } = await fill()
  const [world] = worlds
  assert.ok(world !== undefined)
  const second = await world.store.catalogue.createProject({ organisation: world.project.organisation, name: 'second' })
  await addMember(owner, world.project, [second.id])
  const seen = await inRole(owner, 'fj_control', user, (client) => client.query('select id from projects'))
  assert.deepEqual(seen.rows, [{ id: second.id }])
  assert.notEqual(second.id, theirs.id)
})

test('reports read everything but secrets, hashes and what customers sent, and change nothing', async () => {
  const { owner } = await fill()
  const read = (text: string) => inRole(owner, 'fj_readonly', null, (client) => client.query(text))
  assert.equal((await read('select id, name, state from projects')).rowCount, 2)
  assert.ok(((await read('select task, status, byte_count from changes')).rowCount ?? 0) >= 4)
  for (const secret of [
    'select master_key_sealed from projects',
    'select hash from api_keys',
    'select body from changes',
    'select payload from changes',
    'select key_sealed from nodes',
    'select * from data_keys',
    `update projects set name = 'x'`,
  ]) {
    await assert.rejects(read(secret), /permission denied/, secret)
  }
})

test('a gateway can do its work under its role, and no more', async () => {
  const { target, worlds } = await fill()
  const [world] = worlds
  assert.ok(world !== undefined)
  const store = await open(underRole(target, 'fj_router'))
  await store.unlock()
  const gateway = new World(store, world.project, world.lease)
  const { catalogue } = store
  const { id } = world.project
  assert.equal((await catalogue.snapshot()).projects.length, 2)
  await gateway.put('films')
  await gateway.put('more')
  await gateway.append('films', { kind: 'settings', settings: { stopWords: ['a'] } })
  await gateway.append(null, { kind: 'index-swap', swaps: [{ indexes: ['films', 'more'], rename: false }] })
  await gateway.append(null, { kind: 'snapshot' })
  await gateway.cancel(0)
  const uid = '22222222-2222-4222-8222-222222222222'
  const rest = { name: null, description: null, actions: ['search'], indexes: ['*'], expiresAt: null }
  await catalogue.createKey(id, { uid, ...rest })
  await catalogue.updateKey(id, uid, { name: 'n' })
  assert.equal(await catalogue.deleteKey(id, uid), true)
  await catalogue.setFeatures(id, { network: true })
  await catalogue.changeNetwork(id, (before) => before)
  assert.equal(await catalogue.deleteWebhook(id, '00000000-0000-4000-8000-000000000001'), true)
  assert.ok((await store.journal.task(id, 0)) !== undefined)
  const own = openDatabase(underRole(target, 'fj_router'), { connectionCountMax: 1, logger: quiet })
  direct.push(own)
  for (const wrong of [
    'delete from projects',
    'delete from changes',
    `update projects set master_key_sealed = ''`,
    `update nodes set url = 'http://mine'`,
    `delete from data_keys`,
    `select * from memberships`,
    'create table mine (n int)',
    'alter table changes disable row level security',
  ]) {
    await assert.rejects(own.pool.query(wrong), /permission denied|must be owner/, wrong)
  }
})
