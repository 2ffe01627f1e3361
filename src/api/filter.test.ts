import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { Json } from '../lib/json.ts'
import { ApiError } from './errors.ts'
import { andFilters, isEmptyFilter, parseFilter, renderFilter } from './filter.ts'

interface Vector {
  readonly filter: Json
  readonly message?: string
  readonly rendered?: string
}

const vectors = readFileSync(new URL('../../test/vectors/filters.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Vector)

function refusalOf(filter: Json): string | undefined {
  try {
    parseFilter(filter, 'invalid_search_filter')
    return undefined
  } catch (error) {
    assert.ok(error instanceof ApiError && error.code === 'invalid_search_filter', String(error))
    return error.message
  }
}

test('filters are read, refused and written out as Meilisearch does', () => {
  for (const { filter, message, rendered } of vectors) {
    assert.equal(refusalOf(filter), message, JSON.stringify(filter))
    if (rendered === undefined) continue
    const tree = parseFilter(filter, 'invalid_search_filter')
    assert.equal(tree === null ? '' : renderFilter(tree), rendered, JSON.stringify(filter))
  }
})

test('what was written out is read again as the same filter', () => {
  for (const { filter, rendered } of vectors) {
    if (rendered === undefined) continue
    const again = parseFilter(rendered, 'invalid_search_filter')
    assert.ok(again !== null)
    assert.equal(renderFilter(again), rendered, JSON.stringify(filter))
  }
})

test('ten thousand nested brackets are refused and nothing overflows', () => {
  const depth = /^The filter exceeded the maximum depth limit\./
  assert.match(refusalOf(`${'('.repeat(10_000)}a=1${')'.repeat(10_000)}`) ?? '', depth)
  assert.match(refusalOf(`${'NOT '.repeat(10_000)}a=1`) ?? '', depth)
  assert.match(refusalOf('_foreign(a, '.repeat(10_000)) ?? '', depth)
})

test('a forced filter stands beside the asked one and cannot be broken out of', () => {
  assert.deepEqual(andFilters('tenant = 1', 'a = 1) OR (b = 2'), ['tenant = 1', 'a = 1) OR (b = 2'])
  assert.deepEqual(andFilters(['tenant = 1', ['x = 1', 'x = 2']], ['a = 1']), [
    'tenant = 1',
    ['x = 1', 'x = 2'],
    'a = 1',
  ])
  assert.deepEqual(andFilters('tenant = 1', null), 'tenant = 1')
  assert.deepEqual(andFilters(null, 'a = 1'), 'a = 1')
  assert.deepEqual(andFilters('tenant = 1', []), 'tenant = 1')
  assert.equal(andFilters(null, '  '), null)
})

test('null, blank text and empty arrays restrict nothing', () => {
  for (const filter of [null, '', ' \n', [], [[]], ['', ['']]]) assert.ok(isEmptyFilter(filter), JSON.stringify(filter))
  for (const filter of ['a = 1', ['a = 1'], [['', 'a = 1']], 3, {}])
    assert.ok(!isEmptyFilter(filter), JSON.stringify(filter))
})
