/** Backups and restores over a real store, real engines and a folder, held against a model of what was written when. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Operation } from '../../src/journal/change.ts'
import type { Store } from '../../src/journal/open-store.ts'
import { assert as must } from '../../src/lib/assert.ts'
import { type Clock, systemClock } from '../../src/lib/clock.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import { type Random, seededRandom } from '../../src/lib/random.ts'
import { type BackupKeeperDeps, openBackup, startBackupKeeper } from '../../src/orchestrator/backups/backup-keeper.ts'
import { verifyBackup } from '../../src/orchestrator/backups/backup-verification.ts'
import { openRestore, planRestore, type RestoreOrder } from '../../src/orchestrator/backups/restore-plan.ts'
import { documentsOf } from '../../src/orchestrator/project-documents.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { startReplication } from '../../src/replication/replication.ts'
import type { Backup, Restore } from '../../src/store/backups.ts'
import type { Node, Project, Spread } from '../../src/store/catalogue.ts'
import { openFolderObjects } from '../../src/store/objects/folder-objects.ts'
import { type EngineProcess, engineSources } from './engine-processes.ts'
import { put } from './journal-world.ts'
import { postgresSource } from './stores.ts'

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
const stepMsMax = 60_000
const secret = Buffer.alloc(32, 3)

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const ends = Date.now() + stepMsMax; !(await isSo()); ) {
    assert.ok(Date.now() < ends, `${what} takes too long`)
    await systemClock.sleep(20)
  }
}

/** Goes on by itself, and by leaps: a test writes through minutes in a second. */
function leapingClock(): Clock & { leap(ms: number): void } {
  let ahead = 0
  return {
    now: () => Date.now() + ahead,
    monotonic: systemClock.monotonic,
    sleep: systemClock.sleep,
    leap: (ms) => {
      ahead += ms
    },
  }
}

type Documents = ReadonlyMap<number, JsonObject>
interface Moment {
  readonly at: number
  readonly documents: Documents
  readonly settings: JsonObject
}

/** An index, and what must be in it at each moment. */
class WrittenIndex {
  readonly #world: BackupWorld
  readonly uid: string
  readonly #random: Random
  readonly #spread: Spread | null
  readonly #documents = new Map<number, JsonObject>()
  readonly moments: Moment[] = []
  #settings: JsonObject = {}
  #count = 0

  constructor(world: BackupWorld, uid: string, spread: Spread | null, random: Random) {
    this.#world = world
    this.uid = uid
    this.#spread = spread
    this.#random = random
  }

  async begin(count: number): Promise<void> {
    const create = await this.append({ kind: 'index-create', primaryKey: 'id' })
    await this.#world.settled(create)
    await this.set({
      filterableAttributes: ['id', 'shade'],
      embedders: { m: { source: 'userProvided', dimensions: 2 } },
    })
    await this.put(Array.from({ length: count }, (_, id) => this.document(id)))
  }

  document(id: number): JsonObject & { readonly id: number } {
    this.#count += 1
    return { id, title: `thing ${this.#count}`, shade: this.#count % 7, _vectors: { m: [id / 2, 0.5] } }
  }

  async append(operation: Operation, lines: readonly (object | string)[] = []): Promise<number> {
    const { store, project, clock } = this.#world
    clock.leap(50 + this.#random.integer(1_500))
    const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    const outcome = await store.journal.append({
      ...{ project: project.id, uid: this.uid, operation, customMetadata: null, refusal: null },
      ...{ mayCreateIndex: operation.kind === 'index-create', spread: this.#spread },
      payload: lines.length === 0 ? null : { kind: 'inline', bytes },
    })
    must(outcome.kind === 'appended', `the append was ${outcome.kind}`)
    const documents = new Map(this.#documents)
    this.moments.push({ at: outcome.enqueuedAt, documents, settings: this.#settings })
    return outcome.task
  }

  set(settings: JsonObject): Promise<number> {
    this.#settings = { ...this.#settings, ...settings }
    return this.append({ kind: 'settings', settings })
  }

  put(documents: readonly (JsonObject & { readonly id: number })[], merge = false): Promise<number> {
    for (const document of documents) {
      this.#documents.set(document.id, { ...(merge ? this.#documents.get(document.id) : undefined), ...document })
    }
    const counts = { received: documents.length, distinct: new Set(documents.map(({ id }) => id)).size }
    return this.append({ ...put, merge, ...counts }, documents)
  }

  /** One write of some kind. */
  write(): Promise<number> {
    const id = this.#random.integer(80)
    const shade = this.#random.integer(7)
    switch (this.#random.integer(12)) {
      case 0:
      case 1: {
        const known = this.#documents.get(id)
        const part: JsonObject & { readonly id: number } = { id, part: this.#random.integer(1_000) }
        return this.put([known === undefined ? this.document(id) : part], true)
      }
      case 2:
        this.#documents.delete(id)
        return this.append({ kind: 'documents-delete', provided: 1 }, [String(id)])
      case 3:
        for (const [key, document] of this.#documents) {
          if (document.shade === shade && key < 20) this.#documents.delete(key)
        }
        return this.append({ kind: 'documents-delete-by-filter', filter: `shade = ${shade} AND id < 20` })
      case 4:
        return this.set({ stopWords: [`word${this.#random.integer(1_000)}`] })
      case 5:
        if (this.#random.integer(4) > 0) return this.put([this.document(id)])
        this.#documents.clear()
        return this.append({ kind: 'documents-clear' })
      default:
        return this.put([this.document(id), this.document(100 + this.#random.integer(200))])
    }
  }

  async writeMany(count: number): Promise<void> {
    let last = 0
    for (let at = 0; at < count; at += 1) last = await this.write()
    await this.#world.settled(last)
  }

  /** What the index must have been then. */
  at(time: number): Moment {
    const found = this.moments.filter(({ at }) => at <= time).at(-1)
    must(found !== undefined, 'something was written by then')
    return found
  }
}

class BackupWorld {
  readonly store: Store
  readonly project: Project
  readonly engines: ReadonlyMap<string, EngineProcess>
  readonly clock: ReturnType<typeof leapingClock>
  readonly folder: string
  readonly random: Random

  constructor(
    store: Store,
    project: Project,
    engines: ReadonlyMap<string, EngineProcess>,
    clock: ReturnType<typeof leapingClock>,
    folder: string,
    random: Random,
  ) {
    this.store = store
    this.project = project
    this.engines = engines
    this.clock = clock
    this.folder = folder
    this.random = random
  }

  engineOf = ({ id }: Pick<Node, 'id'>) => {
    const found = this.engines.get(id)
    must(found !== undefined, 'the node has an engine')
    return found.engine
  }

  keeperDeps(worker: string): BackupKeeperDeps {
    const { store, clock, random, engineOf, folder } = this
    return {
      ...{ worker, ...store, lanes: store.laneJournal, engineOf, secret, clock, random, log: silent },
      objects: async () => openFolderObjects(folder),
      ...{ leaseMs: 900, scheduleMs: 100 },
    }
  }

  async settled(task: number): Promise<void> {
    await until(`task ${task}`, async () => (await this.store.journal.task(this.project.id, task))?.finishedAt != null)
  }

  async indexOf(uid: string, project = this.project.id) {
    const { indexes } = await this.store.catalogue.snapshot()
    return indexes.find((one) => one.uid === uid && one.project === project)
  }

  async backup(uid: string): Promise<Backup> {
    const index = await this.indexOf(uid)
    must(index !== undefined, 'the index is there')
    const opened = await openBackup({ ...this.store, ...this }, index, { isScheduled: false, bytesPerSecond: null })
    must(opened !== undefined, 'no other backup is open')
    return this.ended(opened.id)
  }

  async ended(id: string): Promise<Backup> {
    let found: Backup | undefined
    await until(`backup ${id}`, async () => {
      found = await this.store.backups.get(id)
      return found?.state === 'done' || found?.state === 'failed'
    })
    must(found !== undefined, 'the backup is there')
    return found
  }

  order(uid: string, change: Partial<RestoreOrder>): RestoreOrder {
    const { project } = this
    const usual = { project, uid, into: project, as: null, keepMs: 600_000, bytesPerSecond: null }
    return { ...usual, point: { at: this.clock.now() }, ...change }
  }

  async open(uid: string, change: Partial<RestoreOrder>): Promise<Restore> {
    const opened = await openRestore({ ...this.store, ...this }, this.order(uid, change))
    must(!('refusal' in opened), JSON.stringify(opened))
    return opened
  }

  async restored(id: string): Promise<Restore> {
    let found: Restore | undefined
    await until(`restore ${id}`, async () => {
      found = await this.store.backups.getRestore(id)
      return (
        found !== undefined &&
        !['waiting', 'filling', 'catching_up', 'switching', 'clearing', 'undoing'].includes(found.state)
      )
    })
    must(found !== undefined, 'the restore is there')
    return found
  }

  async check(uid: string, expected: Moment, project = this.project.id): Promise<void> {
    const index = await this.indexOf(uid, project)
    must(index !== undefined, `there is an index ${uid}`)
    const standing = await this.store.replicas.standing(index.id)
    must(standing !== undefined, 'the index is placed')
    const nodes = new Map((await this.store.catalogue.nodes()).map((node) => [node.id, node]))
    const source = { table: { node: (id: string) => nodes.get(id) }, engineOf: this.engineOf }
    const route = { index, placements: standing.replicas }
    const found = new Map<number, JsonObject>()
    for await (const text of documentsOf(source, route, AbortSignal.timeout(stepMsMax))) {
      const document = JSON.parse(text)
      found.set(document.id, document)
    }
    const sorted = (documents: Documents) => [...documents].sort(([a], [b]) => a - b)
    const shown = [...expected.documents].map(([id, document]) => [id, asShown(document)] as const)
    assert.deepEqual(sorted(found), sorted(new Map(shown)))
    const { settings } = await this.store.laneJournal.completedSettings(index.id)
    assert.deepEqual(settings, expected.settings)
  }

  async files(): Promise<readonly string[]> {
    const entries = await readdir(this.folder, { recursive: true, withFileTypes: true })
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  }
}

function asShown(document: JsonObject): JsonObject {
  const vectors = document._vectors as { readonly m: readonly number[] } | undefined
  return vectors === undefined
    ? document
    : { ...document, _vectors: { m: { embeddings: [vectors.m], regenerate: false } } }
}

for (const source of engineSources()) {
  test(`backups with ${source.name}`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'flapjack-backups-'))
    const stores = await postgresSource()
    const engines = new Map<string, EngineProcess>()
    const stops: (() => Promise<void>)[] = []
    t.after(async () => {
      for (const stop of stops.reverse()) await stop()
      for (const { stop } of engines.values()) await stop()
      await stores.close()
      await rm(folder, { recursive: true, force: true })
    })
    const clock = leapingClock()
    const random = seededRandom(41)
    const store = await stores.open(9, clock)
    const organisation = await store.catalogue.createOrganisation('Acme')
    const project = await store.catalogue.createProject({ organisation: organisation.id, name: 'books' })
    for (const [at, engine] of (await Promise.all([source.start(), source.start()])).entries()) {
      engines.set(`n${at}`, engine)
      const { url, key } = engine
      await store.catalogue.putNode({ id: `n${at}`, engine: 'embedded', url, region: 'local', key })
    }
    const world = new BackupWorld(store, project, engines, clock, folder, random)
    const replication = startReplication({
      ...{
        worker: 'w',
        journal: store.laneJournal,
        engineOf: world.engineOf,
        clock: systemClock,
        random: seededRandom(2),
      },
      ...{ log: silent, metrics: silentLaneMetrics },
    })
    stops.push(() => replication.stop())
    const keeper = startBackupKeeper(world.keeperDeps('k0'))
    stops.push(() => keeper.stop())

    const layouts = { plain: null, spread: { shards: 4, replicationFactor: 1, exactTies: true } }
    for (const [layout, spread] of Object.entries(layouts)) {
      const seed = spread === null ? 11 : 12
      await t.test(`a ${layout} index that was wiped comes back as it was at any second (seed ${seed})`, async () => {
        const written = new WrittenIndex(world, `drill-${layout}`, spread, seededRandom(seed))
        await written.begin(60)
        await written.writeMany(5)
        const writing = written.writeMany(15)
        const first = await world.backup(written.uid)
        assert.equal(first.state, 'done', String(first.failure))
        await writing
        await written.writeMany(15)
        assert.equal((await world.backup(written.uid)).state, 'done')
        await written.writeMany(15)
        const endedAt = clock.now()
        await world.settled(await written.append({ kind: 'index-delete' }))
        const times = Array.from({ length: 5 }, () => {
          const begun = first.takenAt ?? 0
          return Math.min(endedAt, Math.ceil((begun + random.integer(endedAt - begun)) / 1_000) * 1_000)
        })
        const restores = await Promise.all(
          times.map((at, number) => world.open(written.uid, { point: { at }, as: `${written.uid}-${number}` })),
        )
        assert.ok(restores.some(({ backup }) => backup !== first.id) || times.every((at) => at < endedAt))
        for (const [number, { id }] of restores.entries()) {
          const { state, failure } = await world.restored(id)
          assert.equal(state, 'done', String(failure))
          await world.check(`${written.uid}-${number}`, written.at(times[number]!))
        }
      })
    }
  })
}
