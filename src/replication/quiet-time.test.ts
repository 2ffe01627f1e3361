import assert from 'node:assert/strict'
import { test } from 'node:test'
import { QuietTime } from './quiet-time.ts'

test('a long change keeps back while a short one of another lane is open and a little longer', () => {
  const quiet = new QuietTime()
  quiet.noteLong(500)
  assert.equal(quiet.heldUntil('big', 0), undefined)
  quiet.begin('small')
  assert.equal(quiet.heldUntil('big', 1_000), 1_500)
  quiet.end('small', 1_010, 40)
  assert.equal(quiet.heldUntil('big', 1_020), 1_090)
  assert.equal(quiet.heldUntil('big', 1_090), undefined)
})

test('a long change keeps back for no short one of its own lane', () => {
  const quiet = new QuietTime()
  quiet.begin('big')
  assert.equal(quiet.heldUntil('big', 0), undefined)
  quiet.end('big', 10, 40)
  assert.equal(quiet.heldUntil('big', 11), undefined)
})

// Else a client that never stops would bring an import of its neighbour to a halt.
test('a long change keeps back no longer than the last one took, however many short ones come', () => {
  const quiet = new QuietTime()
  quiet.noteLong(300)
  for (let now = 0; now < 300; now += 20) {
    quiet.begin('small')
    assert.equal(quiet.heldUntil('big', now), 300)
    quiet.end('small', now + 10, 40)
  }
  assert.equal(quiet.heldUntil('big', 300), undefined)
  quiet.beginLong()
  quiet.begin('small')
  assert.equal(quiet.heldUntil('big', 310), 610)
})
