/** Reshards between real engines while the index is written to, by workers that die at every point of it. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sequenceField, shardField, shardText } from '../../src/api/reserved-fields.ts'
import type { Operation } from '../../src/journal/change.ts'
import type { Store } from '../../src/journal/open-store.ts'
import { assert as must } from '../../src/lib/assert.ts'
import { systemClock } from '../../src/lib/clock.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import { type Random, seededRandom } from '../../src/lib/random.ts'
import { type MoverDeps, startMover } from '../../src/orchestrator/moves/mover.ts'
import { documentsOf } from '../../src/orchestrator/project-documents.ts'
import { openReshard, planReshard } from '../../src/orchestrator/reshard/open-reshard.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { startReplication } from '../../src/replication/replication.ts'
import type { Project, Spread } from '../../src/store/catalogue.ts'
import type { Move } from '../../src/store/moves.ts'
import { isEnded } from '../../src/topology/move-steps.ts'
import { isRead } from '../../src/topology/placement-states.ts'
import { shardOfKey } from '../../src/topology/rendezvous.ts'
import { buildRouteTable } from '../../src/topology/route-table.ts'
import { dyingWorker } from './dying-worker.ts'
import { type EngineProcess, engineSources } from './engine-processes.ts'
import { put } from './journal-world.ts'
import { memorySource, postgresSource } from './stores.ts'

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
const signal = () => AbortSignal.timeout(60_000)
const stepMsMax = 60_000
const three: Spread = { shards: 3, replicationFactor: 2, exactTies: true }
const four: Spread = { ...three, shards: 4 }

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const ends = Date.now() + stepMsMax; !(await isSo()); ) {
    assert.ok(Date.now() < ends, `${what} takes too long`)
    await systemClock.sleep(10)
  }
}

/** An index that is written to, with a model of what must be in it. */
class ReshardWorld {
  readonly model = new Map<number, JsonObject>()
  readonly #store: Store
  readonly #project: Project
  readonly #engines: readonly EngineProcess[]
  readonly #uid: string
  readonly #random: Random
  #count = 0

  constructor(store: Store, project: Project, engines: readonly EngineProcess[], uid: string, random: Random) {
    this.#store = store
    this.#project = project
    this.#engines = engines
    this.#uid = uid
    this.#random = random
  }

  engineOf = ({ id }: { readonly id: string }) => {
    const found = this.#engines[Number(id.slice(1))]
    must(found !== undefined, 'the node has an engine')
    return found.engine
  }

  async append(operation: Operation, lines: readonly object[] = [], spread: Spread | null = null): Promise<number> {
    const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    const outcome = await this.#store.journal.append({
      ...{ project: this.#project.id, uid: this.#uid, operation, customMetadata: null },
      ...{ mayCreateIndex: true, refusal: null, spread },
      payload: lines.length === 0 ? null : { kind: 'inline', bytes },
      inferred: { primaryKey: 'id' },
    })
    must(outcome.kind === 'appended', `the append was ${outcome.kind}`)
    return outcome.task
  }

  async put(documents: readonly (JsonObject & { readonly id: number })[], merge = false): Promise<number> {
    for (const document of documents) {
      this.model.set(document.id, { ...(merge ? this.model.get(document.id) : undefined), ...document })
    }
    return this.append({ ...put, merge, received: documents.length, distinct: documents.length }, documents)
  }

  async begin(spread: Spread | null): Promise<void> {
    await this.append({ kind: 'index-create', primaryKey: 'id' }, [], spread)
    await this.append({ kind: 'settings', settings: { filterableAttributes: ['id', 'shade'] } })
    const books = Array.from({ length: 60 }, (_, id) => ({ id, title: `book ${id}`, shade: id % 7 }))
    await this.settled(await this.put(books))
  }

  /** One write of some kind. */
  async write(): Promise<void> {
    this.#count += 1
    const id = this.#random.integer(60)
    switch (this.#random.integer(12)) {
      case 0:
        await this.put([{ id, part: this.#count }], true)
        return
      case 1:
        this.model.delete(id)
        await this.append({ kind: 'documents-delete-by-filter', filter: `id = ${id}` })
        return
      case 2:
        await this.append({ kind: 'settings', settings: { stopWords: [`word${this.#count}`] } })
        return
      default:
        await this.put([
          { id, title: `thing ${this.#count}`, shade: this.#count % 7 },
          { id: 100 + this.#count, title: `another ${this.#count}` },
        ])
    }
  }

  async settled(task: number): Promise<void> {
    const { journal } = this.#store
    await until(`task ${task}`, async () => (await journal.task(this.#project.id, task))?.finishedAt != null)
    const { status, error } = (await journal.task(this.#project.id, task)) ?? {}
    assert.equal(status, 'succeeded', error?.message)
  }

  async route() {
    const table = buildRouteTable(await this.#store.catalogue.snapshot())
    const route = table.index(this.#project.id, this.#uid)
    must(route !== undefined, 'the index is there')
    return { table, route }
  }

  async standing() {
    const { route } = await this.route()
    const standing = await this.#store.replicas.standing(route.index.id)
    must(standing !== undefined, 'the index is there')
    return standing
  }

  async reshard(spread: Spread | null, keepMs: number): Promise<Move> {
    const deps = { ...this.#store, keepsPayloads: true, clock: systemClock, random: this.#random }
    const { route } = await this.route()
    const move = await openReshard(deps, { index: route.index, spread, options: { keepMs, bytesPerSecond: null } })
    must(!('refusal' in move), JSON.stringify(move))
    return move
  }

  moverDeps(worker: string): MoverDeps {
    const { moves, replicas, laneJournal, catalogue, gateways } = this.#store
    const parts = { moves, replicas, journal: laneJournal, catalogue, gateways, clock: systemClock, log: silent }
    return { ...parts, worker, engineOf: this.engineOf, leaseMs: 900 }
  }

  /** Writes, and looks whether the index is whole, until it is so (I5). */
  async writeUntil(what: string, isSo: () => Promise<boolean>): Promise<void> {
    await until(what, async () => {
      await this.write()
      const { route } = await this.route()
      const shards = new Set(route.placements.filter(isRead).flatMap((one) => one.shards))
      assert.equal(shards.size, route.index.spread?.shards ?? 1, 'every shard is read')
      const { head, completed } = await this.standing()
      if (head - completed > 10) await until('the lanes', async () => this.#isNear())
      return isSo()
    })
  }

  async #isNear(): Promise<boolean> {
    const { head, completed } = await this.standing()
    return head - completed < 10
  }

  /** What reads find, and what each replica of the generation holds that is read. */
  async check(spread: Spread | null): Promise<void> {
    await this.settled(await this.put([{ id: 1_000_000, title: 'the last' }]))
    // Who was late for a settings change is read again when it has it.
    await until('the replicas', async () => {
      const { head, generation, replicas } = await this.standing()
      const read = replicas.filter((replica) => replica.generation === generation)
      return read.every(({ state, applied }) => state === 'active' && applied >= head)
    })
    const { table, route } = await this.route()
    assert.deepEqual(route.index.spread, spread)
    const found: JsonObject[] = []
    for await (const text of documentsOf({ table, engineOf: this.engineOf }, route, signal()))
      found.push(JSON.parse(text))
    const byId = (a: JsonObject, b: JsonObject) => Number(a.id) - Number(b.id)
    assert.deepEqual(found.sort(byId), [...this.model.values()].sort(byId))
    const places = new Map<string, unknown>()
    for (const { node, physicalUid, shards } of route.placements) {
      const reply = await this.engineOf({ id: node }).fetchDocuments(physicalUid, { limit: 10_000 }, signal())
      must(reply.kind === 'answered', 'the engine answers')
      const own = [...this.model.keys()].filter(
        (id) => spread === null || shards.includes(shardOfKey(String(id), spread.shards)),
      )
      assert.equal(reply.value.results.length, own.length, `${node} holds what is its own`)
      for (const document of reply.value.results) {
        const id = String(document.id)
        assert.equal(document[shardField], spread === null ? undefined : shardText(shardOfKey(id, spread.shards)))
        const place = document[sequenceField]
        assert.equal(places.get(id) ?? place, place, 'copies stand at one place in the order')
        places.set(id, place)
      }
    }
  }

  async indexesOn(): Promise<number> {
    const replies = await Promise.all(this.#engines.map(({ engine }) => engine.indexes(signal())))
    return replies.flatMap((reply) => {
      must(reply.kind === 'answered', 'the engine answers')
      return reply.value.filter(({ uid }) => uid.startsWith(`${this.#project.ref}_`) && uid.endsWith(`_${this.#uid}`))
    }).length
  }
}

for (const source of engineSources()) {
  const running: EngineProcess[] = []
  const stores = [memorySource(), await postgresSource()]
  after(async () => {
    for (const { stop } of running) await stop()
    for (const one of stores) await one.close()
  })
  const started = Promise.all([source.start(), source.start()]).then((engines) => {
    running.push(...engines)
    return engines
  })
  for (const storeSource of stores) {
    test(`${source.name}, store in ${storeSource.name}`, async (t) => {
      const engines = await started
      const store = await storeSource.open(storeSource.name === 'memory' ? 7 : 8, systemClock)
      await store.migrate()
      const { catalogue, laneJournal, moves } = store
      const organisation = await catalogue.createOrganisation('Acme')
      const project = await catalogue.createProject({ organisation: organisation.id, name: 'books' })
      for (const [at, { url, key }] of engines.entries()) {
        await catalogue.putNode({ id: `n${at}`, engine: 'embedded', url, region: 'local', key })
      }
      const replication = startReplication({
        worker: 'w',
        journal: laneJournal,
        engineOf: ({ id }) => engines[Number(id.slice(1))]!.engine,
        clock: systemClock,
        random: seededRandom(2),
        log: silent,
        metrics: silentLaneMetrics,
      })
      const world = async (uid: string, seed: number, spread: Spread | null) => {
        const one = new ReshardWorld(store, project, engines, uid, seededRandom(seed))
        await one.begin(spread)
        return one
      }
      // The twins decide the same, as other tests show: the slower one takes the longer way alone.
      const isInMemory = storeSource.name === 'memory'
      const stepOf = async (id: string) => (await moves.get(id))?.step
      try {
        await t.test(
          'three shards become four under writes; the old ones are kept back and leave nothing behind',
          async () => {
            const one = await world('four', 1, three)
            const mover = startMover(one.moverDeps('m1'))
            const { id } = await one.reshard(four, 300_000)
            await one.writeUntil('the reshard', async () => (await stepOf(id)) === 'keeping_back')
            await one.check(four)
            assert.equal((await one.standing()).replicas.length, 4)
            assert.equal(await moves.wish(id, 'close', ['keeping_back']), true)
            await until('the close', async () => (await stepOf(id)) === 'closed')
            assert.equal((await one.standing()).beside, null)
            assert.equal(await one.indexesOn(), 2)
            await one.check(four)
            await mover.stop()
          },
        )

        if (isInMemory)
          await t.test('a reshard is undone behind its switch, with what was written since', async () => {
            const one = await world('undone', 2, three)
            const mover = startMover(one.moverDeps('m2'))
            const { id } = await one.reshard({ ...four, shards: 7 }, 300_000)
            await one.writeUntil('the reshard', async () => (await stepOf(id)) === 'keeping_back')
            for (let count = 0; count < 10; count += 1) await one.write()
            assert.equal(await moves.wish(id, 'undo', ['keeping_back']), true)
            await one.writeUntil('the way back', async () => (await stepOf(id)) === 'undone')
            await one.check(three)
            assert.equal(await one.indexesOn(), 2)
            await mover.stop()
          })

        await t.test('a plain index is spread, and a spread one becomes plain', async () => {
          const one = await world('plain', 3, null)
          const mover = startMover(one.moverDeps('m3'))
          const { id } = await one.reshard(four, 0)
          await one.writeUntil('the spreading', async () => (await stepOf(id)) === 'closed')
          await one.check(four)
          const back = await one.reshard(null, 0)
          await one.writeUntil('the way back', async () => (await stepOf(back.id)) === 'closed')
          await one.check(null)
          assert.equal(await one.indexesOn(), 1)
          await mover.stop()
        })

        if (isInMemory)
          await t.test(
            'what would be done is said without doing it, and an index that lies so already stays',
            async () => {
              const one = await world('planned', 4, three)
              const deps = { ...store, keepsPayloads: true, clock: systemClock, random: seededRandom(1) }
              const { route } = await one.route()
              const options = { keepMs: 0, bytesPerSecond: null }
              const plan = await planReshard(deps, { index: route.index, spread: four, options })
              must('places' in plan, JSON.stringify(plan))
              assert.deepEqual(plan.places, [
                { node: 'n0', shards: [0, 1, 2, 3] },
                { node: 'n1', shards: [0, 1, 2, 3] },
              ])
              assert.ok('refusal' in (await planReshard(deps, { index: route.index, spread: three, options })))
              assert.equal((await one.standing()).beside, null)
            },
          )

        await t.test(
          'a worker that dies at any point of a reshard leaves the index whole, and another one ends it',
          async () => {
            let points = 0
            // Odd strides: every other worker dies before its write is done, the others behind it.
            const stride = isInMemory ? 7 : 11
            for (let point = stride; ; point += stride) {
              const one = await world(`dies${point}`, 100 + point, three)
              const { id } = await one.reshard(four, 0)
              const first = dyingWorker(one.moverDeps(`dies-${point}`), point)
              const mover = startMover(first.deps)
              const isOver = async () => isEnded((await stepOf(id)) ?? 'failed')
              await one.writeUntil('the first worker', async () => first.isDead() || (await isOver()))
              if (!first.isDead()) {
                await mover.stop()
                points = point - stride
                break
              }
              const second = startMover(one.moverDeps(`lives-${point}`))
              await one.writeUntil('the second worker', isOver)
              assert.equal(await stepOf(id), 'closed', `dead at point ${point}`)
              await one.check(four)
              assert.equal(await one.indexesOn(), 2, `dead at point ${point}`)
              // It waits for its store for ever.
              void mover.stop()
              await second.stop()
            }
            assert.ok(points >= 10, `only ${points} points`)
          },
        )

        if (isInMemory)
          await t.test('a reshard is cancelled before its switch, and leaves nothing behind', async () => {
            const one = await world('cancelled', 5, three)
            const { id } = await one.reshard(four, 0)
            const deps = one.moverDeps('m5')
            const mover = startMover({
              ...deps,
              replicas: {
                ...deps.replicas,
                // It is copied, and never begins to catch up.
                changeReplica: async (index, replica, change) =>
                  change.kind === 'begin' ? 'needed' : deps.replicas.changeReplica(index, replica, change),
              },
            })
            await one.writeUntil('the copy', async () => ((await moves.get(id))?.progress.attempts ?? 0) > 0)
            await moves.wish(id, 'cancel', ['planned', 'copying', 'clearing'])
            await one.writeUntil('the cancelling', async () => isEnded((await stepOf(id)) ?? 'planned'))
            await one.check(three)
            assert.equal(await one.indexesOn(), 2)
            await mover.stop()
          })
      } finally {
        await replication.stop()
        await store.close()
      }
    })
  }
}
