/** Looks at every node once: probes, what lanes know, new disks. What changed goes into the notes. */
import type { Clock } from '../../lib/clock.ts'
import type { Node, NodeId } from '../../store/catalogue.ts'
import type { Fleet, LaneSight, Machine } from '../../store/fleet.ts'
import { freshHealth, type Health, type HealthRules, observe, type Sight } from '../../topology/health-states.ts'
import { type ProbeOutcome, probeNode } from '../health/probe.ts'
import type { FleetNotes } from './machine-note.ts'

export interface SightingDeps {
  readonly fleet: Pick<Fleet, 'holdings'>
  readonly clock: Clock
  readonly rules: { readonly health: HealthRules; readonly probeTimeoutMs: number }
  readonly signal: AbortSignal
}

/** Counters of looks, which no other process needs. */
export type Healths = Map<NodeId, Health>

/** A thousand nodes that are all away take no longer than the keeper's lease. */
const probesAtOnce = 256

/** Probes all of them, so many at a time. */
export async function probeAll(
  nodes: readonly Pick<Node, 'id' | 'url'>[],
  { clock, rules, signal }: SightingDeps,
): Promise<ReadonlyMap<NodeId, ProbeOutcome>> {
  const outcomes = new Map<NodeId, ProbeOutcome>()
  const waiting = [...nodes]
  const work = async () => {
    for (let node = waiting.shift(); node !== undefined; node = waiting.shift()) {
      outcomes.set(node.id, await probeNode(node.url, { clock, timeoutMs: rules.probeTimeoutMs, signal }))
    }
  }
  await Promise.all(Array.from({ length: Math.min(probesAtOnce, nodes.length) }, work))
  return outcomes
}

export async function noteHealth(
  machine: Machine,
  outcome: ProbeOutcome,
  lane: LaneSight | undefined,
  healths: Healths,
  notes: FleetNotes,
  { fleet, rules }: SightingDeps,
): Promise<void> {
  const { node, record } = machine
  const marker = lane?.marker ?? null
  const isNewDisk = marker !== null && record.marker != null && marker !== record.marker
  if (isNewDisk) notes.tell(node, 'health', 'its disk is new: lanes build what was on it again')
  const isFilling = isNewDisk || (record.isFilling === true && (await fleet.holdings(node)).filling > 0)
  if (isFilling !== (record.isFilling ?? false) || (marker !== null && marker !== record.marker)) {
    notes.change(node, {}, { isFilling, ...(marker === null ? {} : { marker }) })
  }
  const before = healths.get(node) ?? startingPoint(machine)
  const sight: Sight = { probe: outcome.probe, lanes: laneText(lane), isFilling }
  const health = observe(before, sight, rules.health, notes.now)
  healths.set(node, health)
  if (health.state === machine.health) return
  notes.change(node, { health: health.state, healthSince: health.since })
  const reason = outcome.reason ?? (isFilling ? 'its replicas are built again' : 'it answers')
  notes.tell(node, 'health', `${machine.health} → ${health.state}: ${reason}`)
}

/** Counters begin anew in every process. */
function startingPoint({ health, healthSince }: Machine): Health {
  return { ...freshHealth(healthSince), state: health }
}

function laneText(lane: LaneSight | undefined): Sight['lanes'] {
  if (lane === undefined) return 'none'
  if (lane.silentSince !== null) return 'silent'
  return lane.isHeld ? 'speak' : 'none'
}
