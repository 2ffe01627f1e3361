import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sequenceText, shardsMax, shardText } from './reserved-fields.ts'

test('texts of shards and of places sort as their numbers do, byte by byte', () => {
  const shards = [0, 1, 7, 8, 63, 64, 511, shardsMax - 1].map(shardText)
  assert.deepEqual([...shards].sort(), shards)
  const places = [
    [0, 0],
    [0, 1],
    [0, 2 ** 27 - 1],
    [1, 0],
    [9, 3],
    [2 ** 39 - 1, 0],
  ] as const
  const texts = places.map(([position, line]) => sequenceText(position, line))
  assert.deepEqual([...texts].sort(), texts)
  assert.equal(new Set(texts.map(({ length }) => length)).size, 1)
})

test('a number that does not fit is an error, not another number', () => {
  assert.throws(() => shardText(shardsMax))
  assert.throws(() => sequenceText(2 ** 39, 0))
})
