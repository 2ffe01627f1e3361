/**
 * What makes, starts and ends the machines on which engines run (P-36). A machine is a process, a pod with its volume, or
 * a server of a cloud; its node keeps its id and its key while machines come and go.
 *
 * Every call may be repeated: it says how things are to be, and what an interrupted call left behind is taken over.
 */
import type { EngineKind, NodeId } from '../../store/catalogue.ts'
import type { DriverKind } from '../../topology/machine-life.ts'

export interface MachineSpec {
  readonly node: NodeId
  readonly engine: EngineKind
  readonly region: string
  /** Replica group. */
  readonly group: number
  /** Master key that its engine is started with. */
  readonly key: string
  /** 1, 2 … : a higher one has an empty disk of its own. */
  readonly generation: number
}

export type MachineState = 'absent' | 'starting' | 'running' | 'stopped' | 'failed'

export interface MachineView {
  readonly node: NodeId
  readonly state: MachineState
  /** Where its engine is; null = not known yet. */
  readonly url: string | null
  /** What the driver says about it; null = nothing. */
  readonly reason: string | null
}

/** What the driver itself measures of a machine; null = it does not know. */
export interface MachineFigures {
  /** Share of one processor × 100 since the last look. */
  readonly cpuPercent: number | null
  readonly memoryBytes: number | null
  readonly memoryBytesMax: number | null
  readonly diskBytesFree: number | null
  readonly diskBytesMax: number | null
}

export const noFigures: MachineFigures = {
  cpuPercent: null,
  memoryBytes: null,
  memoryBytesMax: null,
  diskBytesFree: null,
  diskBytesMax: null,
}

/** One thing that was looked at. */
export interface DriverFinding {
  readonly what: string
  readonly isGood: boolean
  /** What was found, or what to do. */
  readonly text: string
}

export type DriverAct = 'create' | 'restart' | 'replace' | 'destroy'

/** @throws DriverUnsupported for what is not in `can`, DriverFailed when it did not work this time. */
export interface NodeDriver {
  readonly kind: DriverKind
  readonly can: Readonly<Record<DriverAct, boolean>>
  /** Asks for a machine; it may take minutes until it runs. What is there already stays as it is. */
  create(spec: MachineSpec, signal: AbortSignal): Promise<void>
  start(node: NodeId, signal: AbortSignal): Promise<void>
  /** The disk stays. */
  stop(node: NodeId, signal: AbortSignal): Promise<void>
  /** Ends its engine however it is, and starts it again on the same disk. */
  restart(node: NodeId, signal: AbortSignal): Promise<void>
  /** Makes a machine of the generation of `spec`, and ends those of earlier ones with what is on their disks. */
  replace(spec: MachineSpec, signal: AbortSignal): Promise<void>
  /** Ends all machines of the node with what is on their disks. None there: fine. */
  destroy(node: NodeId, signal: AbortSignal): Promise<void>
  /** State and address. */
  describe(node: NodeId, signal: AbortSignal): Promise<MachineView>
  /** All machines that it made, also those that nobody knows of. */
  list(signal: AbortSignal): Promise<readonly MachineView[]>
  figures(node: NodeId, signal: AbortSignal): Promise<MachineFigures>
  /** Whether it can do its work: credentials, rights, names. */
  check(signal: AbortSignal): Promise<readonly DriverFinding[]>
}

/** The name of this failure in records (P-36). */
export const unsupportedName = 'driver_unsupported'

/** The driver does not do such things. */
export class DriverUnsupported extends Error {
  override readonly name = 'DriverUnsupported'
}

/** It did not work this time. The message carries the provider's own words, without secrets. */
export class DriverFailed extends Error {
  override readonly name = 'DriverFailed'
}

export function unsupported(kind: DriverKind, act: string, instead: string): DriverUnsupported {
  return new DriverUnsupported(`${unsupportedName}: the driver \`${kind}\` cannot ${act}; ${instead}`)
}
