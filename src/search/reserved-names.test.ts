import assert from 'node:assert/strict'
import { test } from 'node:test'
import { disguise, reveal } from './reserved-names.ts'

test('names of reserved fields are names of fields that nobody has, at the same places', () => {
  const filter = ['_miroir_shard = a', ['genre = b', '"_miroir_seq" > 3']]
  const sent = disguise(filter)
  assert.deepEqual(sent, ['_miroir_sharD = a', ['genre = b', '"_miroir_seQ" > 3']])
  assert.equal(JSON.stringify(sent).length, JSON.stringify(filter).length)
  assert.equal(reveal('Attribute `_miroir_sharD` is not filterable.'), 'Attribute `_miroir_shard` is not filterable.')
})

test('other requests are left as they are', () => {
  const filter = ['genre = _miroir']
  assert.equal(disguise(filter), filter)
})
