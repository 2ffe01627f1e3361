import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JsonObject } from '../lib/json.ts'
import { compareBytes, compareKeys, compareValues, keysOf, orderedDetails } from './score-keys.ts'

const order = (a: JsonObject, b: JsonObject) =>
  Math.sign(compareKeys(keysOf(orderedDetails(a)), keysOf(orderedDetails(b))))

test('rules are compared one after the other, in the order of the index', () => {
  const better = { typo: { order: 1, typoCount: 0, score: 0.1 }, words: { order: 0, score: 0.5 } }
  const worse = { words: { order: 0, score: 0.5 }, typo: { order: 1, typoCount: 1, score: 0.9 } }
  assert.equal(order(better, worse), -1)
  assert.equal(order({ words: { order: 0, score: 1 } }, better), -1)
})

test('typos are compared by their number, not by a score that depends on the shard', () => {
  const two = { typo: { order: 0, typoCount: 1, maxTypoCount: 2, score: 2 / 3 } }
  const three = { typo: { order: 0, typoCount: 1, maxTypoCount: 3, score: 0.75 } }
  assert.equal(order(two, three), 0)
})

test('exactness is compared by the kind of match first', () => {
  const exact = { exactness: { order: 0, matchType: 'exactMatch', score: 1 } }
  const start = { exactness: { order: 0, matchType: 'matchesStart', score: 1 } }
  const more = { exactness: { order: 0, matchType: 'noExactMatch', matchingWords: 2, score: 0.3 } }
  const less = { exactness: { order: 0, matchType: 'noExactMatch', matchingWords: 1, score: 0.2 } }
  assert.deepEqual([order(exact, start), order(start, more), order(more, less)], [-1, -1, -1])
})

test('the two halves of attribute are compared one after the other', () => {
  const attribute = (rank: number, distance: number) => ({
    attribute: { order: 0, attributeRankingOrderScore: rank, queryWordDistanceScore: distance, score: 1 },
  })
  assert.equal(order(attribute(1, 0.1), attribute(0.5, 0.9)), -1)
  assert.equal(order(attribute(1, 0.9), attribute(1, 0.1)), -1)
})

test('values to sort by: numbers before texts before nothing in both directions', () => {
  for (const ascending of [true, false]) {
    assert.ok(compareValues(1, 'a', ascending) < 0)
    assert.ok(compareValues('a', null, ascending) < 0)
    assert.ok(compareValues(1, null, ascending) < 0)
  }
  assert.ok(compareValues(1, 2, true) < 0 && compareValues(1, 2, false) > 0)
  assert.ok(compareValues('a', 'b', true) < 0 && compareValues('a', 'b', false) > 0)
})

test('texts are ordered by their bytes, also where UTF-16 has another order', () => {
  assert.ok(compareBytes('ｚ', '😀') < 0)
  assert.ok('ｚ' > '😀')
  assert.ok(compareBytes('a', 'ab') < 0)
})

test('places: the nearer or farther first, no place last in both directions', () => {
  const geo = (direction: string, distance: number | null) => ({
    [`_geoPoint(1, 2):${direction}`]: { order: 0, value: null, distance },
  })
  assert.equal(order(geo('asc', 1), geo('asc', 2)), -1)
  assert.equal(order(geo('desc', 2), geo('desc', 1)), -1)
  assert.equal(order(geo('asc', 2), geo('asc', null)), -1)
  assert.equal(order(geo('desc', 2), geo('desc', null)), -1)
})

test('no likeness is none, a skipped rule is the worst, and the longer list wins', () => {
  assert.equal(order({ vectorSort: { order: 0, similarity: 0.1 } }, { vectorSort: { order: 0, similarity: null } }), -1)
  assert.equal(order({ words: { order: 0, score: 0 } }, { skipped: { order: 0 } }), -1)
  assert.equal(order({ 'a:asc': { order: 0, value: null } }, { skipped: { order: 0 } }), -1)
  assert.equal(
    order({ words: { order: 0, score: 1 }, proximity: { order: 1, score: 0 } }, { words: { order: 0, score: 1 } }),
    -1,
  )
})

test('scores that differ by the rounding of doubles are equal', () => {
  assert.equal(order({ words: { order: 0, score: 0.1 + 0.2 } }, { words: { order: 0, score: 0.3 } }), 0)
})
