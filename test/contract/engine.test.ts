/** What lanes rely on in an engine, over every engine that there is. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { after, before, test } from 'node:test'
import type { Engine, EngineReply, EngineTask } from '../../src/engine/engine.ts'
import { createHttpEngine } from '../../src/engine/http-engine.ts'
import { type EngineProcess, engineSources } from './engine-processes.ts'

const signal = () => AbortSignal.timeout(30_000)

function answered<T>(reply: EngineReply<T>): T {
  assert.equal(reply.kind, 'answered', JSON.stringify(reply))
  return (reply as Extract<EngineReply<T>, { kind: 'answered' }>).value
}

async function ended(engine: Engine, number: number): Promise<EngineTask> {
  for (;;) {
    const [task] = answered(await engine.tasks([number], signal()))
    assert.ok(task, `task ${number} exists`)
    if (task.status !== 'enqueued' && task.status !== 'processing') return task
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function* ndjson(...documents: readonly (object | string)[]): AsyncGenerator<Uint8Array> {
  for (const document of documents) yield Buffer.from(`${JSON.stringify(document)}\n`)
}

for (const source of engineSources()) {
  let running: EngineProcess
  let engine: Engine
  before(async () => {
    running = await source.start()
    engine = running.engine
  })
  after(() => running.stop())

  const put = (uid: string, mark: string, documents: readonly object[], merge = false) =>
    engine.putDocuments(uid, { merge, primaryKey: 'id', mark }, ndjson(...documents), signal())

  test(`${source.name}: documents are put, merged, read and removed, and each task carries its mark`, async () => {
    const first = answered(
      await put('books', 'fj1:1:1:a', [
        { id: 1, title: 'one', year: 1 },
        { id: 2, title: 'two' },
        { id: 2, title: 'Two' },
      ]),
    )
    const done = await ended(engine, first)
    assert.equal(done.status, 'succeeded')
    assert.equal(done.customMetadata, 'fj1:1:1:a')
    assert.equal(done.details?.indexedDocuments, 2)
    assert.equal(done.type, 'documentAdditionOrUpdate')
    assert.ok(done.batchUid !== null && done.startedAt !== null && done.finishedAt !== null)
    await ended(engine, answered(await put('books', 'fj1:1:2:a', [{ id: 1, title: 'uno' }], true)))
    const page = answered(await engine.fetchDocuments('books', { ids: ['1'], limit: 10 }, signal()))
    assert.deepEqual(page.results, [{ id: 1, title: 'uno', year: 1 }])
    const removed = await ended(
      engine,
      answered(await engine.deleteDocuments('books', ndjson('1', '9'), 'fj1:1:3:a', signal())),
    )
    assert.equal(removed.details?.deletedDocuments, 1)
    const left = answered(await engine.fetchDocuments('books', { fields: ['id'], limit: 10 }, signal()))
    assert.deepEqual(left, { results: [{ id: 2 }], total: 1 })
  })

  // Lanes would have to ask again and again for what they wait for.
  test(`${source.name}: an answer about tasks is held until one has ended, or comes at once`, async () => {
    const last = answered(await put('held', 'fj1:1:1:h', [{ id: 1 }]))
    await ended(engine, last)
    const reading = engine.tasks([last + 1], signal(), { endedOnly: true, waitSeconds: 20 })
    const next = answered(await put('held', 'fj1:1:2:h', [{ id: 2 }]))
    assert.equal(next, last + 1)
    const found = answered(await reading).map(({ uid, status }) => ({ uid, status }))
    assert.equal(engine.capabilities.waits, source.name === 'embedded engine')
    if (engine.capabilities.waits) assert.deepEqual(found, [{ uid: next, status: 'succeeded' }])
    await ended(engine, next)
  })

  test(`${source.name}: an empty deletion is a mark, also on an index that does not exist`, async () => {
    const empty = await ended(engine, answered(await engine.deleteDocuments('books', [], 'fj1:1:4:a', signal())))
    assert.equal(empty.status, 'succeeded')
    const nowhere = await ended(engine, answered(await engine.deleteDocuments('nowhere', [], 'fj1:1:5:a', signal())))
    assert.equal(nowhere.error?.code, 'index_not_found')
    assert.equal(nowhere.customMetadata, 'fj1:1:5:a')
    assert.ok(!answered(await engine.indexes(signal())).some(({ uid }) => uid === 'nowhere'))
  })

  test(`${source.name}: the newest tasks of one index come newest first, in pages`, async () => {
    const numbers: number[] = []
    for (let at = 0; at < 3; at += 1)
      numbers.push(answered(await engine.deleteDocuments('paged', [], `m${at}`, signal())))
    const page = answered(await engine.newestTasks('paged', 2, undefined, signal()))
    assert.deepEqual(
      page.map(({ uid }) => uid),
      [numbers[2], numbers[1]],
    )
    const next = answered(await engine.newestTasks('paged', 2, numbers[1]! - 1, signal()))
    assert.deepEqual(
      next.map(({ uid }) => uid),
      [numbers[0]],
    )
    const newest = answered(await engine.newestTasks(undefined, 1, undefined, signal()))
    assert.equal(newest[0]?.uid, numbers[2])
  })

  test(`${source.name}: indexes are made, told apart from existing ones, and deleted`, async () => {
    assert.equal((await ended(engine, answered(await engine.createIndex('made', 'id', signal())))).status, 'succeeded')
    const again = await ended(engine, answered(await engine.createIndex('made', 'id', signal())))
    assert.equal(again.error?.code, 'index_already_exists')
    await ended(engine, answered(await engine.updateIndex('made', 'sku', signal())))
    const row = answered(await engine.indexes(signal())).find(({ uid }) => uid === 'made')
    assert.equal(row?.primaryKey, 'sku')
    assert.equal((await ended(engine, answered(await engine.deleteIndex('made', signal())))).status, 'succeeded')
    const gone = await ended(engine, answered(await engine.deleteIndex('made', signal())))
    assert.equal(gone.error?.code, 'index_not_found')
  })

  test(`${source.name}: settings make a field filterable, and a clear counts what it removes`, async () => {
    await ended(
      engine,
      answered(
        await put('shelf', 'm', [
          { id: 1, kind: 'a' },
          { id: 2, kind: 'b' },
        ]),
      ),
    )
    const early = await engine.fetchDocuments('shelf', { filter: 'kind = a', limit: 10 }, signal())
    assert.equal(early.kind === 'refused' && early.error.code, 'invalid_document_filter')
    await ended(engine, answered(await engine.applySettings('shelf', { filterableAttributes: ['kind'] }, signal())))
    const page = answered(await engine.fetchDocuments('shelf', { filter: 'kind = a', limit: 10 }, signal()))
    assert.deepEqual(page.results, [{ id: 1, kind: 'a' }])
    assert.deepEqual(answered(await engine.settings('shelf', signal())).filterableAttributes, ['kind'])
    assert.equal(answered(await engine.indexStats('shelf', signal())).numberOfDocuments, 2)
    const cleared = await ended(engine, answered(await engine.clearDocuments('shelf', 'm', signal())))
    assert.equal(cleared.details?.deletedDocuments, 2)
  })

  test(`${source.name}: the marker of the disk is written once, changed, and read back`, async () => {
    assert.equal(answered(await engine.readMarker(signal())), null)
    assert.equal(answered(await engine.writeMarker('flapjack node n1', 'first', signal())), 'written')
    assert.equal(answered(await engine.readMarker(signal()))?.description, 'first')
    assert.equal(answered(await engine.writeMarker('flapjack node n1', 'second', signal())), 'written')
    assert.equal(answered(await engine.readMarker(signal()))?.description, 'second')
  })

  test(`${source.name}: enqueued tasks of one index are cancelled`, async () => {
    const number = answered(await engine.cancelTasks('shelf', signal()))
    assert.equal((await ended(engine, number)).status, 'succeeded')
  })

  test(`${source.name}: finished tasks are listed oldest first from a number on, and deleted by number`, async () => {
    const numbers: number[] = []
    for (let at = 0; at < 3; at += 1)
      numbers.push(answered(await engine.deleteDocuments('nothing', [], `fj1:1:${at}:c`, signal())))
    for (const number of numbers) await ended(engine, number)
    const [first, second, third] = numbers as [number, number, number]
    const before = answered(await engine.endedTasks(first, 2, signal()))
    assert.deepEqual(
      before.tasks.map(({ uid }) => uid),
      [first, second],
    )
    const deletion = answered(await engine.deleteTasks([first, second], signal()))
    assert.equal((await ended(engine, deletion)).details?.deletedTasks, 2)
    const after = answered(await engine.endedTasks(first, 2, signal()))
    assert.deepEqual(
      after.tasks.map(({ uid }) => uid),
      [third, deletion],
    )
    assert.equal(after.total, before.total - 1)
  })

  test(`${source.name}: settings that cannot be are refused at once; a wrong key is our trouble, not the change's`, async () => {
    const refused = await engine.applySettings('shelf', { rankingRules: ['nonsense'] }, signal())
    assert.equal(refused.kind === 'refused' && refused.error.code, 'invalid_settings_ranking_rules')
    const stranger = createHttpEngine({ url: running.url, key: 'not-the-key' })
    try {
      assert.equal((await stranger.deleteIndex('shelf', signal())).kind, 'failed')
    } finally {
      await stranger.close()
    }
  })
}

// A request that was sent whole and not answered may have been executed: it must not look like one that never left.
test('no answer to a whole write is unknown; half a body, a refused connection and a read without answer are failed', async () => {
  const server = createServer((request, response) => {
    request.resume()
    request.once('end', () => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const engine = createHttpEngine({ url: `http://127.0.0.1:${address.port}`, key: null })
  try {
    const options = { merge: false, primaryKey: 'id', mark: 'm' }
    assert.equal((await engine.putDocuments('a', options, ndjson({ id: 1 }), signal())).kind, 'unknown')
    assert.equal((await engine.deleteIndex('a', signal())).kind, 'unknown')
    assert.equal((await engine.tasks([1], signal())).kind, 'failed')
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('{"id":1}\n')
      throw new Error('the store is away')
    }
    assert.equal((await engine.putDocuments('a', options, broken(), signal())).kind, 'failed')
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  assert.equal((await engine.deleteIndex('a', signal())).kind, 'failed')
  await engine.close()
})
