import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultSettings, filterable, MemoryReader } from '../../../test/embedded/memory-reader.ts'
import { newSearchContext } from '../../../test/embedded/search-context.ts'
import { decodeFacetSearch } from '../../api/facet-search-query.ts'
import { checkFederatedIndexes, decodeMultiSearch, type MultiSearch } from '../../api/multi-search-query.ts'
import { decodeSimilar } from '../../api/similar-query.ts'
import type { JsonObject } from '../../lib/json.ts'
import { type OrderedObject, orderedText } from './ordered-json.ts'
import { runFacetSearch } from './run-facet-search.ts'
import { runMultiSearch } from './run-multi-search.ts'
import { runSimilar } from './run-similar.ts'

const context = newSearchContext()
const settings = { filterableAttributes: filterable('genre', 'year'), sortableAttributes: ['year'] }
const films = new MemoryReader(
  [
    { id: 1, title: 'Batman', genre: 'Action', year: 1989 },
    { id: 2, title: 'Batman Returns', genre: 'Drama', year: 1992 },
    { id: 3, title: 'Moon', genre: 'Sci-Fi', year: 2009 },
  ],
  settings,
)
const comics = new MemoryReader(
  [
    { id: 1, title: 'Batman: Year One', genre: 'action', year: 1987 },
    { id: 2, title: 'Maus', genre: 'Drama', year: 1991 },
  ],
  settings,
)
const counted = new MemoryReader([{ id: 1, title: 'Batman', genre: 'Action' }], {
  ...settings,
  faceting: { ...defaultSettings.faceting, sortFacetValuesBy: { '*': 'count' } },
})

interface Answer extends JsonObject {
  readonly hits: readonly (JsonObject & { readonly id: number; readonly _federation: JsonObject })[]
}
const read = (answer: OrderedObject): Answer => JSON.parse(orderedText(answer))
const indexes: Record<string, MemoryReader> = { films, comics, counted }
const multi = (body: JsonObject) => read(runMultiSearch((uid) => indexes[uid], decodeMultiSearch(body), context))
const places = ({ hits }: Answer) => hits.map((hit) => [hit._federation.indexUid, hit.id])

test('queries are answered in their order, none is a valid answer', () => {
  assert.deepEqual(multi({ queries: [] }), { results: [] })
  const { results } = multi({ queries: [{ indexUid: 'comics', q: 'maus' }, { indexUid: 'films' }] })
  assert.deepEqual(
    (results as unknown as (Answer & { indexUid: string })[]).map(({ indexUid, hits }) => [indexUid, hits.length]),
    [
      ['comics', 1],
      ['films', 3],
    ],
  )
})

test('the first query that fails fails the request and is named', () => {
  assert.throws(() => multi({ queries: [{ indexUid: 'films' }, { indexUid: 'nope' }] }), {
    code: 'index_not_found',
    message: 'Inside `.queries[1]`: Index `nope` not found.',
    status: 400,
  })
})

test('with foreign keys on, a missing index is a 404, and comes before what is wrong with the queries of a federation', () => {
  const on = { ...context, features: { ...context.features, foreignKeys: true } }
  const missing = { indexUid: 'nope', limit: 2 }
  assert.throws(() => runMultiSearch((uid) => indexes[uid], decodeMultiSearch({ queries: [missing] }), on), {
    message: 'Inside `.queries[0]`: Index `nope` not found.',
    status: 404,
  })
  const check = (read: MultiSearch) => checkFederatedIndexes(read, on.features, (uid) => uid in indexes)
  assert.throws(
    () => decodeMultiSearch({ federation: {}, queries: [{ indexUid: 'films', filter: '(' }, missing] }, check),
    {
      message: 'Index `nope` not found.',
      status: 404,
    },
  )
})

test('one list holds the best hits of all queries, each document once', () => {
  const answer = multi({
    federation: {},
    queries: [
      { indexUid: 'films', q: 'batman' },
      { indexUid: 'comics', q: 'batman' },
      { indexUid: 'films', q: 'batman returns' },
    ],
  })
  assert.deepEqual(places(answer), [
    ['films', 1],
    ['films', 2],
    ['comics', 1],
  ])
  assert.equal(answer.estimatedTotalHits, 3)
  assert.deepEqual(answer.hits[0]?._federation, { indexUid: 'films', queriesPosition: 0, weightedRankingScore: 1 })
})

test('weights move whole queries', () => {
  const queries = [
    { indexUid: 'films', q: 'batman', federationOptions: { weight: 0.1 } },
    { indexUid: 'comics', q: 'batman' },
  ]
  assert.deepEqual(places(multi({ federation: { limit: 1 }, queries })), [['comics', 1]])
})

test('sorted queries are merged by their values', () => {
  const queries = ['films', 'comics'].map((indexUid) => ({ indexUid, sort: ['year:asc'] }))
  assert.deepEqual(
    multi({ federation: {}, queries }).hits.map((hit) => hit.year),
    [1987, 1989, 1991, 1992, 2009],
  )
})

test('rules that do not go together are refused, both named', () => {
  const queries = [
    { indexUid: 'films', q: 'batman', sort: ['year:asc'] },
    { indexUid: 'comics', q: 'batman', sort: ['year:desc'] },
  ]
  assert.throws(() => multi({ federation: {}, queries }), {
    code: 'invalid_multi_search_query_ranking_rules',
    message:
      /^Inside `\.queries\[0\]`: The results of queries #1 and #0 are incompatible: \n {2}1\. `queries\[1\]\.sort\[0\]`/,
  })
})

test('facets come by index or merged', () => {
  const queries = [{ indexUid: 'films' }, { indexUid: 'comics' }]
  const facetsByIndex = { films: ['genre'], comics: ['genre', 'year'] }
  assert.deepEqual(multi({ federation: { facetsByIndex }, queries }).facetsByIndex, {
    comics: {
      distribution: { genre: { action: 1, Drama: 1 }, year: { 1987: 1, 1991: 1 } },
      stats: { year: { min: 1987, max: 1991 } },
    },
    films: { distribution: { genre: { Action: 1, Drama: 1, 'Sci-Fi': 1 } }, stats: {} },
  })
  const merged = multi({ federation: { facetsByIndex, mergeFacets: {} }, queries })
  assert.deepEqual(merged.facetDistribution, {
    genre: { Action: 1, Drama: 2, 'Sci-Fi': 1, action: 1 },
    year: { 1987: 1, 1991: 1 },
  })
  assert.throws(
    () =>
      multi({
        federation: { facetsByIndex: { films: ['genre'], counted: ['genre'] }, mergeFacets: {} },
        queries: [{ indexUid: 'films' }, { indexUid: 'counted' }],
      }),
    { code: 'invalid_multi_search_facet_order' },
  )
})

test('distinct holds over all indexes', () => {
  const answer = multi({ federation: { distinct: 'genre' }, queries: [{ indexUid: 'films' }, { indexUid: 'comics' }] })
  assert.deepEqual(places(answer), [
    ['films', 1],
    ['films', 2],
    ['films', 3],
  ])
  assert.equal(answer.estimatedTotalHits, 3)
})

test('facet search completes values, typos allowed, and counts within the query', () => {
  const find = (body: JsonObject) => read(runFacetSearch(films, decodeFacetSearch(body), context)).facetHits
  assert.deepEqual(find({ facetName: 'genre', facetQuery: 'dra' }), [{ value: 'Drama', count: 1 }])
  assert.deepEqual(find({ facetName: 'genre', facetQuery: 'drema' }), [{ value: 'Drama', count: 1 }])
  assert.deepEqual(find({ facetName: 'genre', facetQuery: null, filter: 'year > 1990' }), [
    { value: 'Drama', count: 1 },
    { value: 'Sci-Fi', count: 1 },
  ])
  assert.throws(() => find({ facetName: 'title' }), { code: 'invalid_facet_search_facet_name' })
})

test('similar documents are the nearest others', () => {
  const reader = new MemoryReader(
    [
      { id: 1, _vectors: { own: [1, 0] } },
      { id: 2, _vectors: { own: [0, 1] } },
      { id: 3, _vectors: { own: [0.9, 0.1] } },
      { id: 4 },
    ],
    { embedders: { own: { source: 'userProvided', dimensions: 2 } } },
  )
  const similar = (body: JsonObject) => read(runSimilar(reader, decodeSimilar(body), context))
  assert.deepEqual(
    similar({ id: 1, embedder: 'own' }).hits.map((hit) => hit.id),
    [3, 2],
  )
  assert.deepEqual(similar({ id: 4, embedder: 'own' }).hits, [])
  assert.throws(() => similar({ id: 9, embedder: 'own' }), { code: 'not_found_similar_id' })
  assert.throws(() => similar({ id: 1, embedder: 'zz' }), { code: 'invalid_similar_embedder' })
})
