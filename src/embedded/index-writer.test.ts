import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Bitmap } from '../lib/bitmap.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { seededRandom } from '../lib/random.ts'
import { SharedProgress } from './batch-progress.ts'
import type { EngineOperation } from './core.ts'
import { EmbeddingThread } from './embedders/embedding-thread.ts'
import { type IndexEnv, openIndexEnv } from './index-env.ts'
import { type IndexSnapshot, readSnapshot } from './index-snapshot.ts'
import { BatchAborted, runBatch, type WriterDeps } from './index-writer.ts'
import { LmdbIndexReader } from './lmdb-index-reader.ts'
import { Postings } from './search/postings.ts'

const folder = mkdtempSync(join(tmpdir(), 'flapjack-index-'))
const envs: IndexEnv[] = []
after(async () => {
  for (const env of envs) await env.root.close()
  rmSync(folder, { recursive: true })
})

let opened = 0
function freshEnv(): IndexEnv {
  opened += 1
  const env = openIndexEnv(join(folder, String(opened)), 'write')
  envs.push(env)
  return env
}

const deps: WriterDeps = {
  matchFilter: () => Bitmap.of(),
  isAborted: () => false,
  now: () => 0,
  progress: new SharedProgress(),
  postingBytesMax: 1 << 20,
  embedding: new EmbeddingThread({ allowedNetworks: [] }),
}

let nextTask = 0
function run(env: IndexEnv, operation: EngineOperation, lines: readonly Json[] = [], more: Partial<WriterDeps> = {}) {
  const bytes = Buffer.from(lines.map((line) => JSON.stringify(line)).join('\n'))
  nextTask += 1
  const task = { uid: nextTask, operation, payload: { kind: 'inline' as const, bytes } }
  return runBatch(env, [task], { ...deps, ...more }).outcomes[0]!
}

const put = (env: IndexEnv, documents: readonly JsonObject[], merge = false) =>
  run(env, { kind: 'documents-put', merge, skipCreation: false, primaryKey: 'id' }, documents)
const remove = (env: IndexEnv, ids: readonly string[]) => run(env, { kind: 'documents-delete' }, ids)
const set = (env: IndexEnv, settings: JsonObject) => run(env, { kind: 'settings', settings })

/** Everything that a reader answers, by names and ids, so that two indexes can be compared. */
function describe(reader: LmdbIndexReader): JsonObject {
  const ids = (bitmap: Bitmap): Json =>
    bitmap
      .toArray()
      .map((docid) => reader.documentIdOf(docid))
      .sort()
  const words = [...reader.words('')]
  const found: Record<string, Json> = { documents: ids(reader.documentIds), words }
  const keep = (name: string, bitmap: Bitmap) => {
    if (!bitmap.isEmpty()) found[name] = ids(bitmap)
  }
  for (const word of words) {
    keep(`word ${word}`, reader.wordDocids(word))
    keep(`exact ${word}`, reader.exactWordDocids(word))
    for (const [field, name] of reader.fieldNames.entries())
      keep(`${word} in ${name}`, reader.wordFieldDocids(word, field))
    for (const bucket of reader.wordPositions(word))
      keep(`${word} at ${bucket}`, reader.wordPositionDocids(word, bucket))
    for (const right of words)
      for (const distance of [1, 2, 3] as const)
        keep(`${word} ${right} ${distance}`, reader.pairDocids(word, right, distance))
  }
  for (const [field, name] of reader.fieldNames.entries()) {
    for (let count = 1; count <= 30; count += 1) keep(`${name} has ${count}`, reader.fieldWordCountDocids(field, count))
    for (const { value, docids } of reader.facetNumbers(field, -Infinity, Infinity)) keep(`${name} = ${value}`, docids)
    for (const { value, docids } of reader.facetStrings(field, '')) keep(`${name} = "${value}"`, docids)
    keep(`${name} exists`, reader.facetExists(field))
    keep(`${name} null`, reader.facetNull(field))
    keep(`${name} empty`, reader.facetEmpty(field))
  }
  keep('geo', reader.geoDocids)
  for (const docid of reader.documentIds) {
    const id = reader.documentIdOf(docid)
    found[`document ${id}`] = reader.document(docid) as JsonObject
    const place = reader.geoOf(docid)
    if (place !== undefined) found[`place ${id}`] = { ...place }
    assert.equal(reader.docidOf(id), docid)
  }
  return found
}

test('words are found by field, place, neighbours and count', () => {
  const env = freshEnv()
  assert.equal(
    put(env, [
      { id: 1, title: 'The Petit Prince', tags: ['prince'] },
      { id: 2, title: 'prince of prince. End' },
    ]).status,
    'succeeded',
  )
  const reader = new LmdbIndexReader(env)
  const title = reader.fieldId('title')!
  assert.deepEqual([...reader.words('p')], ['petit', 'prince', 'the'])
  assert.deepEqual(reader.wordDocids('prince').toArray(), [0, 1])
  assert.deepEqual(reader.wordFieldDocids('prince', title).toArray(), [0, 1])
  assert.deepEqual(reader.wordFieldDocids('prince', reader.fieldId('tags')!).toArray(), [0])
  assert.deepEqual([...reader.wordPositions('prince')], [0, 2])
  assert.deepEqual(reader.pairDocids('petit', 'prince', 1).toArray(), [0])
  assert.deepEqual(reader.pairDocids('the', 'prince', 2).toArray(), [0])
  assert.deepEqual(reader.pairDocids('prince', 'end', 1).toArray(), [], 'a full stop parts words')
  assert.deepEqual(reader.fieldWordCountDocids(title, 3).toArray(), [0])
  assert.deepEqual(reader.prefixWordDocids('p').tolerant.toArray(), [0, 1])
  assert.deepEqual(reader.prefixFieldDocids('pr').get(title)?.toArray(), [0, 1])
  assert.deepEqual(reader.prefixPositionDocids('pe').get(1)?.toArray(), [0])
  assert.deepEqual(reader.prefixPairDocids('petit', 'pri', 1).toArray(), [0])
})

test('facets keep numbers in order, strings in their first spelling, and what is null or empty', () => {
  const env = freshEnv()
  set(env, { filterableAttributes: ['genre', 'rating', 'info', '_geo'] })
  put(env, [
    { id: 1, genre: 'Action ', rating: -1.5, info: {}, _geo: { lat: 1, lng: '2.5' } },
    { id: 2, genre: ['action', 'Comedy'], rating: 10, info: { a: null } },
    { id: 3, genre: '', rating: 2, info: [] },
  ])
  const reader = new LmdbIndexReader(env)
  const [genre, rating, info] = ['genre', 'rating', 'info'].map((name) => reader.fieldId(name)!) as [
    number,
    number,
    number,
  ]
  assert.deepEqual(
    [...reader.facetNumbers(rating, -2, 5)].map(({ value }) => value),
    [-1.5, 2],
  )
  assert.deepEqual(
    [...reader.facetStrings(genre, '')].map(({ value, original, docids }) => [value, original, docids.toArray()]),
    [
      ['action', 'Action ', [0, 1]],
      ['comedy', 'Comedy', [1]],
    ],
  )
  assert.deepEqual(reader.facetEmpty(genre).toArray(), [2])
  assert.deepEqual(reader.facetEmpty(info).toArray(), [0, 2])
  assert.deepEqual(reader.facetNull(reader.fieldId('info.a')!).toArray(), [1])
  assert.deepEqual(reader.facetExists(info).toArray(), [0, 1, 2])
  assert.deepEqual(
    reader.facetStringsOf(1, genre).map(({ original }) => original),
    ['action', 'Comedy'],
  )
  assert.deepEqual(reader.geoDocids.toArray(), [0])
  assert.deepEqual(reader.geoOf(0), { lat: 1, lng: 2.5 })
})

test('numbers keep every digit in which they were sent', () => {
  const env = freshEnv()
  const text = '{"id":9007199254740993,"price":1.10,"big":123456789012345678901234567890}'
  const operation = { kind: 'documents-put', merge: false, skipCreation: false, primaryKey: 'id' } as const
  runBatch(env, [{ uid: 900_001, operation, payload: { kind: 'inline', bytes: Buffer.from(text) } }], deps)
  const reader = new LmdbIndexReader(env)
  assert.equal(reader.storedDocument(reader.docidOf('9007199254740993')!)?.text, text)
})

test('one bad document fails its own task and no other, and leaves nothing behind', () => {
  const env = freshEnv()
  const payload = (lines: readonly JsonObject[]) => ({
    kind: 'inline' as const,
    bytes: Buffer.from(lines.map((line) => JSON.stringify(line)).join('\n')),
  })
  const operation = { kind: 'documents-put', merge: false, skipCreation: false, primaryKey: null } as const
  const { outcomes } = runBatch(
    env,
    [
      { uid: 1, operation, payload: payload([{ id: 'a', t: 'good' }]) },
      { uid: 2, operation, payload: payload([{ id: 'b', t: 'lost' }, { id: 'not valid!' }]) },
      { uid: 3, operation, payload: payload([{ id: 'c' }]) },
      { uid: 4, operation, payload: payload([{ key: 'c' }]) },
    ],
    deps,
  )
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['succeeded', 'failed', 'succeeded', 'failed'],
  )
  assert.deepEqual(
    outcomes.map(({ error }) => error?.code),
    [undefined, 'invalid_document_id', undefined, 'missing_document_id'],
  )
  const reader = new LmdbIndexReader(env)
  assert.deepEqual(
    reader.documentIds.toArray().map((docid) => reader.documentIdOf(docid)),
    ['a', 'c'],
  )
  assert.deepEqual([...reader.words('')], ['a', 'c', 'good'])
})

test('a document with too many fields is refused before anything of its task is written', () => {
  const env = freshEnv()
  const wide = Object.fromEntries(Array.from({ length: 66_000 }, (_, index) => [`f${index}`, 1]))
  const outcome = put(env, [{ id: 1 }, { id: 2, nested: wide }])
  assert.equal(outcome.error?.code, 'max_fields_limit_exceeded')
  assert.equal(put(env, [{ id: 3 }]).status, 'succeeded')
  assert.equal(new LmdbIndexReader(env).documentIds.size, 1)
})

test('a batch that is given up leaves the index as it was', () => {
  const env = freshEnv()
  put(env, [{ id: 1, title: 'kept' }])
  const before = describe(new LmdbIndexReader(env))
  let calls = 0
  const isAborted = () => {
    calls += 1
    return calls > 3
  }
  const many = Array.from({ length: 2000 }, (_, id) => ({ id, title: `word${id}` }))
  const operation = { kind: 'documents-put', merge: false, skipCreation: false, primaryKey: 'id' } as const
  assert.throws(() => run(env, operation, many, { isAborted }), BatchAborted)
  // The index is already empty when the second task of the batch is given up.
  calls = 2
  const clear = { operation: { kind: 'documents-clear' }, payload: null } as const
  const tasks = [
    { uid: 800_000, ...clear },
    { uid: 800_001, ...clear },
  ]
  assert.throws(() => runBatch(env, tasks, { ...deps, isAborted }), BatchAborted)
  assert.deepEqual(describe(new LmdbIndexReader(env)), before)
  put(env, [{ id: 1, title: 'kept' }])
  assert.deepEqual(describe(new LmdbIndexReader(env)), before)
})

test('a batch that runs again after a crash answers the same and changes nothing', () => {
  const env = freshEnv()
  const operation = { kind: 'documents-put', merge: false, skipCreation: true, primaryKey: 'id' } as const
  put(env, [{ id: 1, n: 1 }])
  const tasks = [
    { uid: 700_000, operation, payload: { kind: 'inline' as const, bytes: Buffer.from('{"id":1,"n":2}\n{"id":2}') } },
  ]
  const first = runBatch(env, tasks, deps)
  const again = runBatch(env, [...tasks, { uid: 700_001, operation: { kind: 'documents-clear' }, payload: null }], deps)
  assert.deepEqual(first.outcomes[0]?.details, { receivedDocuments: 2, indexedDocuments: 2 })
  assert.deepEqual(again.outcomes[0], first.outcomes[0])
  assert.deepEqual(again.outcomes[1]?.details, { deletedDocuments: 1 })
})

const words = ['red', 'green', 'blue', 'Été', 'one', 'two', '7']

// Postings follow from differences only: each must be exactly what a fresh index would hold.
test('after any writes an index holds what a fresh one with the same documents holds', () => {
  for (const seed of [1, 2, 3, 4]) {
    const random = seededRandom(seed)
    const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)]!
    const text = () => Array.from({ length: random.integer(6) }, () => pick(words)).join(pick([' ', ', ', '. ']))
    const someDocument = (): JsonObject => ({
      id: random.integer(12),
      ...(random.integer(2) ? { title: text() } : {}),
      ...(random.integer(2) ? { tags: [text(), random.integer(3), null, true] } : {}),
      ...(random.integer(3) ? {} : { info: { size: random.integer(4), note: pick(['', null, {}, [], text()]) } }),
      ...(random.integer(3) ? {} : { _geo: { lat: random.integer(9), lng: random.integer(9) } }),
    })
    const someSettings = (): JsonObject =>
      pick<JsonObject>([
        { filterableAttributes: pick([['tags', 'info', '_geo'], ['title'], []]) },
        { searchableAttributes: pick([['title'], ['*'], ['info', 'tags']]) },
        { typoTolerance: { disableOnAttributes: pick([['title'], []]), disableOnNumbers: pick([true, false]) } },
        { stopWords: pick([['red'], []]), proximityPrecision: pick(['byWord', 'byAttribute']) },
      ])
    const env = freshEnv()
    let settings: JsonObject = {}
    for (let step = 0; step < 25; step += 1) {
      const kind = random.integer(10)
      if (kind < 6) put(env, Array.from({ length: 1 + random.integer(6) }, someDocument), random.integer(2) === 0)
      else if (kind < 8) remove(env, [String(random.integer(12)), String(random.integer(12))])
      else if (kind < 9 || random.integer(3) > 0) {
        const change = someSettings()
        settings = { ...settings, ...change }
        if (isObject(change.typoTolerance)) settings = { ...settings, typoTolerance: change.typoTolerance }
        set(env, change)
      } else run(env, { kind: 'documents-clear' })
    }
    const reader = new LmdbIndexReader(env)
    const fresh = freshEnv()
    set(fresh, settings)
    put(
      fresh,
      [...reader.documentIds].map((docid) => reader.document(docid) as JsonObject),
    )
    assert.deepEqual(describe(reader), describe(new LmdbIndexReader(fresh)), `seed ${seed}`)
  }
})

test('searches of a reader that lives through many batches are those of a new one', () => {
  const seed = 23
  const random = seededRandom(seed)
  const env = freshEnv()
  set(env, { searchableAttributes: ['title'] })
  const word = () => Array.from({ length: 3 + random.integer(4) }, () => 'abc'[random.integer(3)]).join('')
  let snapshot: IndexSnapshot | undefined
  const titles = new Map<string, string>()
  const kinds = new Set<string>()
  for (let round = 0; round < 120; round += 1) {
    const id = String(random.integer(30))
    const roll = random.float()
    if (roll < 0.75) {
      titles.set(id, `${word()} ${word()}`)
      put(env, [{ id, title: titles.get(id)! }])
    } else if (roll < 0.95) {
      titles.delete(id)
      remove(env, [id])
    } else if (roll < 0.97) {
      titles.clear()
      run(env, { kind: 'documents-clear' })
    } else set(env, { stopWords: [word()] })
    if (random.float() < 0.4) continue
    const before = snapshot?.words
    snapshot = readSnapshot(env, snapshot)
    kinds.add(before === snapshot.words ? 'followed' : 'anew')
    for (const typed of Array.from({ length: 6 }, word)) {
      const like = (reader: LmdbIndexReader) => {
        const { vocabulary } = new Postings(reader, undefined)
        return [vocabulary.likeByOne(reader, typed, true), vocabulary.likeByTwo(reader, typed, false)]
      }
      const what = `seed ${seed}, round ${round}, ${typed}`
      assert.deepEqual(like(new LmdbIndexReader(env, { snapshot })), like(new LmdbIndexReader(env)), what)
    }
  }
  assert.deepEqual([...kinds].sort(), ['anew', 'followed'])
})
