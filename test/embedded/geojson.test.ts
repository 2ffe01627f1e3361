/** Shapes of documents, held to what a Meilisearch 1.50 answered (`test/vectors/geojson.jsonl`). */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ApiError } from '../../src/api/errors.ts'
import { parseFilter } from '../../src/api/filter.ts'
import { SharedProgress } from '../../src/embedded/batch-progress.ts'
import type { EngineOperation } from '../../src/embedded/core.ts'
import { EmbeddingThread } from '../../src/embedded/embedders/embedding-thread.ts'
import { type IndexEnv, openIndexEnv } from '../../src/embedded/index-env.ts'
import { runBatch } from '../../src/embedded/index-writer.ts'
import { LmdbIndexReader } from '../../src/embedded/lmdb-index-reader.ts'
import { evaluateFilter } from '../../src/embedded/search/filter-evaluation.ts'
import { Bitmap } from '../../src/lib/bitmap.ts'
import type { Json, JsonObject } from '../../src/lib/json.ts'

interface Vector {
  readonly document?: JsonObject
  readonly filterable?: readonly string[]
  readonly filter?: string
  readonly ids?: readonly string[]
  readonly message?: string
  readonly shape?: Json
  readonly error?: { readonly code: string; readonly message: string } | null
}

const vectors = readFileSync(new URL('../vectors/geojson.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Vector)
const corpus = vectors.flatMap(({ document }) => (document === undefined ? [] : [document]))

const folder = mkdtempSync(join(tmpdir(), 'flapjack-geojson-'))
const envs: IndexEnv[] = []
after(async () => {
  for (const env of envs) await env.root.close()
  rmSync(folder, { recursive: true })
})

const embedding = new EmbeddingThread({ allowedNetworks: [] })
let tasks = 0

function freshEnv(): IndexEnv {
  const env = openIndexEnv(join(folder, String(envs.length)), 'write')
  envs.push(env)
  return env
}

function run(env: IndexEnv, operation: EngineOperation, lines: readonly Json[] = []) {
  const bytes = Buffer.from(lines.map((line) => JSON.stringify(line)).join('\n'))
  tasks += 1
  const deps = {
    matchFilter: () => Bitmap.of(),
    isAborted: () => false,
    now: () => 0,
    progress: new SharedProgress(),
    postingBytesMax: 1 << 20,
    embedding,
  }
  return runBatch(env, [{ uid: tasks, operation, payload: { kind: 'inline' as const, bytes } }], deps).outcomes[0]!
}

const put = (env: IndexEnv, documents: readonly JsonObject[], merge = false) =>
  run(env, { kind: 'documents-put', merge, skipCreation: false, primaryKey: 'key' }, documents)
const setFilterable = (env: IndexEnv, names: readonly string[]) =>
  run(env, { kind: 'settings', settings: { filterableAttributes: names } })

function find(env: IndexEnv, filter: string): readonly string[] | string {
  const reader = new LmdbIndexReader(env)
  try {
    const parsed = parseFilter(filter, 'invalid_search_filter')
    assert.ok(parsed !== null)
    return evaluateFilter(reader, parsed, 'invalid_search_filter')
      .toArray()
      .map((docid) => reader.documentIdOf(docid))
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    return error.message
  }
}

/** Names of shapes have blanks, ids must not. */
const keyed = (documents: readonly JsonObject[]): JsonObject[] =>
  documents.map((document) => ({ ...document, key: String(document.id).replaceAll(' ', '_') }))

test('geographic filters find the documents whose shapes Meilisearch finds', () => {
  const filterables = new Map<string, IndexEnv>()
  let asked = 0
  for (const { filterable, filter, ids, message } of vectors) {
    if (filterable === undefined || filter === undefined) continue
    const name = filterable.join()
    const env = filterables.get(name) ?? freshEnv()
    if (!filterables.has(name)) {
      assert.equal(setFilterable(env, filterable).error, null)
      assert.equal(put(env, keyed(corpus)).error, null)
      filterables.set(name, env)
    }
    const expected = message ?? ids?.map((id) => id.replaceAll(' ', '_'))
    assert.deepEqual(find(env, filter), expected, `${name}: ${filter}`)
    asked += 1
  }
  assert.ok(asked > 80)
})

test('shapes that Meilisearch refuses fail the task with its words', () => {
  const env = freshEnv()
  setFilterable(env, ['_geojson'])
  for (const { shape, error } of vectors) {
    if (shape === undefined) continue
    const outcome = put(env, [{ key: 1, _geojson: shape }])
    assert.deepEqual(
      outcome.error === null ? null : { code: outcome.error.code, message: outcome.error.message },
      error,
      JSON.stringify(shape),
    )
  }
})

test('shapes that nobody uses are not judged until they are used, and then all at once', () => {
  const env = freshEnv()
  assert.equal(put(env, [{ key: 1, _geojson: { type: 'Cube' } }]).error, null)
  assert.equal(setFilterable(env, ['*']).error, null)
  assert.equal(setFilterable(env, ['_geojson']).error?.code, 'invalid_document_geo_field')
  assert.equal(put(env, [{ key: 1, _geojson: { type: 'Point', coordinates: [1, 1] } }]).error, null)
  assert.equal(setFilterable(env, ['_geojson']).error, null)
  assert.deepEqual(find(env, '_geoRadius(1, 1, 10)'), ['1'])
})

test('a document is found where its shape is now, and nowhere once it is gone', () => {
  const env = freshEnv()
  setFilterable(env, ['_geojson'])
  put(env, [
    { key: 1, _geojson: { type: 'Point', coordinates: [1, 1] } },
    { key: 2, _geojson: { type: 'Point', coordinates: [50, 50] } },
  ])
  put(
    env,
    [
      {
        key: 1,
        _geojson: {
          type: 'LineString',
          coordinates: [
            [30, 30],
            [31, 31],
          ],
        },
      },
    ],
    true,
  )
  assert.deepEqual(find(env, '_geoRadius(1, 1, 1000)'), [])
  assert.deepEqual(find(env, '_geoBoundingBox([32, 32], [29, 29])'), ['1'])
  put(env, [{ key: 1 }])
  run(env, { kind: 'documents-delete' }, ['2'])
  assert.deepEqual(find(env, '_geoBoundingBox([80, 80], [-80, -80])'), [])
})
