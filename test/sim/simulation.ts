/**
 * One run of the simulator: the real journal in memory, the real lanes, dispatchers and leases of some workers against
 * simulated nodes, network and faults of the store, drawn from the seed; then quiet, until everything is delivered. The
 * model looks at what replicas show whenever something completes, at random moments, and in the end.
 */
import { createHash } from 'node:crypto'
import { type Random, seededRandom } from '../../src/lib/random.ts'
import { startMover } from '../../src/orchestrator/moves/mover.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { startReplication } from '../../src/replication/replication.ts'
import type { Spread } from '../../src/store/catalogue.ts'
import type { IndexState } from './document-rules.ts'
import { Model } from './model.ts'
import { Scheduler } from './scheduler.ts'
import { scheduleClients } from './sim-clients.ts'
import { createSimEngine, type NetworkFaults } from './sim-engine.ts'
import { endFaults, scheduleFaults } from './sim-faults.ts'
import { SimGateway } from './sim-gateway.ts'
import { scheduleMove } from './sim-moves.ts'
import { SimNode } from './sim-node.ts'
import { SimProcess } from './sim-process.ts'
import { SimStore, type StoreFaults } from './sim-store.ts'

export interface SimulationResult {
  readonly violations: readonly string[]
  /** SHA-256 of everything that happened. */
  readonly digest: string
  readonly trace: readonly string[]
  readonly virtualMs: number
  /** How often replicas were compared with the model before the end. */
  readonly readCount: number
}

export interface SimulationOptions {
  /** Takes one document from every index at the end, behind everybody's back: the model must see it. */
  readonly spoil?: boolean
  /** Absent = as the seed has it. */
  readonly isSpread?: boolean
  readonly isCalm?: boolean
  /** An index goes from node to node meanwhile. */
  readonly isMoving?: boolean
  /** Of spread indexes some shards move, from several nodes to one. */
  readonly isPartial?: boolean
  /** Instead, an index comes to lie over another number of shards. */
  readonly isResharding?: boolean
  /** Only what the first simulator did: no gateways, no requests that arrive twice, no backlogs of small changes. */
  readonly isBasic?: boolean
}

const stormMs = 20_000
const calmMsMax = 400_000
/** After the storm: longer than a request can be late, than it takes to notice one that was, and than two identity checks. */
const restMs = { late: 20_000, noticed: 11_000, wiped: 25_000, other: 1_000 }
const settledPollMs = 500
const readMsMax = 120_000
const auditMs = 5_000

/** Which nodes there are, in which replica group, and how indexes lie on them. */
interface World {
  readonly groups: Readonly<Record<string, number>>
  readonly spreads: ReadonlyMap<string, Spread | null>
}

function drawWorld(random: Random, isSpread: boolean, isMoving: boolean): World {
  const nodeCount = isSpread || isMoving ? 2 + random.integer(3) : 1 + random.integer(2)
  const groupCount = isSpread ? 1 + random.integer(2) : 1
  const groups = Object.fromEntries(Array.from({ length: nodeCount }, (_, at) => [`n${at + 1}`, at % groupCount]))
  const spread = (): Spread | null => {
    if (!isSpread || random.float() < 0.25) return null
    const replicationFactor = 1 + random.integer(3)
    return { shards: 1 + random.integer(4), replicationFactor, exactTies: random.float() < 0.7 }
  }
  return { groups, spreads: new Map(['a', 'b', 'c'].map((uid) => [uid, spread()])) }
}

export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationResult> {
  // Most errors of a run are answers that were lost: nobody reads where they were made.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return await runSimulation(seed, options)
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

async function runSimulation(seed: number, options: SimulationOptions): Promise<SimulationResult> {
  const random = seededRandom(seed)
  // A stream of its own, so that seeds found before go on showing what they showed.
  const hardships = options.isBasic ? undefined : seededRandom(seed + 2_000_000_011)
  const scheduler = new Scheduler()
  const trace: string[] = []
  const note = (text: string) => {
    trace.push(`${scheduler.now.toFixed(0)} ${text}`)
  }
  const luck = random.float()
  const world = drawWorld(random, options.isSpread ?? luck < 0.5, options.isMoving === true)
  note(JSON.stringify([world.groups, ...world.spreads]))
  const nodeIds = Object.keys(world.groups)
  const nodes = new Map(nodeIds.map((id) => [id, new SimNode(id, scheduler, random, note)]))
  const store = await SimStore.open({ scheduler, trace: note, seed, groups: world.groups })
  // A quarter of spread worlds, unless somebody asks for one kind.
  const isCalm = options.isCalm ?? (options.isSpread === undefined && luck < 0.125)
  const chance = (most: number) => (random.float() < 0.5 || isCalm ? 0 : random.float() * most)
  const network: NetworkFaults = {
    ...{ lostRequest: chance(0.1), lostReply: chance(0.1), late: chance(0.05), underway: 0 },
    repeated: hardships === undefined || isCalm || hardships.float() < 0.8 ? 0 : hardships.float() * 0.05,
  }
  const mayBeLate = network.late + network.repeated > 0
  const storeFaults: StoreFaults = { unavailable: chance(0.1), lostReply: chance(0.1) }
  for (const node of nodes.values()) {
    node.troubleChance = chance(0.1)
    node.isPicky = !isCalm && random.float() < 0.2
  }
  // Small enough that payloads are cut up, in half of the runs.
  const sliceBytes = random.float() < 0.5 ? 60 : 1_000_000
  // Few enough that tasks are cleaned up, in half of the runs.
  const nodeTasksMax = random.float() < 0.5 ? 40 : 100_000
  const hasGateway = hardships !== undefined && (options.isMoving === true || hardships.float() < 0.5)
  // Somebody changes settings on nodes in the end, and they are set again.
  const isAudited = hardships !== undefined && [...world.spreads.values()].some(Boolean) && hardships.float() < 0.1
  const workers: SimProcess[] = []
  const startWorker = () => {
    const process = new SimProcess(`w${workers.length + 1}`, scheduler)
    const engineOf = ({ id }: { readonly id: string }) =>
      createSimEngine({
        node: nodes.get(id)!,
        scheduler,
        random,
        hardships: hardships ?? random,
        faults: network,
        process,
      })
    startReplication({
      worker: process.name,
      journal: store.side({ random, faults: storeFaults, process }),
      ...(hasGateway ? { gateways: store.gateways({ random, faults: storeFaults, process }) } : {}),
      engineOf,
      clock: process.clock,
      random,
      log: logTo(process, note),
      metrics: silentLaneMetrics,
      sliceBytes,
      nodeTasksMax,
      ...(isAudited ? { auditMs } : {}),
    })
    if (options.isMoving) {
      startMover({
        worker: process.name,
        ...store.moving({ random, faults: storeFaults, process }),
        engineOf,
        clock: process.clock,
        log: logTo(process, note),
      })
    }
    workers.push(process)
    note(`start ${process.name}`)
  }
  const model = new Model(store, nodes, mayBeLate)
  store.onProgress = () => model.look(false)
  store.onAdopted = (id) => {
    Object.assign(nodes.get(id)!, { isDoubtful: false, adoptedAt: scheduler.now })
  }

  startWorker()
  if (random.float() < 0.5) startWorker()
  const pickyNodes = nodeIds.filter((id) => nodes.get(id)!.isPicky)
  scheduleClients({ scheduler, random, hardships, store, model, spreads: world.spreads, stormMs, pickyNodes })
  if (options.isMoving) {
    const kind = options.isResharding ? 'reshard' : options.isPartial ? 'parts' : 'whole'
    const names = [...world.spreads].flatMap(([name, spread]) => (kind === 'parts' && spread === null ? [] : [name]))
    scheduleMove({ scheduler, random, store, names, stormMs, kind })
  }
  const gateway =
    hardships !== undefined && hasGateway
      ? new SimGateway({ scheduler, random: hardships, store, nodes, model, faults: network })
      : undefined
  model.gateway = gateway
  if (gateway !== undefined && hardships !== undefined)
    for (let reads = 15; reads > 0; reads -= 1)
      scheduler.after(hardships.integer(stormMs + 10_000), () => void gateway.read())
  for (let reads = 6; reads > 0; reads -= 1) {
    scheduler.after(random.integer(stormMs + 10_000), () => void model.look(true))
  }
  const faults = { scheduler, random, hardships, gateway, nodes, workers, startWorker, note, stormMs }
  if (!isCalm) scheduleFaults(faults)
  await scheduler.run(stormMs)
  note('calm')
  Object.assign(network, { lostRequest: 0, lostReply: 0, late: 0, repeated: 0 })
  Object.assign(storeFaults, { unavailable: 0, lostReply: 0 })
  endFaults(faults)
  const isWiped = [...nodes.values()].some(({ disksLost }) => disksLost > 0)
  if (mayBeLate) await scheduler.run(stormMs + restMs.late, () => network.underway === 0)
  const rested = scheduler.now + (mayBeLate ? restMs.noticed : restMs.other)
  await scheduler.run(isWiped ? Math.max(rested, stormMs + restMs.wiped) : rested)
  let isDone = false
  // What is told as applied may still be about to be built anew.
  const poll = async (timesSettled: number) => {
    const isSettled = [...nodes.values()].every(({ isQuiet }) => isQuiet) && (await store.isSettled())
    isDone = isSettled && timesSettled > 0
    if (!isDone) scheduler.after(settledPollMs, () => void poll(isSettled ? timesSettled + 1 : 0))
  }
  scheduler.after(0, () => void poll(0))
  await scheduler.run(calmMsMax, () => isDone)
  if (hardships !== undefined && isAudited && isDone) {
    // What the node showed is known by then.
    await scheduler.run(scheduler.now + 2 * auditMs)
    const { indexes, placements } = await store.routes()
    const watched = new Set(indexes.flatMap(({ id, spread }) => (spread === null ? [] : [id])))
    for (const { index, node, physicalUid } of placements)
      if (watched.has(index) && hardships.float() < 0.5) nodes.get(node)!.meddle(physicalUid)
    await scheduler.run(scheduler.now + 4 * auditMs)
  }
  if (gateway !== undefined && isDone) {
    let isRead = false
    scheduler.after(0, () => void gateway.readAll().finally(() => (isRead = true)))
    if (!(await scheduler.run(scheduler.now + readMsMax, () => isRead))) model.note('a read does not end')
  }
  if (options.spoil)
    for (const node of nodes.values()) for (const index of node.disk.indexes.values()) spoilIndex(index)
  const found = await model.finish(mayBeLate || isWiped)
  for (const worker of workers) worker.isDead = true
  gateway?.stop()
  const digest = createHash('sha256').update(trace.join('\n')).digest('hex')
  return {
    violations: isDone ? found : ['not everything was delivered', ...found],
    digest,
    trace,
    virtualMs: scheduler.now,
    readCount: model.readCount + model.answerCount,
  }
}

function spoilIndex({ documents }: IndexState): void {
  const [first] = documents.keys()
  if (first !== undefined) documents.delete(first)
}

function logTo(process: SimProcess, note: (text: string) => void) {
  const line = (fields: object, message: string) => {
    const told = (_: string, value: unknown) => (value instanceof Error ? String(value) : value)
    if (!process.isDead) note(`${process.name} ${message} ${JSON.stringify(fields, told)}`)
  }
  return { debug: () => {}, info: line, warn: line, error: line }
}
