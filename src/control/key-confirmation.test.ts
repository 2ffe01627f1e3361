import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createKeyConfirmation } from './key-confirmation.ts'

test('an unknown credential costs one look at the store in five seconds', () => {
  let nowMs = 0
  const confirmation = createKeyConfirmation({ clock: { monotonic: () => nowMs } })
  assert.equal(confirmation.take('a'), true)
  assert.equal(confirmation.take('a'), false)
  assert.equal(confirmation.take('b'), true)
  nowMs = 5_001
  assert.equal(confirmation.take('a'), true)
})

// P-04: 10,000 wrong keys per second cause no more than 50 database reads per second.
test('many wrong credentials cost at most fifty looks a second', () => {
  let nowMs = 0
  const confirmation = createKeyConfirmation({ clock: { monotonic: () => nowMs } })
  let looks = 0
  for (let at = 0; at < 30_000; at += 1) {
    nowMs = at / 10
    if (confirmation.take(`wrong ${at}`)) looks += 1
  }
  assert.ok(looks <= 200, `${looks} looks in 3 seconds: fifty at once and fifty a second`)
})
