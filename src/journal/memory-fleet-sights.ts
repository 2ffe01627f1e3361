/** What the keeper of a fleet asks of the journal in memory. */
import type { Clock } from '../lib/clock.ts'
import type { Node, NodeId } from '../store/catalogue.ts'
import type { Holdings, LaneSight } from '../store/fleet.ts'
import type { MemoryState } from './memory-state.ts'

interface SightDeps {
  readonly state: MemoryState
  readonly memory: { readonly nodes: ReadonlyMap<NodeId, Node> }
  readonly clock: Pick<Clock, 'now'>
}

export function laneSights({ state, memory, clock }: SightDeps): ReadonlyMap<NodeId, LaneSight> {
  return new Map(
    [...memory.nodes.keys()].map((id) => {
      const lease = state.leases.get(id)
      const sight: LaneSight = {
        isHeld: lease !== undefined && lease.owner !== '' && lease.until > clock.now(),
        silentSince: state.silent.get(id) ?? null,
        trouble: lease?.trouble ?? null,
        marker: state.identities.get(id)?.marker ?? null,
      }
      return [id, sight]
    }),
  )
}

export function holdingsOf(state: MemoryState, node: NodeId): Holdings {
  const indexes = [...state.indexes.values()]
  const held = indexes.flatMap((index) =>
    index.placements
      .filter((placement) => placement.node === node && !placement.isGone)
      .map((placement) => ({ index, placement })),
  )
  // Other copies do not help: lanes read the journal alone.
  const isIrreplaceable = ({ index }: (typeof held)[number]) =>
    index.changes.some(
      ({ status, byteCount, payload, resolution }) =>
        status === 'succeeded' && byteCount > 0 && payload === null && resolution === null,
    )
  return {
    replicas: held.length,
    filling: held.filter(({ placement }) => placement.state === 'filling').length,
    irreplaceable: held.filter(isIrreplaceable).length,
  }
}
