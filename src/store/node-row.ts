/** Nodes as rows. */
import { SealBroken, type SealingKey } from '../lib/seal.ts'
import type { Node, NodeCapacity } from './catalogue.ts'
import type { Tables } from './tables.ts'

export type NodeRow = Pick<
  Tables['nodes'],
  'id' | 'engine' | 'url' | 'region' | 'state' | 'key_sealed' | 'capacity'
> & {
  readonly replica_group: number
}

export const nodeKeyContext = (id: string) => `node:${id}:key`

export function decodeNode(sealing: SealingKey, row: NodeRow): Node {
  let key: string | null = null
  let isReadable = true
  try {
    key = row.key_sealed === null ? null : sealing.open(row.key_sealed, nodeKeyContext(row.id)).toString()
  } catch (error) {
    if (!(error instanceof SealBroken)) throw error
    isReadable = false
  }
  return {
    id: row.id,
    engine: row.engine,
    url: row.url,
    region: row.region,
    group: row.replica_group,
    capacity: row.capacity === null ? null : (JSON.parse(row.capacity) as NodeCapacity),
    // Without its key nobody can talk to it.
    state: isReadable ? row.state : 'lost',
    key,
  }
}
