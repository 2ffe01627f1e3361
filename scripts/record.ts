/**
 * Records what a real Meilisearch answers to the questions of the differential test: `npm run record [-- --seed N] [--out FILE]`
 * with MEILISEARCH_BIN naming the program. Run it again after every change of the generators below test/contract/differential.
 */
import { parseArgs } from 'node:util'
import { isObject } from '../src/lib/json.ts'
import { fingerprintOf, type RecordedWorld, writeRecording } from '../test/contract/differential/recording.ts'
import { ask, loadWorld, send, switchFeaturesOn } from '../test/contract/differential/server.ts'
import { makeWorlds, recordedSeed, recordingPath } from '../test/contract/differential/worlds.ts'
import { engineSources } from '../test/contract/engine-processes.ts'

const { values } = parseArgs({ options: { seed: { type: 'string' }, out: { type: 'string' } } })
const seed = Number(values.seed ?? recordedSeed)
const source = engineSources().find(({ name }) => name === 'Meilisearch')
if (source === undefined) throw new Error('MEILISEARCH_BIN must name a Meilisearch program')
const server = await source.start()
try {
  await switchFeaturesOn(server)
  const { body } = await send(server, 'GET', '/version')
  const version = isObject(body) ? String(body.pkgVersion) : 'unknown'
  const worlds: RecordedWorld[] = []
  let count = 0
  for (const world of makeWorlds({ seed })) {
    await loadWorld(server, world)
    const answers = []
    for (const question of world.questions) answers.push(await ask(server, question))
    worlds.push({ uid: world.uid, fingerprint: fingerprintOf(world), answers })
    count += answers.length
  }
  writeRecording(values.out ?? recordingPath, { seed, version, worlds })
  process.stdout.write(`${count} answers of Meilisearch ${version} over ${worlds.length} indexes\n`)
} finally {
  await server.stop()
}
