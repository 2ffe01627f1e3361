import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from './random.ts'
import { createRequestIds } from './request-ids.ts'

const form = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

test('every request has a name of its own, in the form of a UUID', () => {
  const nextId = createRequestIds(seededRandom(1))
  const ids = Array.from({ length: 1_000 }, nextId)
  assert.equal(new Set(ids).size, ids.length)
  for (const id of ids) assert.match(id, form)
})

test('a series of names that is used up is followed by another', () => {
  const random = seededRandom(2)
  const nextId = createRequestIds({ uuid: random.uuid, integer: (below) => below - 2 })
  const ids = Array.from({ length: 4 }, nextId)
  assert.equal(new Set(ids).size, ids.length)
  for (const id of ids) assert.match(id, form)
})
