/** Placements as rows. */
import type { Placement } from './catalogue.ts'
import type { Tables } from './tables.ts'

export type PlacementRow = Pick<
  Tables['placements'],
  'index_id' | 'generation' | 'shards' | 'node_id' | 'physical_uid' | 'state' | 'applied'
> & {
  readonly revision: number
  readonly turn_position: number
  readonly shed: readonly number[]
  readonly has_leftovers: boolean
}

export function decodePlacement(row: PlacementRow): Placement {
  return {
    index: row.index_id,
    generation: row.generation,
    shards: row.shards,
    node: row.node_id,
    physicalUid: row.physical_uid,
    state: row.state,
    applied: row.applied,
    revision: row.revision,
    ...(row.turn_position === 0 ? {} : { turn: row.turn_position }),
    ...(row.shed.length === 0 ? {} : { shed: row.shed }),
    ...(row.has_leftovers ? { hasLeftovers: true } : {}),
  }
}
