/** The documents of an engine process against a map, under random writes and kill -9 at random moments. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Random, seededRandom } from '../../src/lib/random.ts'
import { type EngineAnswer, type EngineProcess, resultsOf, startEngine } from './engine-process.ts'

const root = mkdtempSync(join(tmpdir(), 'flapjack-model-'))
let running: EngineProcess | undefined
after(async () => {
  await running?.kill()
  rmSync(root, { recursive: true, force: true })
})

type Document = Readonly<Record<string, string | number>>
type Model = Map<number, Document>

interface Write {
  readonly method: string
  readonly path: string
  readonly body: unknown
  readonly apply: (model: Model) => void
}

function nextWrite(random: Random, step: number): Write {
  const ids = Array.from({ length: 1 + random.integer(8) }, () => random.integer(40))
  const group = random.integer(4)
  const path = '/indexes/things/documents'
  const documents = ids.map((id) => ({
    id,
    step,
    group,
    text: `thing ${id} of step ${step} `.repeat(1 + random.integer(200)),
  }))
  const kind = random.integer(12)
  if (kind < 6)
    return {
      method: 'POST',
      path,
      body: documents,
      apply: (model) => {
        for (const each of documents) model.set(each.id, each)
      },
    }
  if (kind < 8) {
    const patches = ids.map((id) => ({ id, group, seen: step }))
    return {
      method: 'PUT',
      path,
      body: patches,
      apply: (model) => {
        for (const patch of patches) model.set(patch.id, { ...model.get(patch.id), ...patch })
      },
    }
  }
  if (kind < 10)
    return {
      method: 'POST',
      path: `${path}/delete-batch`,
      body: ids,
      apply: (model) => {
        for (const id of ids) model.delete(id)
      },
    }
  if (kind < 11)
    return {
      method: 'POST',
      path: `${path}/delete`,
      body: { filter: `group = ${group}` },
      apply: (model) => {
        for (const [id, each] of [...model]) if (each.group === group) model.delete(id)
      },
    }
  return { method: 'DELETE', path, body: undefined, apply: (model) => model.clear() }
}

async function settle(engine: EngineProcess): Promise<void> {
  for (;;) {
    const waiting = resultsOf(await engine.call('GET', '/tasks?statuses=enqueued,processing&limit=1'))
    if (waiting.length === 0) return
    await engine.waitForTask(Number(waiting[0]!.uid))
  }
}

async function check(engine: EngineProcess, model: Model, what: string): Promise<void> {
  await settle(engine)
  const failed = resultsOf(await engine.call('GET', '/tasks?statuses=failed'))
  assert.deepEqual(failed, [], what)
  const stored = resultsOf(await engine.call('GET', '/indexes/things/documents?limit=1000'))
  const byId = (left: Document, right: Document) => Number(left.id) - Number(right.id)
  assert.deepEqual(([...stored] as Document[]).sort(byId), [...model.values()].sort(byId), what)
  for (const group of [0, 1, 2, 3]) {
    const found = await engine.call('POST', '/indexes/things/search', { filter: `group = ${group}`, limit: 0 })
    const expected = [...model.values()].filter((each) => each.group === group).length
    assert.equal(found.json.estimatedTotalHits, expected, `${what}, group ${group}`)
  }
}

test('whatever is written, and however often the engine is killed, its documents are what was acknowledged', async () => {
  for (const seed of [5, 6]) {
    const random = seededRandom(seed)
    const folder = join(root, String(seed))
    const model: Model = new Map()
    running = await startEngine(folder)
    await running.write('PATCH', '/indexes/things/settings', { filterableAttributes: ['group'] })
    for (let round = 0; round < 3; round += 1) {
      for (let step = 0; step < 15; step += 1) {
        const write = nextWrite(random, round * 100 + step)
        const answer: EngineAnswer = await running.call(write.method, write.path, write.body)
        assert.equal(answer.status, 202, answer.body.toString())
        write.apply(model)
        if (random.integer(6) === 0) await settle(running)
      }
      await running.kill()
      running = await startEngine(folder)
      await check(running, model, `seed ${seed}, round ${round}`)
    }
    await running.stop()
    running = undefined
  }
})
