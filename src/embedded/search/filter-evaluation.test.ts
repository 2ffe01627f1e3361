import assert from 'node:assert/strict'
import { test } from 'node:test'
import { filterable, MemoryReader } from '../../../test/embedded/memory-reader.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { IndexSettings } from '../index-settings.ts'
import { evaluateFilter } from './filter-evaluation.ts'
import { readFilter } from './filter-request.ts'

const documents: readonly JsonObject[] = [
  { id: 1, genre: 'Drama', year: 1990, tags: ['sun', 'moon'], date: '2020-01-01', _geo: { lat: 10, lng: 10 } },
  { id: 2, genre: 'drama', year: 2000, tags: [], _geo: { lat: 10, lng: 170 } },
  { id: 3, genre: 'Comédie', year: '2000', tags: 'sun', date: '2021-06-30', _geo: { lat: -10, lng: -170 } },
  { id: 4, genre: null, year: 2010.5, info: { deep: { n: 3 } } },
  { id: 5, genre: '', info: { deep: {} }, flag: true },
]

const settings: Partial<IndexSettings> = {
  filterableAttributes: [
    ...filterable('genre', 'year', 'tags', 'date', 'info', 'flag', '_geo', 'absent'),
    {
      attributePatterns: ['only*'],
      features: { facetSearch: false, filter: { equality: true, comparison: false } },
      plain: false,
    },
  ],
}
const reader = new MemoryReader([...documents, { id: 6, onlyEqual: 7 }], settings)

function passing(filter: Json, of = reader): readonly number[] {
  const parsed = readFilter(filter, 'invalid_search_filter', { containsFilter: true })
  assert.ok(parsed !== null)
  return evaluateFilter(of, parsed, 'invalid_search_filter')
    .toArray()
    .map((docid) => docid + 1)
}

test('equality looks at normal forms, numbers and every item of an array', () => {
  assert.deepEqual(passing('genre = DRAMA'), [1, 2])
  assert.deepEqual(passing('genre = "comédie"'), [3])
  assert.deepEqual(passing('genre = comedie'), [])
  assert.deepEqual(passing('year = 2000'), [2, 3])
  assert.deepEqual(passing('tags = sun'), [1, 3])
  assert.deepEqual(passing('flag = true'), [5])
})

test('a difference holds for documents without the field as well', () => {
  assert.deepEqual(passing('genre != drama'), [3, 4, 5, 6])
  assert.deepEqual(passing('NOT genre = drama'), [3, 4, 5, 6])
  assert.deepEqual(passing('genre NOT IN [drama, "Comédie"]'), [4, 5, 6])
})

test('comparisons order numbers, and strings by their normal form', () => {
  assert.deepEqual(passing('year > 2000'), [4])
  assert.deepEqual(passing('year >= 2000'), [2, 3, 4])
  assert.deepEqual(passing('year < 2000'), [1])
  assert.deepEqual(passing('year 1990 TO 2000'), [1, 2, 3])
  assert.deepEqual(passing('date >= 2020-06-01'), [3])
})

test('presence tells missing, null and empty apart', () => {
  assert.deepEqual(passing('genre EXISTS'), [1, 2, 3, 4, 5])
  assert.deepEqual(passing('genre NOT EXISTS'), [6])
  assert.deepEqual(passing('genre IS NULL'), [4])
  assert.deepEqual(passing('genre IS EMPTY'), [5])
  assert.deepEqual(passing('tags IS EMPTY'), [2])
  assert.deepEqual(passing('info.deep IS EMPTY'), [5])
})

test('nested names, precedence and arrays combine', () => {
  assert.deepEqual(passing('info.deep.n = 3'), [4])
  assert.deepEqual(passing('year = 1990 OR genre = drama AND year = 2000'), [1, 2])
  assert.deepEqual(passing(['genre = drama', ['year = 1990', 'tags IS EMPTY']]), [1, 2])
})

test('text conditions look inside values', () => {
  assert.deepEqual(passing('genre STARTS WITH dr'), [1, 2])
  assert.deepEqual(passing('genre CONTAINS ram'), [1, 2])
  assert.deepEqual(passing('genre NOT CONTAINS ram'), [3, 4, 5, 6])
})

test('places are found around a point and within a box, over the date line too', () => {
  assert.deepEqual(passing('_geoRadius(10, 10, 1000)'), [1])
  assert.deepEqual(passing('_geoBoundingBox([20, 20], [0, 0])'), [1])
  assert.deepEqual(passing('_geoBoundingBox([20, -160], [-20, 160])'), [2, 3])
})

test('an attribute that no rule covers is refused, with its place in the filter', () => {
  assert.throws(() => passing('many = Glass'), {
    code: 'invalid_search_filter',
    message:
      'Attribute `many` is not filterable. Available filterable attribute patterns are: `_geo`, `absent`, `date`, `flag`, `genre`, `info`, `only*`, `tags`, `year`.\n1:5 many = Glass',
  })
  assert.throws(() => passing('many = Glass', new MemoryReader(documents)), {
    message:
      'Attribute `many` is not filterable. This index does not have configured filterable attributes.\n1:5 many = Glass',
  })
  assert.deepEqual(passing('absent = 1'), [])
})

test('an operator that the rule does not grant is refused', () => {
  assert.deepEqual(passing('onlyEqual = 7'), [6])
  assert.throws(
    () => passing('onlyEqual > 3'),
    /^ApiError: Filter operator `>` is not allowed for the attribute `onlyEqual`\./,
  )
})

test('conditions behind a flag are refused while it is off', () => {
  assert.throws(() => readFilter('doggo CONTAINS kefir', 'invalid_search_filter', {}), {
    code: 'feature_not_enabled',
    message: /\n7:15 doggo CONTAINS kefir$/,
  })
})
