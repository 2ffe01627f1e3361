/** Batches as Meilisearch 1.50 shows them (M-C9): after swaps, renames and cancellations, and while they run. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isObject, type JsonObject } from '../../src/lib/json.ts'
import { type RunningEngine, startEngine } from './running-engine.ts'

const documents = (count: number): readonly JsonObject[] =>
  Array.from({ length: count }, (_, id) => ({ id, title: `whale number ${id} of ${count}` }))

async function pageOf(engine: RunningEngine, query: string): Promise<{ uids: readonly number[]; total: number }> {
  const page = (await engine.get(`/batches?${query}`)) as { results: { uid: number }[]; total: number }
  return { uids: page.results.map(({ uid }) => uid), total: page.total }
}

const stat = (batch: JsonObject, name: string) =>
  isObject(batch.stats ?? null) ? (batch.stats as JsonObject)[name] : 0

test('batches are found by the names that their tasks had when they ended, swaps and renames by all that they mention', async () => {
  const engine = await startEngine()
  try {
    for (const uid of ['a', 'b', 'c']) await engine.done(await engine.post(`/indexes/${uid}/documents`, documents(3)))
    await engine.done(await engine.post('/swap-indexes', [{ indexes: ['a', 'b'] }]))
    await engine.done(await engine.patch('/indexes/c', { uid: 'd' }))
    await engine.done(await engine.post('/indexes/d/compact'))
    await engine.done(await engine.post('/indexes/a/documents', documents(1)))
    // As in Meilisearch, a swap counts for its indexes and is not listed with them.
    assert.deepEqual(await pageOf(engine, 'indexUids=a'), { uids: [6, 0], total: 3 })
    assert.deepEqual(await pageOf(engine, 'indexUids=b'), { uids: [1], total: 2 })
    assert.deepEqual(await pageOf(engine, 'indexUids=c'), { uids: [4, 2], total: 2 })
    assert.deepEqual(await pageOf(engine, 'indexUids=d'), { uids: [5, 4], total: 2 })
    assert.deepEqual(await pageOf(engine, 'types=indexSwap,indexCompaction'), { uids: [5, 3], total: 2 })
    assert.deepEqual(await pageOf(engine, 'types=indexUpdate&statuses=failed'), { uids: [], total: 0 })
    const compaction = (await engine.get('/batches/5')) as JsonObject
    assert.equal(
      compaction.batchStrategy,
      'created batch containing only task with id 5 of type `indexCompaction` that cannot be batched with any other task.',
    )
    assert.match(
      JSON.stringify(compaction.details),
      /^\{"preCompactionSize":"\d+ KiB","postCompactionSize":"\d+ KiB"\}$/,
    )
  } finally {
    await engine.close()
  }
})

test('a batch tells which tables it changed, in sizes for people', async () => {
  const engine = await startEngine()
  try {
    await engine.done(await engine.post('/indexes/a/documents', documents(3)))
    const sizes = stat((await engine.get('/batches/0')) as JsonObject, 'internalDatabaseSizes')
    assert.deepEqual((sizes as JsonObject).documents, '4 KiB (+4 KiB)')
    assert.deepEqual((sizes as JsonObject).externalDocumentsIds, '4 KiB (+4 KiB)')
    await engine.done(await engine.post('/indexes/a/documents', documents(3)))
    const own = ['main', 'documents', 'externalDocumentsIds', 'postings', 'vocabulary', 'facets', 'vectors']
    assert(Object.keys(sizes as JsonObject).every((name) => own.includes(name)))
    assert.equal(stat((await engine.get('/batches/1')) as JsonObject, 'internalDatabaseSizes'), undefined)
    assert.deepEqual(Object.keys(stat((await engine.get('/batches/1')) as JsonObject, 'progressTrace') as JsonObject), [
      'processing tasks',
    ])
  } finally {
    await engine.close()
  }
})

test('while a batch runs, it tells how far it is; cancelled tasks are in the batch of what cancelled them', async () => {
  const engine = await startEngine()
  try {
    await engine.post('/indexes/a/documents', documents(12_000))
    const seen = new Set<string>()
    for (;;) {
      const batch = (await engine.get('/batches/0')) as JsonObject
      if (batch.progress === null) break
      const { steps, percentage } = batch.progress as { steps: JsonObject[]; percentage: number }
      assert.equal(stat(batch, 'totalNbTasks'), 1)
      assert.deepEqual(batch.details, { receivedDocuments: 12_000, indexedDocuments: null })
      assert(percentage >= 0 && percentage <= 100)
      for (const { currentStep, finished, total } of steps) {
        assert(Number(finished) <= Number(total), JSON.stringify(steps))
        seen.add(String(currentStep))
      }
    }
    assert(seen.has('processing tasks') && seen.size > 2, [...seen].join())
    for (const uid of ['a', 'b']) await engine.post(`/indexes/${uid}/documents`, documents(5_000))
    const cancel = await engine.done(await engine.post('/tasks/cancel?statuses=enqueued,processing'))
    const canceled = (await engine.get(`/tasks?canceledBy=${cancel.uid}`)) as { results: JsonObject[]; total: number }
    assert(canceled.total > 0)
    for (const { batchUid, startedAt } of canceled.results) {
      assert.equal(batchUid, cancel.batchUid)
      assert.equal(startedAt, cancel.startedAt)
    }
    const batch = (await engine.get(`/batches/${cancel.batchUid}`)) as JsonObject
    assert.deepEqual(stat(batch, 'status'), { canceled: canceled.total, succeeded: 1 })
    assert.deepEqual(await pageOf(engine, `canceledBy=${cancel.uid}`), { uids: [cancel.batchUid], total: 1 })
  } finally {
    await engine.close()
  }
})
