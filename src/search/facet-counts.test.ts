import assert from 'node:assert/strict'
import { test } from 'node:test'
import { completeSettings } from '../api/settings.ts'
import type { JsonObject } from '../lib/json.ts'
import { seededRandom } from '../lib/random.ts'
import { distributionText, mergeFacetCounts, statsText } from './facet-counts.ts'

const leg = (distribution: string, stats = '{}', total = 10) => ({ total, facets: { distribution, stats } })
const settings = (faceting: JsonObject) => completeSettings({ faceting })

test('counts are summed by value, and values of different legs come in one order', () => {
  const legs = [leg('{"genre":{"b":1,"d":2}}'), leg('{"genre":{"a":1,"b":3},"empty":{}}')]
  const merged = mergeFacetCounts(legs, settings({}), 20)
  assert.equal(distributionText(merged), '{"empty":{},"genre":{"a":1,"b":4,"d":2}}')
})

test('numbers are listed as texts up to 3,000 documents and by size above, before texts', () => {
  const stats = '{"n":{"min":2.0,"max":10.0}}'
  const legs = [leg('{"n":{"10":1,"2":1,"x":1}}', stats), leg('{"n":{"3":1}}', '{"n":{"min":3.0,"max":3.0}}')]
  assert.equal(distributionText(mergeFacetCounts(legs, settings({}), 3_000)), '{"n":{"10":1,"2":1,"3":1,"x":1}}')
  assert.equal(distributionText(mergeFacetCounts(legs, settings({}), 3_001)), '{"n":{"2":1,"3":1,"10":1,"x":1}}')
})

test('a text that reads like a number stays behind the numbers', () => {
  const legs = [leg('{"n":{"8":1,"9":1,"12.5":1,"free":1}}', '{"n":{"min":8.0,"max":20.0}}')]
  assert.equal(distributionText(mergeFacetCounts(legs, settings({}), 4)), '{"n":{"8":1,"9":1,"12.5":1,"free":1}}')
})

test('numbers of equal count are numbers in whatever order a node shows them', () => {
  const faceting = settings({ maxValuesPerFacet: 3, sortFacetValuesBy: { '*': 'count' } })
  const range = '{"n":{"min":1.0,"max":9.0}}'
  const merged = mergeFacetCounts([leg('{"n":{"5":3,"2":1,"9":1,"1":1}}', range)], faceting, 10)
  assert.equal(distributionText(merged), '{"n":{"5":3,"9":1,"2":1}}')
})

test('by count: the greater count first, of equal ones the greater value, cut to what the client wants', () => {
  const faceting = settings({ maxValuesPerFacet: 3, sortFacetValuesBy: { '*': 'count' } })
  const legs = [leg('{"g":{"c":3,"a":1}}'), leg('{"g":{"b":3,"a":1,"d":1}}')]
  assert.equal(distributionText(mergeFacetCounts(legs, faceting, 20)), '{"g":{"c":3,"b":3,"a":2}}')
})

test('of many values the first ones are those of the whole list, in its order', () => {
  const random = seededRandom(5)
  const values = Array.from({ length: 500 }, (_, at) => [`v${at}`, 1 + random.integer(20)] as const)
  const legs = [leg(JSON.stringify({ g: Object.fromEntries(values) }))]
  const shown = (maxValuesPerFacet: number, order: string) => {
    const faceting = settings({ maxValuesPerFacet, sortFacetValuesBy: { '*': order } })
    return [...(mergeFacetCounts(legs, faceting, 500).distribution.get('g') ?? [])]
  }
  for (const order of ['alpha', 'count']) {
    const whole = shown(1_000, order)
    assert.equal(whole.length, 500)
    for (const count of [1, 7, 100, 250, 499, 500]) assert.deepEqual(shown(count, order), whole.slice(0, count))
  }
})

test('spellings of one value are one value, shown the same whichever leg is first', () => {
  const legs = [leg('{"g":{"alpha":1}}'), leg('{"g":{"Alpha":2}}')]
  for (const list of [legs, [...legs].reverse()])
    assert.equal(distributionText(mergeFacetCounts(list, settings({}), 3)), '{"g":{"Alpha":3}}')
})

test('ranges are joined, and numbers keep their spelling', () => {
  const legs = [leg('{}', '{"p":{"min":0.0,"max":1e3}}'), leg('{}', '{"p":{"min":-2.50,"max":7.0}}')]
  assert.equal(statsText(mergeFacetCounts(legs, settings({}), 3)), '{"p":{"min":-2.50,"max":1e3}}')
})

test('reserved fields are in no facet', () => {
  const legs = [leg('{"_miroir_shard":{"!!!!":1},"g":{"a":1}}')]
  assert.equal(distributionText(mergeFacetCounts(legs, settings({}), 3)), '{"g":{"a":1}}')
})
