/**
 * The embedded engine answers as Meilisearch does: thousands of generated questions over generated corpora under generated
 * settings. The reference is a recording of a real Meilisearch; with MEILISEARCH_BIN set, that program answers as well, with
 * a fresh seed (DIFFERENTIAL_SEED repeats one). What may differ, and why, stands in docs/engine-differences.md.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { systemRandom } from '../../src/lib/random.ts'
import { type Answer, findDifference } from './differential/comparison.ts'
import type { Question } from './differential/questions.ts'
import { fingerprintOf, readRecording } from './differential/recording.ts'
import { ask, loadWorld, switchFeaturesOn } from './differential/server.ts'
import { makeWorlds, recordingPath, type World } from './differential/worlds.ts'
import { type EngineProcess, engineSources } from './engine-processes.ts'

/** The least share of questions that are answered the same. */
const sameShareMin = 0.99
const [embedded, reference] = engineSources()
let engine: EngineProcess

before(async () => {
  engine = await embedded!.start()
  await switchFeaturesOn(engine)
})
after(() => engine.stop())

test('at least 99 of 100 recorded answers of Meilisearch are given by the embedded engine', async () => {
  const recording = readRecording(recordingPath)
  const worlds = makeWorlds({ seed: recording.seed })
  assert.equal(recording.worlds.length, worlds.length, 'the generators have changed: npm run record')
  await compare(worlds, recording.seed, sameShareMin, async (world, at) => {
    const recorded = recording.worlds[at]
    assert.equal(recorded?.fingerprint, fingerprintOf(world), 'the generators have changed: npm run record')
    return recorded.answers
  })
})

if (reference !== undefined) {
  test('fresh questions are answered as the Meilisearch beside it does, but for what is known to differ', async () => {
    const seed = Number(process.env.DIFFERENTIAL_SEED ?? systemRandom.integer(1_000_000))
    const server = await reference.start()
    try {
      await switchFeaturesOn(server)
      const worlds = makeWorlds({ seed, prefix: 'live-' })
      await compare(worlds, seed, sameShareMin, async (world) => {
        await loadWorld(server, world)
        return await askAll(server, world.questions)
      })
    } finally {
      await server.stop()
    }
  })
}

async function compare(
  worlds: readonly World[],
  seed: number,
  shareMin: number,
  expect: (world: World, at: number) => Promise<readonly Answer[]>,
): Promise<void> {
  const differences: string[] = []
  let count = 0
  for (const [at, world] of worlds.entries()) {
    const expected = await expect(world, at)
    await loadWorld(engine, world)
    const actual = await askAll(engine, world.questions)
    count += expected.length
    for (const [index, question] of world.questions.entries()) {
      const difference = findDifference(expected[index]!, actual[index]!)
      if (difference !== undefined)
        differences.push(`${world.uid} #${index} (${world.name}) ${difference}\n    ${JSON.stringify(question)}`)
    }
  }
  const share = 1 - differences.length / count
  const summary = `seed ${seed}: ${count - differences.length} of ${count} the same (${(share * 100).toFixed(2)} %)`
  process.stdout.write(`${summary}\n`)
  assert.ok(share >= shareMin, `${summary}\n${differences.join('\n')}`)
}

async function askAll(server: EngineProcess, questions: readonly Question[]): Promise<readonly Answer[]> {
  const answers: Answer[] = []
  for (const question of questions) answers.push(await ask(server, question))
  return answers
}
