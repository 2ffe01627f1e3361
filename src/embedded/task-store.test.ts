import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { TaskFilter } from '../api/tasks.ts'
import { seededRandom } from '../lib/random.ts'
import { batchRecord } from './batch-record.ts'
import { openMetaEnv } from './meta-env.ts'
import type { TaskRecord } from './task-record.ts'
import { TaskStore } from './task-store.ts'

const root = mkdtempSync(join(tmpdir(), 'flapjack-tasks-'))
after(() => rmSync(root, { recursive: true, force: true }))

function newTask(uid: number, indexUid: string, enqueuedAt: number): TaskRecord {
  return {
    uid,
    batchUid: null,
    indexUid,
    status: 'enqueued',
    operation: { kind: uid % 3 === 0 ? 'documents-clear' : 'documents-delete' },
    allowIndexCreation: false,
    payload: null,
    details: null,
    error: null,
    canceledBy: null,
    selected: null,
    enqueuedAt,
    startedAt: null,
    finishedAt: null,
    customMetadata: null,
  }
}

const filters: readonly TaskFilter[] = [
  {},
  { statuses: ['enqueued'] },
  { statuses: ['succeeded', 'failed'] },
  { statuses: ['canceled'], canceledBy: [3] },
  { types: ['documentDeletion'] },
  { types: ['documentDeletion'], statuses: ['failed'], indexUids: ['a', 'b'] },
  { indexUids: ['a', 'renamed'] },
  { batchUids: [0, 2, 5] },
  { afterEnqueuedAt: 1_020, beforeFinishedAt: 1_200 },
]

function viewOf(store: TaskStore) {
  return {
    tasks: filters.map((filter) => store.page({ filter, limit: 1000, reverse: false }).results.map(({ uid }) => uid)),
    batches: filters.map((filter) =>
      store.batchPage({ filter, limit: 1000, reverse: false }).results.map(({ uid }) => uid),
    ),
    next: [store.takeTaskUid(), store.takeBatchUid()],
  }
}

// A start reads what was saved and the rest one by one; both together must be what a reading of everything gives.
test('tasks and batches are found by every filter as before, after an ordered end and after a crash', async () => {
  for (let seed = 1; seed <= 3; seed += 1) {
    const random = seededRandom(seed)
    const folder = join(root, String(seed))
    let env = openMetaEnv(folder)
    let store = new TaskStore(env)
    let now = 1_000
    /** Batches that run: they end in any order. */
    const running: { readonly uid: number; readonly records: readonly TaskRecord[] }[] = []
    for (let step = 0; step < 60; step += 1) {
      now += 5
      const what = random.integer(10)
      const waiting = store.waiting.toArray()
      const ended = store.matching({ statuses: ['succeeded', 'failed', 'canceled'] }).toArray()
      if (what < 4 || waiting.length === 0) {
        for (let count = 1 + random.integer(3); count > 0; count -= 1)
          await store.insert(newTask(store.takeTaskUid(), random.integer(2) === 0 ? 'a' : 'b', now), undefined)
      } else if (what < 7) {
        const uid = store.takeBatchUid()
        const records = waiting
          .slice(0, 2)
          .map((task): TaskRecord => ({ ...store.get(task)!, status: 'processing', batchUid: uid, startedAt: now }))
        store.start(records, batchRecord(uid, records, { startedAt: now, finishedAt: null }, ''))
        running.push({ uid, records })
        if (random.integer(3) === 0) await store.save()
        if (running.length === 1 && random.integer(2) === 0) continue
        const [ending] = running.splice(random.integer(running.length), 1)
        const status = random.integer(2) === 0 ? 'succeeded' : 'failed'
        const tasks = ending!.records.map((record): TaskRecord => ({ ...record, status, finishedAt: now }))
        const times = { startedAt: now, finishedAt: now }
        await store.commit({ tasks, batch: batchRecord(ending!.uid, tasks, times, '') })
      } else if (what === 7) {
        const record = store.get(waiting[0]!)!
        await store.commit({ tasks: [{ ...record, status: 'canceled', canceledBy: 3, finishedAt: now }] })
      } else if (what === 8 && ended.length > 2) {
        await store.commit({ tasks: [], deletedTasks: ended.slice(0, 1 + random.integer(2)) })
      } else if (ended.length > 0) {
        await store.commit({ tasks: [{ ...store.get(ended[0]!)!, indexUid: 'renamed' }] })
      }
      if (random.integer(4) === 0) await store.save()
      if (random.integer(8) !== 0) continue
      for (const { uid } of running.splice(0)) store.stop(uid)
      const expected = viewOf(store)
      await env.root.close()
      env = openMetaEnv(folder)
      store = new TaskStore(env)
      const found = viewOf(store)
      // Numbers that were taken and not used are not remembered.
      assert.deepEqual({ ...found, next: 0 }, { ...expected, next: 0 }, `seed ${seed}, step ${step}`)
    }
    for (const { uid } of running) store.stop(uid)
    const state = JSON.parse(Buffer.from(env.sets.get('state') ?? '{}').toString()) as object
    env.sets.putSync('state', Buffer.from(JSON.stringify({ ...state, version: 1 })))
    const upgraded = viewOf(new TaskStore(env))
    assert.deepEqual(
      { ...viewOf(store), next: 0 },
      { ...upgraded, next: 0 },
      `seed ${seed}: sets of an earlier program`,
    )
    env.sets.clearSync()
    const whole = viewOf(new TaskStore(env))
    assert.deepEqual({ ...viewOf(store), next: 0 }, { ...whole, next: 0 }, `seed ${seed}: a reading of everything`)
    await env.root.close()
  }
})

// Meilisearch would leave out batch 1, whose number is that of the task that swaps.
test('batches that swapped indexes are counted by index and not listed, and no others are left out', async () => {
  const env = openMetaEnv(join(root, 'swap'))
  const store = new TaskStore(env)
  const times = { startedAt: 5, finishedAt: 6 }
  const swaps = [{ indexes: ['a', 'b'], rename: false }] as const
  const first: TaskRecord = { ...newTask(0, 'a', 1), status: 'succeeded', batchUid: 1 }
  const swap: TaskRecord = {
    ...newTask(1, 'a', 2),
    indexUid: null,
    operation: { kind: 'index-swap', swaps },
    details: { swaps: [{ indexes: ['a', 'b'], rename: false }] },
    status: 'succeeded',
    batchUid: 2,
  }
  await store.commit({ tasks: [first], batch: batchRecord(1, [first], times, '') })
  await store.commit({ tasks: [swap], batch: batchRecord(2, [swap], times, '') })
  const page = store.batchPage({ filter: { indexUids: ['a'] }, limit: 10, reverse: false })
  assert.deepEqual([page.results.map(({ uid }) => uid), page.total], [[1], 2])
  await env.root.close()
})
