/** Moves between real engines while the index is written to, by workers that die at every point of it. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Engine } from '../../src/engine/engine.ts'
import { noSnapshots } from '../../src/engine/engine-snapshots.ts'
import type { Operation } from '../../src/journal/change.ts'
import type { Store } from '../../src/journal/open-store.ts'
import { assert as must } from '../../src/lib/assert.ts'
import { once } from '../../src/lib/byte-stream.ts'
import { systemClock } from '../../src/lib/clock.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import { type Random, seededRandom } from '../../src/lib/random.ts'
import { type MoverDeps, startMover } from '../../src/orchestrator/moves/mover.ts'
import { openMove } from '../../src/orchestrator/moves/open-move.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { startReplication } from '../../src/replication/replication.ts'
import type { Node, Project } from '../../src/store/catalogue.ts'
import type { Move } from '../../src/store/moves.ts'
import { isBusy, isEnded } from '../../src/topology/move-steps.ts'
import { isRead } from '../../src/topology/placement-states.ts'
import { dyingWorker } from './dying-worker.ts'
import { type EngineProcess, engineSources } from './engine-processes.ts'
import { put } from './journal-world.ts'
import { memorySource, postgresSource } from './stores.ts'

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
const signal = () => AbortSignal.timeout(60_000)
const stepMsMax = 60_000

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const ends = Date.now() + stepMsMax; !(await isSo()); ) {
    assert.ok(Date.now() < ends, `${what} takes too long`)
    await systemClock.sleep(10)
  }
}

/** Two nodes, their lanes, and an index with a model of what must be in it. */
class MoveWorld {
  readonly store: Store
  readonly project: Project
  readonly engines: ReadonlyMap<string, Engine>
  readonly uid: string
  readonly model = new Map<number, JsonObject>()
  readonly #random: Random
  #count = 0

  constructor(store: Store, project: Project, engines: ReadonlyMap<string, Engine>, uid: string, random: Random) {
    this.store = store
    this.project = project
    this.engines = engines
    this.uid = uid
    this.#random = random
  }

  engineOf = ({ id }: Pick<Node, 'id'>): Engine => {
    const engine = this.engines.get(id)
    must(engine !== undefined, 'the node has an engine')
    return engine
  }

  async append(operation: Operation, lines: readonly object[] = []): Promise<number> {
    const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    const outcome = await this.store.journal.append({
      ...{ project: this.project.id, uid: this.uid, operation, customMetadata: null },
      ...{ mayCreateIndex: true, refusal: null },
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

  /** One write of some kind. */
  async write(): Promise<void> {
    this.#count += 1
    const id = this.#random.integer(60)
    switch (this.#random.integer(5)) {
      case 0:
        await this.put([{ id, part: this.#count }], true)
        return
      case 1: {
        this.model.delete(id)
        await this.append({ kind: 'documents-delete-by-filter', filter: `id = ${id}` })
        return
      }
      default:
        await this.put([
          { id, title: `thing ${this.#count}`, shade: this.#count % 7 },
          { id: 100 + this.#count, title: `another ${this.#count}` },
        ])
    }
  }

  async settled(task: number): Promise<void> {
    await until(`task ${task}`, async () => (await this.store.journal.task(this.project.id, task))?.finishedAt != null)
  }

  async index() {
    const { indexes } = await this.store.catalogue.snapshot()
    const index = indexes.find(({ uid }) => uid === this.uid)
    must(index !== undefined, 'the index is there')
    return index
  }

  async open(target: string, keepMs: number): Promise<Move> {
    const deps = { ...this.store, clock: systemClock, random: this.#random }
    const index = await this.index()
    const move = await openMove(deps, { index, target, options: { keepMs, bytesPerSecond: null } })
    must(!('refusal' in move), JSON.stringify(move))
    return move
  }

  moverDeps(worker: string): MoverDeps {
    const { moves, replicas, laneJournal, catalogue, gateways } = this.store
    const parts = { moves, replicas, journal: laneJournal, catalogue, gateways, clock: systemClock, log: silent }
    return { ...parts, worker, engineOf: this.engineOf, leaseMs: 900 }
  }

  /** Documents that an engine shows of the index, by id. */
  async documentsOn(node: string): Promise<ReadonlyMap<number, JsonObject>> {
    const standing = await this.store.replicas.standing((await this.index()).id)
    const replica = standing?.replicas.find((one) => one.node === node)
    must(replica !== undefined, `the index is on ${node}`)
    const reply = await this.engineOf({ id: node }).fetchDocuments(replica.physicalUid, { limit: 10_000 }, signal())
    must(reply.kind === 'answered', 'the engine answers')
    return new Map(reply.value.results.map((document) => [Number(document.id), document]))
  }

  /** Writes are no faster than the nodes. */
  async keptUp(): Promise<void> {
    const { id } = await this.index()
    await until('the lanes', async () => {
      const standing = await this.store.replicas.standing(id)
      return standing === undefined || standing.head - standing.completed < 10
    })
  }

  /** At every moment somebody is read who holds everything that is complete (I5). */
  async checkWhole(): Promise<void> {
    const standing = await this.store.replicas.standing((await this.index()).id)
    const readable = standing?.replicas.filter(isRead) ?? []
    assert.ok(readable.length > 0, 'some replica is read')
    for (const { node, applied } of readable) assert.ok(applied >= (standing?.completed ?? 0), `${node} is behind`)
  }

  async checkContents(node: string): Promise<void> {
    await this.settled(await this.put([{ id: 1_000_000, title: 'the last' }]))
    const sorted = (documents: ReadonlyMap<number, JsonObject>) => [...documents].sort(([a], [b]) => a - b)
    assert.deepEqual(sorted(await this.documentsOn(node)), sorted(this.model))
  }

  async nodes(): Promise<readonly string[]> {
    const standing = await this.store.replicas.standing((await this.index()).id)
    return (standing?.replicas ?? []).map(({ node, state }) => `${node} ${state}`)
  }

  async indexesOn(node: string): Promise<readonly string[]> {
    const reply = await this.engineOf({ id: node }).indexes(signal())
    must(reply.kind === 'answered', 'the engine answers')
    return reply.value.map(({ uid }) => uid)
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
      // Its own names on the engines, which both stores use.
      const store = await storeSource.open(storeSource.name === 'memory' ? 7 : 8, systemClock)
      await store.migrate()
      const { catalogue, laneJournal } = store
      const organisation = await catalogue.createOrganisation('Acme')
      const project = await catalogue.createProject({ organisation: organisation.id, name: 'books' })
      const byNode = new Map<string, Engine>()
      for (const [at, { engine, url, key }] of engines.entries()) {
        await catalogue.putNode({ id: `n${at}`, engine: 'embedded', url, region: 'local', key })
        // One store's moves go by snapshots of indexes, where the engine has them, the other's by documents.
        const isStreamed = storeSource.name === 'PostgreSQL'
        byNode.set(`n${at}`, isStreamed ? streamedOnly(engine) : engine)
      }
      const replication = startReplication({
        worker: 'w',
        journal: laneJournal,
        engineOf: ({ id }) => byNode.get(id)!,
        clock: systemClock,
        random: seededRandom(2),
        log: silent,
        metrics: silentLaneMetrics,
      })
      const world = (uid: string, seed: number) => new MoveWorld(store, project, byNode, uid, seededRandom(seed))
      const begin = async (uid: string, seed: number) => {
        const one = world(uid, seed)
        await one.settled(await one.append({ kind: 'settings', settings: { filterableAttributes: ['id', 'shade'] } }))
        const books = Array.from({ length: 50 }, (_, id) => ({ id, title: `book ${id}`, shade: id % 7 }))
        await one.settled(await one.put(books))
        const [home] = await one.nodes()
        const from = home?.split(' ')[0] ?? ''
        return { one, from, to: from === 'n0' ? 'n1' : 'n0' }
      }
      /** Writes, and looks whether the index is whole, until `isOver`. */
      const writeUntil = async (one: MoveWorld, isOver: () => Promise<boolean>) => {
        await until('the move', async () => {
          await one.write()
          await one.checkWhole()
          await one.keptUp()
          return isOver()
        })
      }
      try {
        await t.test('an index moves under writes, is kept back, and leaves nothing behind', async () => {
          const { one, from, to } = await begin('kept', 1)
          const mover = startMover(one.moverDeps('m1'))
          const { id } = await one.open(to, 300_000)
          const stepOf = async () => (await store.moves.get(id))?.step
          await writeUntil(one, async () => (await stepOf()) === 'keeping_back')
          assert.deepEqual([...(await one.nodes())].sort(), [`${from} standby`, `${to} active`].sort())
          await one.write()
          await one.checkContents(to)
          await until('the old replica', async () => {
            const kept = await one.documentsOn(from)
            return kept.size === one.model.size
          })
          assert.equal(await store.moves.wish(id, 'close', ['keeping_back']), true)
          await until('the close', async () => (await stepOf()) === 'closed')
          assert.deepEqual(await one.nodes(), [`${to} active`])
          assert.equal(
            (await one.indexesOn(from)).some((uid) => uid.endsWith('_kept')),
            false,
          )
          await mover.stop()
        })

        await t.test('a move is undone behind its switch, with what was written since', async () => {
          const { one, from, to } = await begin('undone', 2)
          const mover = startMover(one.moverDeps('m2'))
          const { id } = await one.open(to, 300_000)
          await writeUntil(one, async () => (await store.moves.get(id))?.step === 'keeping_back')
          for (let count = 0; count < 5; count += 1) await one.write()
          assert.equal(await store.moves.wish(id, 'undo', ['keeping_back']), true)
          await writeUntil(one, async () => (await store.moves.get(id))?.step === 'undone')
          assert.deepEqual(await one.nodes(), [`${from} active`])
          await one.checkContents(from)
          await mover.stop()
        })

        // What is kept back may be the last copy that lives.
        await t.test('what is kept back does not go while the new node is away', async () => {
          const { one, from, to } = await begin('away', 21)
          const { id } = await one.open(to, 300_000)
          const away = awayNode(one.moverDeps('m21'), to)
          const mover = startMover(away.deps)
          await until('the switch', async () => (await store.moves.get(id))?.step === 'keeping_back')
          away.isAway = true
          assert.equal(await store.moves.wish(id, 'close', ['keeping_back']), true)
          await until('the failure', async () => (await store.moves.get(id))?.failure != null)
          assert.deepEqual([...(await one.nodes())].sort(), [`${from} standby`, `${to} active`].sort())
          away.isAway = false
          await until('the close', async () => (await store.moves.get(id))?.step === 'closed')
          assert.deepEqual(await one.nodes(), [`${to} active`])
          await mover.stop()
        })

        await t.test('a switch to a node that does not come back is given up', async () => {
          const { one, from, to } = await begin('never', 22)
          const { id } = await one.open(to, 300_000)
          const away = awayNode(one.moverDeps('m22'), to)
          away.isAway = true
          const mover = startMover(away.deps)
          await until('the failure', async () => (await store.moves.get(id))?.failure != null)
          assert.equal(await store.moves.wish(id, 'cancel', ['switching']), true)
          await until('the end', async () => (await store.moves.get(id))?.step === 'undone')
          assert.deepEqual(await one.nodes(), [`${from} active`])
          await one.checkContents(from)
          await mover.stop()
        })

        await t.test('a move is undone when its new replica is gone', async () => {
          const { one, from, to } = await begin('gone', 23)
          const { id } = await one.open(to, 300_000)
          const deps = one.moverDeps('m23')
          let isGone = false
          // As if the node had been removed by force.
          const standing: MoverDeps['replicas']['standing'] = async (index) => {
            const found = await deps.replicas.standing(index)
            return found && isGone ? { ...found, replicas: found.replicas.filter(({ node }) => node !== to) } : found
          }
          const mover = startMover({ ...deps, replicas: { ...deps.replicas, standing } })
          await until('the switch', async () => (await store.moves.get(id))?.step === 'keeping_back')
          isGone = true
          assert.equal(await store.moves.wish(id, 'undo', ['keeping_back']), true)
          await until('the end', async () => (await store.moves.get(id))?.step === 'undone')
          assert.ok((await one.nodes()).includes(`${from} active`))
          await mover.stop()
        })

        await t.test('a move is paused, goes on, and is cancelled before its switch', async () => {
          const { one, from, to } = await begin('cancelled', 3)
          const { id } = await one.open(to, 0)
          assert.equal(await store.moves.setPaused(id, true), true)
          const mover = startMover(one.moverDeps('m3'))
          for (let count = 0; count < 20; count += 1) await one.write()
          assert.equal((await store.moves.get(id))?.step, 'planned')
          assert.equal(await store.moves.wish(id, 'cancel', ['planned']), true)
          await writeUntil(one, async () => (await store.moves.get(id))?.step === 'cancelled')
          assert.deepEqual(await one.nodes(), [`${from} active`])
          await one.checkContents(from)
          await mover.stop()
        })

        await t.test('what differs on the new node is noticed, copied anew, and the move goes on', async () => {
          const { one, to } = await begin('repaired', 4)
          const { id } = await one.open(to, 0)
          const deps = one.moverDeps('m4')
          let isSpoilt = false
          // Before the lane begins: it would notice a task that is none of its own.
          const spoil = async () => {
            isSpoilt = true
            const standing = await store.replicas.standing((await one.index()).id)
            const replica = standing?.replicas.find(({ node }) => node === to)
            must(replica !== undefined, 'the copy is there')
            const options = { merge: true, primaryKey: 'id', mark: '' }
            const line = once(Buffer.from('{"id":3,"shade":77}\n'))
            const reply = await one.engineOf({ id: to }).putDocuments(replica.physicalUid, options, line, signal())
            must(reply.kind === 'answered', 'the engine takes it')
            await until('the damage', async () => (await one.documentsOn(to)).get(3)?.shade === 77)
          }
          const replicas: MoverDeps['replicas'] = {
            ...deps.replicas,
            changeReplica: async (index, node, change) => {
              if (change.kind === 'begin' && !isSpoilt) await spoil()
              return deps.replicas.changeReplica(index, node, change)
            },
          }
          const mover = startMover({ ...deps, replicas })
          await until('the move', async () => (await store.moves.get(id))?.step === 'closed')
          assert.equal(isSpoilt, true)
          assert.equal((await store.moves.get(id))?.progress.attempts, 1)
          await one.checkContents(to)
          await mover.stop()
        })

        await t.test('moves beyond those that a node takes part in at once wait for their turn', async () => {
          const worlds = [await begin('turn1', 11), await begin('turn2', 12), await begin('turn3', 13)]
          const ids: string[] = []
          for (const { one, to } of worlds) ids.push((await one.open(to, 0)).id)
          const mover = startMover(worlds[0]!.one.moverDeps('m5'))
          let most = 0
          await until('the moves', async () => {
            const moves = await Promise.all(ids.map((id) => store.moves.get(id)))
            most = Math.max(most, moves.filter((move) => move !== undefined && isBusy(move.step)).length)
            return moves.every((move) => move?.step === 'closed')
          })
          assert.ok(most <= 2, `${most} at once`)
          for (const { one, to } of worlds) await one.checkContents(to)
          await mover.stop()
        })

        await t.test('a worker that dies at any point of a move leaves it whole, and another one ends it', async () => {
          let points = 0
          // Odd strides: every other worker dies before its write is done, the others behind it.
          const stride = storeSource.name === 'memory' ? 3 : 5
          for (let point = stride; ; point += stride) {
            const { one, to } = await begin(`dies${point}`, 100 + point)
            const { id } = await one.open(to, 0)
            const first = dyingWorker(one.moverDeps(`dies-${point}`), point)
            const mover = startMover(first.deps)
            const isOver = async () => isEnded((await store.moves.get(id))?.step ?? 'failed')
            await writeUntil(one, async () => first.isDead() || (await isOver()))
            if (!first.isDead()) {
              await mover.stop()
              points = point - stride
              break
            }
            await one.checkWhole()
            const second = startMover(one.moverDeps(`lives-${point}`))
            await writeUntil(one, isOver)
            assert.equal((await store.moves.get(id))?.step, 'closed', `dead at point ${point}`)
            assert.deepEqual(await one.nodes(), [`${to} active`])
            await one.checkContents(to)
            // It waits for its store for ever.
            void mover.stop()
            await second.stop()
          }
          assert.ok(points >= 10, `only ${points} points`)
        })
      } finally {
        await replication.stop()
        await storeSource.closeStores()
      }
    })
  }
}

/** One node seems dead to the mover while `isAway`. */
function awayNode(deps: MoverDeps, id: string) {
  const away = { isAway: false, deps }
  const engineOf: MoverDeps['engineOf'] = (node) => {
    const engine = deps.engineOf(node)
    if (node.id !== id || !away.isAway) return engine
    return withMember(engine, 'health', async () => ({ kind: 'failed', reason: 'away' }))
  }
  away.deps = { ...deps, engineOf }
  return away
}

/** The engine without snapshots of single indexes. */
function streamedOnly(engine: Engine): Engine {
  return withMember(engine, 'snapshots', noSnapshots)
}

function withMember<Name extends keyof Engine>(engine: Engine, member: Name, own: Engine[Name]): Engine {
  return new Proxy(engine, {
    get: (target, name) => {
      if (name === member) return own
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
