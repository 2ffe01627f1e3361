/**
 * An index spread over nodes answers as one node that holds everything: generated questions over generated corpora under
 * generated settings, asked of one index and of the same documents over 2, 3, 5 and 16 shards on two or three nodes. What
 * may differ stands in docs/merge.md, row by row. With MEILISEARCH_BIN set, that program is asked as well, with a fresh seed
 * (MERGE_SEED repeats one).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemRandom } from '../../../src/lib/random.ts'
import { send } from '../differential/server.ts'
import { makeWorlds, type World } from '../differential/worlds.ts'
import { engineSources } from '../engine-processes.ts'
import { allowances } from './allowances.ts'
import { canBeSpread, compareWorld } from './comparison-run.ts'
import type { Kind } from './kinds.ts'
import { layouts } from './spread-world.ts'
import { Tally } from './tally.ts'

const [embedded, reference] = engineSources()
const seed = 150
/** Over all layouts. */
const answersMin = 20_000
/** Of each corpus; enough for every shard to have some, and to keep twelve indexes of each in time. */
const documentsMax = 100

/** The least share of answers that are the same in everything. */
const sameMin: Readonly<Record<Kind, number>> = {
  refused: 0.99,
  documents: 0.99,
  'no word': 0.99,
  'one word': 0.99,
  'several words': 0.97,
  'phrase or excluded word': 0.97,
  page: 0.98,
  sort: 0.98,
  places: 0.97,
  formatted: 0.95,
  threshold: 0.9,
  semantic: 0.85,
  similar: 0.6,
  hybrid: 0.85,
  'multi-search': 0.8,
  'facet-search': 0.85,
  // One value in several spellings, and numbers beside texts, stand in most facets of these documents.
  facets: 0.6,
  federation: 0.6,
  distinct: 0.6,
  frequency: 0.6,
}

test('20,000 answers over 2, 3, 5 and 16 shards are those of one node', async () => {
  const server = await embedded!.start()
  const tally = new Tally()
  try {
    await send(server, 'PATCH', '/experimental-features', { containsFilter: true })
    for (const world of makeWorlds({ seed, prefix: 'm', settingsEach: 1, questionsEach: 250 }).filter(canBeSpread))
      await compareWorld(shortened(world), { server, layouts, seed, documentQuestions: 12 }, tally)
  } finally {
    await server.stop()
  }
  judge(tally, seed)
  assert.ok(tally.count >= answersMin, `${tally.count} answers`)
})

if (reference !== undefined) {
  test('a Meilisearch beside it answers over shards as alone, but for what is known to differ', async () => {
    const fresh = Number(process.env.MERGE_SEED ?? systemRandom.integer(1_000_000))
    const server = await reference.start()
    const tally = new Tally()
    try {
      await send(server, 'PATCH', '/experimental-features', { containsFilter: true })
      for (const world of makeWorlds({ seed: fresh, prefix: 'm', settingsEach: 1, questionsEach: 40 }).filter(
        canBeSpread,
      ))
        await compareWorld(world, { server, layouts: layouts.slice(1), seed: fresh, documentQuestions: 4 }, tally)
    } finally {
      await server.stop()
    }
    process.stdout.write(`${[`seed ${fresh}`, ...tally.lines, ...tally.unexplained].join('\n')}\n`)
    assert.ok(tally.unexplained.length <= tally.count / 100, `seed ${fresh}: ${tally.unexplained.length} differ`)
  })
}

const shortened = (world: World): World => ({ ...world, documents: world.documents.slice(0, documentsMax) })

function judge(tally: Tally, used: number): void {
  const summary = [`seed ${used}`, ...tally.lines].join('\n')
  process.stdout.write(`${summary}\n`)
  assert.deepEqual(tally.unexplained, [], summary)
  for (const { row, shareMax } of allowances)
    assert.ok(tally.shareOf(row) <= shareMax, `${row} explains ${tally.shareOf(row)} of its questions\n${summary}`)
  for (const [kind, share] of Object.entries(sameMin) as [Kind, number][])
    assert.ok(tally.sameShare(kind) >= share, `${kind}: only ${tally.sameShare(kind)} are the same\n${summary}`)
}
