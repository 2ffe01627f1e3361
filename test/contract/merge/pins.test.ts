/** What dynamic search rules pin over shards stands where one node puts it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { send } from '../differential/server.ts'
import { makeWorlds } from '../differential/worlds.ts'
import { engineSources } from '../engine-processes.ts'
import { compareWorld } from './comparison-run.ts'
import { layouts } from './spread-world.ts'
import { Tally } from './tally.ts'

const [embedded] = engineSources()

test('searches with pinned documents are answered over 3 and 5 shards as by one node', async () => {
  const server = await embedded!.start()
  const tally = new Tally()
  try {
    await send(server, 'PATCH', '/experimental-features', { containsFilter: true, dynamicSearchRules: true })
    for (const seed of [150, 151, 152]) {
      const worlds = makeWorlds({ seed, prefix: `s${seed}`, settingsEach: 1, questionsEach: 80 })
      for (const world of worlds.filter(({ plan }) => plan.hasPins === true))
        await compareWorld(world, { server, layouts: layouts.slice(1, 3), seed, documentQuestions: 2 }, tally)
    }
  } finally {
    await server.stop()
  }
  assert.deepEqual(tally.unexplained, [], tally.lines.join('\n'))
})
