/** Catalogue and journal in memory: the same promises without durability, for the simulator and for unit tests. */
import { createHash } from 'node:crypto'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { Backups } from '../store/backups.ts'
import type { Blobs } from '../store/blobs.ts'
import type { IndexId, NodeId, ProjectId } from '../store/catalogue.ts'
import type { EngineCredentials } from '../store/engine-credentials.ts'
import { openMemoryRegistry } from '../store/gateway-registry.ts'
import { openMemoryCatalogue } from '../store/memory-catalogue.ts'
import { openMemoryFleet } from '../store/memory-fleet.ts'
import { openMemoryMoves } from '../store/memory-moves.ts'
import { openMemoryReplicaChecks } from '../store/memory-replica-checks.ts'
import { isRead } from '../topology/placement-states.ts'
import type { JournalHistory } from './history.ts'
import { holdingsOf, laneSights } from './memory-fleet-sights.ts'
import { openMemoryJournal } from './memory-journal.ts'
import { openMemoryLanes, tellerOf } from './memory-lanes.ts'
import { openMemoryReplicas } from './memory-replicas.ts'
import { emptyState, placesOf, type StoredIndex } from './memory-state.ts'
import type { Store } from './open-store.ts'
import { openPayloadStore } from './payload-store.ts'
import { openWorkWaiter } from './work-waiter.ts'

/** The index, where more than one replica of it is read. */
function ofSeveral({ state, placements }: StoredIndex): readonly IndexId[] {
  return placements.filter((placement) => !placement.isGone && isRead(placement)).length > 1 ? [state.id] : []
}

/** All that changes does so at the call, in call order: the same calls with the same clock and random give the same state. */
export function openMemoryStore({ clock, random }: { readonly clock: Clock; readonly random: Random }): Store {
  const state = emptyState()
  const memory = openMemoryCatalogue({
    clock,
    random,
    places: () => [...state.indexes.values()].map(placesOf),
    placesOf: (id) => {
      const index = state.indexes.get(id)
      return index && placesOf(index)
    },
    holds: (node) =>
      [...state.indexes.values()].some(({ placements }) => placements.some((one) => one.node === node && !one.isGone)),
    forget: (node) => {
      for (const { state: index, placements } of state.indexes.values()) {
        const gone = placements.filter((one) => one.node === node && !one.isGone)
        for (const placement of gone) placement.isGone = true
        if (gone.length > 0) memory.record([{ entity: 'index', project: index.project, entityId: index.id }])
      }
      state.leases.delete(node)
    },
  })
  let wakeNode: (node: NodeId) => void = () => undefined
  const waiter = openWorkWaiter(clock, (wake) => {
    wakeNode = wake
  })
  const deps = {
    state,
    memory,
    payloads: openPayloadStore(memoryBlobs(random)),
    clock,
    random,
    wakeNode: (node: NodeId) => wakeNode(node),
    finished: new Set<(project: ProjectId) => void>(),
  }
  const moves = openMemoryMoves(clock)
  return {
    catalogue: memory.catalogue,
    gatewayCatalogue: memory.catalogue,
    engineCredentials: noCredentials,
    nodeRules: { ruledProjects: async () => new Set(), ofNode: async () => [] },
    journal: openMemoryJournal(deps),
    laneJournal: openMemoryLanes(deps, waiter),
    replicas: openMemoryReplicas(deps, tellerOf(deps)),
    moves,
    replicaChecks: openMemoryReplicaChecks(clock, () => [...state.indexes.values()].flatMap(ofSeveral)),
    backups: noBackups,
    history: noHistory,
    fleet: openMemoryFleet({ clock, lanes: () => laneSights(deps), holdings: (node) => holdingsOf(state, node) }),
    gateways: openMemoryRegistry(clock, () => memory.catalogue.version()),
    migrate: async () => undefined,
    unlock: async () => undefined,
    rotateSealingKey: async () => undefined,
    placeSecrets: async () => 0,
    reseal: async () => ({ kind: 'done', resealed: 0, dropped: 0, keptUntil: null }),
    ping: async () => undefined,
    secrets: (purpose) => [createHash('sha256').update(purpose).digest()],
    localSecret: (purpose) => createHash('sha256').update(purpose).digest(),
    sweepBlobs: async () => 0,
    close: async () => undefined,
  }
}

/** Backups and restores are of PostgreSQL alone. */
const noBackups: Backups = {
  open: async () => undefined,
  adopt: async () => false,
  get: async () => undefined,
  list: async () => [],
  marks: async () => [],
  doom: async () => false,
  claim: async () => [],
  save: async () => false,
  remove: async () => undefined,
  release: async () => undefined,
  policies: async () => [],
  putPolicy: async () => undefined,
  deletePolicy: async () => false,
  openRestore: async () => {
    throw new Error('nothing is restored in memory')
  },
  getRestore: async () => undefined,
  listRestores: async () => [],
  wishRestore: async () => false,
  claimRestores: async () => [],
  saveRestore: async () => false,
}

const noHistory: JournalHistory = {
  past: async () => undefined,
  indexNamed: async () => undefined,
  positionAt: async () => 0,
  appendedAt: async () => undefined,
  firstGap: async () => null,
  isReshaped: async () => false,
  bytesBetween: async () => 0,
  firstForeign: async () => null,
  firstFailure: async () => undefined,
}

const noCredentials: EngineCredentials = {
  ofNode: async () => [],
  has: async () => false,
  count: async () => 0,
  projectsOn: async () => [],
  project: async () => undefined,
  put: async () => undefined,
  expire: async () => 0,
}

function memoryBlobs(random: Random): Blobs {
  const blobs = new Map<string, Buffer>()
  return {
    async write(bytes) {
      const chunks: Uint8Array[] = []
      for await (const chunk of bytes) chunks.push(chunk)
      const name = Buffer.from(random.bytes(16)).toString('hex')
      const whole = Buffer.concat(chunks)
      blobs.set(name, whole)
      return { name, byteCount: whole.byteLength }
    },
    async *open(name) {
      const blob = blobs.get(name)
      if (blob === undefined) throw new Error('there is no such blob')
      yield blob
    },
    async delete(name) {
      blobs.delete(name)
    },
    async *olderThan() {},
  }
}
