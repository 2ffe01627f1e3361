/** Ranges of seeds as tests run them: SIM_SHARE (default 1) times as many as by default, from SIM_FROM (default 1) on. */
import assert from 'node:assert/strict'
import { type SimulationOptions, simulate } from './simulation.ts'

const share = Number(process.env.SIM_SHARE ?? 1)
const from = Number(process.env.SIM_FROM ?? 1)

/**
 * Fails with the first seed that does, and how to replay it.
 *
 * @param count  of seeds by default. @param flags  those of `run.ts` that say the same as the options.
 */
export async function simulateAll(count: number, options: SimulationOptions, flags: string): Promise<void> {
  for (let seed = from; seed < from + count * share; seed += 1) await simulateOne(seed, options, flags)
}

export async function simulateOne(seed: number, options: SimulationOptions, flags: string): Promise<void> {
  const { violations } = await simulate(seed, options)
  const replay = `node --import tsx test/sim/run.ts --seeds 1 --from ${seed} ${flags} --trace`
  assert.deepEqual(violations, [], `seed ${seed}; replay: ${replay}`)
}
