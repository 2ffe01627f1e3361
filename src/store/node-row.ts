/** Nodes as rows. */
import { sql } from 'kysely'
import { SealBroken } from '../lib/seal.ts'
import type { Node, NodeCapacity } from './catalogue.ts'
import type { Db } from './database.ts'
import type { Opener } from './key-ring.ts'
import type { Tables } from './tables.ts'

export type NodeRow = Pick<
  Tables['nodes'],
  'id' | 'engine' | 'url' | 'region' | 'state' | 'key_sealed' | 'capacity'
> & {
  readonly replica_group: number
  readonly takes_existing: boolean
  readonly seat: string | null
}

/** `gateway` leaves out master keys (P-22). */
export type NodeView = 'whole' | 'gateway'

/**
 * A node that has indexes and no credential at all was last under a program that made none: until a worker of this release
 * has, gateways go on with its master key.
 */
export function selectNodes(db: Db, view: NodeView) {
  const withheld = sql<Buffer | null>`case when exists (select 1 from engine_credentials c where c.node_id = nodes.id)
    or not exists (select 1 from placements p where p.node_id = nodes.id) then null else key_sealed end`
  return db
    .selectFrom('nodes')
    .select(['id', 'engine', 'url', 'region', 'state', 'capacity', 'replica_group', 'takes_existing', 'seat'])
    .where('is_removed', '=', false)
    .select(view === 'whole' ? 'key_sealed' : withheld.as('key_sealed'))
}

export const nodeKeyContext = (id: string) => `node:${id}:key`

export function decodeNode(sealing: Opener, row: NodeRow): Node {
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
    ...(row.takes_existing ? { takesExisting: true } : {}),
    ...(row.seat === null ? {} : { seat: row.seat }),
  }
}
