import assert from 'node:assert/strict'
import { test } from 'node:test'
import { searchFigures, searchTimes } from './search-times.ts'

const page = (counts: readonly number[]) =>
  ['0.005', '0.01', '0.1', '+Inf']
    .flatMap((bound, place) => [
      `meilisearch_http_response_time_seconds_bucket{method="POST",path="/indexes/{index_uid}/search",le="${bound}"} ${counts[place]}`,
      `meilisearch_http_response_time_seconds_bucket{method="GET",path="/health",le="${bound}"} 900`,
    ])
    .join('\n')

test('the pace and the 95th percentile of searches are those since the last look', () => {
  const before = searchTimes(page([100, 100, 100, 100]))
  const now = searchTimes(page([190, 198, 200, 200]))
  assert.deepEqual([...now.values()], [190, 198, 200, 200])
  const { searchesPerSecond, searchMsP95 } = searchFigures(before, now, 10_000)
  assert.equal(searchesPerSecond, 10)
  assert.ok(searchMsP95 !== null && Math.abs(searchMsP95 - 8.125) < 1e-9, String(searchMsP95))
})

test('what is not known is not said', () => {
  const now = searchTimes(page([1, 1, 1, 1]))
  assert.deepEqual(searchFigures(undefined, now, 0), { searchesPerSecond: null, searchMsP95: null })
  assert.deepEqual(searchFigures(now, now, 1_000), { searchesPerSecond: 0, searchMsP95: null })
})

test('an engine that was started anew counts from its start', () => {
  const before = searchTimes(page([500, 500, 500, 500]))
  assert.equal(searchFigures(before, searchTimes(page([10, 10, 10, 10])), 1_000).searchesPerSecond, 10)
})
