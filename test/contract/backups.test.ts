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
import { adoptBackups } from '../../src/orchestrator/backups/backup-adoption.ts'
import { objectsOf } from '../../src/orchestrator/backups/backup-context.ts'
import { type BackupKeeperDeps, openBackup, startBackupKeeper } from '../../src/orchestrator/backups/backup-keeper.ts'
import { verifyBackup } from '../../src/orchestrator/backups/backup-verification.ts'
import { openRestore, planRestore, type RestoreOrder } from '../../src/orchestrator/backups/restore-plan.ts'
import { documentsOf } from '../../src/orchestrator/project-documents.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { startReplication } from '../../src/replication/replication.ts'
import type { Backup, Restore } from '../../src/store/backups.ts'
import type { Node, Project, Spread } from '../../src/store/catalogue.ts'
import { openFolderObjects } from '../../src/store/objects/folder-objects.ts'
import { openS3Objects } from '../../src/store/objects/s3-objects.ts'
import { s3Program, startS3 } from '../support/s3-server.ts'
import { type EngineProcess, engineSources } from './engine-processes.ts'
import { put } from './journal-world.ts'
import { postgresSource } from './stores.ts'

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
const stepMsMax = 120_000
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
    ...systemClock,
    now: () => Date.now() + ahead,
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
    await this.#world.settled(await this.put(Array.from({ length: count }, (_, id) => this.document(id))))
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
    let keeper = startBackupKeeper(world.keeperDeps('k0'))
    stops.push(() => keeper.stop())

    const layouts = { plain: null, spread: { shards: 4, replicationFactor: 1, exactTies: true } }
    for (const [layout, spread] of Object.entries(layouts)) {
      const seed = spread === null ? 11 : 12
      await t.test(`a ${layout} index that was wiped comes back as it was at any second (seed ${seed})`, async () => {
        const written = new WrittenIndex(world, `drill-${layout}`, spread, seededRandom(seed))
        await written.begin(50)
        await written.writeMany(5)
        const writing = written.writeMany(8)
        const first = await world.backup(written.uid)
        assert.equal(first.state, 'done', String(first.failure))
        await writing
        await written.writeMany(8)
        assert.equal((await world.backup(written.uid)).state, 'done')
        await written.writeMany(8)
        const endedAt = clock.now()
        await world.settled(await written.append({ kind: 'index-delete' }))
        const times = Array.from({ length: spread === null ? 5 : 3 }, () => {
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

    await t.test('a restore in the place of an index can be undone, and ends with the old one deleted', async () => {
      const written = new WrittenIndex(world, 'swapped', null, seededRandom(21))
      await written.begin(20)
      await written.writeMany(5)
      const at = clock.now()
      await written.writeMany(5)
      const before = await world.indexOf(written.uid)
      const first = await world.restored((await world.open(written.uid, { point: { at } })).id)
      assert.equal(first.state, 'keeping_back', String(first.failure))
      await world.check(written.uid, written.at(at))
      await world.check(first.workUid, written.at(clock.now()))
      assert.equal(await store.backups.wishRestore(first.id, 'undo', ['keeping_back']), true)
      await until('the undo', async () => (await store.backups.getRestore(first.id))?.state === 'undone')
      assert.equal((await world.indexOf(written.uid))?.id, before?.id)
      await world.check(written.uid, written.at(clock.now()))
      await until('the removal', async () => (await world.indexOf(first.workUid)) === undefined)

      const second = await world.restored((await world.open(written.uid, { point: { at } })).id)
      assert.equal(await store.backups.wishRestore(second.id, 'close', ['keeping_back']), true)
      await until('the close', async () => (await world.indexOf(second.workUid)) === undefined)
      await world.check(written.uid, written.at(at))
      // The name has another index now; what it was at that time is found nevertheless.
      const { id } = await world.open(written.uid, { point: { at: written.moments.at(-1)!.at }, as: 'swapped-latest' })
      assert.equal((await world.restored(id)).state, 'done')
      await world.check('swapped-latest', written.moments.at(-1)!)
    })

    await t.test('a backup is restored into another project, and cancelled restores leave nothing', async () => {
      const written = new WrittenIndex(world, 'abroad', null, seededRandom(22))
      await written.begin(20)
      const backup = await world.backup(written.uid)
      const into = await store.catalogue.createProject({ organisation: organisation.id, name: 'elsewhere' })
      await keeper.stop()
      const { id } = await world.open(written.uid, { point: { backup: backup.id }, into })
      assert.equal(await store.backups.doom(backup.id), false)
      const moved = { objects: async () => openFolderObjects(join(folder, 'moved')) }
      await assert.rejects(
        objectsOf(moved, backup),
        /^Error: backup \S+ lies in .*; `backups.target` names .*moved, which/,
      )
      // Under the id of an index with a journal of its own, a foreign backup is not of that index.
      const foreign = { ...backup, id: '0192f3c1-5b0e-7d1c-9f6a-8e3f2a1b4c5e' }
      assert.equal(await store.backups.adopt(foreign), true)
      assert.equal(await store.backups.adopt(foreign), false)
      assert.notEqual((await store.backups.get(foreign.id))?.index, backup.index)
      const from = await world.open(written.uid, { point: { backup: foreign.id }, as: 'abroad-adopted' })
      keeper = startBackupKeeper(world.keeperDeps('k0b'))
      assert.equal((await world.restored(from.id)).state, 'done')
      await world.check('abroad-adopted', written.at(clock.now()))
      assert.equal((await world.restored(id)).state, 'done')
      await world.check(written.uid, written.at(clock.now()), into.id)
      await keeper.stop()
      const given = await world.open(written.uid, { point: { backup: backup.id }, as: 'given-up' })
      assert.equal(await store.backups.wishRestore(given.id, 'cancel', ['waiting']), true)
      keeper = startBackupKeeper(world.keeperDeps('k1'))
      assert.equal((await world.restored(given.id)).state, 'cancelled')
      assert.equal(await world.indexOf('given-up'), undefined)
    })

    await t.test('what clients write under the name of a restore stays, and the restore fails', async () => {
      const written = new WrittenIndex(world, 'contested', null, seededRandom(28))
      await written.begin(30)
      const backup = await world.backup(written.uid)
      const order = { point: { backup: backup.id }, bytesPerSecond: 2_000 }
      const first = await world.open(written.uid, { ...order, as: 'taken' })
      const theirs = new WrittenIndex(world, 'taken', null, seededRandom(29))
      await theirs.begin(3)
      const ended = await world.restored(first.id)
      assert.equal(ended.state, 'failed')
      assert.match(String(ended.failure), /^`taken` is another index|^the name `taken` was taken by somebody else/)
      await world.check('taken', theirs.at(clock.now()))
      await until('the removal', async () => (await world.indexOf(first.workUid)) === undefined)

      const second = await world.open(written.uid, { ...order, as: 'touched' })
      await until('the index', async () => (await store.backups.getRestore(second.id))?.state === 'filling')
      await new WrittenIndex(world, second.workUid, null, seededRandom(30)).put([{ id: 1 }])
      const touched = await world.restored(second.id)
      assert.equal(touched.state, 'failed')
      assert.match(String(touched.failure), /was written to by somebody else while it was filled/)
      assert.equal(await world.indexOf('touched'), undefined)
    })

    await t.test('what cannot be restored is refused with the reason', async () => {
      const written = new WrittenIndex(world, 'refused', null, seededRandom(23))
      const early = clock.now()
      await written.begin(10)
      const plan = async (uid: string, change: Partial<RestoreOrder>) => {
        const found = await planRestore({ ...store, ...world }, world.order(uid, change))
        must('refusal' in found, 'it is refused')
        return found.refusal
      }
      assert.match(await plan('refused', { point: { at: clock.now() + 9_000 } }), /has not come yet$/)
      assert.match(
        await plan('refused', { point: { at: early } }),
        /had no index `refused` at .*; there is no backup of it$/,
      )
      assert.match(await plan('nobody', {}), /had no index `nobody` at/)
      assert.match(await plan('refused', { as: 'refused' }), /has an index `refused` already$/)
      assert.match(await plan('refused', { as: 'no such name!' }), /not a valid index uid/)
      const id = '0192f3c1-5b0e-7d1c-9f6a-8e3f2a1b4c5d'
      assert.match(await plan('refused', { point: { backup: id } }), /has no backup 0192f3c1/)
      // Retention without backups: what was written is gone.
      const between = clock.now()
      await written.writeMany(3)
      await store.laneJournal.dropPayloads(between, 1_000)
      assert.match(
        await plan('refused', { point: { at: clock.now() } }),
        /position 3 is not kept any more .*there is no backup/,
      )
      const backup = await world.backup(written.uid)
      const later = clock.now()
      await written.writeMany(3)
      // A backup holds what is before it; what is behind the last one that is old enough stays.
      await store.laneJournal.dropPayloads(clock.now(), 1_000)
      const reached = await world.open(written.uid, { point: { at: later }, as: 'reached' })
      assert.equal(reached.backup, backup.id)
      assert.equal((await world.restored(reached.id)).state, 'done')
      await world.check('reached', written.at(later))
      assert.match(await plan('refused', { point: { at: between } }), /its backups are of /)
      // A restore on its way holds what it reads, however old that is.
      const held = new WrittenIndex(world, 'held', null, seededRandom(31))
      await held.begin(10)
      await keeper.stop()
      const { id: late } = await world.open('held', { point: { at: clock.now() }, as: 'held-back' })
      await store.laneJournal.dropPayloads(clock.now() + 1_000, 1_000)
      keeper = startBackupKeeper(world.keeperDeps('k0c'))
      assert.equal((await world.restored(late)).state, 'done')
      await world.check('held-back', held.at(clock.now()))
    })

    await t.test('a corrupt, missing or foreign part is named, and nothing of the backup is restored', async () => {
      const written = new WrittenIndex(world, 'spoilt', null, seededRandom(24))
      await written.begin(30)
      const backup = await world.backup(written.uid)
      const path = (name: string) => join(folder, backup.folder ?? '', name)
      const second = String(backup.parts[1]?.name)
      const faults = async () => {
        const objects = openFolderObjects(folder)
        return (await verifyBackup(objects, backup, secret, AbortSignal.timeout(stepMsMax), () => undefined)).faults
      }
      const failure = async (as: string) => {
        const { id } = await world.open(written.uid, { point: { backup: backup.id }, as })
        const restore = await world.restored(id)
        assert.equal(restore.state, 'failed')
        await until('the removal', async () => (await world.indexOf(as)) === undefined)
        return String(restore.failure)
      }
      assert.deepEqual(await faults(), [])
      const part = await readFile(path(second))
      const broken = Buffer.from(part)
      broken[99]! ^= 1
      await writeFile(path(second), broken)
      assert.match(await failure('spoilt-1'), /part-000002-\w+ is corrupt/)
      assert.match((await faults()).join(), /^[^,]*part-000002-\w+ is corrupt[^,]*$/)
      await rm(path(second))
      assert.match(await failure('spoilt-2'), /part-000002-\w+ is missing/)
      await writeFile(path(second), part)
      const manifest = await readFile(path('manifest.json'), 'utf8')
      await writeFile(path('manifest.json'), manifest.replace('"version": 1', '"version": 2'))
      assert.match(await failure('spoilt-3'), /has format version 2; this program reads version 1/)
      await writeFile(path('manifest.json'), manifest.replace('"documents": 30', '"documents": 31'))
      assert.match((await faults()).join(), /manifest.json is corrupt/)
      await rm(path('manifest.json'))
      assert.match((await faults()).join(), /manifest.json is missing/)
      await store.backups.doom(backup.id)
      await until('the deletion', async () => (await store.backups.get(backup.id)) === undefined)
      assert.equal(
        (await world.files()).some((file) => file.includes(backup.id)),
        false,
      )
    })

    await t.test('workers that die leave backups and restores to others, who end them exactly', async () => {
      await keeper.stop()
      const written = new WrittenIndex(world, 'orphaned', null, seededRandom(25))
      await written.begin(40)
      const index = await world.indexOf(written.uid)
      must(index !== undefined, 'the index is there')
      const opened = await openBackup({ ...store, ...world }, index, { isScheduled: false, bytesPerSecond: null })
      must(opened !== undefined, 'it opens')
      /** Ends a worker at its n-th write of how far it is, before or behind it. */
      const runDying = async (worker: string, point: number, isDone: () => Promise<boolean>) => {
        let count = 0
        let isDead = false
        const deadly = async <T>(write: () => Promise<T>): Promise<T> => {
          count += 1
          if (count < point && !isDead) return write()
          if (!isDead && point % 2 === 0) await write()
          isDead = true
          throw new Error('the worker is dead')
        }
        const deps = world.keeperDeps(worker)
        const backups = {
          ...deps.backups,
          save: (...args: Parameters<typeof deps.backups.save>) => deadly(() => deps.backups.save(...args)),
          saveRestore: (...args: Parameters<typeof deps.backups.saveRestore>) =>
            deadly(() => deps.backups.saveRestore(...args)),
          release: async () => undefined,
        }
        const dying = startBackupKeeper({ ...deps, backups })
        await until('the death', async () => isDead || (await isDone()))
        await dying.stop()
        return isDead
      }
      const isMade = async () => (await store.backups.get(opened.id))?.state === 'done'
      for (let point = 1; await runDying(`dying${point}`, point, isMade); point += 1) await written.write()
      const backup = await world.ended(opened.id)
      assert.equal(backup.state, 'done', String(backup.failure))
      await written.writeMany(10)
      const at = clock.now()
      const { id } = await world.open(written.uid, { point: { at }, as: 'adopted' })
      const isBack = async () => (await store.backups.getRestore(id))?.state === 'done'
      for (const point of [1, 2, 3, 4]) await runDying(`dying-too${point}`, point, isBack)
      keeper = startBackupKeeper(world.keeperDeps('k2'))
      const { state, failure } = await world.restored(id)
      assert.equal(state, 'done', String(failure))
      await world.check('adopted', written.at(at))
    })

    await t.test('schedules make backups of what is due, and give up those that have had their time', async () => {
      const written = new WrittenIndex(world, 'scheduled', null, seededRandom(26))
      await written.begin(5)
      const policy = { project: project.id, uid: written.uid, everyMs: 3_600_000, keepCount: 2, keepMs: null }
      await store.backups.putPolicy(policy)
      const whole = async () => {
        const index = await world.indexOf(written.uid)
        const found = await store.backups.list({ index: index?.id ?? '' }, 100)
        return found.filter(({ state }) => state === 'done')
      }
      const ids = new Set<string>()
      for (let count = 1; count <= 4; count += 1) {
        await until(`backup ${count}`, async () => {
          for (const { id } of await whole()) ids.add(id)
          return ids.size === count
        })
        clock.leap(3_600_000)
      }
      await until('the fifth, and the clean-up', async () => {
        const found = await whole()
        return found.length === 2 && found.every(({ id }) => !ids.has(id) || id === [...ids].at(-1))
      })
      assert.equal(await store.backups.deletePolicy(project.id, written.uid), true)
      assert.equal(await store.backups.deletePolicy(project.id, written.uid), false)
    })

    await t.test('an installation that lost its database takes its backups over and restores from them', async () => {
      const program = s3Program()
      const server = program === undefined ? undefined : await startS3(program)
      const objects = server === undefined ? openFolderObjects(join(folder, 'lost')) : openS3Objects(server.options)
      stops.push(async () => {
        objects.close()
        await server?.close()
      })
      await keeper.stop()
      const elsewhere = (other: BackupWorld, worker: string) =>
        startBackupKeeper({ ...other.keeperDeps(worker), objects: async () => objects })
      keeper = elsewhere(world, 'k3')
      const written = new WrittenIndex(world, 'outlasting', null, seededRandom(27))
      await written.begin(30)
      await written.writeMany(5)
      const backup = await world.backup(written.uid)
      assert.equal(backup.state, 'done', String(backup.failure))

      await keeper.stop()
      await replication.stop()
      const fresh = await stores.open(10, clock)
      const owner = await fresh.catalogue.createOrganisation('Acme')
      const heir = await fresh.catalogue.createProject({ organisation: owner.id, name: 'books' })
      for (const node of await store.catalogue.nodes()) await fresh.catalogue.putNode(node)
      const other = new BackupWorld(fresh, heir, engines, clock, folder, random)
      const lanes = startReplication({
        ...{ worker: 'w2', journal: fresh.laneJournal, engineOf: world.engineOf, clock: systemClock },
        ...{ random: seededRandom(3), log: silent, metrics: silentLaneMetrics },
      })
      const heirs = elsewhere(other, 'k4')
      stops.push(async () => {
        await heirs.stop()
        await lanes.stop()
      })
      const signal = AbortSignal.timeout(stepMsMax)
      const wrong = { objects, backups: fresh.backups, secret: Buffer.alloc(32, 4) }
      const refused = await adoptBackups(wrong, project.ref, heir, signal)
      assert.match(refused.faults.join(), /^backup \S+ was made under another sealing key/)
      const adopted = await adoptBackups({ ...wrong, secret }, project.ref, heir, signal)
      assert.deepEqual(adopted, { adopted: [backup.id], known: [], faults: [] })
      assert.deepEqual((await adoptBackups({ ...wrong, secret }, project.ref, heir, signal)).known, [backup.id])
      const { id } = await other.open(written.uid, { point: { backup: backup.id } })
      const { state, failure } = await other.restored(id)
      assert.equal(state, 'done', String(failure))
      await other.check(written.uid, written.at(clock.now()))
    })
  })
}
