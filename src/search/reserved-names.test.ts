import assert from 'node:assert/strict'
import { test } from 'node:test'
import { completeSettings } from '../api/settings.ts'
import { disguise, reveal, withClientNames } from './reserved-names.ts'

test('names of reserved fields are names of fields that nobody has, at the same places', () => {
  const filter = ['_miroir_shard = a', ['genre = b', '"_miroir_seq" > 3']]
  const sent = disguise(filter)
  assert.deepEqual(sent, ['_miroir_sharD = a', ['genre = b', '"_miroir_seQ" > 3']])
  assert.equal(JSON.stringify(sent).length, JSON.stringify(filter).length)
  assert.equal(
    reveal('Attribute `_miroir_sharD` is not filterable.', completeSettings({})),
    'Attribute `_miroir_shard` is not filterable.',
  )
})

test('other requests are left as they are', () => {
  const filter = ['genre = _miroir']
  assert.equal(disguise(filter), filter)
})

// Nodes can filter by the distinct attribute; for clients it is not filterable until they say so.
test('conditions on a distinct attribute that is not filterable are refused as on one node', () => {
  const query = {
    filter: ['year = "year"', ['"year" > 3', 'maker.year = 2']],
    facets: ['year', 'genre'],
    distinct: 'year',
  }
  const sent = withClientNames(query, completeSettings({ distinctAttribute: 'year', filterableAttributes: ['genre'] }))
  assert.deepEqual(sent, {
    filter: ['yeaR = "year"', ['"yeaR" > 3', 'maker.year = 2']],
    facets: ['yeaR', 'genre'],
    distinct: 'yeaR',
  })
  const open = completeSettings({ distinctAttribute: 'year', filterableAttributes: ['year'] })
  assert.deepEqual(withClientNames(query, open), query)
})
