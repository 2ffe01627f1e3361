import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sequenceText } from '../api/reserved-fields.ts'
import { decodeSearchQuery } from '../api/search-query.ts'
import { completeSettings } from '../api/settings.ts'
import type { JsonObject } from '../lib/json.ts'
import { type Leg, NodesDisagree, RefusedByNode, type SearchedIndex } from './leg.ts'
import { narrow } from './narrowing.ts'
import { searchIndex } from './search-index.ts'

const index: SearchedIndex = {
  uid: 'books',
  settings: completeSettings({ filterableAttributes: ['genre'] }),
  primaryKey: 'id',
  coverage: [
    { id: 'a', shards: [0], isWhole: false },
    { id: 'b', shards: [1], isWhole: true },
  ],
  spread: { shards: 2 },
  rules: [],
  pinPositions: [],
}

const hit = (id: number, score: number) =>
  `{"id":${id},"price":10.0,"_miroir_seq":"${sequenceText(1, id)}","_rankingScore":${score},"_rankingScoreDetails":{"words":{"order":0,"matchingWords":1,"maxMatchingWords":1,"score":${score}},"_miroir_seq:asc":{"order":1,"value":"${sequenceText(1, id)}"}}}`

const answer = (hits: readonly string[], total: number, tookMs = 1) => ({
  status: 200,
  body: `{"hits":[${hits.join(',')}],"query":"x","processingTimeMs":${tookMs},"limit":20,"offset":0,"estimatedTotalHits":${total}}`,
})
const refused = (message: string, code = 'invalid_search_filter') => ({
  status: 400,
  body: JSON.stringify({ message, code, type: 'invalid_request', link: 'https://docs' }),
})

const search = (body: JsonObject, ask: (leg: Leg) => { readonly status: number; readonly body: string }) =>
  searchIndex(index, decodeSearchQuery(body), {
    ask: (leg) => Promise.resolve(ask(leg)),
    signal: AbortSignal.timeout(5_000),
    narrow,
    newUid: () => 'uid',
    withMetadata: true,
  })

test('the whole answer: hits in order, ties in the order of the index, sums, the slowest leg, bytes as they were', async () => {
  const text = await search({ q: 'x', limit: 3 }, ({ target }) =>
    target === 'a' ? answer([hit(4, 1), hit(2, 0.5)], 7, 3) : answer([hit(3, 1), hit(5, 1)], 5, 2),
  )
  assert.equal(
    text,
    '{"hits":[{"id":3,"price":10.0},{"id":4,"price":10.0},{"id":5,"price":10.0}],"query":"x","processingTimeMs":3,' +
      '"limit":3,"offset":0,"estimatedTotalHits":12,"requestUid":"uid",' +
      '"metadata":{"query":"x","queryUid":"uid","indexUid":"books","primaryKey":"id"}}',
  )
})

test('beside a threshold, the total of a full page counts what one node would not have looked at', async () => {
  const ask = ({ body }: Leg) => (body?.limit === 0 ? answer([], 10) : answer([hit(1, 1)], 1))
  const total = async (limit: number) =>
    (JSON.parse(await search({ q: 'x', limit, rankingScoreThreshold: 0.5 }, ask)) as JsonObject).estimatedTotalHits
  assert.equal(await total(2), 20)
  assert.equal(await total(3), 2)
})

test('a refusal has the words of one node that holds everything', async () => {
  const asked: Leg[] = []
  const ask = (leg: Leg) => {
    asked.push(leg)
    return JSON.stringify(leg.body).includes('_miroir_shard')
      ? refused('not filterable\n3:7 ("_miroir_shard" …)')
      : refused(
          'Attribute `a` is not filterable. Available filterable attribute patterns are: `_miroir_shard`, `genre`.\n1:2 a = 1',
        )
  }
  await assert.rejects(search({ filter: 'a = 1' }, ask), (error: RefusedByNode) => {
    assert.equal(
      error.body.message,
      'Attribute `a` is not filterable. Available filterable attribute patterns are: `genre`.\n1:2 a = 1',
    )
    return error instanceof RefusedByNode && error.status === 400
  })
  assert.equal(asked.at(-1)?.body?.limit, 0)
})

test('nodes that refuse what others answer, or do not have the index, are no mistake of the client', async () => {
  const once = ({ target, body }: Leg) => (target === 'b' && body?.limit !== 0 ? refused('x') : answer([], 0))
  await assert.rejects(search({ filter: 'genre = 1' }, once), NodesDisagree)
  await assert.rejects(
    search({}, () => refused('Index `books` not found.', 'index_not_found')),
    NodesDisagree,
  )
})

// Conditions are looked at from left to right, and no further once nothing passes: only a node with such documents refuses.
test('a filter that only some nodes look at to its end is refused as on one node', async () => {
  const message = 'Attribute `a` is not filterable. Available filterable attribute patterns are: `genre`.\n1:2 a = 1'
  const ask = ({ target }: Leg) => (target === 'b' ? refused(message) : answer([], 0))
  await assert.rejects(search({ filter: 'genre = x AND a = 1' }, ask), RefusedByNode)
})
