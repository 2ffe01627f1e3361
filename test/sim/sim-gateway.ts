/**
 * A gateway of the simulator: it takes the routes over late, and clients read whole indexes through it, by the real choice of
 * replicas, hedging and merge, over a network that loses requests and answers.
 */
import { Registry } from 'prom-client'
import { decodeDocumentsQuery } from '../../src/api/documents-query.ts'
import { defaultSearchQuery } from '../../src/api/search-query.ts'
import { completeSettings } from '../../src/api/settings.ts'
import { loadConfig } from '../../src/config/config.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import type { Random } from '../../src/lib/random.ts'
import { listDocuments } from '../../src/search/documents.ts'
import { NodesDisagree, type ReadOptions, type SearchedIndex } from '../../src/search/leg.ts'
import { narrow } from '../../src/search/narrowing.ts'
import { searchIndex } from '../../src/search/search-index.ts'
import type { IndexEntry, Placement } from '../../src/store/catalogue.ts'
import { isRead, servedShards } from '../../src/topology/placement-states.ts'
import { jsonRequest } from '../../src/upstream/ask.ts'
import type { AnswerReceiver, NodeRequest } from '../../src/upstream/connection-pool.ts'
import { FleetHealth } from '../../src/upstream/node-health.ts'
import type { NodeLink } from '../../src/upstream/read-attempt.ts'
import { isReadAsBefore, readableReplicas } from '../../src/upstream/readable-replicas.ts'
import { LegLost, type ReadPlan, type ReadRun } from '../../src/upstream/replica-read.ts'
import { createReplicaReader, type ReplicaReader } from '../../src/upstream/replica-reader.ts'
import type { Model } from './model.ts'
import type { Scheduler } from './scheduler.ts'
import type { NetworkFaults } from './sim-engine.ts'
import type { SimNode } from './sim-node.ts'
import { SimProcess } from './sim-process.ts'
import { answerRead } from './sim-reads.ts'
import type { SimStore } from './sim-store.ts'

const { cluster } = loadConfig({ env: {}, flags: {} })
const settings = completeSettings({})
const documentsQuery = decodeDocumentsQuery({})
const answerMsMax = 30_000
const rereadsMax = 2
/** A node that is well again is asked again within this time, whatever was known of it. */
const recoveryMs = 6_000

export interface SimGatewayDeps {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly store: SimStore
  readonly nodes: ReadonlyMap<string, SimNode>
  readonly model: Model
  readonly faults: Readonly<NetworkFaults>
}

/** As the gateway took them over. */
interface Routes {
  readonly indexes: readonly IndexEntry[]
  readonly placements: readonly Placement[]
  readonly takenAt: number
  /** How far each index was complete. */
  readonly completed: ReadonlyMap<string, number>
}

/** Some shards have no replica: the client is told so, and gets nothing. */
class ShardsAway extends Error {}

export class SimGateway {
  readonly #deps: SimGatewayDeps
  readonly process: SimProcess
  readonly #health: FleetHealth
  readonly #reader: ReplicaReader<string>
  #routes: Routes = { indexes: [], placements: [], takenAt: 0, completed: new Map() }
  /** When it last reached a node again. */
  #linkedSince = 0
  isOver = false

  constructor(deps: SimGatewayDeps) {
    this.#deps = deps
    const { scheduler, random, store } = deps
    this.process = new SimProcess('g1', scheduler)
    const { clock } = this.process
    const nodes = () => store.nodes.values()
    this.#health = new FleetHealth({
      ...{ options: cluster.health, nodes, clock, timers: scheduler, random },
      connect: ({ id }) => this.#link(id),
    })
    this.#reader = createReplicaReader({
      ...{ options: cluster, health: this.#health, nodes, clock, timers: scheduler, random, registry: new Registry() },
    })
    this.#health.start()
    const isLazy = random.float() < 0.5
    const follow = async () => {
      if (this.isOver) return
      await this.#takeOver()
      scheduler.after(random.integer(isLazy ? 3_000 : 300), () => void follow())
    }
    scheduler.after(0, () => void follow())
    // It may not hear of it.
    store.onRoutesAsked(() => {
      if (!this.isOver && random.float() < 0.7) scheduler.after(random.integer(20), () => void this.#takeOver())
    })
  }

  /** What it reads by; may be old. */
  get placements(): readonly Placement[] {
    return this.#routes.placements
  }

  /** It reaches the node again, if it did not. */
  mend(node: string): void {
    if (this.process.links.delete(node)) this.#linkedSince = this.#deps.scheduler.now
  }

  stop(): void {
    this.isOver = true
    this.#health.stop()
  }

  async #takeOver(): Promise<void> {
    const { store, model, scheduler } = this.#deps
    const completed = model.completed()
    const { version, indexes, placements } = await store.routes()
    this.#routes = { indexes, placements, takenAt: scheduler.now, completed }
    await store.beat('g1', version)
  }

  /** A client reads all of one index. */
  async read(): Promise<void> {
    const { random } = this.#deps
    const { indexes } = this.#routes
    const index = indexes[random.integer(Math.max(1, indexes.length))]
    if (index !== undefined) await this.#readIndex(index, false)
  }

  /** When everything is delivered and nothing fails: every index is answered, and shows what it must. */
  async readAll(): Promise<void> {
    await this.#takeOver()
    for (const index of this.#routes.indexes) await this.#readIndex(index, true)
  }

  /** Whether one of these is not as it was, by the newest routes. */
  #isOutdated(before: readonly Placement[]): boolean {
    const now = this.#routes.placements
    return before.filter(isRead).some((one) => {
      const { node, physicalUid } = one
      return !isReadAsBefore({ node, physicalUid, shards: servedShards(one) }, before, now)
    })
  }

  async #readIndex(index: IndexEntry, isSettled: boolean, again = 0): Promise<void> {
    const { random, store, model, scheduler, nodes } = this.#deps
    const routes = this.#routes
    const placements = routes.placements.filter((placement) => placement.index === index.id)
    const replicas = readableReplicas(placements, (id) => store.nodes.get(id))
    const isTrusted = () =>
      replicas.every(({ node }) => !nodes.get(node)!.isDoubtful && nodes.get(node)!.adoptedAt < routes.takenAt)
    const isList = random.float() < 0.5
    const wasTrusted = isTrusted()
    const beganAt = scheduler.now
    const shards = Array.from({ length: index.spread?.shards ?? 1 }, (_, shard) => shard)
    const { signal } = new AbortController()
    const run = async (tools: ReadRun) => {
      const plan = await tools.plan(replicas, shards)
      const asked = [...plan.legs.flatMap((leg) => leg.shards), ...plan.missing].sort((a, b) => a - b)
      if (asked.join() !== shards.join()) model.note(`${index.id}: a read answers the shards ${asked}`)
      if (plan.missing.length > 0) throw new ShardsAway()
      const options = optionsOf(index, plan, signal)
      const searched = searchedIndex(index, plan)
      return isList
        ? listDocuments(searched, documentsQuery, options)
        : searchIndex(searched, defaultSearchQuery, options)
    }
    try {
      const text = await this.#reader.read(run, {
        ...{ operation: 'documents', signal, answerBytesMax: 1_000_000 },
        connect: (node) => this.#pooled(node),
        deadlineAt: beganAt + answerMsMax,
      })
      // As gateways do (`PlannedIndexes.isOutdated`), it reads again when what it read from may not be read any more.
      if (routes !== this.#routes && this.#isOutdated(placements)) {
        // It may lie otherwise by now.
        const now = this.#routes.indexes.find(({ id }) => id === index.id)
        if (now !== undefined && again < rereadsMax) await this.#readIndex(now, isSettled, again + 1)
        return
      }
      const answer = JSON.parse(text)
      await model.checkAnswer(index.id, {
        hits: (isList ? answer.results : answer.hits) as readonly JsonObject[],
        total: (isList ? answer.total : answer.estimatedTotalHits) as number,
        completed: routes.completed.get(index.id) ?? 0,
        isTrusted: wasTrusted && isTrusted(),
        isSettled,
      })
    } catch (error) {
      if (this.isOver) return
      if (isSettled) return model.note(`${index.id}: in the end, a read is refused: ${error}`)
      const isLate = error instanceof LegLost || error instanceof ShardsAway
      if (!isLate && !(error instanceof NodesDisagree)) model.note(`${index.id}: a read ends with ${error}`)
      if (isLate && wasTrusted && isTrusted() && this.#isServed(replicas, shards, beganAt))
        model.note(`${index.id}: a read of shards that nodes hold is refused since ${beganAt}: ${error}`)
    }
  }

  /** All the time somebody held each shard who was well, and the network lost nothing. */
  #isServed(
    replicas: readonly { readonly node: string; readonly shards: readonly number[]; readonly physicalUid: string }[],
    shards: readonly number[],
    sinceMs: number,
  ): boolean {
    const { nodes, faults } = this.#deps
    if (faults.lostRequest + faults.lostReply > 0) return false
    if (this.process.links.size > 0 || this.#linkedSince + recoveryMs >= sinceMs) return false
    const isWell = ({ node: id, physicalUid }: { readonly node: string; readonly physicalUid: string }) => {
      const node = nodes.get(id)!
      const isAnswering = node.isUp && !node.isStopped && node.slowness < 5
      return isAnswering && node.wellSince + recoveryMs < sinceMs && node.disk.indexes.has(physicalUid)
    }
    const held = new Set(replicas.filter(isWell).flatMap((replica) => replica.shards))
    return shards.every((shard) => held.has(shard))
  }

  // ---- The network ----

  /** As pools do, it tells how requests end. */
  #pooled(id: string): NodeLink {
    const link = this.#link(id)
    const health = this.#health
    return {
      send: (request, receiver) => {
        const sentAt = this.#deps.scheduler.now
        return link.send(request, {
          onHead: (status, headers) => receiver.onHead(status, headers),
          onData: (piece) => receiver.onData(piece),
          onEnd: () => {
            health.answered(id)
            receiver.onEnd()
          },
          onFailure: (failure) => {
            if (failure.kind !== 'aborted') health.failed(id, sentAt)
            receiver.onFailure(failure)
          },
        })
      },
    }
  }

  #link(id: string): NodeLink {
    return { send: (request, receiver) => this.#send(this.#deps.nodes.get(id)!, request, receiver) }
  }

  #send(node: SimNode, request: NodeRequest, receiver: AnswerReceiver): { abort(reason: string): void } {
    const { scheduler, random, faults } = this.#deps
    let isOver = false
    const end = (run: () => void) => {
      if (isOver) return
      isOver = true
      run()
    }
    const lost = () => end(() => receiver.onFailure({ kind: 'lost', reason: 'ECONNRESET' }))
    const luck = random.float()
    const there = (1 + random.integer(4)) * node.slowness
    const back = (1 + random.integer(4)) * node.slowness
    const arrive = () => {
      if (isOver) return
      if (node.isStopped) return node.whenResumed(arrive)
      if (!node.isUp) return end(() => receiver.onFailure({ kind: 'unreachable', reason: 'ECONNREFUSED' }))
      const { status, body } = answerRead(node, request.path, request.body)
      scheduler.after(back, () => {
        if (luck > 1 - faults.lostReply) return lost()
        end(() => {
          receiver.onHead(status, [])
          receiver.onData(Buffer.from(JSON.stringify(body)))
          receiver.onEnd()
        })
      })
    }
    // Who is cut off hears nothing at all.
    if (!this.process.links.has(node.id)) scheduler.after(there, luck < faults.lostRequest ? lost : arrive)
    return { abort: (reason) => end(() => receiver.onFailure({ kind: 'aborted', reason })) }
  }
}

type Plan = ReadPlan<ReturnType<typeof readableReplicas>[number]>

function searchedIndex({ uid, spread, primaryKey }: IndexEntry, { legs }: Plan): SearchedIndex {
  const coverage = legs.map(({ replica, shards, isWhole }) => ({ id: targetOf(replica), shards, isWhole }))
  return {
    uid,
    settings,
    primaryKey,
    coverage,
    spread: spread && { shards: spread.shards },
    rules: [],
    pinPositions: [],
  }
}

const targetOf = ({ node, physicalUid }: { readonly node: string; readonly physicalUid: string }): string =>
  `${node} ${physicalUid}`

function optionsOf({ uid }: IndexEntry, plan: Plan, signal: AbortSignal): ReadOptions {
  const legs = new Map(plan.legs.map((leg) => [targetOf(leg.replica), leg]))
  return {
    ask: async ({ target, method, path, body }) => {
      const reply = await plan.ask(legs.get(target)!, ({ physicalUid }) =>
        jsonRequest(method, path.replace(`/indexes/${uid}/`, `/indexes/${physicalUid}/`), body),
      )
      return { status: reply.status, body: reply.body.toString() }
    },
    signal,
    narrow,
    newUid: () => 'uid',
    withMetadata: false,
  }
}
