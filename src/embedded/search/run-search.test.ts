import assert from 'node:assert/strict'
import { test } from 'node:test'
import { filterable, MemoryReader } from '../../../test/embedded/memory-reader.ts'
import { newSearchContext } from '../../../test/embedded/search-context.ts'
import { decodeSearchQuery } from '../../api/search-query.ts'
import { systemClock } from '../../lib/clock.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { IndexSettings } from '../index-settings.ts'
import { orderedText } from './ordered-json.ts'
import { runSearch } from './run-search.ts'

const books: readonly JsonObject[] = [
  { id: 123, title: 'Pride and Prejudice', comment: 'A great book', genre: 'romance', year: 1813 },
  {
    id: 456,
    title: 'Le Petit Prince',
    comment: 'A french book about a prince that walks on little cute planets',
    genre: 'adventure',
    year: 1943,
  },
  { id: 2, title: 'Le Rouge et le Noir', comment: 'Another french book', genre: 'romance', year: 1830 },
  { id: 1, title: 'Alice In Wonderland', comment: 'A weird book', genre: 'adventure', year: 1865 },
  { id: 1344, title: 'The Hobbit', comment: 'An awesome book', genre: 'sci fi', year: 1937 },
  { id: 4, title: 'Harry Potter and the Half-Blood Prince', comment: 'The best book', genre: 'fantasy', year: 2005 },
  { id: 42, title: "The Hitchhiker's Guide to the Galaxy", genre: 'Fantasy', year: null },
]

const context = newSearchContext()

interface Hit extends JsonObject {
  readonly id: number
}
type Answer = JsonObject & { readonly hits: readonly Hit[] }

function searcher(documents: readonly JsonObject[], settings: Partial<IndexSettings> = {}) {
  const reader = new MemoryReader(documents, settings)
  return (query: JsonObject): Answer =>
    JSON.parse(orderedText(runSearch(reader, 'books', decodeSearchQuery(query), context)))
}
const ids = ({ hits }: Answer) => hits.map((hit) => hit.id)
const search = searcher(books)

// Worked by hand in the specification (M-F9).
test('the ranking score of one word is the one of the reference', () => {
  const { hits } = search({ q: 'prince', showRankingScore: true, showRankingScoreDetails: true })
  assert.deepEqual(
    hits.map((hit) => [hit.id, hit._rankingScore]),
    [
      [456, 116 / 132],
      [4, 110 / 132],
    ],
  )
  assert.deepEqual(hits[0]?._rankingScoreDetails, {
    words: { order: 0, matchingWords: 1, maxMatchingWords: 1, score: 1 },
    typo: { order: 1, typoCount: 0, maxTypoCount: 1, score: 1 },
    proximity: { order: 2, score: 1 },
    attributeRank: { order: 3, score: 1 },
    wordPosition: { order: 4, score: 9 / 11 },
    exactness: { order: 5, matchType: 'noExactMatch', matchingWords: 1, maxMatchingWords: 1, score: 1 / 3 },
  })
})

test('a threshold drops hits and their count', () => {
  assert.equal(search({ q: 'prince', rankingScoreThreshold: 0.8 }).estimatedTotalHits, 2)
  assert.deepEqual(search({ q: 'prince', rankingScoreThreshold: 0.9 }).hits, [])
  assert.equal(search({ q: 'prince', rankingScoreThreshold: 0.9 }).estimatedTotalHits, 0)
})

test('a word may be misspelled once from five letters on, twice from nine', () => {
  assert.deepEqual(ids(search({ q: 'prinse' })), [456, 4])
  assert.deepEqual(ids(search({ q: 'wnderlnd' })), [])
  assert.deepEqual(ids(search({ q: 'wonedrlnad' })), [1])
  assert.deepEqual(ids(search({ q: 'boek' })), [])
})

test('the last word is a prefix, unless something follows it', () => {
  assert.deepEqual(ids(search({ q: 'hob' })), [1344])
  assert.deepEqual(ids(search({ q: 'hob ' })), [])
  assert.deepEqual(ids(searcher(books, { prefixSearch: 'disabled' })({ q: 'hob' })), [])
})

test('a phrase matches its words in a row and nothing else', () => {
  assert.deepEqual(ids(search({ q: '"french book" about' })), [456, 2])
  assert.deepEqual(ids(search({ q: '"french book" about', matchingStrategy: 'all' })), [456])
  assert.deepEqual(ids(search({ q: '"book french"' })), [])
})

test('a word or phrase after a minus must not occur', () => {
  assert.deepEqual(ids(search({ q: 'book -french' })), [123, 1, 1344, 4])
  assert.deepEqual(ids(search({ q: '-"french book"' })), [123, 1, 1344, 4, 42])
  assert.deepEqual(ids(search({ q: 'half-blood' })), [4])
})

test('strategies differ in the words that may be missing', () => {
  assert.deepEqual(ids(search({ q: 'french weird', matchingStrategy: 'last' })), [456, 2])
  assert.deepEqual(ids(search({ q: 'french weird', matchingStrategy: 'all' })), [])
  assert.deepEqual(ids(search({ q: 'book weird', matchingStrategy: 'frequency' })), [1])
})

test('words written together or apart are found either way', () => {
  const houses = searcher([
    { id: 1, t: 'a sunflower field' },
    { id: 2, t: 'a sun flower field' },
  ])
  assert.deepEqual(ids(houses({ q: 'sunflower' })), [1, 2])
  assert.deepEqual(ids(houses({ q: 'sun flower' })), [2, 1])
})

test('synonyms go one way and may have several words', () => {
  const withSynonyms = searcher(books, { synonyms: { novel: ['book'], 'middle earth': ['the hobbit'] } })
  assert.equal(withSynonyms({ q: 'novel' }).estimatedTotalHits, 6)
  assert.deepEqual(ids(withSynonyms({ q: 'middle earth' })), [1344])
})

test('stop words are passed over unless one stands last', () => {
  const withStops = searcher(books, { stopWords: ['about', 'the'] })
  assert.deepEqual(ids(withStops({ q: 'about hobbit' })), [1344])
  assert.deepEqual(ids(withStops({ q: 'hobbit about', matchingStrategy: 'all' })), [])
})

test('words that stand closer together rank higher', () => {
  const near = searcher([
    { id: 1, t: 'dark red and very cold night' },
    { id: 2, t: 'one dark night' },
    { id: 3, t: 'one night dark' },
  ])
  assert.deepEqual(ids(near({ q: 'dark night' })), [2, 3, 1])
})

test('earlier searchable attributes rank higher, and only listed ones are searched', () => {
  const documents = [
    { id: 1, title: 'x', text: 'moon' },
    { id: 2, title: 'moon', text: 'x' },
    { id: 3, other: 'moon' },
  ]
  assert.deepEqual(ids(searcher(documents, { searchableAttributes: ['title', 'text'] })({ q: 'moon' })), [2, 1])
  assert.deepEqual(ids(searcher(documents)({ q: 'moon', attributesToSearchOn: ['other'] })), [3])
  assert.deepEqual(ids(searcher(documents)({ q: 'moon', attributesToSearchOn: null })), [1, 2, 3])
})

test('an attribute that is the query itself ranks first', () => {
  const exact = searcher([
    { id: 1, t: 'moon rising' },
    { id: 2, t: 'moon' },
    { id: 3, t: 'moonlight' },
  ])
  const answer = exact({ q: 'moon', showRankingScoreDetails: true })
  assert.deepEqual(ids(answer), [2, 1, 3])
})

test('disabled attributes and words allow no typo', () => {
  const typoTolerance = {
    enabled: true,
    minWordSizeForTypos: { oneTypo: 5, twoTypos: 9 },
    disableOnWords: ['hobbit'],
    disableOnAttributes: ['title'],
    disableOnNumbers: false,
  }
  const strict = searcher(books, { typoTolerance })
  assert.deepEqual(ids(strict({ q: 'prinse' })), [456])
  assert.deepEqual(ids(strict({ q: 'hobbti' })), [])
  assert.deepEqual(ids(strict({ q: 'potter' })), [4])
})

test('sorted hits have numbers before nothing, in either direction', () => {
  const sorted = searcher(books, { sortableAttributes: ['year', 'title'], rankingRules: ['sort', 'words'] })
  assert.deepEqual(ids(sorted({ sort: ['year:asc'] })), [123, 2, 1, 1344, 456, 4, 42])
  assert.deepEqual(ids(sorted({ sort: ['year:desc'], limit: 2 })), [4, 456])
  assert.throws(() => sorted({ sort: ['genre:asc'] }), {
    code: 'invalid_search_sort',
    message: 'Index `books`: Attribute `genre` is not sortable. Available sortable attributes are: `title, year`.',
  })
})

test('distinct keeps the best hit of each value and all without one', () => {
  const distinct = searcher(books, { distinctAttribute: 'genre', filterableAttributes: filterable('genre') })
  assert.deepEqual(ids(distinct({})), [123, 456, 1344, 4])
  assert.deepEqual(ids(search({ limit: 1 })), [123])
  assert.throws(() => search({ distinct: 'genre' }), { code: 'invalid_search_distinct' })
})

test('pages have exact counts', () => {
  const pages = (query: JsonObject) => {
    const { hits, page, hitsPerPage, totalPages, totalHits, estimatedTotalHits } = search(query)
    return [hits.length, page, hitsPerPage, totalPages, totalHits, estimatedTotalHits]
  }
  assert.deepEqual(pages({ page: 1 }), [7, 1, 20, 1, 7, undefined])
  assert.deepEqual(pages({ hitsPerPage: 3 }), [3, 1, 3, 3, 7, undefined])
  assert.deepEqual(pages({ page: 3, hitsPerPage: 3 }), [1, 3, 3, 3, 7, undefined])
  assert.deepEqual(pages({ page: 0, hitsPerPage: 1 }), [0, 0, 1, 7, 7, undefined])
  assert.deepEqual(pages({ page: 1, hitsPerPage: 0 }), [0, 1, 0, 0, 7, undefined])
  assert.deepEqual(pages({ limit: 2, offset: 6 }), [1, undefined, undefined, undefined, undefined, 7])
})

test('no hit is returned beyond the highest rank that pagination allows', () => {
  const few = searcher(books, { pagination: { maxTotalHits: 3 } })
  assert.equal(few({ limit: 10 }).hits.length, 3)
  assert.equal(few({ offset: 2, limit: 10 }).hits.length, 1)
  assert.equal(few({}).estimatedTotalHits, 7)
})

test('highlights, crops and positions follow the matches', () => {
  const [hit] = search({
    q: 'prince',
    attributesToHighlight: ['*'],
    attributesToCrop: ['comment'],
    cropLength: 6,
    showMatchesPosition: true,
  }).hits
  assert.deepEqual(hit?._formatted, {
    id: '456',
    title: 'Le Petit <em>Prince</em>',
    comment: '…book about a <em>prince</em> that walks…',
    genre: 'adventure',
    year: '1943',
  })
  assert.deepEqual(hit?._matchesPosition, {
    comment: [{ start: 22, length: 6 }],
    title: [{ start: 9, length: 6 }],
  })
})

test('only the typed part of a word is highlighted, in the original spelling', () => {
  const [hit] = searcher([{ id: 1, t: 'Ünïcørn and Cœur' }])({ q: 'unic', attributesToHighlight: ['t'] }).hits
  assert.deepEqual(hit?._formatted, { id: '1', t: '<em>Ünïc</em>ørn and Cœur' })
})

test('positions in arrays tell the way to the leaf', () => {
  const [hit] = searcher([{ id: 1, actors: [{ name: 'Ann' }, { names: ['Bob', 'Cid'] }] }])({
    q: 'cid',
    showMatchesPosition: true,
  }).hits
  assert.deepEqual(hit?._matchesPosition, { 'actors.names': [{ start: 0, length: 3, indices: [1, 1] }] })
})

test('hits show what was asked for, as far as it may be shown', () => {
  const nested = [{ id: 1, title: 'x', info: { a: 1, b: 2 } }]
  assert.deepEqual(searcher(nested)({ attributesToRetrieve: ['info.a', 'zz'] }).hits, [{ info: { a: 1 } }])
  assert.deepEqual(searcher(nested)({ attributesToRetrieve: [] }).hits, [{}])
  assert.deepEqual(searcher(nested, { displayedAttributes: ['title'] })({}).hits, [{ title: 'x' }])
})

test('facets count values among all candidates, in the order asked for', () => {
  const settings = { filterableAttributes: filterable('genre', 'year') }
  const answer = searcher(books, settings)({ facets: ['genre', 'year'], limit: 1 })
  assert.deepEqual(answer.facetDistribution, {
    genre: { adventure: 2, fantasy: 2, romance: 2, 'sci fi': 1 },
    year: { 1813: 1, 1830: 1, 1865: 1, 1937: 1, 1943: 1, 2005: 1 },
  })
  assert.deepEqual(answer.facetStats, { year: { min: 1813, max: 2005 } })
  assert.throws(() => search({ facets: ['genre'] }), { code: 'invalid_search_facets' })
})

test('values that look like numbers keep their alphabetical place in a facet', () => {
  const reader = new MemoryReader([{ id: 1, n: [10, 9, 2] }], { filterableAttributes: filterable('n') })
  const text = orderedText(runSearch(reader, 'i', decodeSearchQuery({ facets: ['n'] }), context))
  assert.match(text, /"facetDistribution":\{"n":\{"10":1,"2":1,"9":1\}\}/)
})

test('distances are told when hits are sorted by a point', () => {
  const places = searcher(
    [{ id: 1, _geo: { lat: 48.8, lng: 2.3 } }, { id: 2, _geo: { lat: 45.7, lng: 4.8 } }, { id: 3 }],
    { sortableAttributes: ['_geo'] },
  )
  const { hits } = places({ sort: ['_geoPoint(45.7, 4.8):asc'] })
  assert.deepEqual(
    hits.map((hit) => [hit.id, hit._geoDistance]),
    [
      [2, 0],
      [1, 392_920],
      [3, undefined],
    ],
  )
})

test('a search that is out of time answers with what it has', () => {
  let now = 0
  const clock = { ...systemClock, monotonic: () => (now += 1000) }
  const reader = new MemoryReader(books)
  const query = decodeSearchQuery({ q: 'book', showRankingScoreDetails: true })
  const answer: Answer = JSON.parse(orderedText(runSearch(reader, 'i', query, { ...context, clock })))
  assert.equal(answer.hits.length, 6)
  assert.ok(JSON.stringify(answer.hits[0]?._rankingScoreDetails).includes('"skipped"'))
})

test('vectors rank by likeness, and documents without one come last', () => {
  const vectors = searcher([{ id: 1, _vectors: { own: [1, 1] } }, { id: 2, _vectors: { own: [1, 2] } }, { id: 3 }], {
    embedders: { own: { source: 'userProvided', dimensions: 2 } },
  })
  const answer = vectors({ vector: [1, 1], hybrid: { embedder: 'own', semanticRatio: 1 }, showRankingScore: true })
  assert.deepEqual(ids(answer), [1, 2, 3])
  assert.ok(Math.abs(Number(answer.hits[1]?._rankingScore) - 0.97434) < 1e-5)
  assert.equal(answer.semanticHitCount, 3)
  assert.throws(() => vectors({ vector: [1], hybrid: { embedder: 'own' } }), { code: 'invalid_vector_dimensions' })
  assert.throws(() => vectors({ vector: [1], hybrid: { embedder: 'zz' } }), { code: 'invalid_search_embedder' })
})
