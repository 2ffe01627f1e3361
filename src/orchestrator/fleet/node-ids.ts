/** Ids of nodes whose machines a driver made. Pure. */
import type { FleetConfig } from '../../config/fleet-fields.ts'
import type { EngineKind, NodeId } from '../../store/catalogue.ts'
import { nextLocalId } from '../local-fleet.ts'

/** First letter. */
const prefixes = { kubernetes: 'k', hetzner: 'h' } as const

/** A new id, behind all that there ever were. */
export function nextNodeId(driver: FleetConfig['driver'], engine: EngineKind, ids: readonly NodeId[]): NodeId {
  if (driver === 'local' || driver === null) return nextLocalId(engine, ids)
  const form = new RegExp(`^${prefixes[driver]}([1-9]\\d{0,5})$`)
  const numbers = ids.map((id) => Number(form.exec(id)?.[1] ?? 0))
  return `${prefixes[driver]}${1 + Math.max(0, ...numbers)}`
}
