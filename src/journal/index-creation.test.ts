import assert from 'node:assert/strict'
import { test } from 'node:test'
import { placesFor } from './index-creation.ts'

const room = (id: string, load: number, loadMax?: number) => ({ id, group: 0, load, loadMax })

test('a new plain index goes to the node with the fewest, and to one that is full only when all are', () => {
  const placeOf = (...rooms: readonly ReturnType<typeof room>[]) => placesFor(rooms, null).map(({ node }) => node)
  assert.deepEqual(placeOf(room('a', 3), room('b', 2), room('c', 2)), ['b'])
  assert.deepEqual(placeOf(room('m', 500, 500), room('e', 900)), ['e'])
  assert.deepEqual(placeOf(room('m', 499, 500), room('e', 900)), ['m'])
  assert.deepEqual(placeOf(room('m', 510, 500), room('n', 505, 500)), ['n'])
  assert.deepEqual(placeOf(), [])
})
