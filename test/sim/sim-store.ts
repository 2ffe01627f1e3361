/**
 * The journal of the simulator: the real one's twin in memory, durable by definition. Workers see it through a side of their
 * own: late, sometimes not at all, sometimes with the answer lost after the commit.
 */
import type { Change, Operation } from '../../src/journal/change.ts'
import { openMemoryStore } from '../../src/journal/open-memory-store.ts'
import type { Store } from '../../src/journal/open-store.ts'
import type { LaneJournal } from '../../src/journal/ports.ts'
import { assert } from '../../src/lib/assert.ts'
import { once } from '../../src/lib/byte-stream.ts'
import { type Random, seededRandom } from '../../src/lib/random.ts'
import type { MoverDeps } from '../../src/orchestrator/moves/mover.ts'
import { openDecided, openMove } from '../../src/orchestrator/moves/open-move.ts'
import { openReshard } from '../../src/orchestrator/reshard/open-reshard.ts'
import type { RoutedGateways } from '../../src/replication/routes-taken.ts'
import type { Node, Placement, Spread } from '../../src/store/catalogue.ts'
import type { Move, Take } from '../../src/store/moves.ts'
import { type CatalogueSnapshot, StoreUnavailable } from '../../src/store/ports.ts'
import { type MoveWish, moveSteps, stepAfter } from '../../src/topology/move-steps.ts'
import { isRead, servedShards } from '../../src/topology/placement-states.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimProcess } from './sim-process.ts'

/** One process's way to the store. */
export interface StoreSide {
  readonly random: Random
  readonly faults: StoreFaults
  readonly process: SimProcess
}

/** Until a statement without an answer is given up. */
const silenceMs = 2_000

export interface StoreFaults {
  unavailable: number
  lostReply: number
}

export interface Write {
  readonly uid: string
  readonly operation: Operation
  readonly lines: readonly unknown[] | null
  /** How the index lies if this creates it. */
  readonly spread: Spread | null
  readonly isRefused: boolean
}

export type Positioned = Change & { readonly index: string; readonly position: number }

export class SimStore {
  readonly #scheduler: Scheduler
  readonly #trace: (text: string) => void
  readonly #store: Store
  readonly #project: string
  readonly nodes: ReadonlyMap<string, Node>
  /** Called when what a worker told may have completed something. */
  onProgress: () => Promise<void> = async () => {}
  /** A worker took the node's disk as it is. */
  onAdopted: (node: string) => void = () => {}
  #taskCount = 0

  private constructor(
    scheduler: Scheduler,
    trace: (text: string) => void,
    { store, project, nodes }: { readonly store: Store; readonly project: string; readonly nodes: readonly Node[] },
  ) {
    this.#scheduler = scheduler
    this.#trace = trace
    this.#store = store
    this.#project = project
    this.nodes = new Map(nodes.map((node) => [node.id, node]))
  }

  /** @param groups  replica group of each node. */
  static async open(options: {
    readonly scheduler: Scheduler
    readonly trace: (text: string) => void
    readonly seed: number
    readonly groups: Readonly<Record<string, number>>
  }): Promise<SimStore> {
    const { scheduler, trace, seed, groups } = options
    const clock = scheduler.clock(() => false)
    const store = openMemoryStore({ clock, random: seededRandom(seed + 1_000_000_007) })
    const organisation = await store.catalogue.createOrganisation('Acme')
    const project = await store.catalogue.createProject({ organisation: organisation.id, name: 'p' })
    const nodes: Node[] = []
    for (const [id, group] of Object.entries(groups)) {
      nodes.push(await store.catalogue.putNode({ id, engine: 'meilisearch', url: id, region: 'r', group, key: null }))
    }
    return new SimStore(scheduler, trace, { store, project: project.id, nodes })
  }

  // ---- What clients do ----

  /** `undefined` = it was not accepted. */
  async append({ uid, operation, lines, spread, isRefused }: Write): Promise<Change | undefined> {
    const text = lines?.map((line) => `${JSON.stringify(line)}\n`).join('') ?? null
    const outcome = await this.#store.journal.append({
      project: this.#project,
      uid,
      operation,
      payload: text === null ? null : { kind: 'inline', bytes: new TextEncoder().encode(text) },
      customMetadata: null,
      mayCreateIndex: true,
      spread,
      refusal: isRefused ? { message: 'refused', code: 'bad_request', type: 'invalid_request', link: '' } : null,
      ...(operation.kind === 'documents-put' ? { inferred: { primaryKey: 'id' } } : {}),
    })
    const said = text?.replaceAll('\n', ' ') ?? ''
    if (outcome.kind !== 'appended') {
      this.#trace(`append ${uid} ${outcome.kind}`)
      return undefined
    }
    this.#trace(`append ${uid} ${outcome.index} ${outcome.position} ${JSON.stringify(operation)} ${said}`)
    assert(outcome.task === this.#taskCount, 'tasks are numbered without gaps')
    this.#taskCount += 1
    return this.change(outcome.task)
  }

  async cancel(task: number): Promise<void> {
    this.#trace(`cancel ${task}`)
    const outcome = await this.#store.journal.append({
      project: this.#project,
      uid: null,
      operation: { kind: 'task-cancel', filter: `?uids=${task}`, tasks: [task] },
      payload: null,
      customMetadata: null,
      mayCreateIndex: false,
      refusal: null,
    })
    assert(outcome.kind === 'appended', 'a cancellation concerns no node')
    this.#taskCount += 1
  }

  /** An index of this name goes to another node, if it can. */
  async move(uid: string, random: Random, keepMs: number, isPartial: boolean): Promise<Move | undefined> {
    const { indexes, placements } = await this.#store.catalogue.snapshot()
    const index = indexes.find((one) => one.uid === uid)
    if (index === undefined) return undefined
    const own = placements.filter((one) => one.index === index.id)
    const from = own[index.spread === null ? 0 : random.integer(own.length)]
    // A replica stays in its group.
    const groupOf = (id: string) => this.nodes.get(id)?.group
    const isFree = (id: string) =>
      index.spread === null
        ? own.every(({ node }) => node !== id)
        : from !== undefined && id !== from.node && groupOf(id) === groupOf(from.node)
    const free = [...this.nodes.keys()].filter(isFree)
    const target = free[random.integer(Math.max(1, free.length))]
    if (target === undefined) return undefined
    const source = from?.node
    const deps = { ...this.#store, clock: this.#scheduler.clock(() => false), random }
    const order = { index, target, ...(source === undefined ? {} : { source }) }
    const options = { keepMs, bytesPerSecond: null }
    const takes = isPartial ? someShards(own.filter(isRead), groupOf, target, random) : []
    const opened =
      takes.length === 0
        ? await openMove(deps, { ...order, options })
        : await openDecided(deps, { index, kind: 'move', takes, target, options })
    this.#trace(`move ${uid} ${JSON.stringify(opened)}`)
    return 'refusal' in opened ? undefined : opened
  }

  /** An index of this name is to lie over another number of shards. */
  async reshard(uid: string, random: Random, keepMs: number): Promise<Move | undefined> {
    const { indexes } = await this.#store.catalogue.snapshot()
    const index = indexes.find((one) => one.uid === uid)
    if (index === undefined) return undefined
    const deps = { ...this.#store, clock: this.#scheduler.clock(() => false), random, keepsPayloads: true }
    const exactTies = index.spread?.exactTies ?? random.float() < 0.5
    const shards = { shards: 1 + random.integer(4), replicationFactor: 1 + random.integer(2), exactTies }
    const spread = index.spread !== null && random.float() < 0.2 ? null : shards
    const opened = await openReshard(deps, { index, spread, options: { keepMs, bytesPerSecond: null } })
    this.#trace(`reshard ${uid} ${JSON.stringify(opened)}`)
    return 'refusal' in opened ? undefined : opened
  }

  async wish(move: string, wish: MoveWish): Promise<void> {
    const steps = moveSteps.filter((step) => stepAfter(step, wish) !== undefined)
    this.#trace(`wish ${move} ${wish} ${await this.#store.moves.wish(move, wish, steps)}`)
  }

  async openMoves(): Promise<readonly Move[]> {
    return this.#store.moves.list({ isOpen: true }, 100)
  }

  async change(task: number): Promise<Change> {
    const found = await this.#store.journal.change(this.#project, task)
    assert(found !== undefined, `task ${task} exists`)
    return found
  }

  /** A gateway reads the routes anew. */
  async routes(): Promise<Pick<CatalogueSnapshot, 'version' | 'indexes' | 'placements'>> {
    return this.#store.catalogue.snapshot()
  }

  /** Gateways are asked to take over the newest routes at once. */
  onRoutesAsked(listener: () => void): void {
    this.#store.gateways.onAsked(listener)
  }

  /** A gateway lives, and routes by this version. */
  async beat(id: string, appliedVersion: number): Promise<void> {
    await this.#store.gateways.beat({ id, address: id, version: '0', startedAt: 0, appliedVersion })
  }

  /** What the route table shows. */
  async placements(): Promise<readonly Placement[]> {
    return (await this.#store.catalogue.snapshot()).placements
  }

  /** Of all generations. */
  async replicas(index: string): Promise<readonly Placement[]> {
    return (await this.#store.replicas.standing(index))?.replicas ?? []
  }

  /** Also those that no route shows yet; only of indexes with something to do. */
  async placementsBehind(): Promise<readonly Placement[]> {
    const lanes = await Promise.all([...this.nodes.keys()].map((id) => this.#store.laneJournal.lanesBehind(id, 1_000)))
    return lanes.flat().map(({ placement }) => placement)
  }

  async isSettled(): Promise<boolean> {
    if ((await this.placementsBehind()).length > 0 || (await this.openMoves()).length > 0) return false
    for (const id of this.nodes.keys()) {
      if ((await this.#store.laneJournal.dueDrops(id, 1)).length > 0) return false
    }
    return (await this.placements()).every(({ state }) => state === 'active')
  }

  // ---- What a worker sees ----

  /** Everything goes to the store late; sometimes it does not reach it, or its answer is lost. */
  #committer({ random, faults, process }: StoreSide): <T>(execute: () => Promise<T>) => Promise<T> {
    return (execute) =>
      new Promise((resolve, reject) => {
        if (process.isDead) return
        const luck = random.float()
        const fail = (reason: string) => process.deliver(() => reject(new StoreUnavailable(reason)))
        this.#scheduler.after(random.integer(3), () => {
          if (process.isDead) return
          if (process.storeLink === 'cut' || luck < faults.unavailable) return fail('the store is away')
          execute().then(
            (value) => {
              if (process.storeLink === 'deaf') return void this.#scheduler.after(silenceMs, () => fail('no answer'))
              if (luck > 1 - faults.lostReply) return fail('the answer was lost')
              this.#scheduler.after(1, () => process.deliver(() => resolve(value)))
            },
            (error: unknown) => process.deliver(() => reject(error)),
          )
        })
      })
  }

  /** What gateways say of the routes that they read by, under the same faults. */
  gateways(options: StoreSide): RoutedGateways {
    const commit = this.#committer(options)
    const { gateways } = this.#store
    return { routing: () => commit(() => gateways.routing()), ask: () => gateways.ask() }
  }

  /** What a mover works with, under the same faults. */
  moving(options: StoreSide): Pick<MoverDeps, 'moves' | 'replicas' | 'catalogue' | 'gateways' | 'journal'> {
    const commit = this.#committer(options)
    const { moves, replicas, catalogue, laneJournal } = this.#store
    return {
      journal: { completedSettings: (index) => commit(() => laneJournal.completedSettings(index)) },
      catalogue: { nodes: () => commit(() => catalogue.nodes()), version: () => commit(() => catalogue.version()) },
      gateways: this.gateways(options),
      replicas: {
        standing: (index) => commit(() => replicas.standing(index)),
        addReplica: (index, node, shards) => commit(() => replicas.addReplica(index, node, shards)),
        layouts: () => commit(() => replicas.layouts()),
        want: (index, wanted) => commit(() => replicas.want(index, wanted)),
        loads: () => commit(() => replicas.loads()),
        changeGeneration: (index, change) =>
          commit(async () => {
            const outcome = await replicas.changeGeneration(index, change)
            this.#trace(`${options.process.name} the generations of ${index} are to ${change.kind}: ${outcome}`)
            await this.onProgress()
            return outcome
          }),
        changeReplica: (index, node, change) =>
          commit(async () => {
            const outcome = await replicas.changeReplica(index, node, change)
            this.#trace(`${options.process.name} ${node} is to ${change.kind} ${index}: ${outcome}`)
            await this.onProgress()
            return outcome
          }),
      },
      moves: {
        open: (move) => commit(() => moves.open(move)),
        get: (id) => commit(() => moves.get(id)),
        list: (filter, limit) => commit(() => moves.list(filter, limit)),
        wish: (id, wish, steps) => commit(() => moves.wish(id, wish, steps)),
        setPaused: (id, isPaused) => commit(() => moves.setPaused(id, isPaused)),
        claim: (worker, leaseMs, limit) => commit(() => moves.claim(worker, leaseMs, limit)),
        save: (worker, id, change) => commit(() => moves.save(worker, id, change)),
        enter: (worker, id, change, perNode) => commit(() => moves.enter(worker, id, change, perNode)),
        release: (worker) => commit(() => moves.release(worker)),
      },
    }
  }

  side(options: StoreSide): LaneJournal {
    const { process } = options
    const commit = this.#committer(options)
    const lanes = this.#store.laneJournal
    const note = this.#trace

    /** What may complete tasks is looked at before anything else happens. */
    const progress = async <T>(text: string, execute: () => Promise<T>): Promise<T> => {
      const value = await execute()
      note(`${process.name} ${text}${value === true || value === undefined ? '' : ` ${value}`}`)
      await this.onProgress()
      return value
    }
    const unused = () => {
      throw new Error('not of the lanes')
    }
    return {
      leaseNodes: (worker, leaseMs) =>
        commit(async () => {
          const leases = await lanes.leaseNodes(worker, leaseMs)
          note(`leases ${worker} ${leases.map(({ node, epoch }) => `${node.id}:${epoch}`).join(' ')}`)
          return leases
        }),
      releaseNodes: (worker) => commit(() => lanes.releaseNodes(worker)),
      noteTrouble: (lease, trouble) =>
        commit(async () => {
          note(`trouble ${lease.node.id} ${trouble}`)
          return lanes.noteTrouble(lease, trouble)
        }),
      troubles: unused,
      lanesBehind: (node, limit) => commit(() => lanes.lanesBehind(node, limit)),
      laneOn: (node, physicalUid) => commit(() => lanes.laneOn(node, physicalUid)),
      isHeldElsewhere: (placement) => commit(() => lanes.isHeldElsewhere(placement)),
      standingsOn: (node, physicalUids) => commit(() => lanes.standingsOn(node, physicalUids)),
      read: (index, after, limit, byteCountMax) => commit(() => lanes.read(index, after, limit, byteCountMax)),
      dueDrops: (node, limit) => commit(() => lanes.dueDrops(node, limit)),
      noteDropped: (lease, physicalUid) =>
        commit(async () => {
          note(`dropped ${lease.node.id} ${physicalUid}`)
          return lanes.noteDropped(lease, physicalUid)
        }),
      noteLeftover: (lease, physicalUid) =>
        commit(async () => {
          note(`leftover ${lease.node.id} ${physicalUid}`)
          return lanes.noteLeftover(lease, physicalUid)
        }),
      giveTurns: (lease, placement, position) =>
        commit(() =>
          progress(`gives turns at ${position}, ${placement.node} asks`, () =>
            lanes.giveTurns(lease, placement, position),
          ),
        ),
      endTurn: (lease, placement) =>
        commit(() => progress(`${placement.node} has taken settings back`, () => lanes.endTurn(lease, placement))),
      completedSettings: (index) => commit(() => lanes.completedSettings(index)),
      failedOn: (placement, positions) => commit(() => lanes.failedOn(placement, positions)),
      async *open(payload) {
        await commit(async () => {})
        yield* lanes.open(payload)
      },
      stage: async (chunks) => {
        const parts: Uint8Array[] = []
        for await (const chunk of chunks) parts.push(chunk)
        return commit(() => lanes.stage(once(Buffer.concat(parts))))
      },
      markSent: (lease, index, positions, startedAt) =>
        commit(() => lanes.markSent(lease, index, positions, startedAt)),
      noteTrimmed: (lease, placement) => commit(() => lanes.noteTrimmed(lease, placement)),
      removeReplica: (lease, placement) => commit(() => lanes.removeReplica(lease, placement)),
      recordResolution: (lease, index, position, resolution) =>
        commit(() => {
          const { putCount, deleteCount, error } = resolution
          note(`resolve ${index} ${position} ${putCount} ${deleteCount} ${error?.code ?? ''}`)
          return lanes.recordResolution(lease, index, position, resolution)
        }),
      recordPartial: (lease, index, position, partial) =>
        commit(() => {
          const { putCount, deleteCount, error } = partial.resolution
          note(`resolve ${index} ${position} [${partial.shards}] ${putCount} ${deleteCount} ${error?.code ?? ''}`)
          return lanes.recordPartial(lease, index, position, partial)
        }),
      advance: (lease, placement, applied, outcomes, proof) => {
        const told = outcomes.map(({ status }) => status[0]).join('')
        const text = `advance ${placement.index} ${placement.node} ${applied} ${told}`
        return commit(() => progress(text, () => lanes.advance(lease, placement, applied, outcomes, proof)))
      },
      noteSilence: (lease, isSilent) =>
        commit(() => progress(`silence ${lease.node.id} ${isSilent}`, () => lanes.noteSilence(lease, isSilent))),
      releaseHeld: (lagMs) =>
        commit(async () => {
          await lanes.releaseHeld(lagMs)
          await this.onProgress()
        }),
      lanesToAudit: (node, after, limit) => commit(() => lanes.lanesToAudit(node, after, limit)),
      savePrint: (lease, placement, print) => commit(() => lanes.savePrint(lease, placement, print)),
      identity: (lease) => commit(() => lanes.identity(lease)),
      adopt: (lease, marker) =>
        commit(async () => {
          const isDone = await lanes.adopt(lease, marker)
          note(`adopt ${lease.node.id} ${lease.epoch} ${isDone}`)
          if (isDone) this.onAdopted(lease.node.id)
          return isDone
        }),
      restart: (lease, placement) =>
        commit(() => progress(`restart ${placement.index} ${placement.node}`, () => lanes.restart(lease, placement))),
      waitForWork: async (node, timeoutMs, signal) => {
        await lanes.waitForWork(node, timeoutMs, signal)
        await new Promise<void>((resolve) => process.deliver(resolve))
      },
      waitForProjectWork: unused,
      claimProjectChange: unused,
      renewProjectChange: unused,
      finishProjectChange: unused,
      dropPayloads: unused,
      cleanTasks: unused,
    }
  }
}

/** Shards of replicas of the target's group that the target does not hold. */
function someShards(
  replicas: readonly Placement[],
  groupOf: (id: string) => number | undefined,
  target: string,
  random: Random,
): readonly Take[] {
  const taken = new Set(replicas.flatMap(({ node, shards }) => (node === target ? shards : [])))
  return replicas.flatMap((replica) => {
    if (replica.node === target || groupOf(replica.node) !== groupOf(target)) return []
    const shards = servedShards(replica).filter((shard) => !taken.has(shard) && random.float() < 0.5)
    for (const shard of shards) taken.add(shard)
    return shards.length === 0 ? [] : [{ node: replica.node, physicalUid: replica.physicalUid, shards }]
  })
}
