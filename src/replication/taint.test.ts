import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineTask } from '../engine/engine.ts'
import type { Operation } from '../journal/change.ts'
import type { LaneChange } from '../journal/ports.ts'
import { shardOfKey } from '../topology/rendezvous.ts'
import { markText } from './mark.ts'
import type { StandingView } from './standing.ts'
import { isTainted } from './taint.ts'

const tag = '0123456789ab'
const put: Operation = {
  kind: 'documents-put',
  ...{ merge: false, skipCreation: false, primaryKey: null, received: 1, distinct: 1 },
}
const merge: Operation = { ...put, merge: true }
const remove: Operation = { kind: 'documents-delete', provided: 1 }

const added = 'documentAdditionOrUpdate'
const deleted = 'documentDeletion'

/** One task of changes 2 to 4. */
function task(uid: number, type: string, part: number, parts: number, status: EngineTask['status']): EngineTask {
  return {
    ...{ uid, batchUid: uid, indexUid: 'a', status, type, error: null, startedAt: null, finishedAt: null },
    details: type === deleted ? { providedIds: 1 } : null,
    customMetadata: markText({ epoch: 1, from: 2, position: 4, tag, part, parts }),
  }
}

function change(position: number, operation: Operation, status: LaneChange['change']['status']): LaneChange {
  const bytes = Buffer.from(operation.kind === 'documents-delete' ? '"7"\n' : '{"id":7}\n')
  return {
    change: {
      ...{ project: 'p', task: position, index: 'i', position, indexUid: 'a', operation, status },
      payload: { kind: 'inline', bytes },
      ...{ refusal: null, resolution: null, customMetadata: null, error: null, details: null },
      ...{ batch: null, canceledBy: null, enqueuedAt: 0, startedAt: 0, finishedAt: 1 },
    },
    settings: null,
    primaryKey: 'id',
    partials: [],
  }
}

const own = shardOfKey('7', 4)

/** @param failed  what change 3 was. */
function tainted(tasks: readonly EngineTask[], failed: Operation, shard = own, told: readonly number[] = []) {
  const changes = [change(2, remove, 'succeeded'), change(3, failed, told.length > 0 ? 'processing' : 'failed')]
  return taintedBy([...changes, change(4, put, 'succeeded')], tasks, shard, told)
}

function taintedBy(
  changes: readonly LaneChange[],
  tasks: readonly EngineTask[],
  shard: number,
  told: readonly number[],
) {
  const view: StandingView = {
    journal: {
      read: async (_index, after, limit) => changes.filter((one) => one.change.position > after).slice(0, limit),
    },
    ...{ index: 'i', tag, applied: 4, head: 4, tasks, seenThrough: -1, mayBeSent: () => false },
    cut: { sliceBytes: 1_000, view: { shards: 4, own: new Set([shard]), exactTies: true } },
  }
  return isTainted(view, async (positions) => positions.filter((position) => told.includes(position)))
}

test('of a bundle, a change that failed is on the node when the task that it was in was good', async () => {
  const good = [task(1, deleted, 1, 2, 'succeeded'), task(2, added, 2, 2, 'succeeded')]
  const bad = [task(1, deleted, 1, 2, 'succeeded'), task(2, added, 2, 2, 'failed')]
  assert.deepEqual([await tainted(good, put), await tainted(bad, put)], [true, false])
  assert.deepEqual([await tainted(good, remove), await tainted(bad, remove)], [true, true])
  const both = [task(1, added, 1, 2, 'succeeded'), task(2, added, 2, 2, 'failed')]
  assert.deepEqual([await tainted(both, put), await tainted(both, merge)], [true, false])
  const all = [task(1, deleted, 1, 3, 'failed'), task(2, added, 2, 3, 'failed'), task(3, added, 3, 3, 'succeeded')]
  assert.deepEqual([await tainted(all, put), await tainted(all, merge)], [false, true])
})

// Else every restart of a worker would build the index anew.
test('a change that is for other shards, and failed there, is not on the node though it stands within a bundle', async () => {
  const tasks = [task(1, added, 1, 1, 'succeeded')]
  assert.equal(await tainted(tasks, put), true)
  assert.equal(await tainted(tasks, put, (own + 1) % 4), false)
})

// Its late request left documents, which lay under what was delivered again (simulator, parts seed 502969).
test('a change that only this replica has told to have failed is one that failed', async () => {
  const good = [task(1, added, 1, 1, 'succeeded')]
  assert.equal(await tainted(good, put, own, [3]), true)
  assert.equal(await tainted(good, put, own, [5]), false)
})
