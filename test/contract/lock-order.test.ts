/** Transactions of one project that meet in the database never wait for each other in a circle. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openStore } from '../../src/journal/open-store.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { openDatabase } from '../../src/store/database.ts'
import { World } from './journal-world.ts'
import { testDatabase, testSealingKey } from './stores.ts'

const folder = await mkdtemp(join(tmpdir(), 'flapjack-locks-'))
const database = testDatabase(folder)
after(async () => {
  await database.close()
  await rm(folder, { recursive: true, force: true })
})

// The endings of one lane hide tasks while another lane gives them other names.
test('renames, swaps and deletions of tasks that wait for running ones do not block each other', async () => {
  const target = await database.create()
  const store = await openStore({
    ...{ database: target, blobFolder: join(folder, 'blobs'), sealingKey: testSealingKey },
    ...{ clock: systemClock, random: seededRandom(1), connectionCountMax: 12 },
  })
  await store.migrate()
  const world = await World.open(store)
  const rounds = 15
  const names = ['a', 'b', 'c', 'd']
  for (const name of names) for (let count = 0; count < 10; count += 1) await world.put(name)
  await world.deliverAll()
  const running = await world.put('running')
  const idOf = (await world.names()) as Readonly<Record<string, string>>
  const tasksOf = () => Array.from({ length: 60 }, (_, task) => task)
  const deliverOwn = async (name: string) => world.deliver(idOf[name] ?? null)
  let last = running
  for (let round = 0; round < rounds; round += 1) {
    // The deletion waits for the task that runs, and is carried out with its end.
    await store.laneJournal.markSent(world.lease, last.index ?? '', [last.position ?? 0], 1)
    const doomed = [...tasksOf(), last.task]
    await world.append(null, { kind: 'task-delete', filter: '?', tasks: doomed })
    const [from, to] = round % 2 === 0 ? ['a', 'z'] : ['z', 'a']
    await world.append(from, { kind: 'index-update', primaryKey: null, uid: to })
    await world.put('c')
    await world.put('d')
    await Promise.all([
      deliverOwn('a'),
      world.deliver(last.index),
      deliverOwn('c').then(() => world.append(null, { kind: 'task-delete', filter: '?', tasks: tasksOf() })),
      deliverOwn('d'),
      world.append(null, { kind: 'index-swap', swaps: [{ indexes: ['b', to], rename: false }] }),
      world.append(null, { kind: 'task-cancel', filter: '?', tasks: [last.task] }),
    ])
    // Back again, so that the next round finds the same names.
    await world.append(null, { kind: 'index-swap', swaps: [{ indexes: ['b', to], rename: false }] })
    last = await world.put('running')
  }
  await store.close()
  const direct = openDatabase(target, { connectionCountMax: 1, logger: { info() {}, warn() {}, error() {} } })
  const { rows } = await direct.pool.query<{ deadlocks: number }>(
    'select deadlocks from pg_stat_database where datname = current_database()',
  )
  await direct.close()
  assert.equal(rows[0]?.deadlocks, 0)
})

test('a worker that stands still in the middle of a transaction keeps nobody from renewing or taking other nodes', async () => {
  const target = await database.create()
  const store = await openStore({
    ...{ database: target, blobFolder: join(folder, 'blobs'), sealingKey: testSealingKey },
    ...{ clock: systemClock, random: seededRandom(1) },
  })
  await store.migrate()
  for (const id of ['a', 'b', 'c']) {
    await store.catalogue.putNode({ id, engine: 'embedded', url: `http://${id}`, region: 'here', key: null })
  }
  const direct = openDatabase(target, { connectionCountMax: 1, logger: { info() {}, warn() {}, error() {} } })
  const stuck = await direct.pool.connect()
  const nodesOf = async (worker: string, leaseMs: number) =>
    (await store.laneJournal.leaseNodes(worker, leaseMs)).map(({ node }) => node.id)
  try {
    assert.deepEqual(await nodesOf('stopped', 0), ['a', 'b', 'c'])
    await stuck.query("begin; select 1 from node_leases where node_id = 'b' for share")
    assert.deepEqual(await nodesOf('alive', 60_000), ['a', 'c'])
    assert.deepEqual(await nodesOf('alive', 60_000), ['a', 'c'])
    await stuck.query('rollback')
    assert.deepEqual(await nodesOf('alive', 60_000), ['a', 'b', 'c'])
  } finally {
    stuck.release()
    await direct.close()
    await store.close()
  }
})
