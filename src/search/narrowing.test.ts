import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../lib/random.ts'
import { shardOfKey } from '../topology/rendezvous.ts'
import { createNarrowing, narrow, narrowed } from './narrowing.ts'

const index = { primaryKey: 'id', spread: { shards: 16 }, rules: [], pinPositions: [] }
const shardsOf = (...ids: string[]) => [...new Set(ids.map((id) => shardOfKey(id, 16)))].sort((a, b) => a - b)
const shards = (filter: string | string[]) => narrow(index, filter).shards

test('filters that name ids are asked of the shards of these ids', () => {
  assert.deepEqual(shards('id = 42'), shardsOf('42'))
  assert.deepEqual(shards('id IN [1, 2, "3-4"]'), shardsOf('1', '2', '3-4'))
  assert.deepEqual(shards('genre = x AND id = 42'), shardsOf('42'))
  assert.deepEqual(shards(['id = 1', 'price > 3']), shardsOf('1'))
  assert.deepEqual(shards('id = 1 OR (id = 2 AND a = b)'), shardsOf('1', '2'))
  assert.deepEqual(shards('id IN [1, 2] AND id IN [2, 3]'), shardsOf('2'))
})

test('filters that may let other documents through are asked of all shards', () => {
  const filters = ['id = 1 OR genre = x', 'NOT id = 1', 'id != 1', 'id > 1', 'id EXISTS', 'id NOT IN [1]', 'genre = 1']
  for (const filter of filters) assert.equal(shards(filter), null, filter)
  assert.equal(shards(`id IN [${Array.from({ length: 129 }, (_, id) => id).join()}]`), null)
  assert.equal(shards('id = '), null)
})

// A node finds the document "abc" by `id = ABC`, and the document 42 by `id = 42.0`: they may stand in any shard.
test('ids that a node would find under another spelling do not narrow', () => {
  for (const id of ['abc', 'A-1', '42.0', '042', '4e1', '9007199254740993', '+4', '.5', 'Infinity'])
    assert.equal(shards(`id = "${id}"`), null, id)
})

test('what is remembered is what is found anew', () => {
  const remembering = createNarrowing(50)
  const random = seededRandom(3)
  for (let round = 0; round < 1_000; round += 1) {
    const filter = `id = ${random.integer(100)} OR id IN [${random.integer(9)}]`
    assert.deepEqual(remembering(index, filter), narrow(index, filter))
  }
})

test('a search that needs no shard still asks one, which says what is wrong with it', () => {
  const whole = {
    uid: 'books',
    ...index,
    coverage: [
      { id: 'a', shards: [0, 1], isWhole: true },
      { id: 'b', shards: [2], isWhole: true },
    ],
  }
  const base = { ...whole, settings: undefined as never }
  const asked = (list: readonly number[] | null) => narrowed(base, { shards: list, reason: 'by-id' }).coverage
  assert.deepEqual(asked([]), [{ id: 'a', shards: [0], isWhole: false }])
  assert.deepEqual(asked([2]), [{ id: 'b', shards: [2], isWhole: true }])
  assert.deepEqual(asked([1, 2]), [
    { id: 'a', shards: [1], isWhole: false },
    { id: 'b', shards: [2], isWhole: true },
  ])
})
