import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { defaultSearchQuery } from '../api/search-query.ts'
import type { TaskView } from '../api/tasks.ts'
import type { JsonObject } from '../lib/json.ts'
import { seededRandom } from '../lib/random.ts'
import type { EngineCore, EngineOperation, EngineOptions } from './core.ts'
import { openEngine } from './engine-core.ts'
import { EngineFolderInUse } from './folder-lock.ts'

const root = mkdtempSync(join(tmpdir(), 'flapjack-engine-'))
const engines = new Set<EngineCore>()
after(async () => {
  for (const engine of engines) await engine.close()
  rmSync(root, { recursive: true })
})

let folders = 0
const newFolder = (): string => join(root, String(folders++))

async function start(folder = newFolder(), options: EngineOptions = {}): Promise<EngineCore> {
  const engine = await openEngine(folder, { searchWorkersMax: 1, ...options })
  engines.add(engine)
  return engine
}

async function stop(engine: EngineCore): Promise<void> {
  engines.delete(engine)
  await engine.close()
}

async function* ndjson(lines: readonly unknown[]): AsyncGenerator<Uint8Array> {
  for (const line of lines) yield Buffer.from(`${JSON.stringify(line)}\n`)
}

const waitMsMax = 20_000

const enqueue = (
  engine: EngineCore,
  uid: string | null,
  operation: EngineOperation,
  lines?: readonly unknown[],
  allowIndexCreation = true,
) =>
  engine.enqueue({
    uid,
    operation,
    ...(lines === undefined ? {} : { payload: ndjson(lines), received: lines.length }),
    customMetadata: null,
    allowIndexCreation,
  })

async function run(...args: Parameters<typeof enqueue>): Promise<TaskView> {
  const { taskUid } = await enqueue(...args)
  const task = await args[0].waitForTask(taskUid, waitMsMax)
  assert.ok(task !== undefined)
  return task
}

const put = (merge = false): EngineOperation => ({
  kind: 'documents-put',
  merge,
  skipCreation: false,
  primaryKey: null,
})

async function documents(engine: EngineCore, uid: string): Promise<readonly JsonObject[]> {
  const bytes = await engine.documents(uid, { offset: 0, limit: 100_000, retrieveVectors: false })
  return (JSON.parse(Buffer.from(bytes).toString()) as { results: JsonObject[] }).results
}

test('a document that was sent is found, and again after a restart', async () => {
  const folder = newFolder()
  const engine = await start(folder)
  const task = await run(engine, 'books', put(), [
    { id: 1, title: 'Le Petit Prince' },
    { id: 2, title: 'Emma' },
  ])
  assert.deepEqual(Object.keys(task), [
    'uid',
    'batchUid',
    'indexUid',
    'status',
    'type',
    'canceledBy',
    'details',
    'error',
    'duration',
    'enqueuedAt',
    'startedAt',
    'finishedAt',
  ])
  assert.deepEqual([task.status, task.details], ['succeeded', { receivedDocuments: 2, indexedDocuments: 2 }])
  const options = { features: {}, withMetadata: false }
  const search = async (from: EngineCore) =>
    JSON.parse(Buffer.from(await from.search('books', { ...defaultSearchQuery, q: 'princ' }, options)).toString()).hits
  assert.deepEqual(await search(engine), [{ id: 1, title: 'Le Petit Prince' }])
  await engine.store.put('key/1', { a: [1] })
  await stop(engine)
  const again = await start(folder)
  assert.deepEqual(await search(again), [{ id: 1, title: 'Le Petit Prince' }])
  assert.equal(again.task(task.uid)?.status, 'succeeded')
  assert.deepEqual(again.store.list('key/'), [{ key: 'key/1', value: { a: [1] } }])
  assert.equal((await run(again, 'books', put(), [{ id: 3 }])).uid, task.uid + 1)
})

/** More than is small, and long enough to be still under way after a small change. */
const manyDocuments = (count: number) => {
  const random = seededRandom(count)
  const word = () => `w${Math.floor(5_000 ** random.float())}`
  return Array.from({ length: count }, (_, id) => ({ id, text: Array.from({ length: 30 }, word).join(' ') }))
}

// Behind the backlog of a neighbour it would otherwise wait for seconds.
test('a small change is applied while a large batch of another index runs, and stays when that is cancelled', async () => {
  const engine = await start()
  await run(engine, 'small', put(), [{ id: 0 }])
  const { taskUid } = await enqueue(engine, 'big', put(), manyDocuments(20_000))
  while (engine.task(taskUid)?.status === 'enqueued') await new Promise((resolve) => setImmediate(resolve))
  assert.equal((await run(engine, 'small', put(), [{ id: 1 }])).status, 'succeeded')
  assert.equal(engine.task(taskUid)?.status, 'processing')
  const statuses = { statuses: ['processing'] } as const
  const running = engine.batches({ filter: statuses, limit: 10, reverse: false })
  assert.deepEqual(
    running.results.map(({ stats }) => stats.indexUids),
    [{ big: 1 }],
  )
  const cancel = await run(engine, null, { kind: 'task-cancel', filter: { uids: [taskUid] }, originalFilter: '' })
  assert.deepEqual([cancel.status, engine.task(taskUid)?.status], ['succeeded', 'canceled'])
  assert.equal((await documents(engine, 'small')).length, 2)
  assert.equal(engine.index('big'), undefined)
})

test('changes of one index stay in their order, large or small', async () => {
  const folder = newFolder()
  const engine = await start(folder)
  const other = await enqueue(engine, 'other', put(), manyDocuments(3_000))
  const versions = [0, 1, 2, 3, 4, 5]
  const sent = []
  for (const version of versions) {
    const filling = version % 2 === 0 ? [] : manyDocuments(600)
    sent.push(await enqueue(engine, 'books', put(), [...filling, { id: 'one', version }, { id: `v${version}` }]))
    if (version < 3) await engine.waitForTask(sent[version]!.taskUid, waitMsMax)
  }
  for (const { taskUid } of [...sent, other])
    assert.equal((await engine.waitForTask(taskUid, waitMsMax))?.status, 'succeeded')
  const last = (await documents(engine, 'books')).filter(({ id }) => typeof id === 'string')
  assert.deepEqual(last.map(({ id, version }) => (id === 'one' ? version : id)).sort(), [
    5,
    ...versions.map((version) => `v${version}`),
  ])
  await stop(engine)
  const again = await start(folder)
  assert.equal((await documents(again, 'books')).length, 600 + 1 + versions.length)
})

test('a folder serves one engine at a time', async () => {
  const folder = newFolder()
  await start(folder)
  await assert.rejects(openEngine(folder, {}), EngineFolderInUse)
})

test('tasks that need an index fail without one, and create it where they may', async () => {
  const engine = await start()
  const codeOf = async (...args: Parameters<typeof enqueue>) => (await run(...args)).error?.code
  assert.equal(await codeOf(engine, 'a', put(), [{ id: 1 }], false), 'index_not_found')
  assert.equal(await codeOf(engine, 'a', { kind: 'documents-clear' }), 'index_not_found')
  assert.equal(await codeOf(engine, 'a', { kind: 'index-delete' }), 'index_not_found')
  assert.equal(await codeOf(engine, 'a', { kind: 'index-create', primaryKey: 'id' }), undefined)
  assert.equal(await codeOf(engine, 'a', { kind: 'index-create', primaryKey: null }), 'index_already_exists')
  assert.equal(await codeOf(engine, 'a', put(), [{ id: 1 }], false), undefined)
  const change: EngineOperation = { kind: 'index-update', primaryKey: 'other', uid: null }
  const failed = await run(engine, 'a', change)
  assert.equal(failed.error?.message, 'Index `a`: Index already has a primary key: `id`.')
  assert.equal(await codeOf(engine, 'b', { kind: 'settings', settings: { stopWords: ['x'] } }), undefined)
  assert.deepEqual(
    engine.indexes().map(({ uid, primaryKey }) => [uid, primaryKey]),
    [
      ['a', 'id'],
      ['b', null],
    ],
  )
  const dropped = await run(engine, 'a', { kind: 'index-delete' })
  assert.deepEqual([dropped.details, engine.index('a')], [{ deletedDocuments: 1 }, undefined])
})

test('indexes change places and names, and past tasks follow them', async () => {
  const engine = await start()
  const first = await run(engine, 'a', put(), [{ id: 'of-a' }])
  await run(engine, 'b', put(), [{ id: 'of-b' }])
  const swap = (indexes: readonly [string, string], rename: boolean): EngineOperation => ({
    kind: 'index-swap',
    swaps: [{ indexes, rename }],
  })
  assert.equal((await run(engine, null, swap(['a', 'b'], false))).status, 'succeeded')
  assert.deepEqual(await documents(engine, 'a'), [{ id: 'of-b' }])
  assert.equal(engine.task(first.uid)?.indexUid, 'b')
  assert.equal((await run(engine, null, swap(['a', 'b'], true))).error?.code, 'index_already_exists')
  assert.equal((await run(engine, null, swap(['a', 'new'], true))).status, 'succeeded')
  assert.deepEqual(
    engine.indexes().map(({ uid }) => uid),
    ['b', 'new'],
  )
  assert.equal((await run(engine, null, swap(['a', 'c'], false))).error?.message, 'Indexes `a`, `c` not found.')
  assert.equal((await run(engine, 'new', { kind: 'index-update', primaryKey: null, uid: 'newer' })).status, 'succeeded')
  assert.deepEqual(await documents(engine, 'newer'), [{ id: 'of-b' }])
})

test('many past tasks follow their index, and none of them twice', async () => {
  const engine = await start()
  const count = 1200
  const tasks = await Promise.all(
    Array.from({ length: count }, (_, task) => enqueue(engine, task % 2 === 0 ? 'a' : 'b', put(), [{ id: task }])),
  )
  const sentTo = new Map(tasks.map(({ taskUid, indexUid }) => [taskUid, indexUid]))
  for (const { taskUid } of tasks) await engine.waitForTask(taskUid, 60_000)
  await run(engine, null, { kind: 'index-swap', swaps: [{ indexes: ['a', 'b'], rename: false }] })
  const names = (uid: string) =>
    engine.tasks({ filter: { indexUids: [uid], types: ['documentAdditionOrUpdate'] }, limit: count, reverse: false })
  assert.deepEqual([names('a').total, names('b').total], [count / 2, count / 2])
  assert.ok(names('a').results.every(({ uid }) => sentTo.get(uid) === 'b'))
  assert.ok(names('b').results.every(({ uid }) => sentTo.get(uid) === 'a'))
})

test('a compacted index answers as before and takes writes', async () => {
  const folder = newFolder()
  const engine = await start(folder)
  const many = Array.from({ length: 500 }, (_, id) => ({ id, text: `document ${id} of many` }))
  await run(engine, 'a', put(), many)
  await run(
    engine,
    'a',
    { kind: 'documents-delete' },
    many.slice(5).map(({ id }) => String(id)),
  )
  const before = await documents(engine, 'a')
  const task = await run(engine, 'a', { kind: 'index-compact' })
  assert.match(
    JSON.stringify(task.details),
    /^{"preCompactionSize":"[\d.]+ .?i?B","postCompactionSize":"[\d.]+ .?i?B"}$/,
  )
  assert.deepEqual(await documents(engine, 'a'), before)
  assert.equal((await run(engine, 'a', put(), [{ id: 1, text: 'new' }])).status, 'succeeded')
  await stop(engine)
  const again = await start(folder)
  assert.equal(readdirSync(join(folder, 'indexes')).length, 1)
  assert.deepEqual((await documents(again, 'a'))[1], { id: 1, text: 'new' })
})

test('waiting tasks are cancelled, ended ones deleted, by every filter', async () => {
  const engine = await start()
  const many = Array.from({ length: 3000 }, (_, id) => ({ id, text: `some words of document ${id}` }))
  const big = await enqueue(engine, 'a', put(), many)
  const waiting = await enqueue(engine, 'a', { kind: 'settings', settings: { stopWords: ['of'] } })
  const filter = { uids: [big.taskUid, waiting.taskUid] }
  const cancel = await run(engine, null, { kind: 'task-cancel', filter, originalFilter: '?uids=0,1' })
  const ends = await Promise.all([big, waiting].map(({ taskUid }) => engine.waitForTask(taskUid, waitMsMax)))
  const canceled = ends.filter((task) => task?.status === 'canceled')
  assert.ok(canceled.every((task) => task?.canceledBy === cancel.uid))
  assert.deepEqual(cancel.details, { matchedTasks: 2, canceledTasks: canceled.length, originalFilter: '?uids=0,1' })
  assert.equal(ends[1]?.status, 'canceled')
  assert.deepEqual(engine.tasks({ filter: { statuses: ['canceled'] }, limit: 9, reverse: true }).total, canceled.length)
  await run(engine, 'b', put(), [{ id: 1 }])
  const deletion = await run(engine, null, {
    kind: 'task-delete',
    filter: { indexUids: ['a'] },
    originalFilter: '?indexUids=a',
  })
  assert.deepEqual(deletion.details, { matchedTasks: 2, deletedTasks: 2, originalFilter: '?indexUids=a' })
  assert.equal(engine.task(big.taskUid), undefined)
  const page = engine.tasks({ filter: {}, limit: 2, reverse: false })
  assert.deepEqual(
    page.results.map(({ uid }) => uid),
    [deletion.uid, deletion.uid - 1],
  )
  assert.deepEqual([page.total, page.from, page.next], [3, deletion.uid, cancel.uid])
  assert.equal(engine.batches({ filter: { types: ['taskDeletion'] }, limit: 5, reverse: false }).total, 1)
})

test('a payload that breaks off makes no task and leaves no file', async () => {
  const folder = newFolder()
  const engine = await start(folder)
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(200_000, 32)
    throw new Error('connection lost')
  }
  const request = { uid: 'a', operation: put(), payload: broken(), customMetadata: null, allowIndexCreation: true }
  await assert.rejects(engine.enqueue(request), /connection lost/)
  assert.equal(engine.tasks({ filter: {}, limit: 1, reverse: false }).total, 0)
  assert.deepEqual(readdirSync(join(folder, 'payloads')), [])
})

/** Writes to an engine until it is killed; says of each task when it was acknowledged. */
const writer = `
import { openEngine } from ${JSON.stringify(new URL('./engine-core.ts', import.meta.url).href)}
const engine = await openEngine(process.argv[1], {})
async function* lines(documents) { for (const document of documents) yield Buffer.from(JSON.stringify(document) + '\\n') }
for (let n = Number(process.argv[2]); ; n += 1) {
  const big = n % 7 === 0 ? Array.from({ length: 300 }, (_, id) => ({ id: 'many' + id, n, filler: 'x'.repeat(300) })) : []
  const documents = [{ id: 'last', n }, { id: 'n' + n, n }, ...big]
  const operation = { kind: 'documents-put', merge: false, skipCreation: false, primaryKey: 'id' }
  const task = await engine.enqueue({ uid: 'a', operation, payload: lines(documents), received: 1, customMetadata: String(n), allowIndexCreation: true })
  console.log(n)
  if (n % 5 === 0) await engine.waitForTask(task.taskUid, 10000)
}
`

// kill -9 may fall between the acknowledgement, the index's commit and the commit of the tasks.
test('what was acknowledged survives kill -9 at any moment, once and in order', async () => {
  const seed = 11
  const random = seededRandom(seed)
  const folder = newFolder()
  let next = 0
  for (let round = 0; round < 4; round += 1) {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '-e', writer, folder, String(next)],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    const exit = new Promise((resolve) => child.once('exit', resolve))
    const count = 3 + random.integer(30)
    let acknowledged = 0
    for await (const line of createInterface({ input: child.stdout })) {
      next = Number(line) + 1
      acknowledged += 1
      if (acknowledged === count) child.kill('SIGKILL')
    }
    await exit
    assert.ok(acknowledged >= count, `seed ${seed}: the writer ended early`)

    const engine = await start(folder)
    const { results } = engine.tasks({ filter: {}, limit: 100_000, reverse: true })
    for (const { uid } of results) assert.equal((await engine.waitForTask(uid, waitMsMax))?.status, 'succeeded')
    const marks = results.map(({ customMetadata }) => Number(customMetadata))
    const last = marks.at(-1)!
    assert.deepEqual(
      marks,
      Array.from({ length: last + 1 }, (_, n) => n),
      `seed ${seed}`,
    )
    assert.ok(last >= next - 1, `seed ${seed}: task ${next - 1} was acknowledged`)
    const stored = new Map((await documents(engine, 'a')).map((document) => [document.id, document.n]))
    for (const n of marks) assert.equal(stored.get(`n${n}`), n)
    assert.equal(stored.get('last'), last)
    assert.equal(stored.get('many7'), last - (last % 7))
    next = last + 1
    await stop(engine)
  }
})

// A search thread that opened the index for writing waited for the batch that was being written.
test('the first search of a thread does not wait for the batch that runs', async () => {
  const engine = await start()
  await run(engine, 'books', put(), [{ id: 'first', title: 'whale' }])
  const lines = Array.from({ length: 20_000 }, (_, id) => ({ id, title: `whale ${id} ${id * 7} ${id * 13}` }))
  const { taskUid } = await enqueue(engine, 'books', put(), lines)
  while (engine.task(taskUid)?.status === 'enqueued') await engine.waitForTask(taskUid, 1)
  assert.equal((await documents(engine, 'books')).length, 1)
  assert.equal((await engine.waitForTask(taskUid, waitMsMax))?.status, 'succeeded')
  assert.equal((await documents(engine, 'books')).length, 20_001)
})

// Behind a long import every other index would wait for all of it.
test('a change of another index is done before what an index has queued behind its running batch', async () => {
  const engine = await start()
  const books = Array.from({ length: 3_000 }, (_, id) => ({ id, title: `book ${id} of ${id % 7} shelves` }))
  const running = await enqueue(engine, 'books', put(), books)
  const [queued, other] = await Promise.all([
    enqueue(engine, 'books', { kind: 'settings', settings: { sortableAttributes: ['title'] } }),
    enqueue(engine, 'films', put(), [{ id: 1 }]),
  ])
  const ends = await Promise.all([running, other, queued].map(({ taskUid }) => engine.waitForTask(taskUid, waitMsMax)))
  assert.deepEqual(
    ends.map((task) => task?.status),
    ['succeeded', 'succeeded', 'succeeded'],
  )
  const batches = ends.map((task) => task?.batchUid ?? -1)
  assert.deepEqual(
    batches,
    [...batches].sort((a, b) => a - b),
  )
  assert.equal(new Set(batches).size, 3)
})

test('an index that rested is read and written as before', async () => {
  const engine = await start(newFolder(), { restMs: 4 })
  for (let round = 1; round <= 30; round += 1) {
    await run(engine, 'books', put(), [{ id: round, title: 'whale' }])
    assert.equal((await documents(engine, 'books')).length, round)
    await new Promise((resolve) => setTimeout(resolve, round % 7))
  }
})
