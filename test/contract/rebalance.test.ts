/** A spread index whose nodes come, go and change places, and that gets more copies and fewer, while clients read and write it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { shardField } from '../../src/api/reserved-fields.ts'
import { loadConfig } from '../../src/config/config.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { startGateway } from '../../src/gateway/gateway.ts'
import { openMemoryStore } from '../../src/journal/open-memory-store.ts'
import { assert as must } from '../../src/lib/assert.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { isObject, type Json, type JsonObject } from '../../src/lib/json.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { startMover } from '../../src/orchestrator/moves/mover.ts'
import { verifyReplicas } from '../../src/orchestrator/moves/verification.ts'
import { readFleet } from '../../src/orchestrator/reconciler/layout-fleet.ts'
import { startReconciler } from '../../src/orchestrator/reconciler/reconciler.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { startReplication } from '../../src/replication/replication.ts'
import type { Node } from '../../src/store/catalogue.ts'
import { planRebalance } from '../../src/topology/rebalance-plan.ts'
import { shardOfKey } from '../../src/topology/rendezvous.ts'
import { type EngineProcess, engineSources } from './engine-processes.ts'

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
const shards = 12
const stepMsMax = 240_000

test('nodes and groups come and go, and copies too, and no request of a client fails', async (t) => {
  const [source] = engineSources()
  must(source !== undefined, 'there is an engine')
  const processes: EngineProcess[] = []
  let world: World | undefined
  try {
    while (processes.length < 5) processes.push(await source.start())
    const one = await World.open(processes)
    world = one
    await one.fill(240)
    const traffic = one.begin()
    const step = (name: string, change: () => Promise<void>, check: () => Promise<void>) =>
      t.test(name, async () => {
        await change()
        await one.settled()
        await check()
        await traffic.pause(() => one.checkWhole())
      })

    await step(
      'a fourth node takes what it wins, in one replica',
      () => one.add('n4', 3, { takesExisting: true }),
      async () => {
        const held = await one.held()
        assert.deepEqual(Object.keys(held).sort(), ['n1', 'n2', 'n3', 'n4'])
        assert.equal((await one.replicas()).filter(({ node }) => node === 'n4').length, 1)
      },
    )
    await step(
      'a node is replaced by another, which takes exactly what it held',
      async () => {
        one.before = await one.held()
        await one.add('n5', 4, { takesExisting: true, seat: 'n2' })
        await one.store.catalogue.setNodeState('n2', 'draining')
      },
      async () => {
        const held = await one.held()
        assert.deepEqual(held.n5, one.before.n2)
        assert.equal(await one.store.catalogue.removeNode('n2', false), 'removed')
      },
    )
    await step(
      'each shard gets a second copy',
      () => one.copies(2),
      async () => assert.deepEqual(await one.copyCounts(0), Array(shards).fill(2)),
    )
    await step(
      'and loses it again',
      () => one.copies(1),
      async () => assert.deepEqual(await one.copyCounts(0), Array(shards).fill(1)),
    )
    await step(
      'a replica group is added',
      // On the disk of the node that was removed.
      () => one.add('n6', 1, { takesExisting: true, group: 1 }),
      async () => assert.deepEqual(await one.copyCounts(1), Array(shards).fill(1)),
    )
    await step(
      'the first replica group goes, and the second serves alone',
      async () => {
        for (const id of ['n1', 'n3', 'n4', 'n5']) await one.store.catalogue.setNodeState(id, 'draining')
      },
      async () => assert.deepEqual(Object.keys(await one.held()), ['n6']),
    )
    const { failed, answered } = await traffic.stop()
    assert.deepEqual(failed, [])
    assert.ok(answered > 50, `${answered} requests`)
  } finally {
    await world?.close()
    await Promise.all(processes.map((one) => one.stop()))
  }
})

/** A machine with much to do is no node that is away. */
function patientCluster() {
  const { cluster } = loadConfig({ env: {}, flags: {} })
  return { ...cluster, scatter: { ...cluster.scatter, nodeTimeoutMs: 60_000 } }
}

interface Traffic {
  /** Nothing is written while this runs. */
  pause(run: () => Promise<void>): Promise<void>
  stop(): Promise<{ readonly failed: readonly string[]; readonly answered: number }>
}

class World {
  readonly store = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
  readonly #processes: readonly EngineProcess[]
  readonly #engines = new Map<string, EngineProcess>()
  readonly #model = new Map<number, JsonObject>()
  readonly #random = seededRandom(3)
  #closers: (() => Promise<unknown>)[] = []
  #url = ''
  #key = ''
  before: Readonly<Record<string, readonly number[]>> = {}

  private constructor(processes: readonly EngineProcess[]) {
    this.#processes = processes
  }

  static async open(processes: readonly EngineProcess[]): Promise<World> {
    const world = new World(processes)
    const { store } = world
    const organisation = await store.catalogue.createOrganisation('Acme')
    const project = await store.catalogue.createProject({ organisation: organisation.id, name: 'shop' })
    world.#key = project.masterKey
    for (const at of [0, 1, 2]) await world.add(`n${at + 1}`, at, { takesExisting: true })
    const shared = { ...store, clock: systemClock, random: seededRandom(2), log: silent, worker: 'w' }
    const parts = { ...shared, journal: store.laneJournal, engineOf: world.engineOf }
    const replication = startReplication({ ...parts, metrics: silentLaneMetrics })
    const mover = startMover(parts)
    const reconciler = startReconciler({ ...shared, lanes: store.laneJournal, keepMs: 300, lookMs: 100 })
    const gateway = await startGateway({
      ...{ httpAddr: '127.0.0.1:0', catalogue: store.catalogue, journal: store.journal, registry: store.gateways },
      ...{
        logger: pino({ level: 'silent' }),
        metrics: new Registry(),
        cluster: patientCluster(),
      },
    })
    world.#url = gateway.url
    world.#closers = [() => gateway.close(), () => reconciler.stop(), () => mover.stop(), () => replication.stop()]
    const outcome = await store.journal.append({
      ...{ project: project.id, uid: 'books', operation: { kind: 'index-create', primaryKey: 'id' }, payload: null },
      ...{
        customMetadata: null,
        mayCreateIndex: true,
        refusal: null,
        spread: { shards, replicationFactor: 1, exactTies: true },
      },
    })
    must(outcome.kind === 'appended', 'the index is created')
    return world
  }

  engineOf = ({ id }: Pick<Node, 'id'>): Engine => {
    const process = this.#engines.get(id)
    must(process !== undefined, `${id} has an engine`)
    return process.engine
  }

  async add(id: string, at: number, more: { takesExisting: true; seat?: string; group?: number }): Promise<void> {
    const process = this.#processes[at]
    must(process !== undefined, 'there is an engine for it')
    this.#engines.set(id, process)
    await this.store.catalogue.putNode({
      ...{ id, engine: 'embedded', url: process.url, region: 'local', key: process.key, ...more },
    })
  }

  async call(method: string, path: string, body?: Json): Promise<{ readonly status: number; readonly body: Json }> {
    const response = await fetch(`${this.#url}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#key}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    })
    return { status: response.status, body: (await response.json()) as Json }
  }

  async #layout() {
    const [layout] = await this.store.replicas.layouts()
    return layout
  }

  async replicas() {
    return (await this.#layout())?.replicas ?? []
  }

  /** Shards by node. */
  async held(): Promise<Readonly<Record<string, readonly number[]>>> {
    const held: Record<string, number[]> = {}
    for (const { node, shards: own } of await this.replicas()) held[node] = [...(held[node] ?? []), ...own]
    return Object.fromEntries(Object.entries(held).map(([node, own]) => [node, own.sort((a, b) => a - b)]))
  }

  async copyCounts(group: number): Promise<readonly number[]> {
    const members = (await this.store.catalogue.nodes()).filter((node) => node.group === group).map(({ id }) => id)
    const counts: number[] = Array(shards).fill(0)
    for (const { node, shards: own } of await this.replicas()) {
      if (members.includes(node)) for (const shard of own) counts[shard]! += 1
    }
    return counts
  }

  async copies(replicationFactor: number): Promise<void> {
    const layout = await this.#layout()
    must(layout !== undefined, 'the index is there')
    await this.store.replicas.want(layout.index, { replicationFactor })
  }

  async write(documents: readonly JsonObject[]): Promise<number> {
    const { status } = await this.call('POST', '/indexes/books/documents', [...documents])
    if (status === 202) for (const document of documents) this.#model.set(Number(document.id), document)
    return status
  }

  async fill(count: number): Promise<void> {
    await this.#until('the index', async () => (await this.call('GET', '/indexes/books')).status === 200)
    const documents = Array.from({ length: count }, (_, id) => ({ id, title: `thing ${id}`, part: 0 }))
    assert.equal(await this.write(documents), 202)
    await this.#caughtUp()
  }

  /** Clients that write and read, and count what fails. */
  begin(): Traffic {
    const failed: string[] = []
    let answered = 0
    let isOver = false
    let paused: Promise<void> | undefined
    let underWay = Promise.resolve()
    let round = 0
    const note = (what: string, { status, body }: { readonly status: number; readonly body?: Json }) => {
      answered += 1
      if (status >= 400) failed.push(`${what}: ${status} ${JSON.stringify(body)}`)
      return status
    }
    const write = async () => {
      round += 1
      const id = this.#random.integer(400)
      note('write', { status: await this.write([{ id, title: `thing ${id}`, part: round }]) })
      if (round % 7 !== 0) return
      const gone = this.#random.integer(400)
      const status = note('delete', await this.call('DELETE', `/indexes/books/documents/${gone}`))
      if (status === 202) this.#model.delete(gone)
    }
    const writing = async () => {
      while (!isOver) {
        await paused
        underWay = write()
        await underWay
        await systemClock.sleep(40)
      }
    }
    const reading = async () => {
      while (!isOver) {
        const found = await this.call('POST', '/indexes/books/search', { q: 'thing', limit: 1_000 })
        const status = note('search', found)
        const { body } = found
        const hits = isObject(body) && Array.isArray(body.hits) ? body.hits : []
        const ids = hits.map((hit) => (isObject(hit) ? Number(hit.id) : Number.NaN))
        if (new Set(ids).size !== ids.length) failed.push('a document came twice')
        if (status === 200 && ids.length < 150) failed.push(`only ${ids.length} documents`)
        await systemClock.sleep(30)
      }
    }
    const running = Promise.all([writing(), reading()])
    return {
      async pause(run) {
        let go = () => {}
        paused = new Promise((resolve) => {
          go = resolve
        })
        // What was sent before is either in the model or not there.
        await underWay
        await run().finally(go)
        paused = undefined
      },
      async stop() {
        isOver = true
        await running
        return { failed, answered }
      },
    }
  }

  async #until(what: string, isSo: () => Promise<boolean>): Promise<void> {
    for (const ends = Date.now() + stepMsMax; !(await isSo()); ) {
      assert.ok(Date.now() < ends, `${what} takes too long`)
      await systemClock.sleep(25)
    }
  }

  /** Everything is where it is wanted, and nothing is on its way. */
  async settled(): Promise<void> {
    const sources = { ...this.store, lanes: this.store.laneJournal, clock: systemClock }
    await this.#until('the placing', async () => {
      const fleet = await readFleet(sources)
      const failed = (await this.store.moves.list({}, 100)).find(({ step }) => step === 'failed')
      assert.equal(failed?.failure, undefined)
      return fleet.open.length === 0 && planRebalance(fleet).moves.length === 0
    })
  }

  async #caughtUp(): Promise<void> {
    const layout = await this.#layout()
    must(layout !== undefined, 'the index is there')
    await this.#until('the lanes', async () => {
      const standing = await this.store.replicas.standing(layout.index)
      return standing?.replicas.every(({ applied }) => applied === standing.head) === true
    })
  }

  /** Every replica holds what was written of its shards and nothing else, and so does the index. */
  async checkWhole(): Promise<void> {
    await this.#caughtUp()
    const layout = await this.#layout()
    const standing = layout && (await this.store.replicas.standing(layout.index))
    must(standing !== undefined, 'the index is there')
    for (const { node, physicalUid, shards: own, hasLeftovers } of standing.replicas) {
      assert.equal(hasLeftovers, undefined, `${node} was trimmed`)
      const reply = await this.engineOf({ id: node }).fetchDocuments(
        physicalUid,
        { limit: 10_000 },
        AbortSignal.timeout(60_000),
      )
      must(reply.kind === 'answered', 'the engine answers')
      const shown = reply.value.results.map(({ id, part, [shardField]: _ }) => `${Number(id)}:${String(part)}`).sort()
      const wanted = [...this.#model.values()].filter(({ id }) => own.includes(shardOfKey(String(id), shards)))
      assert.deepEqual(
        shown,
        wanted.map(({ id, part }) => `${Number(id)}:${String(part)}`).sort(),
        `${node} holds its shards`,
      )
    }
    const { catalogue, replicas } = this.store
    const deps = { replicas, catalogue, engineOf: this.engineOf, clock: systemClock }
    const pairs = await verifyReplicas(deps, standing, AbortSignal.timeout(60_000), () => undefined)
    for (const pair of pairs) assert.deepEqual([pair.differing, pair.settingsDiffer], [[], false])
    const { body } = await this.call('GET', '/indexes/books/documents?limit=10000')
    must(isObject(body) && Array.isArray(body.results), 'documents are listed')
    const ids = body.results.flatMap((one) => (isObject(one) ? [Number(one.id)] : []))
    assert.deepEqual(
      [...ids].sort((a, b) => a - b),
      [...this.#model.keys()].sort((a, b) => a - b),
    )
  }

  async close(): Promise<void> {
    for (const close of this.#closers) await close()
  }
}
