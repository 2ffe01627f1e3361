/** What the keeper of a fleet shows, for Prometheus. Only the process that keeps the fleet has figures. */
import { Counter, Gauge, type Registry } from 'prom-client'
import type { FleetNote, Machine } from '../../store/fleet.ts'
import { healthStates } from '../../topology/health-states.ts'

export interface FleetMetrics {
  /** After a look whose notes were written. */
  looked(machines: readonly Machine[], note: FleetNote, halted: string | null): void
  /** Another process keeps the fleet. */
  followed(): void
}

export const silentFleetMetrics: FleetMetrics = { looked: () => undefined, followed: () => undefined }

/** Kinds of events that something was done, or could not be. */
const counted = ['restart', 'replace', 'scale', 'failure', 'brake'] as const

export function createFleetMetrics(registry: Registry): FleetMetrics {
  const registers = [registry]
  const nodes = new Gauge({
    name: 'flapjack_fleet_nodes',
    help: 'Nodes by their health, as the keeper of the fleet sees them.',
    labelNames: ['health'],
    registers,
  })
  const halted = new Gauge({
    name: 'flapjack_fleet_halted',
    help: '1 while the brake is on: nothing is done by itself until a person releases it.',
    registers,
  })
  const events = new Counter({
    name: 'flapjack_fleet_events_total',
    help: 'What was done to machines: restart, replace, scale; failure: what could not be done; brake: it was put on.',
    labelNames: ['kind'],
    registers,
  })
  const isCounted = (kind: string): kind is (typeof counted)[number] => counted.some((one) => one === kind)
  return {
    looked(machines, note, reason) {
      for (const health of healthStates) {
        const count = machines.filter((machine) => machine.life === 'active' && machine.health === health).length
        nodes.set({ health }, count)
      }
      halted.set(reason === null ? 0 : 1)
      for (const { kind } of note.events ?? []) if (isCounted(kind)) events.inc({ kind })
    },
    followed() {
      nodes.reset()
      halted.set(0)
    },
  }
}
