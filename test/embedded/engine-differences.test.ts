/** What docs/engine-differences.md says of the embedded engine: a row that is no longer true must leave that page. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeSearchQuery } from '../../src/api/search-query.ts'
import type { IndexSettings } from '../../src/embedded/index-settings.ts'
import { orderedText } from '../../src/embedded/search/ordered-json.ts'
import { runSearch } from '../../src/embedded/search/run-search.ts'
import { createTokenizer } from '../../src/embedded/text/tokenize.ts'
import { systemClock } from '../../src/lib/clock.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { filterable, MemoryReader } from './memory-reader.ts'
import { newSearchContext } from './search-context.ts'

const tokenizer = createTokenizer({ separatorTokens: [], nonSeparatorTokens: [], dictionary: [], stopWords: [] })

const wordsOf = (text: string, locales?: readonly string[]): readonly string[] =>
  tokenizer
    .tokenize(text, locales)
    .filter(({ kind }) => kind === 'word')
    .map(({ normalised }) => normalised)

function answerOf(documents: readonly JsonObject[], settings: Partial<IndexSettings>, query: JsonObject): string {
  const context = newSearchContext()
  return orderedText(runSearch(new MemoryReader(documents, settings), 'i', decodeSearchQuery(query), context))
}

test('Thai is cut by the platform', () => {
  assert.deepEqual(wordsOf('ภาษาไทย'), ['ภาษา', 'ไทย'])
})

test('Japanese is cut by the platform, Korean at spaces', () => {
  assert.deepEqual(wordsOf('東京に住む'), ['東京', 'に', '住む'])
  assert.deepEqual(
    wordsOf('서울에서 살다'),
    ['서울에서', '살다'].map((word) => word.normalize('NFKD')),
  )
})

test('German compounds stay whole, whatever the locale', () => {
  assert.deepEqual(wordsOf('Dampfschiff fährt', ['deu']), ['dampfschiff', 'fahrt'])
})

test('Swedish vowels are kept with Swedish as the single locale only', () => {
  assert.deepEqual(wordsOf('på väg', ['swe']), ['på', 'väg'])
  assert.deepEqual(wordsOf('på väg', ['swe', 'eng']), ['pa', 'vag'])
})

test('the Arabic article is a word of its own in short texts too', () => {
  assert.deepEqual(wordsOf('الكتاب'), ['ال', 'كتاب'])
})

test('old and new forms of Chinese characters are different words', () => {
  assert.notDeepEqual(wordsOf('发'), wordsOf('發'))
})

test('facets of equal counts come with the greater value first', () => {
  const documents = ['a', 'b', 'c'].map((tag, id): JsonObject => ({ id, tag }))
  const faceting = { maxValuesPerFacet: 2, sortFacetValuesBy: { '*': 'count' as const } }
  const answer = answerOf(documents, { filterableAttributes: filterable('tag'), faceting }, { facets: ['tag'] })
  assert.match(answer, /"facetDistribution":\{"tag":\{"c":1,"b":1\}\}/)
})

test('vectors are hidden unless they are displayed', () => {
  const settings = { displayedAttributes: ['id'], embedders: { manual: { source: 'userProvided', dimensions: 1 } } }
  const answer = answerOf([{ id: 1, _vectors: { manual: [1] } }], settings, { retrieveVectors: true })
  assert.doesNotMatch(answer, /_vectors/)
})

test('numbers keep all their digits where they are formatted', () => {
  const answer = answerOf([{ id: 1, price: 1.9102000000000001 }], {}, { attributesToHighlight: ['*'] })
  assert.match(answer, /"_formatted":\{"id":"1","price":"1\.9102000000000001"\}/)
})

const shapesFound = (shapes: readonly JsonObject[], filter: string): readonly number[] => {
  const documents = shapes.map((shape, id): JsonObject => ({ id, _geojson: shape }))
  const answer = answerOf(documents, { filterableAttributes: filterable('_geojson') }, { filter, limit: 100 })
  return (JSON.parse(answer) as { hits: { id: number }[] }).hits.map(({ id }) => id)
}
const point = (lng: number, lat: number): JsonObject => ({ type: 'Point', coordinates: [lng, lat] })

test('shapes are found on both sides of longitude 180°, and beyond it', () => {
  const shapes = [point(179, 0), point(-179, 0), point(181, 0), point(170, 0)]
  assert.deepEqual(shapesFound(shapes, '_geoBoundingBox([1, -178], [-1, 178])'), [0, 1, 2])
  assert.deepEqual(shapesFound(shapes, '_geoRadius(0, -180, 112000)'), [0, 1, 2])
})

test('points near the poles are found, also by circles around a pole', () => {
  assert.deepEqual(shapesFound([point(0, 85), point(120, 86), point(0, -85)], '_geoRadius(90, 0, 600000)'), [0, 1])
  assert.deepEqual(shapesFound([point(0, 85)], '_geoRadius(85, 0, 5)'), [0])
})

test('points at the latitude of a step of the outline are found', () => {
  assert.deepEqual(shapesFound([point(1, 5)], '_geoPolygon([0, 0], [20, 20], [0, 20], [20, 0])'), [0])
})

test('very large areas hold the shapes within them', () => {
  const shapes = [point(1, 1), point(-170, 40), point(-100, 10)]
  assert.deepEqual(shapesFound(shapes, '_geoBoundingBox([89, 179], [-89, -179])'), [0, 1, 2])
  assert.deepEqual(shapesFound(shapes, '_geoRadius(15, 25, 1e7)'), [0])
})

test('Khmer is cut by the platform', () => {
  assert.deepEqual(
    wordsOf('ខ្ញុំចូលចិត្តអានសៀវភៅ'),
    ['ខ្ញុំ', 'ចូលចិត្ត', 'អាន', 'សៀវភៅ'].map((word) => word.normalize('NFKD')),
  )
})

test('the nearest vectors are those of all documents that pass the filter', () => {
  const seed = 31
  const random = seededRandom(seed)
  const vectorOf = () => Array.from({ length: 3 }, () => random.integer(2_001) / 1_000 - 1)
  const vectors = Array.from({ length: 300 }, vectorOf)
  const documents = vectors.map((vector, id): JsonObject => ({ id, tag: id % 10, _vectors: { manual: vector } }))
  const settings = {
    filterableAttributes: filterable('tag'),
    embedders: { manual: { source: 'userProvided' as const, dimensions: 3 } },
  }
  for (const tag of [0, 3, 7]) {
    const asked = vectorOf()
    const lengthOf = (vector: readonly number[]) => Math.hypot(...vector)
    const nearness = (id: number) =>
      vectors[id]!.reduce((sum, value, place) => sum + value * asked[place]!, 0) / lengthOf(vectors[id]!)
    const expected = vectors
      .flatMap((_, id) => (id % 10 === tag ? [id] : []))
      .sort((left, right) => nearness(right) - nearness(left))
    const query = {
      vector: asked,
      hybrid: { embedder: 'manual', semanticRatio: 1 },
      filter: `tag = ${tag}`,
      limit: 300,
    }
    const { hits } = JSON.parse(answerOf(documents, settings, query)) as { hits: { id: number }[] }
    assert.deepEqual(
      hits.map(({ id }) => id),
      expected,
      `seed ${seed}, tag ${tag}`,
    )
  }
})

test('a search that runs out of time ranks as far as it came, and answers every document', () => {
  const documents = Array.from({ length: 50 }, (_, id): JsonObject => ({ id, title: `whale ${'sea '.repeat(id % 5)}` }))
  const query = decodeSearchQuery({ q: 'whale sea', showRankingScore: true, limit: 50 })
  const scoresWithin = (searchCutoffMs: number): Map<number, number> => {
    let now = 0
    // Every look at the clock takes a millisecond.
    const clock = { ...systemClock, monotonic: () => ++now }
    const reader = new MemoryReader(documents, { searchCutoffMs })
    const answer = orderedText(runSearch(reader, 'i', query, { ...newSearchContext(), clock }))
    const { hits } = JSON.parse(answer) as { hits: { id: number; _rankingScore: number }[] }
    return new Map(hits.map(({ id, _rankingScore }) => [id, _rankingScore]))
  }
  const [cut, whole] = [scoresWithin(3), scoresWithin(100_000)]
  assert.equal(cut.size, 50)
  assert([...cut].every(([id, score]) => score <= whole.get(id)!))
  assert([...cut].some(([id, score]) => score < whole.get(id)!))
})
