/** What the keeper of a fleet is told to do. */
import type { EngineKind, NodeId } from '../../store/catalogue.ts'
import type { HealthRules } from '../../topology/health-states.ts'
import type { DriverKind } from '../../topology/machine-life.ts'
import type { NodeDriver } from '../drivers/node-driver.ts'
import type { HealingRules } from '../healing/healing.ts'
import type { ScaleRules } from '../scaling/scaling.ts'

/** `watch`: looks, and says what it would do. `act`: does it. */
export type FleetMode = 'watch' | 'act'

export interface FleetRules {
  readonly mode: FleetMode
  /** Between two looks at every node (P-38: 5 s). */
  readonly probeMs: number
  readonly probeTimeoutMs: number
  /** Between two looks at what nodes carry. */
  readonly sampleMs: number
  readonly health: HealthRules
  readonly healing: HealingRules
  /** null = the fleet stays as large as it is. */
  readonly scaling: ScaleRules | null
  /** So long may it take until a new machine is a node. */
  readonly provisionMsMax: number
}

export interface Drivers {
  /** Those that this process has. */
  of(kind: DriverKind): NodeDriver | undefined
  /** What makes new machines; `undefined` = nothing does. */
  readonly maker: NodeDriver | undefined
  /** What its machines run. */
  readonly engine: EngineKind
  /** Region that they stand in. */
  readonly region: string
  /** A new id, which none of these is. */
  nextId(known: readonly NodeId[]): NodeId
}

export interface FleetLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

/** Pause behind a failed act, ms (P-35): 5 s and twice as long each time, at most 10 minutes. */
export function pauseBehind(tries: number): number {
  return Math.min(600_000, 5_000 * 2 ** Math.max(0, tries - 1))
}
