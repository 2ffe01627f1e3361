/** Looks at what every node carries, and keeps it. */
import type { Node, NodeId } from '../../store/catalogue.ts'
import type { NodeSample } from '../../store/fleet.ts'
import { type MachineFigures, noFigures } from '../drivers/node-driver.ts'
import { type LoadReader, noLoad } from '../health/load.ts'
import type { ProbeOutcome } from '../health/probe.ts'
import type { Drivers } from './fleet-rules.ts'
import type { FleetNotes } from './machine-note.ts'

export interface SamplingDeps {
  readonly drivers: Pick<Drivers, 'of'>
  readonly loads: LoadReader
  readonly signal: AbortSignal
}

/** Nodes that do not answer have no sample: what they carry is not known. */
export async function sampleAll(
  nodes: readonly Node[],
  outcomes: ReadonlyMap<NodeId, ProbeOutcome>,
  notes: FleetNotes,
  deps: SamplingDeps,
): Promise<void> {
  for (const node of nodes) {
    const outcome = outcomes.get(node.id)
    const driver = notes.machine(node.id)?.driver
    if (outcome === undefined || outcome.probe === 'bad' || driver === undefined) continue
    const figures = await (deps.drivers.of(driver)?.figures(node.id, deps.signal) ?? noFigures)
    const load = await deps.loads.read(node, deps.signal).catch(() => noLoad)
    notes.sample({
      ...roomOf(node, figures, load.dataBytes),
      ...load,
      node: node.id,
      at: notes.now,
      probeMs: outcome.tookMs,
    })
  }
}

/** Where the driver does not know a machine's size, its operator may have said it. */
function roomOf(
  { capacity }: Node,
  figures: MachineFigures,
  dataBytes: number | null,
): Pick<NodeSample, 'cpuPercent' | 'memoryBytes' | 'memoryBytesMax' | 'diskBytesFree' | 'diskBytesMax'> {
  const diskBytesMax = figures.diskBytesMax ?? capacity?.diskBytes ?? null
  const guessed = diskBytesMax === null || dataBytes === null ? null : Math.max(0, diskBytesMax - dataBytes)
  return {
    cpuPercent: figures.cpuPercent,
    memoryBytes: figures.memoryBytes,
    memoryBytesMax: capacity?.memoryBytes ?? figures.memoryBytesMax,
    diskBytesFree: figures.diskBytesFree ?? guessed,
    diskBytesMax,
  }
}
