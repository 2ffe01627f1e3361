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
import { SimProcess } from './sim-process.ts'
import { SimStore } from './sim-store.ts'

async function open() {
  const random = seededRandom(5)
  const scheduler = new Scheduler()
  const trace: string[] = []
  const node = new SimNode('n1', scheduler, random, () => {})
  const store = await SimStore.open({ scheduler, trace: (text) => trace.push(text), seed: 5, groups: { n1: 0 } })
  const process = new SimProcess('w', scheduler)
  startReplication({
    worker: process.name,
    journal: store.side({ random, faults: { unavailable: 0, lostReply: 0 }, process }),
    engineOf: () =>
      createSimEngine({
        node,
        scheduler,
        random,
        hardships: random,
        faults: { lostRequest: 0, lostReply: 0, late: 0, repeated: 0, underway: 0 },
        process,
      }),
    clock: process.clock,
    random,
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    metrics: silentLaneMetrics,
  })
  const written: number[] = []
  const write = async (uid: string) => {
    const change = await store.append({ uid, operation: put, lines: [{ id: 1 }], spread: null, isRefused: false })
    if (change !== undefined) written.push(change.task)
  }
  const tasksOf = (isProbe: boolean) =>
    [...node.newestRows()].filter(({ indexUid }) => (indexUid === probeUid) === isProbe)
  const troubles = () => trace.filter((line) => line.startsWith('trouble'))
  return { scheduler, node, store, troubles, written, write, tasksOf }
}

test('while the disk of a node takes no writes its lanes pause, operators see why, and then everything goes on', async () => {
  const { scheduler, node, store, troubles, written, write, tasksOf } = await open()
  await write('a')
  await scheduler.run(5_000)
  assert.ok(await store.isSettled())
  node.isFull = true
  for (const uid of ['a', 'b', 'c']) await write(uid)
  await scheduler.run(20_000)
  const isTold = troubles().some((line) => line.startsWith('trouble n1 internal: No space left'))
  assert.ok(isTold, troubles().join('\n'))
  const before = tasksOf(false).length
  await scheduler.run(120_000)
  assert.equal(tasksOf(false).length, before, 'nothing of the lanes is sent')
  node.isFull = false
  await scheduler.run(140_000)
  assert.ok(await store.isSettled())
  assert.equal(troubles().at(-1), 'trouble n1 null')
  for (const task of written) assert.equal((await store.change(task)).status, 'succeeded')
})

test('a disk that fails while nobody writes is noticed, and an idle node is probed ever less often', async () => {
  const { scheduler, node, troubles, write, tasksOf } = await open()
  await write('a')
  await scheduler.run(60_000)
  const early = tasksOf(true).length
  assert.ok(early >= 2 && early <= 4, `${early} probes in the first minute`)
  await scheduler.run(3_660_000)
  const later = tasksOf(true).length - early
  assert.ok(later >= 10 && later <= 16, `${later} probes in the hour after it`)
  node.isFull = true
  await scheduler.run(3_660_000 + 310_000)
  assert.ok(troubles().some((line) => line.startsWith('trouble n1 internal: No space left')))
})
