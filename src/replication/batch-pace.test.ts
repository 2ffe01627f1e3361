import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BatchPace } from './batch-pace.ts'

// A window that followed bytes over time would shrink with its own batches, down to where nearly all is fixed cost.
test('small batches do not make a node look slow', () => {
  const costMs = 100
  const bytesPerMs = 2_000
  const run = (pace: BatchPace, byteCount: number) => pace.note({ byteCount, tookMs: costMs + byteCount / bytesPerMs })
  const pace = new BatchPace()
  for (let batch = 0; batch < 40; batch += 1) for (const byteCount of [300, 100_000]) run(pace, byteCount)
  assert.ok(Math.abs(pace.batchMs - costMs) < 10, `${pace.batchMs}`)
  const second = pace.bytesIn(1_000)
  assert.ok(Math.abs(second - 900 * bytesPerMs) < 0.1 * second, `${second}`)
})

test('a batch of unknown size says nothing', () => {
  const pace = new BatchPace()
  const before = pace.bytesIn(1_000)
  pace.note({ byteCount: 0, tookMs: 60_000 })
  assert.equal(pace.bytesIn(1_000), before)
})
