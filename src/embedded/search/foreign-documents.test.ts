import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Json, JsonObject } from '../../lib/json.ts'
import { type KeyedIndex, withForeignDocuments } from './foreign-documents.ts'
import type { OrderedJson } from './ordered-json.ts'

const authors: Readonly<Record<string, JsonObject>> = {
  '1': { id: 1, name: 'A', secret: 's' },
  x3: { id: 'x3', name: 'C' },
}

const indexes: Readonly<Record<string, KeyedIndex>> = {
  books: {
    settings: {
      foreignKeys: [
        { foreignIndexUid: 'authors', fieldName: 'a.b' },
        { foreignIndexUid: 'authors', fieldName: 'author' },
      ],
    },
    text: () => undefined,
  },
  authors: {
    settings: { displayedAttributes: ['name'] },
    text: (id) => (authors[id] === undefined ? undefined : JSON.stringify(authors[id])),
  },
}

const hydrated = (hits: readonly JsonObject[], uid: string | null): OrderedJson | undefined =>
  withForeignDocuments(new Map<string, OrderedJson>([['hits', hits as Json]]), uid, (name) => indexes[name]!).get(
    'hits',
  )

// The cases are answers of a real Meilisearch 1.50.
test('ids in hits become the documents that they name, wherever they stand below the field', () => {
  const hits = [
    { id: 1, a: { b: 1, c: 2 }, author: 'x3' },
    { id: 2, a: [{ b: 1 }, { b: 'x3' }], author: [1, 'zz', true, 1.5, { q: 1 }, null] },
    { id: 3, 'a.b': 1 },
  ]
  assert.deepEqual(hydrated(hits, 'books'), [
    { id: 1, a: { b: { name: 'A' }, c: 2 }, author: { name: 'C' } },
    {
      id: 2,
      a: [{ b: { name: 'A' } }, { b: { name: 'C' } }],
      author: [{ name: 'A' }, {}, true, 1.5, { q: { name: 'A' } }, null],
    },
    { id: 3, 'a.b': { name: 'A' } },
  ])
})

test('the formatted part of a hit shows the same documents, whatever was marked in the ids', () => {
  const hit = { author: 'x3', _formatted: { author: '<em>x3</em>', title: '<em>t</em>' } }
  assert.deepEqual(hydrated([hit], 'books'), [
    { author: { name: 'C' }, _formatted: { author: { name: 'C' }, title: '<em>t</em>' } },
  ])
})

test('hits of a federated search follow the keys of the index that each came from', () => {
  const hits = [
    { author: 1, _federation: { indexUid: 'books' } },
    { author: 1, _federation: { indexUid: 'authors' } },
  ]
  assert.deepEqual(hydrated(hits, null), [
    { author: { name: 'A' }, _federation: { indexUid: 'books' } },
    { author: 1, _federation: { indexUid: 'authors' } },
  ])
})
