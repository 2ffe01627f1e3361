/**
 * Journal and lanes under simulated faults, and the simulator itself. SIM_SEEDS (default 300) seeds from SIM_FROM (default 1),
 * a part of them on spread indexes. A failing seed prints how to replay it.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type SimulationOptions, simulate } from './simulation.ts'

const seeds = Number(process.env.SIM_SEEDS ?? 300)
const from = Number(process.env.SIM_FROM ?? 1)

/** @param flags  those of `run.ts` that say the same as the options. */
async function simulateAll(count: number, options: SimulationOptions, flags: string): Promise<void> {
  for (let seed = from; seed < from + count; seed += 1) {
    const { violations } = await simulate(seed, { isBasic: true, ...options })
    const replay = `node --import tsx test/sim/run.ts --seeds 1 --from ${seed} ${flags} --trace`
    assert.deepEqual(violations, [], `seed ${seed}; replay: ${replay}`)
  }
}

test('plain indexes: no acknowledged write is lost, doubled or out of order under faults', () =>
  simulateAll(seeds, { isSpread: false }, '--plain'))

test('spread indexes: replicas hold what was acknowledged and reads see what is completed', () =>
  simulateAll(Math.ceil(seeds / 3), { isSpread: true, isCalm: true }, '--spread --calm'))

test('spread indexes: the same while nodes, workers, store and network fail', () =>
  simulateAll(Math.ceil(seeds / 8), { isSpread: true }, '--spread'))

test('an index that goes from node to node is served whole and loses nothing, whatever fails meanwhile', () =>
  simulateAll(Math.ceil(seeds / 8), { isSpread: false, isMoving: true }, '--plain --moves'))

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
