/**
 * An index spread over nodes answers as one node that holds everything: generated questions over generated corpora under
 * generated settings, asked of both.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { findDifference, steadyAnswer } from './differential/comparison.ts'
import { ask, loadWorld, switchFeaturesOn } from './differential/server.ts'
import { makeWorlds } from './differential/worlds.ts'
import { type EngineProcess, engineSources } from './engine-processes.ts'
import { answerQuestion } from './merge/read-path.ts'
import { askServer, layouts, spreadWorld } from './merge/spread-world.ts'

let engine: EngineProcess

before(async () => {
  engine = await engineSources()[0]!.start()
  await switchFeaturesOn(engine)
})
after(() => engine.stop())

test('plain searches over two shards are answered as over one node', async () => {
  const [world] = makeWorlds({ seed: 7, prefix: 'm', settingsEach: 1 })
  assert.ok(world !== undefined)
  await loadWorld(engine, world)
  const index = await spreadWorld(engine, world, layouts[0]!)
  const question = { path: `/indexes/${world.uid}/search`, body: { q: 'the', attributesToRetrieve: ['id'] } }
  const answer = await answerQuestion(question, index, askServer(engine, index))
  assert.ok(answer !== undefined)
  assert.equal(findDifference(await ask(engine, question), steadyAnswer(answer)), undefined)
})
