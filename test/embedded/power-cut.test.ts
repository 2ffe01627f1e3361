/**
 * What a power cut leaves: LMDB writes changed pages, syncs them, and only then writes the page that makes them current,
 * through a descriptor that syncs by itself. So what was not synced when the power went is any part of the pages of one
 * commit, in any order. Images of the folder at every commit give all these states; an engine is opened on a choice of them.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { after, test } from 'node:test'
import type { EngineCore, EngineOperation } from '../../src/embedded/core.ts'
import { openEngine } from '../../src/embedded/engine-core.ts'
import { newest, readMetas } from '../../src/embedded/integrity/page-file.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import { type Random, seededRandom } from '../../src/lib/random.ts'

const root = mkdtempSync(join(tmpdir(), 'flapjack-power-'))
after(() => rmSync(root, { recursive: true, force: true }))

/** Files by path below the engine's folder. */
type Image = ReadonlyMap<string, Buffer>

/** A task that changes what the index holds. */
interface Step {
  readonly operation: EngineOperation
  readonly lines: readonly string[]
  readonly apply: (held: Map<string, number>) => void
}

interface Moment {
  /** The task before it had ended. */
  readonly before: Image
  /** The task was acknowledged. */
  readonly accepted: Image
  /** It was shown as succeeded. */
  readonly ended: Image
}

const sectorBytes = 512
const metaBytes = 2 * 4096
const waitMs = 30_000
const stepCount = 8
const seed = 2_601

function stepOf(n: number, random: Random): Step {
  if (n % 4 === 3) {
    const gone = `n${random.integer(n)}`
    return {
      operation: { kind: 'documents-delete' },
      lines: [JSON.stringify(gone)],
      apply: (held) => held.delete(gone),
    }
  }
  // Large payloads stand in files of their own.
  const filler = 'x'.repeat(n % 3 === 0 ? 2_000 : 10)
  const ids = ['last', `n${n}`, ...Array.from({ length: 40 }, (_, each) => `many${each}`)]
  return {
    operation: { kind: 'documents-put', merge: false, skipCreation: false, primaryKey: 'id' },
    lines: ids.map((id) => JSON.stringify({ id, n, filler: `${filler} ${random.integer(1_000)}` })),
    apply: (held) => {
      for (const id of ids) held.set(id, n)
    },
  }
}

function imageOf(folder: string): Image {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  const kept = files.filter(
    (path) => /(data\.mdb|pages\.sum|\.ndjson)$/.test(path) && statSync(join(folder, path)).isFile(),
  )
  return new Map(kept.map((path) => [path, readFileSync(join(folder, path))]))
}

async function record(folder: string, steps: readonly Step[]): Promise<readonly Moment[]> {
  const moments: Moment[] = []
  let ended: Image | undefined
  const open = () => openEngine(folder, { searchWorkersMax: 1, onFinished: () => (ended = imageOf(folder)) })
  let engine = await open()
  for (const [n, { operation, lines }] of steps.entries()) {
    // After an ordered end the files have checksums, which fall behind from here on.
    if (n === stepCount / 2) {
      await engine.close()
      engine = await open()
    }
    const before = imageOf(folder)
    const payload = Readable.from([Buffer.from(lines.join('\n'))])
    const request = { uid: 'a', operation, payload, customMetadata: null, allowIndexCreation: true }
    const { taskUid } = await engine.enqueue(request)
    const accepted = imageOf(folder)
    assert.equal((await engine.waitForTask(taskUid, waitMs))?.status, 'succeeded')
    assert(ended !== undefined)
    moments.push({ before, accepted, ended })
  }
  await engine.close()
  return moments
}

/** The file of `before`, with some sectors of what the next commit wrote, and without the page that makes it current. */
function cutOff(before: Buffer | undefined, next: Buffer, random: Random): Buffer {
  assert(before !== undefined)
  const [older, newer] = [before, next].map((bytes) => newest(readMetas(bytes)).txn)
  assert.equal(newer, older! + 1, 'an image of every commit')
  const part = random.integer(4) / 3
  const file = Buffer.alloc(random.integer(2) === 0 ? before.length : Math.max(before.length, next.length))
  before.copy(file)
  for (let at = metaBytes; at < Math.min(file.length, next.length); at += sectorBytes) {
    if (random.integer(1_000) < part * 1_000) next.copy(file, at, at, Math.min(at + sectorBytes, next.length))
  }
  return file
}

interface Cut {
  readonly what: string
  readonly image: Image
  /** Tasks that were shown as succeeded. */
  readonly succeeded: number
  /** Tasks that were acknowledged; one more may be there. */
  readonly accepted: number
}

const isIndex = (path: string): boolean => path.startsWith('indexes')

function* cutsOf(moments: readonly Moment[], random: Random): Generator<Cut> {
  const tasks = join('tasks', 'data.mdb')
  for (let n = 1; n < moments.length; n += 1) {
    const { before, accepted, ended } = moments[n]!
    const index = [...before.keys()].find((path) => isIndex(path) && path.endsWith('data.mdb'))!
    const indexBefore = [...before].filter(([path]) => isIndex(path))
    const others = [...accepted].filter(([path]) => !isIndex(path))
    yield {
      what: `task ${n} was being stored`,
      image: new Map([...others, ...indexBefore, [tasks, cutOff(before.get(tasks), accepted.get(tasks)!, random)]]),
      succeeded: n,
      accepted: n,
    }
    yield {
      what: `task ${n} was being done`,
      image: new Map([...others, ...indexBefore, [index, cutOff(before.get(index), ended.get(index)!, random)]]),
      succeeded: n,
      accepted: n + 1,
    }
    yield {
      what: `the end of task ${n} was being stored`,
      image: new Map([...ended, ...others, [tasks, cutOff(accepted.get(tasks), ended.get(tasks)!, random)]]),
      succeeded: n,
      accepted: n + 1,
    }
    yield { what: `task ${n} had ended`, image: new Map([...others, ...ended]), succeeded: n + 1, accepted: n + 1 }
  }
}

async function heldBy(engine: EngineCore): Promise<Map<string, number>> {
  const page = await engine.documents('a', { offset: 0, limit: 1_000, retrieveVectors: false })
  const { results } = JSON.parse(Buffer.from(page).toString()) as { results: readonly JsonObject[] }
  return new Map(results.map(({ id, n }) => [String(id), Number(n)]))
}

async function check({ what, image, succeeded, accepted }: Cut, steps: readonly Step[]): Promise<void> {
  const folder = mkdtempSync(join(root, 'cut-'))
  for (const [path, bytes] of image) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), bytes)
  }
  const text = `seed ${seed}: ${what}`
  const engine = await openEngine(folder, { searchWorkersMax: 1 })
  try {
    for (let uid = 0; uid < succeeded; uid += 1) assert.equal(engine.task(uid)?.status, 'succeeded', `${text}: ${uid}`)
    const { total } = engine.tasks({ filter: {}, limit: 1, reverse: false })
    assert(total === accepted || total === succeeded + 1, `${text}: ${total} tasks`)
    for (let uid = 0; uid < total; uid += 1)
      assert.equal((await engine.waitForTask(uid, waitMs))?.status, 'succeeded', `${text}: ${uid}`)
    const expected = new Map<string, number>()
    for (const { apply } of steps.slice(0, total)) apply(expected)
    assert.deepEqual(new Map([...(await heldBy(engine))].sort()), new Map([...expected].sort()), text)
    assert.deepEqual(engine.integrity().damaged, [], text)
  } finally {
    await engine.close()
    rmSync(folder, { recursive: true })
  }
}

test('a task that was shown as succeeded survives a power cut, an acknowledged one is done, and nothing is done twice', async () => {
  const random = seededRandom(seed)
  const steps = Array.from({ length: stepCount }, (_, n) => stepOf(n, random))
  const moments = await record(join(root, 'engine'), steps)
  // A part of them: each costs the start of an engine.
  for (const cut of cutsOf(moments, random)) if (random.integer(5) < 2) await check(cut, steps)
})
