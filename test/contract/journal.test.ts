import assert from 'node:assert/strict'
import { after, afterEach, describe, test } from 'node:test'
import type { Operation } from '../../src/journal/change.ts'
import { isNoOp } from '../../src/replication/no-op.ts'
import { bytesOf, line, outcomeAt, put, refusal, textOf, World } from './journal-world.ts'
import { memorySource, postgresSource, type StoreSource } from './stores.ts'

for (const source of [memorySource(), await postgresSource()]) {
  describe(`journal in ${source.name}`, () => {
    afterEach(() => source.closeStores())
    after(() => source.close())
    appending(source)
    primaryKeys(source)
    settings(source)
    names(source)
    cancelling(source)
    lanes(source)
    work(source)
    payloads(source)
  })
}

function appending(source: StoreSource) {
  test('tasks are numbered from 0 and positions from 1, in the order of the calls, without gaps', async () => {
    const world = await World.open(await source.open())
    const calls = Array.from({ length: 60 }, (_, at) => world.put(at % 3 === 0 ? 'a' : 'b'))
    const outcomes = await Promise.all(calls)
    assert.deepEqual(
      outcomes.map(({ task }) => task),
      outcomes.map((_, at) => at),
    )
    const positions = outcomes.filter((_, at) => at % 3 === 0).map(({ position }) => position)
    assert.deepEqual(
      positions,
      positions.map((_, at) => at + 1),
    )
  })

  test('two projects count their tasks apart', async () => {
    const world = await World.open(await source.open())
    const other = await world.store.catalogue.createProject({ organisation: world.project.organisation, name: 'films' })
    await world.put('a')
    const first = await world.put('a', { project: other.id })
    assert.equal(first.task, 0)
    assert.equal((await world.store.journal.tasks(world.project.id, page())).total, 1)
    assert.equal(await world.store.journal.task(other.id, 1), undefined)
  })

  test('a first write makes the index; reads find it once the write is applied', async () => {
    const world = await World.open(await source.open())
    const { index, task } = await world.put('a', { customMetadata: 'nul \u0000 and "quotes" \\ back' })
    assert.deepEqual(await world.names(), {})
    assert.equal((await world.store.journal.writeState(world.project.id, 'a'))?.index, index)
    await world.deliver(index)
    assert.deepEqual(await world.names(), { a: index })
    const view = await world.task(task)
    assert.equal(view.status, 'succeeded')
    assert.equal(view.duration, 'PT0.033S')
    assert.equal(view.customMetadata, 'nul \u0000 and "quotes" \\ back')
    assert.deepEqual(view.details, { receivedDocuments: 1, indexedDocuments: 1 })
    const { placements, indexes } = await world.store.catalogue.snapshot()
    assert.equal(placements[0]?.physicalUid, `${world.project.ref}_a`)
    assert.equal(indexes[0]?.primaryKey, 'id')
  })

  test('a write on an unknown index without the right to create fails with index_not_found', async () => {
    const world = await World.open(await source.open())
    const { task, position } = await world.put('a', { mayCreateIndex: false })
    assert.equal(position, null)
    const view = await world.task(task)
    assert.equal(view.status, 'failed')
    assert.equal(view.error?.message, 'Index `a` not found.')
    assert.deepEqual(view.details, { receivedDocuments: 1, indexedDocuments: 0 })
    assert.equal(typeof view.batchUid, 'number')
  })

  test('a refused change takes its place in the order and fails when the lane comes to it', async () => {
    const world = await World.open(await source.open())
    const { index, task } = await world.put('a', { refusal })
    assert.equal((await world.task(task)).status, 'enqueued')
    await world.deliver(index)
    const view = await world.task(task)
    assert.equal(view.status, 'failed')
    assert.deepEqual(view.error, refusal)
    assert.deepEqual(await world.names(), { a: index })
  })

  test('creating an index that exists fails, and deleting one that does not', async () => {
    const world = await World.open(await source.open())
    const { index } = await world.append('a', { kind: 'index-create', primaryKey: 'sku' })
    const again = await world.append('a', { kind: 'index-create', primaryKey: null })
    const none = await world.append('b', { kind: 'index-delete' })
    await world.deliver(index)
    assert.equal((await world.task(again.task)).error?.code, 'index_already_exists')
    assert.equal((await world.task(none.task)).error?.code, 'index_not_found')
    assert.equal((await world.store.catalogue.snapshot()).indexes[0]?.primaryKey, 'sku')
  })

  test('without a live node nothing is appended', async () => {
    const world = await World.open(await source.open())
    await world.put('a')
    await world.store.catalogue.setNodeState('n1', 'lost')
    const { journal } = world.store
    assert.deepEqual(await journal.append(world.request('a', put)), { kind: 'no-quorum', shards: [0] })
    assert.deepEqual(await journal.append(world.request('b', put)), { kind: 'no-quorum', shards: [] })
    assert.equal((await journal.tasks(world.project.id, page())).total, 1)
  })

  test('new indexes go to the node with the fewest', async () => {
    const world = await World.open(await source.open())
    await world.store.catalogue.putNode({ id: 'n2', engine: 'embedded', url: 'http://n2', region: 'local', key: null })
    await world.store.laneJournal.leaseNodes('worker', 60_000)
    for (const uid of ['a', 'b', 'c', 'd']) await world.put(uid)
    const counts = await Promise.all(['n1', 'n2'].map((node) => world.store.laneJournal.lanesBehind(node, 10)))
    assert.deepEqual(
      counts.map((lanes) => lanes.length),
      [2, 2],
    )
  })
}

function primaryKeys(source: StoreSource) {
  const checked = { primaryKey: null, embedders: null }

  test('a payload checked against another primary key or other embedders must be checked again', async () => {
    const world = await World.open(await source.open())
    const { journal } = world.store
    await world.put('a', { checkedAgainst: checked })
    const other = world.request('a', put, { checkedAgainst: checked, inferred: { primaryKey: 'sku' } })
    assert.deepEqual(await journal.append(other), { kind: 'stale' })
    await world.append('a', {
      kind: 'settings',
      settings: { embedders: { e: { source: 'userProvided', dimensions: 2 } } },
    })
    const blind = world.request('a', put, { checkedAgainst: { primaryKey: 'id', embedders: null } })
    assert.deepEqual(await journal.append(blind), { kind: 'stale' })
    assert.equal((await journal.tasks(world.project.id, page())).total, 2)
  })

  test('first writes that infer the same key at the same time are all taken', async () => {
    const world = await World.open(await source.open())
    const outcomes = await Promise.all(Array.from({ length: 10 }, () => world.put('a', { checkedAgainst: checked })))
    assert.equal(new Set(outcomes.map(({ index }) => index)).size, 1)
  })

  test('another primaryKey argument and a failed inference are refused with the engine’s words', async () => {
    const world = await World.open(await source.open())
    const none = await world.append('a', put, { inferred: { refusal } })
    const first = await world.append('a', { ...put, primaryKey: 'sku' })
    const second = await world.append('a', { ...put, primaryKey: 'id' })
    await world.deliver(first.index)
    assert.deepEqual((await world.task(none.task)).error, refusal)
    assert.equal((await world.task(first.task)).status, 'succeeded')
    assert.equal((await world.task(second.task)).error?.message, 'Index already has a primary key: `sku`.')
  })

  test('a primary key may change while the index is empty; later the engine decides', async () => {
    const world = await World.open(await source.open())
    const keyOf = async () => (await world.store.journal.writeState(world.project.id, 'a'))?.primaryKey
    const { index } = await world.append('a', { kind: 'index-create', primaryKey: 'one' })
    await world.append('a', { kind: 'index-update', primaryKey: 'two', uid: null })
    assert.equal(await keyOf(), 'two')
    await world.put('a')
    await world.append('a', { kind: 'index-update', primaryKey: 'three', uid: null })
    assert.equal(await keyOf(), 'two')
    await world.deliver(index)
    assert.equal(await keyOf(), 'three')
  })

  test('a key that only a cancelled or failed write brought is forgotten', async () => {
    const world = await World.open(await source.open())
    const keyOf = async () => (await world.store.journal.writeState(world.project.id, 'a'))?.primaryKey
    const { index } = await world.append('a', { kind: 'index-create', primaryKey: null })
    const { task } = await world.put('a')
    assert.equal(await keyOf(), 'id')
    await world.cancel(task)
    assert.equal(await keyOf(), null)
    const { position } = await world.put('a', { inferred: { primaryKey: 'odd \u0000 key' } })
    assert.equal(await keyOf(), 'odd \u0000 key')
    await world.deliver(index, { fail: [position ?? 0] })
    assert.equal(await keyOf(), null)
  })
}

function settings(source: StoreSource) {
  const embedder = (apiKey: string) => ({ source: 'openAi', apiKey })

  test('settings are folded for writers, delivered with all embedders, and shown without secrets', async () => {
    const world = await World.open(await source.open())
    const first = { embedders: { one: embedder('sk-0123456789') }, stopWords: ['the'] }
    const { index, task } = await world.append('a', { kind: 'settings', settings: first })
    await world.append('a', { kind: 'settings', settings: { embedders: { two: embedder('sk-two') }, stopWords: null } })
    await world.append('a', { kind: 'settings', settings: { embedders: { one: null } } })
    const state = await world.store.journal.writeState(world.project.id, 'a')
    assert.deepEqual(state?.settings, { embedders: { two: embedder('sk-two') } })
    const delivered = await world.store.laneJournal.read(index ?? '', 0, 10, 1e6)
    assert.deepEqual(
      delivered.map((change) => change.settings),
      [
        first,
        { embedders: { one: embedder('sk-0123456789'), two: embedder('sk-two') }, stopWords: null },
        { embedders: { one: null, two: embedder('sk-two') } },
      ],
    )
    const { details } = await world.task(task)
    assert.deepEqual(details, { embedders: { one: embedder('skXXXX...') }, stopWords: ['the'] })
  })

  test('settings that the engine refused, or that were cancelled, hold for nobody', async () => {
    const world = await World.open(await source.open())
    const { index } = await world.append('a', { kind: 'settings', settings: { stopWords: ['a'] } })
    await world.append('a', { kind: 'settings', settings: { synonyms: { b: ['c'] } } })
    const third = await world.append('a', { kind: 'settings', settings: { sortableAttributes: ['d'] } })
    await world.deliver(index, { through: 2, fail: [2] })
    await world.cancel(third.task)
    await world.append('a', { kind: 'settings', settings: { dictionary: ['e'] } })
    const state = await world.store.journal.writeState(world.project.id, 'a')
    assert.deepEqual(state?.settings, { stopWords: ['a'], dictionary: ['e'] })
  })

  test('lanes learn which settings hold at the completed position: those that succeeded before it, and no others', async () => {
    const world = await World.open(await source.open())
    const { laneJournal } = world.store
    const { index } = await world.append('a', { kind: 'settings', settings: { stopWords: ['a'] } })
    assert.deepEqual(await laneJournal.completedSettings(index ?? ''), { completed: 0, position: 0, settings: {} })
    await world.append('a', { kind: 'settings', settings: { synonyms: { b: ['c'] } } })
    const { task } = await world.append('a', { kind: 'settings', settings: { synonyms: { b: ['c'] } } })
    await world.deliver(index, { through: 2, fail: [2] })
    assert.deepEqual(await laneJournal.completedSettings(index ?? ''), {
      completed: 2,
      position: 1,
      settings: { stopWords: ['a'] },
    })
    const [, , item] = await laneJournal.read(index ?? '', 0, 10, 1e6)
    assert(item)
    assert.equal(await isNoOp(laneJournal, item), false, 'the same change failed before: this one is to be delivered')
    await world.deliver(index)
    const again = await world.append('a', { kind: 'settings', settings: { synonyms: { b: ['c'] }, dictionary: null } })
    const [repeated] = await laneJournal.read(index ?? '', 3, 10, 1e6)
    assert(repeated)
    assert.equal(await isNoOp(laneJournal, repeated), true)
    assert.equal(await isNoOp(laneJournal, item), false, 'a repeat on another disk is delivered')
    await world.deliver(index)
    const [first, second] = [await world.task(task), await world.task(again.task)]
    assert.equal(second.status, 'succeeded')
    assert.deepEqual(Object.keys(second).sort(), Object.keys(first).sort())
  })
}

function names(source: StoreSource) {
  test('a deleted name may be used again at once, by another index under another physical name', async () => {
    const world = await World.open(await source.open())
    const old = await world.put('a')
    await world.deliver(old.index)
    await world.append('a', { kind: 'index-delete' })
    const fresh = await world.put('a')
    assert.notEqual(fresh.index, old.index)
    assert.deepEqual(await world.names(), { a: old.index })
    const { placement } = await world.laneOf(fresh.index)
    assert.equal(placement.physicalUid, `${world.project.ref}__g2_a`)
    await world.deliver(old.index)
    assert.deepEqual(await world.names(), {})
    await world.deliver(fresh.index)
    assert.deepEqual(await world.names(), { a: fresh.index })
    assert.equal(await world.store.laneJournal.laneOn('n1', `${world.project.ref}_a`), undefined)
  })

  test('names that imitate physical ones never meet on a node', async () => {
    const world = await World.open(await source.open())
    const long = 'x'.repeat(400)
    for (const uid of ['_g2_a', '_g3_a', 'a', long]) await world.put(uid)
    for (const uid of ['a', 'a', long]) {
      await world.append(uid, { kind: 'index-delete' })
      await world.put(uid)
    }
    const physical = (await world.lanes()).map(({ placement }) => placement.physicalUid)
    assert.equal(physical.length, 7)
    assert.equal(new Set(physical).size, 7)
    assert(physical.every((name) => Buffer.byteLength(name) <= 400))
  })

  test('a new index under a deleted name is found even when its node is faster than the deletion', async () => {
    const world = await World.open(await source.open())
    const old = await world.put('a')
    await world.deliver(old.index)
    await world.append('a', { kind: 'index-delete' })
    const fresh = await world.put('a')
    await world.deliver(fresh.index)
    assert.deepEqual(await world.names(), { a: fresh.index })
    await world.deliver(old.index)
    assert.deepEqual(await world.names(), { a: fresh.index })
  })

  test('a rename holds for writes at once and for reads when it completes', async () => {
    const world = await World.open(await source.open())
    const { index } = await world.put('a')
    await world.deliver(index)
    const { task } = await world.append('a', { kind: 'index-update', primaryKey: null, uid: 'b' })
    assert.equal((await world.put('b', { mayCreateIndex: false })).index, index)
    assert.deepEqual(await world.names(), { a: index })
    await world.deliver(index)
    assert.deepEqual(await world.names(), { b: index })
    assert.deepEqual((await world.task(task)).details, { primaryKey: null, oldIndexUid: 'a', newIndexUid: 'b' })
    assert.equal((await world.task(0)).indexUid, 'b')
    const same = await world.append('b', { kind: 'index-update', primaryKey: null, uid: 'b' })
    const other = await world.put('c')
    const taken = await world.append('b', { kind: 'index-update', primaryKey: null, uid: 'c' })
    await world.deliverAll()
    assert.equal((await world.task(same.task)).status, 'succeeded')
    assert.equal((await world.task(taken.task)).error?.code, 'index_already_exists')
    assert.deepEqual(await world.names(), { b: index, c: other.index })
  })

  test('a swap exchanges names when everything before it is applied, and past tasks follow', async () => {
    const world = await World.open(await source.open())
    const a = await world.put('a')
    const b = await world.put('b')
    const swap = await world.append(null, swapOf('a', 'b'))
    const later = await world.put('a')
    assert.equal(later.index, b.index)
    await world.deliver(a.index)
    assert.equal((await world.task(swap.task)).status, 'enqueued')
    assert.deepEqual(await world.names(), { a: a.index })
    await world.deliver(b.index, { through: 1 })
    assert.deepEqual(await world.names(), { a: b.index, b: a.index })
    assert.equal((await world.task(swap.task)).status, 'succeeded')
    assert.equal((await world.task(a.task)).indexUid, 'b')
    assert.equal((await world.task(b.task)).indexUid, 'a')
    assert.equal((await world.task(later.task)).indexUid, 'a')
    const back = await world.append(null, swapOf('b', 'a'))
    assert.equal((await world.task(back.task)).status, 'enqueued')
    await world.deliver(b.index)
    assert.deepEqual(await world.names(), { a: a.index, b: b.index })
  })

  test('swaps complete in order, and one that waits for nothing at once', async () => {
    const world = await World.open(await source.open())
    const [a, b, c] = [await world.put('a'), await world.put('b'), await world.put('c')]
    await world.deliver(b.index)
    await world.deliver(c.index)
    const first = await world.append(null, swapOf('a', 'b'))
    const second = await world.append(null, swapOf('b', 'c'))
    assert.equal((await world.task(second.task)).status, 'enqueued')
    await world.deliver(a.index)
    assert.deepEqual(await world.names(), { a: b.index, b: c.index, c: a.index })
    assert.equal((await world.task(first.task)).status, 'succeeded')
    const third = await world.append(null, swapOf('a', 'c'))
    assert.equal((await world.task(third.task)).status, 'succeeded')
    assert.deepEqual(await world.names(), { a: a.index, b: c.index, c: b.index })
  })

  test('a swap renames to a free name, and is refused for missing or taken ones', async () => {
    const world = await World.open(await source.open())
    const a = await world.put('a')
    await world.put('b')
    await world.deliverAll()
    await world.append(null, swapOf('a', 'z', true))
    assert.equal((await world.names()).z, a.index)
    const missing = await world.append(null, swapOf('a', 'b'))
    const several = await world.append(null, swapOf('a', 'y'))
    const taken = await world.append(null, swapOf('b', 'z', true))
    assert.equal((await world.task(missing.task)).error?.message, 'Index `a` not found.')
    assert.equal((await world.task(several.task)).error?.message, 'Indexes `a`, `y` not found.')
    assert.equal((await world.task(taken.task)).error?.code, 'index_already_exists')
  })
}

function cancelling(source: StoreSource) {
  test('a cancel stops what was not sent yet, and says how many', async () => {
    const world = await World.open(await source.open())
    const { index } = await world.put('a')
    const second = await world.put('a')
    const third = await world.put('a')
    assert.deepEqual(await world.store.laneJournal.markSent(world.lease, index ?? '', [1], 5), [1])
    const cancelled = await world.cancel(0, second.task, 99)
    assert.deepEqual(cancelled.details, { matchedTasks: 3, canceledTasks: 1, originalFilter: '?uids=1' })
    const view = await world.task(second.task)
    assert.equal(view.status, 'canceled')
    assert.equal(view.canceledBy, cancelled.uid)
    assert.deepEqual(view.details, { receivedDocuments: 1, indexedDocuments: 0 })
    assert.deepEqual(await world.store.laneJournal.markSent(world.lease, index ?? '', [1, 2, 3], 5), [1, 3])
    await world.deliver(index)
    assert.equal((await world.task(second.task)).status, 'canceled')
    assert.equal((await world.task(third.task)).status, 'succeeded')
  })

  test('an index whose creation was cancelled does not appear, and writes that needed it fail', async () => {
    const world = await World.open(await source.open())
    const { task, index } = await world.append('a', { kind: 'index-create', primaryKey: null })
    const next = await world.append('a', { kind: 'documents-clear' }, { mayCreateIndex: false })
    await world.cancel(task)
    assert.equal(await world.store.journal.writeState(world.project.id, 'a'), undefined)
    const fresh = await world.put('a')
    assert.notEqual(fresh.index, index)
    await world.deliverAll()
    assert.equal((await world.task(next.task)).error?.code, 'index_not_found')
    assert.deepEqual(await world.names(), { a: fresh.index })
  })

  test('tasks are deleted only when they have finished, and with them their batch', async () => {
    const world = await World.open(await source.open())
    const { index, task } = await world.put('a')
    await world.deliver(index)
    const first = await world.put('a')
    const second = await world.put('a')
    const { batchUid } = await world.task(task)
    const gone = await world.append(null, { kind: 'task-delete', filter: '?uids=*', tasks: [task, second.task] })
    const view = await world.task(gone.task)
    assert.deepEqual(view.details, { matchedTasks: 2, deletedTasks: 1, originalFilter: '?uids=*' })
    const { journal } = world.store
    assert.equal(await journal.task(world.project.id, task), undefined)
    assert.equal(await journal.batch(world.project.id, batchUid ?? -1), undefined)
    assert.equal((await world.task(first.task)).status, 'enqueued')
    assert.equal((await world.task(second.task)).status, 'enqueued')
  })

  // Clients write, delete the task of the write at once, and expect it to be gone when the deletion has ended.
  test('a deletion of tasks that are running ends behind them and takes them along', async () => {
    const world = await World.open(await source.open())
    const first = await world.put('a')
    const other = await world.put('b')
    const { placement } = await world.laneOf(first.index)
    await world.store.laneJournal.markSent(world.lease, placement.index, [1], 1_000)
    const tasks = [first.task, other.task]
    const { task } = await world.append(null, { kind: 'task-delete', filter: '?uids=0,1', tasks })
    const waiting = await world.task(task)
    assert.equal(waiting.status, 'enqueued')
    assert.deepEqual(waiting.details, { matchedTasks: 2, deletedTasks: null, originalFilter: '?uids=0,1' })
    await world.deliver(first.index)
    assert.equal((await world.task(first.task)).status, 'succeeded', 'all go together')
    assert.equal((await world.task(task)).status, 'enqueued')
    const { batchUid } = await world.task(first.task)
    await world.deliver(other.index, { fail: [1] })
    const done = await world.task(task)
    assert.equal(done.status, 'succeeded')
    assert.deepEqual(done.details, { matchedTasks: 2, deletedTasks: 2, originalFilter: '?uids=0,1' })
    for (const one of tasks) assert.equal(await world.store.journal.task(world.project.id, one), undefined)
    assert.equal(await world.store.journal.batch(world.project.id, batchUid ?? -1), undefined)
    const { tasks: finished } = await world.store.journal.finishedAfter(world.project.id, 0, 10)
    assert.deepEqual(
      finished.map(({ uid }) => uid),
      [first.task, other.task, task],
    )
  })

  test('a deletion waits neither for what came after it nor for what an engine has not begun', async () => {
    const world = await World.open(await source.open())
    const { index, task } = await world.put('a')
    const behind = await world.put('a')
    const tasks = [task, behind.task]
    const deletion = await world.append(null, { kind: 'task-delete', filter: '?uids=*', tasks })
    await world.put('a')
    await world.deliver(index, { through: 1 })
    assert.equal((await world.task(deletion.task)).status, 'succeeded')
    assert.equal(await world.store.journal.task(world.project.id, task), undefined)
    assert.equal((await world.task(behind.task)).status, 'enqueued')
  })

  // An ending that is written while a deletion begins must not be missed: nothing else would wake it.
  test('no deletion waits for ever, however it meets the ends of what it waits for', async () => {
    const world = await World.open(await source.open())
    const uids = Array.from({ length: 12 }, (_, at) => `i${at}`)
    const puts = await Promise.all(uids.map((uid) => world.put(uid)))
    const tasks = puts.map(({ task }) => task)
    const deletions = await Promise.all(
      puts.flatMap(({ index, task }) => [
        world.append(null, { kind: 'task-delete', filter: '?x', tasks: [task, ...tasks] }),
        world.deliver(index),
      ]),
    )
    for (const deletion of deletions) {
      if (deletion !== undefined) assert.equal((await world.task(deletion.task)).status, 'succeeded')
    }
    const { results } = await world.store.journal.tasks(world.project.id, { filter: {}, limit: 100, reverse: false })
    assert.deepEqual(
      results.filter(({ type }) => type !== 'taskDeletion'),
      [],
    )
  })

  test('a deletion that waits can be cancelled, and ends when what it waits for is cancelled', async () => {
    const world = await World.open(await source.open())
    const { task } = await world.put('a')
    const deletion = { kind: 'task-delete', filter: '?uids=0', tasks: [task] } as const
    const cancelled = await world.append(null, deletion)
    const kept = await world.append(null, deletion)
    await world.cancel(cancelled.task)
    assert.equal((await world.task(cancelled.task)).status, 'canceled')
    assert.equal((await world.task(kept.task)).status, 'enqueued')
    await world.cancel(task)
    assert.equal((await world.task(kept.task)).status, 'succeeded')
    assert.equal(await world.store.journal.task(world.project.id, task), undefined)
  })
}

function lanes(source: StoreSource) {
  test('two workers never hold one node, and who lost it can write nothing more', async () => {
    const world = await World.open(await source.open())
    const { laneJournal } = world.store
    const { index } = await world.put('a')
    const { placement } = await world.laneOf(index)
    assert.deepEqual(await laneJournal.leaseNodes('rival', 60_000), [])
    assert.equal((await laneJournal.leaseNodes('worker', 60_000))[0]?.epoch, world.lease.epoch)
    await laneJournal.leaseNodes('worker', 0)
    const [taken] = await laneJournal.leaseNodes('rival', 60_000)
    assert((taken?.epoch ?? 0) > world.lease.epoch)
    assert.equal(await laneJournal.advance(world.lease, placement, 1, [outcomeAt(1)], null), false)
    assert.equal(await laneJournal.markSent(world.lease, placement.index, [1], 5), false)
    assert.equal(await laneJournal.adopt(world.lease, 'marker'), false)
    assert.equal((await world.task(0)).status, 'enqueued')
    await laneJournal.releaseNodes('rival')
    assert.equal(taken && (await laneJournal.advance(taken, placement, 1, [outcomeAt(1)], null)), false)
    const [again] = await laneJournal.leaseNodes('worker', 60_000)
    assert((again?.epoch ?? 0) > (taken?.epoch ?? 0))
  })

  test('progress may be reported twice, and never goes back', async () => {
    const world = await World.open(await source.open())
    const { laneJournal, journal } = world.store
    const { index } = await world.put('a')
    await world.put('a')
    const { placement } = await world.laneOf(index)
    const both = [outcomeAt(1), outcomeAt(2)]
    await laneJournal.advance(world.lease, placement, 2, both, { task: 7, mark: 'm7' })
    await laneJournal.advance(world.lease, placement, 2, both, { task: 7, mark: 'm7' })
    await laneJournal.advance(world.lease, placement, 1, [outcomeAt(1, true)], null)
    assert.deepEqual(await world.lanes(), [])
    assert.equal((await journal.finishedAfter(world.project.id, 0, 10)).tasks.length, 2)
    assert.equal((await world.task(0)).status, 'succeeded')
    assert.deepEqual(await laneJournal.identity(world.lease), {
      marker: null,
      sinceEpoch: 0,
      proof: { task: 7, mark: 'm7' },
    })
  })

  // A replica on a wiped disk must not answer searches before it holds what clients were told is there.
  test('on a new disk the journal is replayed, tasks keep their outcome, and reads wait for the replica', async () => {
    const world = await World.open(await source.open())
    const { laneJournal, catalogue } = world.store
    const { index } = await world.put('a')
    await world.put('a')
    await world.deliver(index, { fail: [2] })
    const stateOf = async () => (await catalogue.snapshot()).placements[0]?.state
    assert.equal(await laneJournal.adopt(world.lease, 'disk 2'), true)
    assert.equal(await stateOf(), 'filling')
    const lane = await world.laneOf(index)
    assert.equal(lane.placement.applied, 0)
    const changes = await laneJournal.read(lane.placement.index, 0, 10, 1e6)
    assert.deepEqual(
      changes.map(({ change }) => change.status),
      ['succeeded', 'failed'],
    )
    await laneJournal.advance(world.lease, lane.placement, 1, [outcomeAt(1)], null)
    assert.equal(await stateOf(), 'filling')
    await laneJournal.advance(world.lease, lane.placement, 2, [outcomeAt(2)], null)
    assert.equal(await stateOf(), 'active')
    assert.equal((await world.task(1)).status, 'failed')
    const identity = await laneJournal.identity(world.lease)
    assert(identity !== false)
    assert.equal(identity.marker, 'disk 2')
    assert.equal(identity.sinceEpoch, world.lease.epoch)
    assert.equal(await laneJournal.restart(world.lease, lane.placement), true)
    assert.equal(await stateOf(), 'filling')
  })

  test('lanes learn which task of a node proves how far an index is, of those that are placed there', async () => {
    const world = await World.open(await source.open())
    const { laneJournal } = world.store
    const { index } = await world.put('a')
    await world.put('b')
    const { placement } = await world.laneOf(index)
    const [a, b] = [placement.physicalUid, `${world.project.ref}_b`]
    await laneJournal.markSent(world.lease, placement.index, [1], 1_000)
    await laneJournal.advance(world.lease, placement, 1, [outcomeAt(1)], { task: 7, mark: 'm' })
    const found = await laneJournal.standingsOn('n1', [a, b, 'unknown'])
    assert.deepEqual(
      [...found].sort((one, other) => (one.physicalUid < other.physicalUid ? -1 : 1)),
      [
        { physicalUid: a, applied: 1, proof: 7 },
        { physicalUid: b, applied: 0, proof: null },
      ],
    )
    assert.deepEqual(await laneJournal.standingsOn('n2', [a]), [])
  })

  test('a lane reads in order, within its bounds, and always at least one change', async () => {
    const world = await World.open(await source.open())
    const { laneJournal } = world.store
    const { index } = await world.put('a')
    for (let count = 0; count < 4; count += 1) await world.put('a')
    const positions = async (...bounds: [number, number, number]) =>
      (await laneJournal.read(index ?? '', ...bounds)).map(({ change }) => change.position)
    assert.deepEqual(await positions(0, 10, 1e6), [1, 2, 3, 4, 5])
    assert.deepEqual(await positions(1, 2, 1e6), [2, 3])
    assert.deepEqual(await positions(2, 10, 1), [3])
    assert.deepEqual(await positions(2, 10, 2 * line.byteLength), [3, 4])
    assert.deepEqual(await positions(5, 10, 1e6), [])
    assert.equal((await world.laneOf(index)).pendingBytes, 5 * line.byteLength)
    await world.deliver(index, { through: 3 })
    assert.equal((await world.laneOf(index)).pendingBytes, 2 * line.byteLength)
  })

  test('what a change was resolved to is recorded once', async () => {
    const world = await World.open(await source.open())
    const { laneJournal } = world.store
    const { index } = await world.append(
      'a',
      { ...put, skipCreation: true },
      { payload: { kind: 'inline', bytes: line } },
    )
    const deletes = { kind: 'inline', bytes: Buffer.from('"1"\n') } as const
    const resolution = { puts: null, merge: false, deletes, putCount: 0, deleteCount: 1, error: null }
    await laneJournal.recordResolution(world.lease, index ?? '', 1, resolution)
    await laneJournal.recordResolution(world.lease, index ?? '', 1, { ...resolution, deleteCount: 9 })
    const [read] = await laneJournal.read(index ?? '', 0, 10, 1e6)
    assert.equal(read?.change.resolution?.deleteCount, 1)
    assert.equal(await textOf(laneJournal.open(read?.change.resolution?.deletes ?? deletes)), '"1"\n')
  })

  test('an append wakes the lanes of its node', async () => {
    const world = await World.open(await source.open())
    const { laneJournal } = world.store
    const { signal } = new AbortController()
    await laneJournal.waitForWork('n1', 1, signal)
    const woken = laneJournal.waitForWork('n1', 600_000, signal)
    await world.put('a')
    await woken
    await world.put('a')
    await laneJournal.waitForWork('n1', 600_000, signal)
  })
}

function work(source: StoreSource) {
  test('a dump is carried out by one worker at a time, and can be cancelled before', async () => {
    const world = await World.open(await source.open())
    const { laneJournal } = world.store
    const { task } = await world.append(null, { kind: 'dump' })
    const export1: Operation = {
      kind: 'export',
      url: 'http://x',
      apiKey: 'secret-key-1',
      payloadSize: null,
      indexes: {},
    }
    const second = await world.append(null, export1)
    await world.cancel(second.task)
    assert.equal((await world.task(second.task)).status, 'canceled')
    const first = await laneJournal.claimProjectChange('one', 0)
    assert.equal(first?.task, task)
    assert.equal((await world.task(task)).status, 'processing')
    const claimed = await laneJournal.claimProjectChange('two', 60_000)
    assert.equal(claimed?.task, task)
    assert.equal(await laneJournal.claimProjectChange('one', 60_000), undefined)
    const outcome = { status: 'succeeded', error: null, details: { dumpUid: '20260101' } } as const
    assert(first && claimed)
    assert.equal(await laneJournal.finishProjectChange('one', first, outcome), false)
    assert.equal(await laneJournal.renewProjectChange('two', claimed, 60_000), true)
    assert.equal(await laneJournal.finishProjectChange('two', claimed, outcome), true)
    assert.deepEqual((await world.task(task)).details, { dumpUid: '20260101' })
    assert.equal(await laneJournal.claimProjectChange('one', 60_000), undefined)
  })

  test('a dump wakes the worker that waits for work of projects', async () => {
    const world = await World.open(await source.open())
    const { laneJournal } = world.store
    const { signal } = new AbortController()
    await laneJournal.waitForProjectWork(1, signal)
    const woken = laneJournal.waitForProjectWork(600_000, signal)
    const { task } = await world.append(null, { kind: 'dump' })
    await woken
    assert.equal((await laneJournal.claimProjectChange('one', 60_000))?.task, task)
  })

  test('an export keeps its key for the worker and hides it from the task', async () => {
    const world = await World.open(await source.open())
    const { task } = await world.append(null, {
      kind: 'export',
      url: 'http://x',
      apiKey: 'secret-key-1',
      payloadSize: null,
      indexes: {},
    })
    const claimed = await world.store.laneJournal.claimProjectChange('one', 60_000)
    assert(claimed?.operation.kind === 'export')
    assert.equal(claimed.operation.apiKey, 'secret-key-1')
    assert.doesNotMatch(JSON.stringify(await world.task(task)), /secret-key/)
  })

  test('finished tasks are fed in order of finishing, from wherever a consumer stopped', async () => {
    const world = await World.open(await source.open())
    const { journal } = world.store
    const heard: string[] = []
    const stop = await journal.onFinished((project) => heard.push(project))
    const a = await world.put('a')
    const b = await world.put('b')
    await world.deliver(b.index)
    await world.deliver(a.index)
    const first = await journal.finishedAfter(world.project.id, 0, 1)
    assert.deepEqual(
      first.tasks.map(({ uid }) => uid),
      [b.task],
    )
    assert.deepEqual(await journal.feedsBehind('hooks', 10), [{ project: world.project.id, cursor: 0 }])
    await journal.saveFeedCursor('hooks', world.project.id, first.cursor)
    const rest = await journal.finishedAfter(world.project.id, first.cursor, 10)
    assert.deepEqual(
      rest.tasks.map(({ uid }) => uid),
      [a.task],
    )
    await journal.saveFeedCursor('hooks', world.project.id, rest.cursor)
    assert.deepEqual(await journal.feedsBehind('hooks', 10), [])
    assert(heard.includes(world.project.id))
    await stop()
  })

  test('tasks and batches are listed by every filter, in pages, both ways', async () => {
    const world = await World.open(await source.open())
    const { journal } = world.store
    const { id } = world.project
    const a = await world.put('a')
    await world.put('a')
    await world.put('ab')
    await world.append(null, { kind: 'dump' })
    await world.put('missing', { mayCreateIndex: false })
    await world.deliver(a.index, { fail: [2] })
    const uids = async (filter: object, authorised?: readonly string[]) =>
      (await journal.tasks(id, { filter, limit: 20, reverse: false }, authorised)).results.map(({ uid }) => uid)
    assert.deepEqual(await uids({}), [4, 3, 2, 1, 0])
    assert.deepEqual(await uids({ statuses: ['succeeded', 'failed'] }), [4, 1, 0])
    assert.deepEqual(await uids({ types: ['dumpCreation'] }), [3])
    assert.deepEqual(await uids({ indexUids: ['a', 'ab'] }), [2, 1, 0])
    assert.deepEqual(await uids({ uids: [1, 2, 77] }), [2, 1])
    assert.deepEqual(await uids({}, ['a']), [1, 0])
    assert.deepEqual(await uids({}, ['a*']), [2, 1, 0])
    assert.deepEqual(await uids({}, []), [])
    const at = Date.parse((await world.task(2)).enqueuedAt)
    assert.deepEqual(await uids({ afterEnqueuedAt: at }), [4, 3])
    assert.deepEqual(await uids({ beforeEnqueuedAt: at }), [1, 0])
    assert.deepEqual(await uids({ beforeFinishedAt: at, afterStartedAt: 1 }), [1, 0])
    assert.deepEqual(await journal.matchingTasks(id, { statuses: ['enqueued'] }), [2, 3])
    const first = await journal.tasks(id, { filter: {}, limit: 2, reverse: false })
    assert.deepEqual([first.total, first.from, first.next], [5, 4, 2])
    const last = await journal.tasks(id, { filter: {}, limit: 2, from: 3, reverse: true })
    assert.deepEqual([last.total, last.from, last.next], [5, 3, null])
    const none = await journal.tasks(id, { filter: {}, limit: 0, reverse: false })
    assert.deepEqual([none.results, none.total, none.from], [[], 5, null])
    const batches = await journal.batches(id, { filter: { uids: [0] }, limit: 20, reverse: false })
    assert.equal(batches.total, 1)
    const [batch] = batches.results
    assert.deepEqual(batch?.stats, {
      totalNbTasks: 2,
      status: { succeeded: 1, failed: 1 },
      types: { documentAdditionOrUpdate: 2 },
      indexUids: { a: 2 },
      progressTrace: { 'processing tasks': '33.00ms' },
    })
    assert.deepEqual(await journal.batch(id, batch?.uid ?? -1), batch)
    assert.deepEqual(await uids({ batchUids: [batch?.uid] }), [1, 0])
    assert.deepEqual(await journal.busyIndexes(id), [])
    const bytesBefore = await journal.taskBytes(id)
    await world.put('a')
    assert.ok((await journal.taskBytes(id)) > bytesBefore && bytesBefore > 0)
    assert.deepEqual(await journal.busyIndexes(id), ['a'])
  })

  test('a full task list loses its oldest finished tenth', async () => {
    const world = await World.open(await source.open())
    const { index } = await world.put('a')
    for (let count = 0; count < 19; count += 1) await world.put('a')
    await world.deliver(index)
    await world.store.laneJournal.cleanTasks(21)
    assert.equal((await world.store.journal.tasks(world.project.id, page())).total, 20)
    await world.store.laneJournal.cleanTasks(20)
    assert.equal((await world.store.journal.tasks(world.project.id, page())).total, 18)
    assert.equal(await world.store.journal.task(world.project.id, 1), undefined)
  })
}

function payloads(source: StoreSource) {
  test('small payloads travel in the row, large ones as blobs, and both come back whole', async () => {
    const world = await World.open(await source.open())
    const { journal } = world.store
    const large = Buffer.alloc(300_000, 'x')
    for (const bytes of [Buffer.alloc(0), line, large]) {
      const payload = await journal.stage(bytesOf(bytes.subarray(0, 5), bytes.subarray(5)))
      assert.equal(payload.kind, bytes === large ? 'blob' : 'inline')
      const { task } = await world.put('a', { payload })
      const change = await journal.change(world.project.id, task)
      assert(change?.payload)
      assert.equal(await textOf(journal.open(change.payload)), bytes.toString())
    }
  })

  test('payloads of refused changes are not kept, those of others until retention passes them', async () => {
    const world = await World.open(await source.open())
    const { journal, laneJournal } = world.store
    const { id } = world.project
    const { index, task } = await world.put('a')
    const refused = await world.put('a', { refusal })
    assert.equal((await journal.change(id, refused.task))?.payload, null)
    assert.equal(await laneJournal.dropPayloads(Number.MAX_SAFE_INTEGER, 10), 0)
    await world.deliver(index)
    assert.equal(await laneJournal.dropPayloads(1, 10), 0)
    assert.notEqual((await journal.change(id, task))?.payload, null)
    assert.equal(await laneJournal.dropPayloads(Number.MAX_SAFE_INTEGER, 10), 1)
    assert.equal((await journal.change(id, task))?.payload, null)
    await world.put('a')
    await world.append('a', { kind: 'index-delete' })
    await world.deliver(index)
    // As long as it may be restored.
    assert.equal(await laneJournal.dropPayloads(1, 10, 1), 0)
    assert.equal(await laneJournal.dropPayloads(1, 10), 1)
  })
}

function page() {
  return { filter: {}, limit: 20, reverse: false }
}

function swapOf(left: string, right: string, rename = false): Operation {
  return { kind: 'index-swap', swaps: [{ indexes: [left, right], rename }] }
}
