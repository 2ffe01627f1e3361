import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Clock, systemClock } from './clock.ts'
import { orderedIds } from './ordered-id.ts'
import { seededRandom } from './random.ts'

test('ids sort in the order in which they were made, within a millisecond and behind a clock that was set back', () => {
  const times = [1_000, 1_000, 1_000, 1_001, 1_001, 999, 1_002]
  for (let seed = 1; seed <= 200; seed += 1) {
    const left = [...times]
    const clock: Clock = { ...systemClock, now: () => left.shift() ?? 0 }
    const newId = orderedIds(clock, seededRandom(seed))
    const made = times.map(newId)
    assert.deepEqual([...made].sort(), made, `seed ${seed}`)
    assert.equal(new Set(made).size, times.length)
    for (const id of made) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  }
})
