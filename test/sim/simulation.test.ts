/** Plain indexes under simulated faults, runs that found a fault once, and the simulator itself. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { knownSeeds } from './known-seeds.ts'
import { simulateAll, simulateOne } from './seed-range.ts'
import { simulate } from './simulation.ts'

test('plain indexes: no acknowledged write is lost, doubled or out of order under faults', () =>
  simulateAll(500, { isSpread: false }, '--plain'))

test('a plain index that goes from node to node is served whole and loses nothing, whatever fails meanwhile', () =>
  simulateAll(150, { isSpread: false, isMoving: true }, '--plain --moves'))

test('what went wrong once does not again', async (context) => {
  for (const { seed, options, fault } of knownSeeds) {
    const flags = [
      options.isSpread && '--spread',
      options.isMoving && '--moves',
      options.isPartial && '--parts',
      options.isResharding && '--reshards',
      options.isBasic && '--basic',
    ]
    await context.test(`${fault} (${seed})`, () => simulateOne(seed, options, flags.filter(Boolean).join(' ')))
  }
})

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
