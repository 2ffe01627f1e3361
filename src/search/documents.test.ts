import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeDocumentsQuery } from '../api/documents-query.ts'
import { sequenceText } from '../api/reserved-fields.ts'
import { completeSettings } from '../api/settings.ts'
import type { JsonObject } from '../lib/json.ts'
import { listDocuments } from './documents.ts'
import type { Ask } from './leg.ts'
import { narrow } from './narrowing.ts'

const count = 12_000

/** Two nodes: even documents on one, odd ones on the other. */
const ask: Ask = ({ target, body }) => {
  const { offset, limit, fields } = body as {
    readonly offset: number
    readonly limit: number
    readonly fields?: string[]
  }
  const own = Array.from({ length: count }, (_, id) => id).filter((id) => id % 2 === Number(target))
  const rows = own.slice(offset, offset + limit).map((id) => {
    const all: JsonObject = { id, title: `book ${id}`, _miroir_seq: sequenceText(1, id), _miroir_shard: '!' }
    return JSON.stringify(
      fields === undefined ? all : Object.fromEntries(fields.map((name) => [name, all[name] ?? null])),
    )
  })
  widest = Math.max(widest, limit)
  return Promise.resolve({
    status: 200,
    body: `{"results":[${rows.join(',')}],"offset":${offset},"limit":${limit},"total":${own.length}}`,
  })
}
let widest = 0

const index = {
  uid: 'books',
  settings: completeSettings({}),
  primaryKey: 'id',
  coverage: [
    { id: '0', shards: [0], isWhole: true },
    { id: '1', shards: [1], isWhole: true },
  ],
  spread: { shards: 2 },
  rules: [],
  pinPositions: [],
}
const list = async (body: JsonObject) =>
  JSON.parse(
    await listDocuments(index, decodeDocumentsQuery(body), {
      ask,
      signal: AbortSignal.timeout(10_000),
      narrow,
      newUid: () => 'uid',
      withMetadata: false,
    }),
  ) as { readonly results: readonly JsonObject[]; readonly total: number }

test('pages at any depth go on where the page before ended, and nothing is asked for at once that does not fit', async () => {
  widest = 0
  const { results, total } = await list({ offset: 11_000, limit: 3 })
  assert.deepEqual(
    results.map(({ id }) => id),
    [11_000, 11_001, 11_002],
  )
  assert.equal(total, count)
  assert.ok(widest <= 5_000, `${widest} rows at once`)
})

test('documents are shown without reserved fields, with the fields that were asked for', async () => {
  assert.deepEqual((await list({ limit: 1 })).results, [{ id: 0, title: 'book 0' }])
  assert.deepEqual((await list({ limit: 1, fields: ['title', '_miroir_shard'] })).results, [{ title: 'book 0' }])
})
