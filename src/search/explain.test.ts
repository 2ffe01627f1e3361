import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeSearchQuery } from '../api/search-query.ts'
import { completeSettings } from '../api/settings.ts'
import type { JsonObject } from '../lib/json.ts'
import { shardOfKey } from '../topology/rendezvous.ts'
import { explainSearch } from './explain.ts'
import { narrow } from './narrowing.ts'

const index = {
  uid: 'books',
  settings: completeSettings({ filterableAttributes: ['genre', 'id'], sortableAttributes: ['price'] }),
  primaryKey: 'id',
  coverage: [
    { id: 'node-1', shards: [0, 2], isWhole: true },
    { id: 'node-2', shards: [1, 3], isWhole: false },
  ],
  spread: { shards: 4 },
  rules: [],
  pinPositions: [],
}
const explain = (body: JsonObject) => explainSearch(index, decodeSearchQuery(body), narrow)

test('a plan tells its legs, what they are asked and how their hits are compared', () => {
  const { plan, warnings } = explain({ q: 'tin', sort: ['price:asc'], offset: 10, attributesToRetrieve: ['title'] })
  assert.deepEqual(warnings, [])
  assert.deepEqual([plan.kind, plan.narrowed, plan.target_shards], ['keyword', false, [0, 1, 2, 3]])
  assert.deepEqual(plan.merge_keys.slice(4, 6), ['price:asc', 'wordPosition'])
  assert.equal(plan.merge_keys.at(-1), 'order of the index')
  assert.deepEqual(plan.legs[1], {
    target: 'node-2',
    shards: [1, 3],
    clause: '_miroir_shard IN ["!!!%", "!!!)"]',
    method: 'POST',
    path: '/indexes/books/search',
    body: {
      q: 'tin',
      limit: 30,
      attributesToRetrieve: ['title', '_miroir_seq'],
      filter: '_miroir_shard IN ["!!!%", "!!!)"]',
      sort: ['price:asc'],
      showRankingScore: true,
      showRankingScoreDetails: true,
    },
  })
})

test('a filter on ids narrows the plan', () => {
  const { plan } = explain({ filter: 'id = 7' })
  assert.deepEqual([plan.narrowed, plan.target_shards], [true, [shardOfKey('7', 4)]])
  assert.equal(plan.legs.length, 1)
})

test('what will be refused, and what costs much, is told before anyone is asked', () => {
  const types = (body: JsonObject) => explain(body).warnings.map(({ type }) => type)
  assert.deepEqual(types({ filter: 'price > 3' }), ['UnfilterableAttribute'])
  assert.deepEqual(types({ filter: 'id != 3' }), ['NarrowingNotPossible'])
  assert.deepEqual(types({ limit: 20_000, facets: ['*'] }), ['LargeOffsetLimit', 'UnboundedWildcard'])
})
