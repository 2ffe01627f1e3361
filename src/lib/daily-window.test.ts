import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDailyWindow, isWithin } from './daily-window.ts'

const at = (time: string) => Date.parse(`2026-03-01T${time}:00Z`)

test('a window begins with its first minute, ends before its last, and may go over midnight', () => {
  assert.deepEqual(
    ['08:59', '09:00', '11:59', '12:00'].map((time) => isWithin(['09:00-12:00'], at(time))),
    [false, true, true, false],
  )
  assert.deepEqual(
    ['21:59', '22:00', '00:00', '05:59', '06:00'].map((time) => isWithin(['22:00-06:00'], at(time))),
    [false, true, true, true, false],
  )
})

test('any of several windows will do, and none at all means always', () => {
  assert.equal(isWithin(['01:00-02:00', '13:00-14:00 UTC'], at('13:30')), true)
  assert.equal(isWithin([], at('13:30')), true)
})

test('what is no time of day is refused', () => {
  for (const text of ['24:00-01:00', '9:00-10:00', '10:00', '10:00-10:00', '10:00-11:00 CET', ''])
    assert.equal(isDailyWindow(text), false, text)
})
