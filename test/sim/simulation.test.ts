/**
 * The lanes under simulated faults, and the simulator itself. SIM_SEEDS (default 1,000) seeds from SIM_FROM (default 1).
 * A failing seed prints how to replay it.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { simulate } from './simulation.ts'

const seeds = Number(process.env.SIM_SEEDS ?? 1000)
const from = Number(process.env.SIM_FROM ?? 1)
const seedsPerTest = 250

for (let first = from; first < from + seeds; first += seedsPerTest) {
  const last = Math.min(from + seeds, first + seedsPerTest) - 1
  test(`no acknowledged write is lost, doubled or out of order under faults (seeds ${first} to ${last})`, async () => {
    for (let seed = first; seed <= last; seed += 1) {
      const { violations } = await simulate(seed)
      const replay = `node --import tsx test/sim/run.ts --seeds 1 --from ${seed} --trace`
      assert.deepEqual(violations, [], `seed ${seed}; replay: ${replay}`)
    }
  })
}

test('the same seed gives the same run, byte for byte', async () => {
  for (const seed of [1, 7, 42, 123, 999]) {
    const [once, again] = [await simulate(seed), await simulate(seed)]
    assert.ok(once.trace.length > 10)
    assert.deepEqual(once.trace, again.trace, `seed ${seed}`)
    assert.equal(once.digest, again.digest)
  }
})

test('another seed gives another run', async () => {
  assert.notEqual((await simulate(1)).digest, (await simulate(2)).digest)
})

test('the model notices a document that is missing', async () => {
  const { violations } = await simulate(1, { spoil: true })
  assert.notEqual(violations.length, 0)
})
