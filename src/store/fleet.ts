/**
 * What is known of the machines behind nodes: how they are, what became of them, and what they carried (P-37 to P-40). One
 * worker at a time keeps the fleet; everything it writes stands under the epoch of its lease.
 */
import type { HealthState } from '../topology/health-states.ts'
import type { DriverKind, MachineLife } from '../topology/machine-life.ts'
import type { EngineKind, NodeId } from './catalogue.ts'

/** What an operator wants of a machine. */
export const machineWishes = ['restart', 'replace', 'drain', 'keep'] as const

export type MachineWish = (typeof machineWishes)[number]

export interface Machine {
  readonly node: NodeId
  readonly driver: DriverKind
  readonly life: MachineLife
  readonly engine: EngineKind
  readonly region: string
  readonly group: number
  /** 1, 2 … : a higher one has an empty disk of its own. */
  readonly generation: number
  readonly health: HealthState
  readonly healthSince: number
  readonly record: MachineRecord
  readonly wish: MachineWish | null
  readonly createdAt: number
}

/** One that a driver is to make. @param now  ms since 1970. */
export function requestedMachine(
  place: Pick<Machine, 'node' | 'driver' | 'engine' | 'region' | 'group'>,
  now: number,
): Machine {
  return {
    ...{ ...place, life: 'requested', generation: 1, health: 'starting', healthSince: now },
    ...{ record: { lifeSince: now }, wish: null, createdAt: now },
  }
}

/** What must be known to go on with a machine. */
export interface MachineRecord {
  /** Times of the latest restarts by us, ms, oldest first; at most 20. */
  readonly restarts?: readonly number[]
  readonly replacedAt?: number
  /** Generation that a replacement makes, while it is on its way. */
  readonly replacing?: number
  /** A person asked for it: it goes on though the node is up. */
  readonly isReplacementWished?: boolean
  /** It is to drain, and its node was not told yet. */
  readonly mustDrain?: boolean
  /** Text of the disk's marker when it was last looked at. */
  readonly marker?: string | null
  /** The disk is new, and what was on the old one is built again. */
  readonly isFilling?: boolean
  /** Why the last act failed, and how often in a row. */
  readonly failure?: string
  readonly tries?: number
  readonly triedAt?: number
  /** When its life came to be as it is. */
  readonly lifeSince?: number
}

export interface NodeEvent {
  readonly node: NodeId | null
  /** ms since 1970. */
  readonly at: number
  /** One word: `health`, `life`, `restart`, `replace`, `brake`, `scale`, `proposal`, `failure`, `wish`. */
  readonly kind: string
  readonly text: string
}

/** One look at what a node carries; null = unknown. */
export interface NodeSample {
  readonly node: NodeId
  readonly at: number
  /** Share of one processor × 100. */
  readonly cpuPercent: number | null
  readonly memoryBytes: number | null
  readonly memoryBytesMax: number | null
  /** Of its database. */
  readonly dataBytes: number | null
  readonly diskBytesFree: number | null
  readonly diskBytesMax: number | null
  readonly indexes: number | null
  readonly documents: number | null
  readonly searchesPerSecond: number | null
  readonly searchMsP95: number | null
  /** Of the probe itself. */
  readonly probeMs: number | null
}

/** What the lanes of a node know of it. */
export interface LaneSight {
  /** A worker holds its lease. */
  readonly isHeld: boolean
  readonly silentSince: number | null
  readonly trouble: string | null
  readonly marker: string | null
}

/** What a node holds. */
export interface Holdings {
  readonly replicas: number
  /** Being built from the journal. */
  readonly filling: number
  /** Replicas that no lane could build again on an empty disk: parts of the journal were dropped, whoever else holds them. */
  readonly irreplaceable: number
}

export interface KeeperStanding {
  readonly worker: string
  /** Its lease lasts; else nobody keeps the fleet. */
  readonly isLeading: boolean
  readonly epoch: number
  /** Why nothing is done by itself until a person releases it; null = nothing stands against it. */
  readonly halted: string | null
  /** `watch` or `act`, as its configuration says. */
  readonly mode: string
  readonly scaledAt: number | null
}

export interface FleetNote {
  readonly machines?: readonly Machine[]
  readonly events?: readonly NodeEvent[]
  readonly samples?: readonly NodeSample[]
  /** Ends wishes of these nodes, if they are still the same. */
  readonly granted?: readonly { readonly node: NodeId; readonly wish: MachineWish }[]
  readonly halted?: string | null
  readonly scaledAt?: number
}

/** Every method may throw `StoreUnavailable`. */
export interface Fleet {
  /** Takes or renews the keeper's lease; answers its epoch. `undefined` = another worker has it. */
  lead(worker: string, mode: string, leaseMs: number): Promise<number | undefined>
  resign(worker: string): Promise<void>
  keeper(): Promise<KeeperStanding | undefined>
  /** Writes all of it in one transaction. `false` = the lease is another's: nothing was written. Wishes of machines are left as they are. */
  note(epoch: number, note: FleetNote): Promise<boolean>
  machines(): Promise<readonly Machine[]>
  /** `false` = there is no such machine. A person's events are written with it. */
  wish(node: NodeId, wish: MachineWish | null, event: NodeEvent): Promise<boolean>
  /** A person asks for one more machine: it is `requested`. `false` = the node has one already. */
  request(machine: Machine, event: NodeEvent): Promise<boolean>
  /** A person lets it go on after a brake. */
  release(event: NodeEvent): Promise<void>
  lanes(): Promise<ReadonlyMap<NodeId, LaneSight>>
  holdings(node: NodeId): Promise<Holdings>
  /** Newest first. */
  events(node: NodeId | null, limit: number): Promise<readonly NodeEvent[]>
  /** Of machines that are known: oldest first, at most `samplesMax` of each. */
  samples(node: NodeId | null, since: number): Promise<readonly NodeSample[]>
  /** The newest of each machine. */
  latest(): Promise<ReadonlyMap<NodeId, NodeSample>>
  /** Drops what is older than it is kept: samples for 7 days, events for 30 and no more than 10,000. Any worker may ask. */
  prune(): Promise<void>
}

/** A sample a minute for 7 days (P-39). */
export const sampleKeepMs = 7 * 86_400_000
export const samplesMax = 7 * 1_440
export const eventKeepMs = 30 * 86_400_000
export const eventsMax = 10_000
export const restartsKept = 20
