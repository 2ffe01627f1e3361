import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createFairShare } from './fair-share.ts'

test('a project that is at its share is refused until a request of it ends, and its neighbours are not', () => {
  let refusals = 0
  const share = createFairShare(2, () => {
    refusals += 1
  })
  const first = share.enter('a')
  share.enter('a')
  assert.throws(() => share.enter('a'), { code: 'too_many_requests', status: 429 })
  assert.throws(() => share.enter('a'), /2 requests of this project/)
  assert.equal(refusals, 2)
  const other = share.enter('b')
  share.leave(first)
  share.leave(other)
  share.enter('a')
  assert.throws(() => share.enter('a'), { code: 'too_many_requests' })
})

test('projects that fell silent cost nothing', () => {
  const share = createFairShare(1)
  const busy = share.enter('busy')
  for (let at = 0; at < 25_000; at += 1) share.leave(share.enter(`p${at}`))
  assert.throws(() => share.enter('busy'), { code: 'too_many_requests' })
  share.leave(busy)
  share.enter('busy')
})
