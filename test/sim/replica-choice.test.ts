/** Reads over a simulated fleet: who is asked while nodes are slow, dead or hang, and what clients notice of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Registry } from 'prom-client'
import { type Config, loadConfig } from '../../src/config/config.ts'
import { type Random, seededRandom } from '../../src/lib/random.ts'
import type { Node, NodeId, Placement } from '../../src/store/catalogue.ts'
import { ownersOf } from '../../src/topology/rendezvous.ts'
import { FleetHealth } from '../../src/upstream/node-health.ts'
import type { NodeLink } from '../../src/upstream/read-attempt.ts'
import { type ReadableReplica, readableReplicas } from '../../src/upstream/readable-replicas.ts'
import { LegLost } from '../../src/upstream/replica-read.ts'
import { createReplicaReader, type ReplicaReader } from '../../src/upstream/replica-reader.ts'
import { Scheduler } from './scheduler.ts'

const seed = Number(process.env.SEED ?? 7)
const { cluster } = loadConfig({ env: {}, flags: {} })

interface Behaviour {
  /** Added to each answer, milliseconds. */
  delayMs: number
  factor: number
  state: 'alive' | 'dead' | 'hanging'
}

interface Read {
  readonly at: number
  readonly tookMs: number
  readonly isWhole: boolean
}

function shardsOf(id: NodeId, members: readonly NodeId[], copies: number): readonly number[] {
  return Array.from({ length: 16 }, (_, shard) => shard).filter((shard) =>
    ownersOf(shard, members, copies).includes(id),
  )
}

class SimFleet {
  readonly time = new Scheduler()
  readonly metrics = new Registry()
  readonly random: Random
  readonly nodes: readonly Node[]
  readonly behaviour: ReadonlyMap<NodeId, Behaviour>
  readonly health: FleetHealth
  readonly reads: Read[] = []
  readonly requests: { readonly at: number; readonly node: NodeId }[] = []
  readonly #replicas: readonly ReadableReplica[]
  readonly #options: Config['cluster']
  readonly #reader: ReplicaReader<string>
  #isStopped = false

  constructor(
    groups: Readonly<Record<NodeId, number>>,
    options: Partial<Config['cluster']> = {},
    /** Of each shard in a group. */
    copies = 16,
    ownSeed = seed,
  ) {
    this.#options = { ...cluster, ...options }
    this.random = seededRandom(ownSeed)
    this.nodes = Object.entries(groups).map(([id, group]) => ({
      id,
      engine: 'embedded',
      url: `http://${id}`,
      region: 'default',
      group,
      capacity: null,
      state: 'active',
      key: null,
    }))
    this.behaviour = new Map(this.nodes.map(({ id }) => [id, { delayMs: 0, factor: 1, state: 'alive' }]))
    const placements = this.nodes.map(
      ({ id, group }): Placement => ({
        index: 'i',
        generation: 1,
        shards: shardsOf(
          id,
          this.nodes.filter((node) => node.group === group).map((node) => node.id),
          copies,
        ),
        node: id,
        physicalUid: 'index',
        state: 'active',
        applied: 0,
        revision: 0,
      }),
    )
    this.#replicas = readableReplicas(placements, (id) => this.nodes.find((node) => node.id === id))
    const clock = this.time.clock(() => false)
    const { random, time } = this
    this.health = new FleetHealth({
      options: this.#options.health,
      connect: (node) => this.#link(node.id, 1),
      nodes: () => this.nodes,
      clock,
      timers: time,
      random,
    })
    this.#reader = createReplicaReader({
      options: this.#options,
      health: this.health,
      clock,
      timers: time,
      random,
      registry: this.metrics,
      nodes: () => this.nodes,
    })
  }

  node(id: NodeId): Behaviour {
    return this.behaviour.get(id)!
  }

  /** Clients search at random moments until the time is over. */
  async run(forMs: number, perSecond = 60): Promise<void> {
    this.health.start()
    const endAt = this.time.now + forMs
    const arrive = () => {
      if (this.#isStopped) return
      this.#read()
      this.time.after((-Math.log(1 - this.random.float()) * 1_000) / perSecond, arrive)
    }
    arrive()
    await this.time.run(endAt)
  }

  async finish(): Promise<void> {
    this.#isStopped = true
    await this.time.run(this.time.now + 30_000)
    this.health.stop()
  }

  /** Part of all requests that a node got between two moments. */
  share(id: NodeId, fromMs: number, toMs: number): number {
    const within = this.requests.filter(({ at }) => at >= fromMs && at < toMs)
    return within.filter(({ node }) => node === id).length / within.length
  }

  /** 99th of 100 latencies of clients. */
  p99(fromMs: number, toMs: number): number {
    const took = this.reads.filter(({ at }) => at >= fromMs && at < toMs).map(({ tookMs }) => tookMs)
    return took.sort((a, b) => a - b)[Math.ceil(took.length * 0.99) - 1]!
  }

  #read(): void {
    const at = this.time.now
    const targets = [...new Set(this.#replicas.flatMap(({ shards }) => shards))]
    const reading = this.#reader.read(
      async ({ plan }) => {
        const { legs, missing, ask } = await plan(this.#replicas, targets)
        await Promise.all(
          legs.map((leg) => ask(leg, () => ({ method: 'POST', path: '/search', headers: [], body: null }))),
        )
        const shards = [...legs.flatMap((leg) => leg.shards), ...missing]
        assert.deepEqual(shards.sort(), [...targets].sort(), `seed ${seed}: every shard once`)
        return missing.length === 0
      },
      {
        connect: (node) => {
          this.requests.push({ at: this.time.now, node })
          return this.#pooled(node)
        },
        operation: 'search',
        deadlineAt: at + 30_000,
        answerBytesMax: 1_000,
        signal: new AbortController().signal,
      },
    )
    void reading
      .catch((error: unknown) => {
        assert(error instanceof LegLost, String(error))
        return false
      })
      .then((isWhole) => this.reads.push({ at, tookMs: this.time.now - at, isWhole }))
  }

  /** As pools do, it tells how requests end. */
  #pooled(id: NodeId): NodeLink {
    const link = this.#link(id, 10)
    return {
      send: (request, receiver) => {
        const sentAt = this.time.now
        return link.send(request, {
          onHead: (status, headers) => receiver.onHead(status, headers),
          onData: (piece) => receiver.onData(piece),
          onEnd: () => {
            this.health.answered(id)
            receiver.onEnd()
          },
          onFailure: (failure) => {
            if (failure.kind !== 'aborted') this.health.failed(id, sentAt)
            receiver.onFailure(failure)
          },
        })
      },
    }
  }

  #link(id: NodeId, usualMs: number): NodeLink {
    return {
      send: (_request, receiver) => {
        const { delayMs, factor, state } = this.node(id)
        // One in fifty takes three times as long.
        const tail = this.random.float() < 0.02 ? 3 : 1
        const tookMs = delayMs + usualMs * factor * tail * (0.7 + 0.6 * this.random.float())
        let isOver = false
        const after = (ms: number, run: () => void) =>
          this.time.after(ms, () => {
            // A node that hangs says nothing, whenever it was asked.
            if (isOver || this.node(id).state === 'hanging') return
            isOver = true
            run()
          })
        if (state === 'dead') after(0.2, () => receiver.onFailure({ kind: 'unreachable', reason: 'ECONNREFUSED' }))
        if (state === 'alive') {
          after(tookMs, () => {
            if (this.node(id).state === 'dead') return receiver.onFailure({ kind: 'lost', reason: 'ECONNRESET' })
            receiver.onHead(200, [])
            receiver.onEnd()
          })
        }
        return {
          abort(reason) {
            if (isOver) return
            isOver = true
            receiver.onFailure({ kind: 'aborted', reason })
          },
        }
      },
    }
  }
}

test('a node that slows down loses its share within 15 s, and has it again within 60 s of its recovery', async () => {
  for (const nodes of [
    { a: 0, b: 0 },
    { a: 0, b: 0, c: 0 },
    { a: 0, b: 1 },
  ]) {
    const fleet = new SimFleet(nodes)
    await fleet.run(20_000)
    const usual = 1 / fleet.nodes.length
    const before = fleet.share('a', 5_000, 20_000)
    const label = `seed ${seed}, ${JSON.stringify(nodes)}, before ${before}`
    assert.ok(before > 0.6 * usual, label)
    fleet.node('a').factor = 10
    await fleet.time.run(60_000)
    const slow = fleet.share('a', 30_000, 35_000)
    assert.ok(slow < 0.1 * usual, `${label}: ${slow} while slow`)
    assert.ok(fleet.share('a', 35_000, 60_000) > 0, `${label}: never looked at again`)
    fleet.node('a').factor = 1
    await fleet.time.run(120_000)
    const again = Math.max(...[70, 80, 90, 100, 110].map((s) => fleet.share('a', s * 1_000, (s + 10) * 1_000)))
    assert.ok(again > 0.8 * usual, `${label}: ${again} after its recovery`)
    await fleet.finish()
    assert.ok(fleet.reads.every(({ isWhole }) => isWhole))
  }
})

/** The share of each that is slow is hedged alone in the first, and by a second plan for all in the second. */
const layouts = {
  'two nodes that hold everything': { nodes: { a: 0, b: 0 }, copies: 2 },
  'two groups of three nodes with two copies': { nodes: { a: 0, b: 0, c: 0, d: 1, e: 1, f: 1 }, copies: 2 },
}

test('hedging cuts the 99th percentile with one slow node by five times, and costs a healthy fleet less than a tenth', async () => {
  for (const [layout, { nodes, copies }] of Object.entries(layouts)) {
    const measure = async (enabled: boolean) => {
      // The slow node is left alone but for explorations: of these there are more than usual, so that a short run shows them.
      const replicaSelection = { ...cluster.replicaSelection, explorationEpsilon: 0.1 }
      const fleet = new SimFleet(nodes, { hedging: { ...cluster.hedging, enabled }, replicaSelection }, copies)
      await fleet.run(15_000)
      const healthy = { p99: fleet.p99(5_000, 15_000), requests: fleet.requests.length / fleet.reads.length }
      fleet.node('a').delayMs = 500
      await fleet.time.run(45_000)
      const slow = { p99: fleet.p99(25_000, 45_000) }
      await fleet.finish()
      return { healthy, slow, metrics: await fleet.metrics.metrics() }
    }
    const without = await measure(false)
    const hedged = await measure(true)
    const label = `seed ${seed}, ${layout}: ${JSON.stringify([without.healthy, without.slow, hedged.healthy, hedged.slow])}`
    assert.ok(without.slow.p99 >= 5 * hedged.slow.p99, label)
    assert.ok(hedged.healthy.requests < 1.1 * without.healthy.requests, label)
  }
})

test('a node that dies or hangs under load costs no read, also while it comes and goes', async () => {
  for (const trouble of ['dead', 'hanging'] as const) {
    const fleet = new SimFleet({ a: 0, b: 0, c: 0, d: 1, e: 1, f: 1 }, {}, 2)
    await fleet.run(5_000)
    for (let turn = 0; turn < 4; turn += 1) {
      fleet.node('a').state = trouble
      await fleet.time.run(fleet.time.now + 12_000)
      assert.equal(fleet.health.state('a'), 'down', `seed ${seed}`)
      fleet.node('a').state = 'alive'
      await fleet.time.run(fleet.time.now + 5_000)
      assert.equal(fleet.health.state('a'), 'up', `seed ${seed}`)
    }
    await fleet.finish()
    assert.equal(fleet.reads.filter(({ isWhole }) => !isWhole).length, 0, `seed ${seed}`)
    // Nobody waits for a node that is known to be down.
    assert.ok(fleet.p99(5_000, 70_000) < 100, `seed ${seed}: ${fleet.p99(5_000, 70_000)}`)
  }
})

test('while every shard has a replica that answers, no read fails, whatever else dies, hangs or is slow', async () => {
  for (let round = 0; round < 4; round += 1) {
    const fleet = new SimFleet({ a: 0, b: 0, c: 0, d: 1, e: 1, f: 1 }, {}, 2, seed + round)
    await fleet.run(5_000, 30)
    for (let turn = 0; turn < 8; turn += 1) {
      // One of the first group at most, of the second anything up to all; only so many hang that a read meets two of them at most.
      const others = ['d', 'e', 'f'].filter(() => fleet.random.integer(2) === 0)
      const states = others.length < 2 ? (['dead', 'hanging', 'alive'] as const) : (['dead', 'dead', 'alive'] as const)
      for (const id of [['a', 'b', 'c'][fleet.random.integer(3)]!, ...others]) {
        const node = fleet.node(id)
        node.state = states[fleet.random.integer(3)]!
        node.delayMs = node.state === 'alive' ? 400 : 0
      }
      await fleet.time.run(fleet.time.now + 1_000 + fleet.random.integer(8_000))
      for (const node of fleet.behaviour.values()) {
        node.state = 'alive'
        node.delayMs = 0
      }
      // Often the next one falls while the one before is not known to be back.
      await fleet.time.run(fleet.time.now + fleet.random.integer(2) * 6_000)
    }
    await fleet.finish()
    const failed = fleet.reads.filter(({ isWhole }) => !isWhole)
    assert.ok(fleet.reads.length > 1_000)
    assert.deepEqual(failed, [], `seed ${seed + round}`)
  }
})
