/**
 * How indexes are copied from engine to engine: over links that break, by engines that crash, without disk space; over a folder,
 * and over addresses, which a real S3 server gives where one can be had.
 */
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
import { straightWay, transferFile } from '../../src/orchestrator/moves/snapshot-transfer.ts'
import { copyStreamed } from '../../src/orchestrator/moves/streamed-copy.ts'
import type { Node } from '../../src/store/catalogue.ts'
import type { Move, MoveProgress } from '../../src/store/moves.ts'
import { openFolderObjects } from '../../src/store/objects/folder-objects.ts'
import { type ObjectStore, ObjectsUnavailable, readWhole } from '../../src/store/objects/object-store.ts'
import { openS3Objects } from '../../src/store/objects/s3-objects.ts'
import { type EngineProcess, resultsOf, startEngine } from '../embedded/engine-process.ts'
import { type S3Server, s3Program, startS3 } from '../support/s3-server.ts'
import { serveObjects } from '../support/served-objects.ts'
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
  transfers: ObjectStore | undefined

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
      ...(copy.transfers === undefined ? {} : { transfers: async () => copy.transfers! }),
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
    way: straightWay({
      ...{ source: source.engine.snapshots, target: target.engine.snapshots, name: 'big.fjsis', signal: signal() },
      byteCount: bytes.length,
    }),
    ...{ byteCount: bytes.length, bytesPerSecond: null, clock: systemClock, signal: signal() },
    onProgress: async () => undefined,
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

/** The places over which a copy may go; without one it goes through the worker. */
const stores: readonly (readonly [string, () => Promise<ObjectStore | undefined>])[] = [
  ['the worker', async () => undefined],
  ['a folder', async () => openFolderObjects(join(root, 'objects'))],
  ['addresses', () => serveObjects(join(root, 'served'))],
  ...(s3Program() === undefined ? [] : [['S3', async () => openS3Objects((await s3()).options)] as const]),
]
let server: Promise<S3Server> | undefined
function s3(): Promise<S3Server> {
  server ??= startS3(s3Program()!)
  return server
}
after(async () => (await server)?.close())

async function objectsIn(store: ObjectStore | undefined): Promise<readonly string[]> {
  const names: string[] = []
  for await (const { name } of store?.list('') ?? []) names.push(name)
  return names
}

for (const [place, open] of stores) {
  test(`source, target and worker may crash at any point of a copy over ${place}; it goes on with what is there`, async () => {
    const store = await open()
    if (store === undefined) await fill('large', 12, (id) => randomBytes(1_200_000).toString('hex') + id)
    const points: readonly [string, (progress: ProgressChange) => boolean, () => Promise<void>][] = [
      ['the worker before the snapshot', ({ from }) => from !== undefined, async () => undefined],
      ['the source behind the snapshot', ({ snapshotAt }) => snapshotAt !== undefined, () => source.restart()],
      ['the source within the file', ({ bytes = 0 }) => bytes > 4e6, () => source.restart()],
      ['the target within the file', ({ bytes = 0 }) => bytes > 4e6, () => target.restart()],
      ['the target behind the file', ({ bytes = 0 }) => bytes > 10e6, () => target.restart()],
      ['the worker behind the copy', ({ trueFrom }) => trueFrom !== undefined, async () => undefined],
    ]
    // The others are the same on every way.
    const crashes = store === undefined ? points : points.filter(([name]) => name.endsWith('within the file'))
    for (const [at, [name, isThere, crash]] of crashes.entries()) {
      const uid = `large-${stores.findIndex(([other]) => other === place)}-${at}`
      const copy = new Copy('large', uid)
      copy.isApart = true
      copy.transfers = store
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
      assert.deepEqual(await picture(target, uid), await picture(source, 'large'), name)
      assert.deepEqual([await filesOn(source), await filesOn(target), await objectsIn(store)], [[], [], []], name)
      await target.process.write('DELETE', `/indexes/${uid}`, undefined)
    }
    store?.close()
  })
}

test('over addresses the bytes go from engine to engine, and none through the worker', async () => {
  const store = await serveObjects(join(root, 'straight'))
  const copy = new Copy('large', 'addressed')
  copy.isApart = true
  copy.transfers = store
  const bytes = () => source.link.bytes() + target.link.bytes()
  const before = bytes()
  assert.equal(await copy.run(), 'done')
  assert.ok((copy.progress.byteCount ?? 0) > 10e6)
  assert.ok(bytes() - before < 100_000, `${bytes() - before} bytes`)
  assert.deepEqual(await picture(target, 'addressed'), await picture(source, 'large'))
  store.close()
})

for (const kind of ['a folder', 'addresses']) {
  test(`a part that is not what was put into ${kind} is taken again, and three times in a row ends the move; nothing stays`, async () => {
    const served = await serveObjects(join(root, 'bent'))
    const { presign } = served
    assert.ok(presign !== null)
    const store: ObjectStore = kind === 'a folder' ? { ...served, presign: null } : served
    let bends = 2
    const bent: ObjectStore = {
      ...store,
      async *get(name, options) {
        const bytes = await readWhole(store.get(name, options))
        bends -= 1
        if (bends >= 0) bytes[bytes.length - 1]! ^= 1
        yield bytes
      },
      presign: async (name, method, seconds) => {
        if (method === 'PUT') return presign(name, method, seconds)
        bends -= 1
        if (bends < 0) return presign(name, method, seconds)
        const bytes = await readWhole(store.get(name))
        bytes[bytes.length - 1]! ^= 1
        await store.put(`${name}-bent`, bytes)
        return presign(`${name}-bent`, method, seconds)
      },
    }
    const copy = new Copy('large', `bent-${kind.length}`)
    copy.isApart = true
    copy.transfers = kind === 'a folder' ? { ...bent, presign: null } : bent
    assert.equal(await copy.run(), 'done')
    assert.ok(bends < 0)
    const wrong = new Copy('large', `wrong-${kind.length}`)
    wrong.isApart = true
    wrong.transfers = copy.transfers
    bends = Number.POSITIVE_INFINITY
    await assert.rejects(wrong.run(), (error) => error instanceof MoveFailure && /transfer_corrupt/.test(error.message))
    await dropSnapshots(wrong.context())
    assert.deepEqual([await filesOn(source), await filesOn(target), await objectsIn(store)], [[], [], []])
    store.close()
  })
}

test('a store that is not reached for a while delays a copy, and what it holds cannot be read there', async () => {
  const store = openFolderObjects(join(root, 'away'))
  let failures = 3
  const seen: Buffer[] = []
  const copy = new Copy('large', 'away')
  copy.isApart = true
  copy.transfers = {
    ...store,
    async put(name, bytes, options) {
      failures -= 1
      if (failures >= 0) throw new ObjectsUnavailable('away')
      assert.ok(bytes instanceof Uint8Array)
      seen.push(Buffer.from(bytes))
      return store.put(name, bytes, options)
    },
  }
  let plain: Uint8Array | undefined
  copy.onKeep = async ({ byteCount }) => {
    if (byteCount === undefined) return
    const [name = ''] = (await filesOn(source)).map(String)
    plain = (await source.process.call('GET', `/sis/files/${name}`)).body
  }
  assert.equal(await copy.run(), 'done')
  assert.ok(plain !== undefined && seen.length > 0)
  for (const part of seen) {
    for (const at of [100, 1_000, part.length - 1_000])
      assert.equal(Buffer.from(plain).includes(part.subarray(at, at + 32)), false)
  }
  store.close()
})

test('a move whose store is away is cancelled all the same', async () => {
  const store = openFolderObjects(join(root, 'gone'))
  const copy = new Copy('large', 'gone')
  copy.isApart = true
  const away = async (): Promise<never> => {
    throw new ObjectsUnavailable('away')
  }
  copy.transfers = {
    ...store,
    put: away,
    // biome-ignore lint/correctness/useYield: nothing is to be had
    async *list() {
      await away()
    },
  }
  await assert.rejects(copy.run(), /away/)
  await dropSnapshots(copy.context())
  assert.deepEqual([await filesOn(source), await filesOn(target)], [[], []])
  store.close()
})

test('an engine takes parts to addresses and from there only as they are asked for', async () => {
  const path = '/sis/files/none.fjsis/parts'
  const key = randomBytes(32).toString('base64')
  const part = { address: 'http://127.0.0.1:1/a', start: 0, end: 10, key }
  const ask = async (way: string, body: JsonObject) =>
    (await source.process.call('POST', `${path}/${way}`, body)).status
  for (const wrong of [
    { ...part, address: 'file:///etc/hostname' },
    { ...part, address: 'here' },
    { ...part, start: 10 },
    { ...part, end: 2 ** 25 },
    { ...part, key: 'c2hvcnQ=' },
    { ...part, other: 1 },
  ]) {
    assert.equal(await ask('send', wrong), 400, JSON.stringify(wrong))
    assert.equal(await ask('fetch', { ...wrong, byteCount: 10 }), 400, JSON.stringify(wrong))
  }
  assert.equal(await ask('send', part), 404, 'there is no such file')
  assert.equal(await ask('fetch', part), 400, 'the size is missing')
  assert.equal(await ask('fetch', { ...part, byteCount: 10 }), 502, 'nobody listens there')
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
      value: { engine: 'flapjack', indexFormat: 1, freeBytes: 1_000, folder: '', hasRaw: false, hasAddresses: false },
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

test('a streamed copy whose index was deleted on the target by a request that came late begins again', async () => {
  const copy = new Copy('books', 'deleted')
  copy.onKeep = ({ documents }) => {
    if (documents !== undefined) throw new Error('a crash')
  }
  const [place, to] = copy.places()
  const sources = [{ place, filter: null }]
  await assert.rejects(copyStreamed(copy.context(), sources, to), /a crash/)
  await target.process.write('DELETE', '/indexes/deleted', undefined)
  assert.equal(await copyStreamed(copy.context(), sources, to), 'lost')
})
