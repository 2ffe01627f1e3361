/**
 * One run of the simulator: the real lanes, dispatchers and leases of two workers against simulated nodes, network and
 * store, under faults drawn from the seed; then quiet, until everything is delivered; then the comparison with the model.
 */
import { createHash } from 'node:crypto'
import type { Operation } from '../../src/journal/change.ts'
import type { LaneJournal } from '../../src/journal/ports.ts'
import { type Random, seededRandom } from '../../src/lib/random.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { type Replication, startReplication } from '../../src/replication/replication.ts'
import type { Node } from '../../src/store/catalogue.ts'
import type { IndexState } from './document-rules.ts'
import { violations } from './model.ts'
import { Scheduler } from './scheduler.ts'
import { createSimEngine, type NetworkFaults } from './sim-engine.ts'
import { type Disk, SimNode } from './sim-node.ts'
import { type LaneSide, SimStore, type StoreFaults } from './sim-store.ts'

export interface SimulationResult {
  readonly violations: readonly string[]
  /** SHA-256 of everything that happened. */
  readonly digest: string
  readonly trace: readonly string[]
  readonly virtualMs: number
}

const stormMs = 20_000
const calmMsMax = 400_000
/** After the last delivery: longer than a late request can be late, and than two identity checks. */
const restMs = 45_000

interface Worker {
  readonly name: string
  isDead: boolean
  replication: Replication | undefined
}

/** @param spoil  takes one document from every index at the end, behind everybody's back: the model must see it. */
export async function simulate(seed: number, { spoil = false } = {}): Promise<SimulationResult> {
  const random = seededRandom(seed)
  const scheduler = new Scheduler()
  const trace: string[] = []
  const note = (text: string) => {
    trace.push(`${scheduler.now.toFixed(0)} ${text}`)
  }
  const nodeIds = random.float() < 0.5 ? ['n1'] : ['n1', 'n2']
  const nodes = new Map(nodeIds.map((id) => [id, new SimNode(id, scheduler, random, note)]))
  const rows = nodeIds.map(
    (id): Node => ({
      id,
      engine: 'meilisearch',
      url: id,
      region: 'r',
      group: 0,
      capacity: null,
      state: 'active',
      key: null,
    }),
  )
  const store = new SimStore(scheduler, note, rows)
  const chance = (most: number) => (random.float() < 0.5 ? 0 : random.float() * most)
  const network: NetworkFaults = { lostRequest: chance(0.1), lostReply: chance(0.1), late: chance(0.05) }
  const isLate = network.late > 0 || network.lostReply > 0
  const storeFaults: StoreFaults = { unavailable: chance(0.1), lostReply: chance(0.1) }
  for (const node of nodes.values()) node.troubleChance = chance(0.1)
  // Small enough that payloads are cut up, in half of the runs.
  const sliceBytes = random.float() < 0.5 ? 60 : 1_000_000
  // Few enough that tasks are cleaned up, in half of the runs.
  const nodeTasksMax = random.float() < 0.5 ? 40 : 100_000
  let started = 0
  const workers: Worker[] = []

  const startWorker = () => {
    started += 1
    const worker: Worker = { name: `w${started}`, isDead: false, replication: undefined }
    const isDead = () => worker.isDead
    const journal = withUnused(store.side({ random, faults: storeFaults, isDead }))
    worker.replication = startReplication({
      worker: worker.name,
      journal,
      engineOf: (row) => createSimEngine({ node: nodes.get(row.id)!, scheduler, random, faults: network, isDead }),
      clock: scheduler.clock(isDead),
      random,
      log: logTo(worker, note),
      metrics: silentLaneMetrics,
      sliceBytes,
      nodeTasksMax,
    })
    workers.push(worker)
    note(`start ${worker.name}`)
  }

  startWorker()
  if (random.float() < 0.5) startWorker()
  scheduleClients(scheduler, random, store, nodeIds)
  scheduleCrashes({ scheduler, random, nodes, workers, startWorker, note })
  await scheduler.run(stormMs)
  note('calm')
  Object.assign(network, { lostRequest: 0, lostReply: 0, late: 0 })
  Object.assign(storeFaults, { unavailable: 0, lostReply: 0 })
  for (const node of nodes.values()) {
    node.troubleChance = 0
    if (!node.isUp) node.start()
  }
  if (workers.every(({ isDead }) => isDead)) startWorker()
  await scheduler.run(stormMs + restMs)
  const isDone = await scheduler.run(
    calmMsMax,
    () => store.isSettled && [...nodes.values()].every(({ isQuiet }) => isQuiet),
  )
  if (spoil) for (const node of nodes.values()) for (const index of node.disk.indexes.values()) spoilIndex(index)
  const found = isDone ? [] : ['not everything was delivered']
  const mayLinger = isLate || [...nodes.values()].some(({ disksLost }) => disksLost > 0)
  found.push(...violations(store, nodes, mayLinger))
  for (const worker of workers) worker.isDead = true
  const virtualMs = scheduler.now
  const digest = createHash('sha256').update(trace.join('\n')).digest('hex')
  return { violations: found, digest, trace, virtualMs }
}

function spoilIndex({ documents }: IndexState): void {
  const [first] = documents.keys()
  if (first !== undefined) documents.delete(first)
}

function logTo(worker: Worker, note: (text: string) => void) {
  const line = (fields: object, message: string) => {
    if (!worker.isDead) note(`${worker.name} ${message} ${JSON.stringify(fields)}`)
  }
  return { debug: () => {}, info: line, warn: line, error: line }
}

/** Parts of the port that lanes do not use. */
export function withUnused(side: LaneSide): LaneJournal {
  const unused = () => {
    throw new Error('not of the lanes')
  }
  return {
    ...side,
    troubles: unused,
    recordPartial: unused,
    noteSilence: async () => true,
    releaseHeld: async () => {},
    lanesToAudit: async () => [],
    savePrint: async () => true,
    waitForProjectWork: unused,
    claimProjectChange: unused,
    renewProjectChange: unused,
    finishProjectChange: unused,
    dropPayloads: unused,
    cleanTasks: unused,
  }
}

function scheduleClients(scheduler: Scheduler, random: Random, store: SimStore, nodeIds: readonly string[]): void {
  const writes = 15 + random.integer(45)
  for (let at = 0; at < writes; at += 1) {
    // In bursts, so that the nodes batch.
    const burst = random.integer(6) * (stormMs / 6)
    scheduler.after(burst + random.integer(random.float() < 0.7 ? 200 : 3_000), () => {
      const uid = ['a', 'b', 'c'][random.integer(3)]!
      const node = nodeIds[random.integer(nodeIds.length)]!
      const { operation, lines } = randomWrite(random)
      const payload = lines && {
        kind: 'inline' as const,
        bytes: new TextEncoder().encode(lines.map((line) => `${JSON.stringify(line)}\n`).join('')),
      }
      const change = store.append(uid, node, operation, payload)
      if (random.float() < 0.05 && operation.kind !== 'index-delete') store.refuse(change)
      if (random.float() < 0.1) {
        const index = store.indexes.find(({ id }) => id === change.index)!
        scheduler.after(random.integer(30), () => store.cancel(index, change.position))
      }
    })
  }
}

function randomWrite(random: Random): { readonly operation: Operation; readonly lines: readonly unknown[] | null } {
  const id = () => random.integer(8)
  const group = random.integer(3)
  const filter = `group = ${group}`
  const luck = random.integer(100)
  if (luck < 55) {
    const bad = random.float() < 0.2 ? { bad: ['always', 'x', 'y'][random.integer(3)]! } : {}
    const count = 1 + random.integer(4)
    const merge = random.float() < 0.4
    const lines = Array.from({ length: count }, (_, at) => ({
      id: id(),
      value: random.integer(1_000_000),
      ...(merge ? {} : { group: random.integer(3) }),
      ...(at === 0 ? bad : {}),
    }))
    const distinct = new Set(lines.map((line) => line.id)).size
    const skipCreation = random.float() < 0.2
    return {
      operation: { kind: 'documents-put', merge, skipCreation, primaryKey: null, received: count, distinct },
      lines,
    }
  }
  if (luck < 68) {
    const lines = Array.from({ length: random.integer(3) }, () => String(id()))
    return { operation: { kind: 'documents-delete', provided: lines.length }, lines }
  }
  if (luck < 74) return { operation: { kind: 'documents-delete-by-filter', filter }, lines: null }
  if (luck < 80) return { operation: { kind: 'documents-edit', function: 'count', filter, context: null }, lines: null }
  if (luck < 83) return { operation: { kind: 'documents-clear' }, lines: null }
  if (luck < 86) return { operation: { kind: 'index-delete' }, lines: null }
  if (luck < 88) return { operation: { kind: 'index-create', primaryKey: 'id' }, lines: null }
  const settings = [
    { filterable: true },
    { filterable: true },
    { filterable: false },
    { refuses: 'x' },
    { refuses: 'y' },
    { broken: true },
    { other: random.integer(5) },
  ][random.integer(7)]!
  return { operation: { kind: 'settings', settings }, lines: null }
}

function scheduleCrashes(options: {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly nodes: ReadonlyMap<string, SimNode>
  readonly workers: Worker[]
  readonly startWorker: () => void
  readonly note: (text: string) => void
}): void {
  const { scheduler, random, nodes, workers, startWorker, note } = options
  const workerCrashes = random.integer(3)
  for (let at = 0; at < workerCrashes; at += 1) {
    scheduler.after(random.integer(stormMs), () => {
      const living = workers.filter(({ isDead }) => !isDead)
      const victim = living[random.integer(living.length)]
      if (victim === undefined) return
      victim.isDead = true
      note(`kill ${victim.name}`)
      scheduler.after(random.integer(3_000), startWorker)
    })
  }
  for (const node of nodes.values()) {
    let backup: Disk | undefined
    if (random.float() < 0.3)
      scheduler.after(random.integer(stormMs / 2), () => {
        backup = node.backup()
      })
    const crashes = random.integer(3)
    const isRough = random.float() < 0.4
    for (let at = 0; at < crashes; at += 1) {
      scheduler.after(random.integer(stormMs), () => {
        if (!node.isUp) return
        const kind = isRough ? random.integer(4) : 0
        node.crash(kind === 1)
        if (kind === 2) node.wipe()
        if (kind === 3 && backup !== undefined) {
          node.restore(backup)
          backup = undefined
        }
        note(`crash ${node.id} ${['plain', 'damaged', 'wiped', 'older'][kind]}`)
        scheduler.after(50 + random.integer(4_000), () => node.start())
      })
    }
  }
}
