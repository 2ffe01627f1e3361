/** The plan that is told is the plan that is carried out. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeSearchQuery } from '../../../src/api/search-query.ts'
import { completeSettings } from '../../../src/api/settings.ts'
import type { Json, JsonObject } from '../../../src/lib/json.ts'
import { explainSearch } from '../../../src/search/explain.ts'
import type { Leg, SearchedIndex } from '../../../src/search/leg.ts'
import { createNarrowing } from '../../../src/search/narrowing.ts'
import { searchIndex } from '../../../src/search/search-index.ts'

const index: SearchedIndex = {
  uid: 'books',
  settings: completeSettings({ filterableAttributes: ['genre', 'id'] }),
  primaryKey: 'id',
  coverage: [
    { id: 'node-1', shards: [0, 1, 2], isWhole: true },
    { id: 'node-2', shards: [3, 4, 5], isWhole: false },
  ],
  spread: { shards: 6 },
  rules: [],
  pinPositions: [],
}

const bodies: readonly JsonObject[] = [
  {},
  { q: 'tin drum', limit: 3, offset: 2 },
  { filter: 'id IN [1, 2]', facets: ['genre'] },
  { filter: ['genre = x', 'id = 5'], page: 2, hitsPerPage: 4 },
  { attributesToRetrieve: ['title'], sort: ['price:asc'], showRankingScore: true },
]

test('a search asks the legs that its plan names, and no others', async () => {
  const narrow = createNarrowing()
  for (const body of bodies) {
    const asked: Leg[] = []
    const empty = JSON.stringify({
      hits: [],
      query: '',
      processingTimeMs: 0,
      limit: 1,
      offset: 0,
      estimatedTotalHits: 0,
    })
    await searchIndex(index, decodeSearchQuery(body), {
      ask: (leg) => {
        asked.push(leg)
        return Promise.resolve({ status: 200, body: empty })
      },
      signal: AbortSignal.timeout(5_000),
      narrow,
      newUid: () => 'uid',
      withMetadata: false,
    })
    const { plan } = explainSearch(index, decodeSearchQuery(body), narrow)
    const planned = plan.legs.map(({ target, path, body: sent }): Json => [target ?? null, path ?? null, sent ?? null])
    assert.deepEqual(
      asked.map((leg): Json => [leg.target, leg.path, leg.body]),
      planned,
    )
  }
})
