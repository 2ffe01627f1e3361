/** Dumps and snapshots of an engine alone: made, imported at start, and exchanged with a real Meilisearch. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { JsonObject } from '../../src/lib/json.ts'
import { type EngineProcess, engineExit, resultsOf, startEngine } from './engine-process.ts'
import { startMeilisearch } from './meilisearch-process.ts'

const root = mkdtempSync(join(tmpdir(), 'flapjack-dump-'))
const running = new Set<EngineProcess>()
after(async () => {
  await Promise.all([...running].map((engine) => engine.kill()))
  rmSync(root, { recursive: true, force: true })
})

let folders = 0
const newFolder = (): string => join(root, String(folders++))

async function start(folder: string, args: readonly string[] = []): Promise<EngineProcess> {
  const engine = await startEngine(folder, args)
  running.add(engine)
  return engine
}

async function stop(engine: EngineProcess): Promise<void> {
  running.delete(engine)
  await engine.stop()
}

/** Two indexes, every common kind of task, a vector, and a number that no double holds. */
async function fill(engine: EngineProcess): Promise<void> {
  await engine.call('PATCH', '/experimental-features', { containsFilter: true })
  await engine.call('PATCH', '/experimental-features', {
    chatCompletions: true,
    network: true,
    dynamicSearchRules: true,
  })
  const hook = await engine.call('POST', '/webhooks', { url: 'https://example.com/hook', headers: { 'x-a': 'b' } })
  assert.equal(hook.status, 201, hook.body.toString())
  const chat = await engine.call('PATCH', '/chats/desk/settings', { source: 'openAi', apiKey: 'a-key-that-is-long' })
  assert.equal(chat.status, 200, chat.body.toString())
  const remotes = { ours: { url: 'http://a:7700' }, theirs: { url: 'http://b:7700', searchApiKey: 'k' } }
  assert.equal((await engine.call('PATCH', '/network', { self: 'ours', remotes })).status, 200)
  await engine.write('PATCH', '/indexes/books/settings', {
    filterableAttributes: ['genre', 'year'],
    stopWords: ['the'],
    synonyms: { tome: ['book'] },
    embedders: { m: { source: 'userProvided', dimensions: 2 } },
  })
  await engine.write(
    'POST',
    '/indexes/books/documents',
    '[{"id":1,"title":"Äsop, the book","genre":"fable","year":1,"_vectors":{"m":[1,2]}},{"id":2,"title":"Big","n":12345678901234567890,"_vectors":{"m":null}},{"id":3,"title":"Gone","genre":"x","_vectors":{"m":null}}]',
  )
  await engine.write('PUT', '/indexes/books/documents', [{ id: 2, genre: 'number' }])
  await engine.write('POST', '/indexes/books/documents/delete', { filter: 'genre = x' })
  await engine.write('POST', '/indexes/books/documents/delete-batch', ['7'])
  await engine.write('POST', '/indexes', { uid: 'empty', primaryKey: 'k' })
  await engine.write('POST', '/swap-indexes', [{ indexes: ['empty', 'books'] }])
  await engine.write('POST', '/swap-indexes', [{ indexes: ['empty', 'books'] }])
  await engine.write('POST', '/tasks/cancel?uids=1,2', undefined)
  await engine.write('DELETE', '/tasks?uids=4', undefined)
  await engine.write('POST', '/indexes/books/compact', undefined)
  await engine.write('PATCH', '/dynamic-search-rules/late', {
    active: true,
    conditions: { query: { words: 'tome' } },
    actions: [{ selector: { indexUid: 'books', id: '2' }, action: { type: 'pin', position: 0 } }],
  })
  await engine.write('PATCH', '/dynamic-search-rules/early', { description: 'x', active: false })
  await engine.write('DELETE', '/dynamic-search-rules/none', undefined)
}

/** What both sides of a dump must show alike. */
async function contentOf(engine: Pick<EngineProcess, 'call'>, filter = 'year = 1') {
  const get = async (path: string) => (await engine.call('GET', path)).body.toString()
  const search = await engine.call('POST', '/indexes/books/search', { q: 'tome', filter })
  const tasks = resultsOf(await engine.call('GET', '/tasks?limit=100')).filter(
    ({ type }) => type !== 'dumpCreation' && type !== 'snapshotCreation',
  )
  return {
    documents: sortedMembers(JSON.parse(await get('/indexes/books/documents?retrieveVectors=true'))),
    bigNumber: /"n": ?12345678901234567[0-9.e+]*/.test(await get('/indexes/books/documents/2')),
    settings: JSON.parse(await get('/indexes/books/settings')) as JsonObject,
    primaryKeys: resultsOf(await engine.call('GET', '/indexes')).map(({ uid, primaryKey }) => [uid, primaryKey]),
    rules: (await engine.call('POST', '/dynamic-search-rules', {})).json.results ?? [],
    hits: (search.json.hits as JsonObject[]).map(({ id }) => id),
    webhooks: JSON.parse(await get('/webhooks')) as JsonObject,
    chat: JSON.parse(await get('/chats/desk/settings')) as JsonObject,
    network: (JSON.parse(await get('/network')) as JsonObject).remotes,
    features: JSON.parse(await get('/experimental-features')) as JsonObject,
    tasks: tasks.map(({ uid, indexUid, status, type, details, error }) => ({
      uid,
      indexUid,
      status,
      type,
      details,
      error,
    })),
  }
}

const sortedMembers = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_key, each: unknown) =>
      typeof each === 'object' && each !== null && !Array.isArray(each)
        ? Object.fromEntries(Object.entries(each).sort(([left], [right]) => (left < right ? -1 : 1)))
        : each,
    ),
  )

async function makeDump(engine: EngineProcess, folder: string): Promise<string> {
  const task = await engine.write('POST', '/dumps', undefined)
  const { dumpUid } = task.details as JsonObject
  return join(folder, `${dumpUid}.dump`)
}

/** A filled engine's content, and the dump of it. */
async function dumped() {
  const dumps = newFolder()
  const engine = await start(newFolder(), ['--dump-dir', dumps])
  await fill(engine)
  const before = await contentOf(engine)
  const dump = await makeDump(engine, dumps)
  await stop(engine)
  return { before, dump }
}

test('a dump holds all that clients see, and another engine that imports it shows the same', async () => {
  const { before, dump } = await dumped()

  const copyFolder = newFolder()
  const copy = await start(copyFolder, ['--import-dump', dump])
  assert.deepEqual(await contentOf(copy), before)
  assert.equal(
    (await copy.call('GET', '/indexes/books/documents/2')).body.toString().includes('12345678901234567890'),
    true,
  )
  // Numbers of tasks go on where the dump ended.
  const last = Number(before.tasks[0]!.uid)
  const next = await copy.write('POST', '/indexes/books/documents', [{ id: 9, _vectors: { m: null } }])
  assert(Number(next.uid) > last, `${next.uid} follows ${last}`)
  await stop(copy)

  // The folder has content now.
  const again = await engineExit(['--data-dir', copyFolder, '--import-dump', dump])
  assert.notEqual(again.code, 0)
  assert.match(again.text, /database already exists/)
  const kept = await start(copyFolder, ['--import-dump', dump, '--ignore-dump-if-db-exists'])
  assert.equal((await kept.call('GET', '/indexes/books/documents/9')).status, 200)
  await stop(kept)
})

test('an import of a file that is not there, or is no dump, does not begin to serve and leaves nothing', async () => {
  const folder = newFolder()
  const missing = await engineExit(['--data-dir', folder, '--import-dump', join(root, 'nothing.dump')])
  assert.notEqual(missing.code, 0)
  assert.match(missing.text, /doesn't exist/)
  const broken = join(root, 'broken.dump')
  writeFileSync(broken, 'this is no dump')
  const refused = await engineExit(['--data-dir', folder, '--import-dump', broken])
  assert.notEqual(refused.code, 0)
  assert.match(refused.text, /cannot be unpacked/)
  const cutOff = await engineExit(['--data-dir', folder])
  assert.match(cutOff.text, /was cut off/)
  const other = newFolder()
  const engine = await start(other, ['--import-dump', join(root, 'nothing.dump'), '--ignore-missing-dump'])
  assert.equal((await engine.call('GET', '/indexes')).json.total, 0)
  await stop(engine)
})

test('a snapshot of the engine brings back indexes and tasks, and no second snapshot', async () => {
  const [folder, snapshots] = [newFolder(), newFolder()]
  const engine = await start(folder, ['--snapshot-dir', snapshots])
  await fill(engine)
  const before = await contentOf(engine)
  await engine.write('POST', '/snapshots', undefined)
  await engine.write('POST', '/snapshots', undefined)
  const names = readdirSync(snapshots)
  assert.equal(names.length, 1)
  await stop(engine)
  const copy = await start(newFolder(), ['--import-snapshot', join(snapshots, names[0]!)])
  assert.deepEqual(await contentOf(copy), before)
  assert.equal(resultsOf(await copy.call('GET', '/tasks?statuses=enqueued,processing')).length, 0)
  await stop(copy)

  const bytes = readFileSync(join(snapshots, names[0]!))
  bytes[Math.floor(bytes.length / 2)]! ^= 4
  const damaged = join(root, 'damaged.snapshot')
  writeFileSync(damaged, bytes)
  const refused = await engineExit(['--data-dir', newFolder(), '--import-snapshot', damaged])
  assert.notEqual(refused.code, 0)
  assert.match(refused.text, /cannot be read/)
})

// Made by Meilisearch 1.50.0 from documents of ours.
test('a dump of Meilisearch is imported whole: settings, documents, vectors, tasks, batches and webhooks', async () => {
  const file = join(import.meta.dirname, '..', 'vectors', 'meilisearch-1.50.dump')
  const engine = await start(newFolder(), ['--import-dump', file])
  const { documents, settings, primaryKeys, tasks, hits, features, webhooks } = await contentOf(engine, 'genre = fable')
  assert.deepEqual(primaryKeys, [
    ['books', 'id'],
    ['empty', 'k'],
  ])
  assert.deepEqual(hits, [1])
  assert.equal((documents as JsonObject).total, 2)
  assert.deepEqual(settings.synonyms, { tome: ['book'] })
  assert.equal(features.containsFilter, true)
  assert.equal((webhooks.results as JsonObject[]).length, 1)
  assert.deepEqual(
    tasks.map(({ type, status }) => [type, status]),
    [
      ['indexCreation', 'succeeded'],
      ['indexDeletion', 'failed'],
      ['documentDeletion', 'succeeded'],
      ['documentAdditionOrUpdate', 'succeeded'],
      ['settingsUpdate', 'succeeded'],
    ],
  )
  assert.equal((await engine.call('GET', '/batches')).json.total, 5)
  const text = (await engine.call('GET', '/indexes/books/documents/2')).body.toString()
  assert(text.includes('12345678901234567890'), text)
  await stop(engine)
})

const binary = process.env.MEILISEARCH_BIN ?? ''
if (binary !== '') {
  test('a real Meilisearch imports our dump, and we import what it dumps', async () => {
    const { before, dump } = await dumped()

    const theirs = newFolder()
    const real = await startMeilisearch(binary, newFolder(), ['--import-dump', dump, '--dump-dir', theirs])
    running.add(real)
    const { tasks, settings, ...content } = await contentOf(real)
    const { tasks: ownTasks, settings: ownSettings, ...ownContent } = before
    assert.deepEqual(content, ownContent)
    assert.deepEqual(sortedMembers(settings), sortedMembers(ownSettings))
    assert.deepEqual(sortedMembers(tasks), sortedMembers(ownTasks))
    const back = await makeDump(real, theirs)
    await stop(real)

    const again = await start(newFolder(), ['--import-dump', back])
    const after = await contentOf(again)
    assert.deepEqual(sortedMembers(after), sortedMembers(before))
    await stop(again)
  })
}
