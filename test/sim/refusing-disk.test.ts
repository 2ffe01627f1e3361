/** A node whose disk takes no writes, and one that nobody writes to. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../src/lib/random.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { startReplication } from '../../src/replication/replication.ts'
import { probeUid } from '../../src/replication/write-probe.ts'
import { put } from '../contract/journal-world.ts'
import { Scheduler } from './scheduler.ts'
import { createSimEngine } from './sim-engine.ts'
import { SimNode } from './sim-node.ts'
import { SimStore } from './sim-store.ts'
import { withUnused } from './simulation.ts'

function open() {
  const random = seededRandom(5)
  const scheduler = new Scheduler()
  const trace: string[] = []
  const node = new SimNode('n1', scheduler, random, () => {})
  const store = new SimStore(scheduler, (text) => trace.push(text), [
    { id: 'n1', engine: 'meilisearch', url: 'n1', region: 'r', group: 0, capacity: null, state: 'active', key: null },
  ])
  const isDead = () => false
  startReplication({
    worker: 'w',
    journal: withUnused(store.side({ random, faults: { unavailable: 0, lostReply: 0 }, isDead })),
    engineOf: () =>
      createSimEngine({ node, scheduler, random, faults: { lostRequest: 0, lostReply: 0, late: 0 }, isDead }),
    clock: scheduler.clock(isDead),
    random,
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    metrics: silentLaneMetrics,
  })
  const write = (uid: string) =>
    store.append(uid, 'n1', put, { kind: 'inline', bytes: new TextEncoder().encode('{"id":1}\n') })
  const tasksOf = (isProbe: boolean) => node.rows().filter(({ indexUid }) => (indexUid === probeUid) === isProbe)
  return { scheduler, node, store, trace, write, tasksOf }
}

test('while the disk of a node takes no writes its lanes pause, operators see why, and then everything goes on', async () => {
  const { scheduler, node, store, trace, write, tasksOf } = open()
  write('a')
  await scheduler.run(5_000)
  assert.ok(store.isSettled)
  node.isFull = true
  for (const uid of ['a', 'b', 'c']) write(uid)
  await scheduler.run(20_000)
  assert.ok(
    trace.some((line) => line.startsWith('trouble n1 internal: No space left')),
    trace.join('\n'),
  )
  const before = tasksOf(false).length
  await scheduler.run(120_000)
  assert.equal(tasksOf(false).length, before, 'nothing of the lanes is sent')
  node.isFull = false
  await scheduler.run(140_000)
  assert.ok(store.isSettled)
  assert.equal(trace.filter((line) => line.startsWith('trouble')).at(-1), 'trouble n1 null')
  assert.ok(store.indexes.every(({ changes }) => changes.every(({ status }) => status === 'succeeded')))
})

test('a disk that fails while nobody writes is noticed, and an idle node is probed ever less often', async () => {
  const { scheduler, node, trace, write, tasksOf } = open()
  write('a')
  await scheduler.run(60_000)
  const early = tasksOf(true).length
  assert.ok(early >= 2 && early <= 4, `${early} probes in the first minute`)
  await scheduler.run(3_660_000)
  const later = tasksOf(true).length - early
  assert.ok(later >= 10 && later <= 16, `${later} probes in the hour after it`)
  node.isFull = true
  await scheduler.run(3_660_000 + 310_000)
  assert.ok(trace.some((line) => line.startsWith('trouble n1 internal: No space left')))
})
