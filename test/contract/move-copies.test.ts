/** How indexes are copied from engine to engine: over links that break, by engines that crash, without disk space. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createHttpEngine, type HttpEngine } from '../../src/engine/http-engine.ts'
import type { IndexStanding } from '../../src/journal/ports.ts'
import { systemClock } from '../../src/lib/clock.ts'
import type { Json, JsonObject } from '../../src/lib/json.ts'
import { freePort } from '../../src/lib/loopback-port.ts'
import {
  changedProgress,
  MoveFailure,
  type Place,
  type ProgressChange,
  type StepContext,
} from '../../src/orchestrator/moves/move-context.ts'
import { canCopySnapshot, copySnapshot, dropSnapshots } from '../../src/orchestrator/moves/snapshot-copy.ts'
import { transferFile } from '../../src/orchestrator/moves/snapshot-transfer.ts'
import { copyStreamed } from '../../src/orchestrator/moves/streamed-copy.ts'
import type { Node } from '../../src/store/catalogue.ts'
import type { Move, MoveProgress } from '../../src/store/moves.ts'
import { type EngineProcess, resultsOf, startEngine } from '../embedded/engine-process.ts'
import { type BreakingLink, startBreakingLink } from './breaking-link.ts'

const root = mkdtempSync(join(tmpdir(), 'flapjack-copies-'))
const signal = () => AbortSignal.timeout(120_000)

/** An engine on a port that stays its own over crashes, behind a link. */
interface TestNode {
  process: EngineProcess
  readonly restart: () => Promise<void>
  readonly link: BreakingLink
  readonly engine: HttpEngine
}

async function startNode(name: string): Promise<TestNode> {
  const port = await freePort()
  const start = () => startEngine(join(root, name), ['--http-addr', `127.0.0.1:${port}`])
  const link = await startBreakingLink(() => port)
  const node = {
    process: await start(),
    link,
    engine: createHttpEngine({ url: link.url, key: null }),
    async restart() {
      await node.process.kill()
      node.process = await start()
    },
  }
  return node
}

let source: TestNode
let target: TestNode
before(async () => {
  ;[source, target] = await Promise.all([startNode('source'), startNode('target')])
})
after(async () => {
  for (const node of [source, target]) {
    await node?.engine.close()
    await node?.link.close()
    await node?.process.kill()
  }
  rmSync(root, { recursive: true, force: true })
})

const never = (): never => {
  throw new Error('no copy asks for it')
}

/** What the mover gives to a step, for one copy of `from` on the source to `to` on the target. */
class Copy {
  progress: MoveProgress = { attempts: 1, copy: 'snapshot' }
  sourceRevision = 3
  onKeep: (progress: ProgressChange) => void = () => undefined
  readonly #from: string
  readonly #to: string
  readonly #options: Move['options']
  /** Neither engine reaches the other's folder. */
  isApart = false

  constructor(from: string, to: string, bytesPerSecond: number | null = null) {
    this.#from = from
    this.#to = to
    this.#options = { keepMs: 0, bytesPerSecond }
  }

  standing(): IndexStanding {
    const replica = (node: string, physicalUid: string, revision: number) => ({
      ...{ index: 'i', generation: 1, shards: [0], node, physicalUid, state: 'active' as const, applied: 7, revision },
      ...{ pendingBytes: 0, diskEpoch: 1, diskMarker: null, proof: null },
    })
    return {
      ...{
        index: 'i',
        project: 'p',
        uid: 'books',
        spread: null,
        generation: 1,
        beside: null,
        head: 9,
        completed: 7,
        byteCount: 0,
        primaryKey: 'id',
      },
      replicas: [replica('n0', this.#from, this.sourceRevision), replica('n1', this.#to, 1)],
    }
  }

  context(): StepContext {
    const copy = this
    const node = (id: string) => ({ id }) as Node
    return {
      replicas: {
        ...{ standing: async () => copy.standing(), addReplica: never, changeReplica: never },
        ...{ layouts: never, want: never, loads: never, changeGeneration: never },
      },
      journal: {
        completedSettings: async () => ({ completed: 7, position: 1, settings: { filterableAttributes: ['wave'] } }),
      },
      catalogue: { nodes: async () => [node('n0'), node('n1')], version: never },
      gateways: { routing: never, ask: never },
      engineOf: ({ id }) => (id === 'n0' ? source : target).engine,
      clock: systemClock,
      get move(): Move {
        return {
          ...{
            id: `of-${copy.#to}`,
            project: 'p',
            index: 'i',
            kind: 'move',
            takes: [{ node: 'n0', physicalUid: 'books', shards: [0] }],
            source: 'n0',
            target: 'n1',
            step: 'copying',
            wish: null,
          },
          ...{ isPaused: false, options: copy.#options, progress: copy.progress, failure: null },
          ...{ createdAt: 0, updatedAt: 0, finishedAt: null },
        }
      },
      signal: signal(),
      keep: async (progress) => {
        copy.progress = changedProgress(copy.progress, progress)
        copy.onKeep(progress)
      },
    }
  }

  places(): readonly [Place, Place] {
    const [from, to] = this.standing().replicas
    assert.ok(from !== undefined && to !== undefined, 'both are there')
    return [
      { replica: from, engine: source.engine },
      { replica: to, engine: this.isApart ? apart(target.engine) : target.engine },
    ]
  }

  run(): Promise<'done' | 'lost'> {
    return copySnapshot(this.context(), ...this.places())
  }
}

function apart(engine: HttpEngine): HttpEngine {
  const link = async () => ({ kind: 'answered' as const, value: false })
  return { ...engine, snapshots: { ...engine.snapshots, link } }
}

async function fill(uid: string, count: number, text: (id: number) => string): Promise<void> {
  await source.process.write('PATCH', `/indexes/${uid}/settings`, {
    searchableAttributes: ['title'],
    filterableAttributes: ['wave'],
    synonyms: { tome: ['book'] },
  })
  const documents = Array.from({ length: count }, (_, id) => ({ id, title: 'book', wave: id % 3, text: text(id) }))
  await source.process.write('POST', `/indexes/${uid}/documents?primaryKey=id`, documents)
  // Others take the rooms of these, so that the order of the index is not that of their ids.
  await source.process.write('POST', `/indexes/${uid}/documents/delete-batch`, [1, 2, 3])
  await source.process.write('POST', `/indexes/${uid}/documents`, [{ id: 'late', title: 'book', wave: 9 }])
}

async function picture(node: TestNode, uid: string): Promise<Json> {
  const listed = resultsOf(await node.process.call('GET', `/indexes/${uid}/documents?limit=10000`))
  const found = (await node.process.call('POST', `/indexes/${uid}/search`, { q: 'tome', limit: 1000 })).json
  const settings = (await node.process.call('GET', `/indexes/${uid}/settings`)).json
  return { listed, hits: (found.hits as JsonObject[]).map(({ id }) => id ?? null), settings }
}

const filesOn = async (node: TestNode) =>
  resultsOf(await node.process.call('GET', '/sis/files')).map(({ name }) => name)

test('a file comes over a link that drops every 50 MB and changes a part, and less than 5 % is sent twice', async () => {
  const bytes = randomBytes(120_000_000)
  await source.process.call('PUT', '/sis/files/big.fjsis', bytes, { 'content-type': 'application/octet-stream' })
  const links = [source.link, target.link]
  const before = links.map((link) => link.bytes())
  for (const { faults } of links) faults.breakEvery = 50_000_000
  source.link.faults.corruptPieces = 1
  await transferFile({
    ...{ source: source.engine.snapshots, target: target.engine.snapshots, name: 'big.fjsis', byteCount: bytes.length },
    ...{ bytesPerSecond: null, clock: systemClock, signal: signal(), onProgress: async () => undefined },
  })
  for (const [at, link] of links.entries()) {
    link.faults.breakEvery = 0
    assert.ok(link.breaks() >= 2, `${link.breaks()} breaks`)
    const sent = (link.bytes() - before[at]!) / bytes.length
    assert.ok(sent < 1.05, `${((sent - 1) * 100).toFixed(1)} % were sent twice`)
  }
  const arrived = await target.process.call('GET', '/sis/files/big.fjsis')
  const digest = (one: Uint8Array) => createHash('sha256').update(one).digest('hex')
  assert.equal(digest(arrived.body), digest(bytes))
  for (const { engine } of [source, target]) await engine.snapshots.remove('big.fjsis', signal())
})

test('a snapshot brings an index over as it is: documents in their order, ties, settings; and leaves no files', async () => {
  await fill('books', 500, (id) => `text ${id}`)
  const copy = new Copy('books', 'shelf')
  assert.equal(await canCopySnapshot(copy.context(), ...copy.places()), true)
  assert.equal(await copy.run(), 'done')
  assert.deepEqual(await picture(target, 'shelf'), await picture(source, 'books'))
  const { from, trueFrom, bytes, byteCount } = copy.progress
  assert.deepEqual({ from, trueFrom }, { from: 7, trueFrom: 9 })
  assert.equal(bytes, byteCount)
  assert.deepEqual([await filesOn(source), await filesOn(target)], [[], []])
  assert.equal(await copy.run(), 'done', 'a second time')
})

test('source, target and worker may crash at any point of a copy by snapshot; it goes on with what is there', async () => {
  await fill('large', 20, (id) => randomBytes(300_000).toString('hex') + id)
  const crashes: readonly [string, (progress: ProgressChange) => boolean, () => Promise<void>][] = [
    ['the worker before the snapshot', ({ from }) => from !== undefined, async () => undefined],
    ['the source behind the snapshot', ({ snapshotAt }) => snapshotAt !== undefined, () => source.restart()],
    ['the source within the file', ({ bytes = 0 }) => bytes > 4e6, () => source.restart()],
    ['the target within the file', ({ bytes = 0 }) => bytes > 4e6, () => target.restart()],
    ['the target behind the file', ({ bytes = 0 }) => bytes > 10e6, () => target.restart()],
    ['the worker behind the copy', ({ trueFrom }) => trueFrom !== undefined, async () => undefined],
  ]
  for (const [at, [name, isThere, crash]] of crashes.entries()) {
    const copy = new Copy('large', `large${at}`)
    copy.isApart = true
    let isOver = false
    copy.onKeep = (progress) => {
      if (isOver || !isThere(progress)) return
      isOver = true
      throw new Error('a crash')
    }
    await assert.rejects(copy.run(), /a crash/, name)
    const had = copy.progress.bytes ?? 0
    await crash()
    const seen: number[] = []
    copy.onKeep = ({ bytes }) => void (bytes !== undefined && seen.push(bytes))
    assert.equal(await copy.run(), 'done', name)
    if (seen.length > 0) assert.ok(Math.min(...seen) >= had, `${name}: what was there was sent again`)
    assert.deepEqual(await picture(target, `large${at}`), await picture(source, 'large'), name)
    assert.deepEqual([await filesOn(source), await filesOn(target)], [[], []], name)
  }
})

test('between engines on one disk no byte of the file is copied', async () => {
  const bytes = () => source.link.bytes() + target.link.bytes()
  const before = bytes()
  const copy = new Copy('large', 'near')
  assert.equal(await copy.run(), 'done')
  assert.ok(bytes() - before < 100_000, `${bytes() - before} bytes`)
  assert.equal(copy.progress.bytes, copy.progress.byteCount)
  assert.deepEqual(await picture(target, 'near'), await picture(source, 'large'))
  assert.deepEqual([await filesOn(source), await filesOn(target)], [[], []])
})

test('a file that comes over wrong three times ends the move, and cancelling leaves no file', async () => {
  const copy = new Copy('large', 'wrong')
  copy.isApart = true
  target.link.faults.corruptPieces = 1_000_000
  await assert.rejects(copy.run(), (error) => error instanceof MoveFailure && /transfer_corrupt/.test(error.message))
  target.link.faults.corruptPieces = 0
  assert.equal((await target.process.call('GET', '/indexes/wrong')).status, 404)
  await dropSnapshots(copy.context())
  assert.deepEqual([await filesOn(source), await filesOn(target)], [[], []])
})

test('a copy for which the target has no space is refused before anything is made', async () => {
  const copy = new Copy('books', 'none')
  const [from, to] = copy.places()
  const snapshots = {
    ...to.engine.snapshots,
    offer: async () => ({
      kind: 'answered' as const,
      value: { engine: 'flapjack', indexFormat: 1, freeBytes: 1_000, folder: '', hasRaw: false },
    }),
  }
  const full = { ...to, engine: { ...to.engine, snapshots } }
  await assert.rejects(
    copySnapshot(copy.context(), from, full),
    (error) => error instanceof MoveFailure && /insufficient_space/.test(error.message),
  )
  assert.deepEqual(await filesOn(source), [])
})

test('a source that lost its disk meanwhile is not copied from', async () => {
  const copy = new Copy('books', 'lost')
  copy.onKeep = ({ from }) => {
    if (from !== undefined) copy.sourceRevision += 1
  }
  assert.equal(await copy.run(), 'lost')
})

test('a snapshot is brought over compressed, and no faster than it may', async () => {
  const bytesPerSecond = 100_000
  await fill('slow', 2_000, (id) => randomBytes(60).toString('hex') + id)
  const copy = new Copy('slow', 'slow', bytesPerSecond)
  const startedAt = systemClock.monotonic()
  assert.equal(await copy.run(), 'done')
  const tookMs = systemClock.monotonic() - startedAt
  const { byteCount = 0 } = copy.progress
  const size = Number((await source.process.call('GET', '/sis/indexes/slow')).json.byteCount)
  assert.ok(byteCount < size / 2, `${byteCount} bytes of ${size}`)
  // Behind the last part nothing waits.
  const dueMs = ((byteCount - 100_000) / bytesPerSecond) * 1_000
  assert.ok(tookMs >= dueMs && dueMs > 0, `${byteCount} bytes in ${tookMs} ms`)
})

test('a streamed copy holds the same documents in the same order, and goes on where it was cut off', async () => {
  const copy = new Copy('books', 'streamed')
  let count = 0
  copy.onKeep = ({ documents }) => {
    count += 1
    if (documents !== undefined && count === 2) throw new Error('a crash')
  }
  const [place, to] = copy.places()
  const sources = [{ place, filter: null }]
  await assert.rejects(copyStreamed(copy.context(), sources, to), /a crash/)
  await copyStreamed(copy.context(), sources, to)
  const ids = async (node: TestNode, uid: string) =>
    resultsOf(await node.process.call('GET', `/indexes/${uid}/documents?limit=10000`)).map(({ id }) => id)
  assert.deepEqual(await ids(target, 'streamed'), await ids(source, 'books'))
})
