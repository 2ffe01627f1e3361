/** What the lanes need from outside, as narrow as they use it, so that the simulator can drive all of it. */
import type { Engine } from '../engine/engine.ts'
import type { LaneJournal } from '../journal/ports.ts'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { Node, ProjectId } from '../store/catalogue.ts'
import type { RoutedGateways } from './routes-taken.ts'

/** The part of pino that the lanes use. Fields never hold documents, filters or keys. */
export interface LaneLog {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** What the lanes count. `createLaneMetrics` makes one for Prometheus; tests pass `silentLaneMetrics`. */
export interface LaneMetrics {
  /** Engine tasks sent, their payload bytes, and how long the engine took from answer to end. */
  sent(node: string, byteCount: number): void
  applied(node: string, changeCount: number, tookMs: number): void
  /** A lane went back and delivers again. */
  rewound(node: string, reason: string): void
  /** The node's disk was not ours. */
  adopted(node: string): void
  /** Bytes sent and not finished, and the window that they share. */
  window(node: string, openBytes: number, windowBytes: number): void
  /** The node's disk takes writes, or does not. */
  refusing(node: string, isRefusing: boolean): void
  /** Settings of an index were changed behind our back, and set again. */
  settingsRepaired(index: string): void
}

/** Keys that gateways read a node's indexes with (P-22). */
export interface ReadCredentials {
  /** What the node's disk lost is made again. @throws when the node does not answer. */
  settle(node: Node, signal: AbortSignal): Promise<void>
  /** Before an index of the project is read there: its key is there when this resolves. */
  ensure(node: Node, project: ProjectId, signal: AbortSignal): Promise<void>
}

export interface ReplicationDeps {
  /** Unique per process start. */
  readonly worker: string
  readonly journal: LaneJournal
  /** One engine per node; called again when the node's row changes. */
  readonly engineOf: (node: Node) => Engine
  /** Absent: gateways read with the nodes' own keys. */
  readonly credentials?: ReadCredentials
  /** They are waited for before what they read is taken away. Absent: there are none. */
  readonly gateways?: RoutedGateways
  readonly clock: Clock
  readonly random: Random
  readonly log: LaneLog
  readonly metrics: LaneMetrics
  /** About how many bytes of documents are one task of a node; default `sliceBytesOf` its engine. */
  readonly sliceBytes?: number
  /** How often settings on nodes are looked at; default a minute. */
  readonly auditMs?: number
  /** Tasks of a node from which on finished ones are deleted; default 100,000. */
  readonly nodeTasksMax?: number
}

/**
 * About as long as a small batch takes a node anyway, a tenth of a second of Meilisearch and less of the embedded engine:
 * another index waits for it while this one has a backlog. Tasks of one batch cost next to nothing by themselves.
 */
const sliceBytesOf: Record<Node['engine'], number> = { embedded: 32 * 1024, meilisearch: 128 * 1024 }

/** The same for all who read the marks of one node. */
export function sliceBytes(deps: Pick<ReplicationDeps, 'sliceBytes'>, { engine }: Pick<Node, 'engine'>): number {
  return deps.sliceBytes ?? sliceBytesOf[engine]
}

export const silentLaneMetrics: LaneMetrics = {
  sent: () => {},
  applied: () => {},
  rewound: () => {},
  adopted: () => {},
  window: () => {},
  refusing: () => {},
  settingsRepaired: () => {},
}
