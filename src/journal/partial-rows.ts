/** What a change came to in some shards of a spread index, as rows. */
import type { PoolClient } from 'pg'
import type { IndexId, Placement, PlacementState } from '../store/catalogue.ts'
import { type Database, reach } from '../store/database.ts'
import type { ChangeRow } from '../store/tables.ts'
import type { ReplicaId } from '../topology/replica-id.ts'
import type { PartialResolution } from './change.ts'
import { encodeResolution, isResolvable, resolutionOf } from './change-row.ts'
import { resolversOf } from './joint-progress.ts'

/** The first record of a shard stays. It counts only when all in front of the change is complete, and applied by the replica. */
export async function savePartial(
  client: PoolClient,
  { index, node, physicalUid }: Placement,
  position: number,
  { shards, resolution }: PartialResolution,
): Promise<true> {
  const { text, puts, deletes } = encodeResolution(resolution)
  // Two lanes must not record the same shard side by side.
  await client.query('select 1 from indexes where id = $1 for no key update', [index])
  await client.query(
    `insert into partial_resolutions (index_id, position, shards, resolution, puts, deletes)
     select $1, $2, $3::int[], $4, $5, $6 where not exists (
       select 1 from partial_resolutions where index_id = $1 and position = $2 and shards && $3::int[]
     ) and exists (
       select 1 from indexes i join placements p on p.index_id = i.id and p.node_id = $7 and p.physical_uid = $8 and not p.is_gone
       where i.id = $1 and least(i.completed, p.applied) >= $2::bigint - 1
     )`,
    [index, position, `{${shards.join(',')}}`, text, puts, deletes, node, physicalUid],
  )
  return true
}

/** By position. Asks only when some change of the page may have parts. */
export async function partialsOf(
  database: Database,
  index: IndexId,
  rows: readonly ChangeRow[],
): Promise<ReadonlyMap<number, readonly PartialResolution[]>> {
  const partials = new Map<number, PartialResolution[]>()
  const positions = rows.filter(isResolvable).map(({ position }) => position)
  if (positions.length === 0) return partials
  const found = await reach(() =>
    database.pool.query<{
      position: number
      shards: number[]
      resolution: string
      puts: Buffer | null
      deletes: Buffer | null
    }>(
      `select position, shards, resolution, puts, deletes from partial_resolutions
       where index_id = $1 and position = any($2::bigint[]) order by shards`,
      [index, positions],
    ),
  )
  for (const { position, shards, resolution: text, puts, deletes } of found.rows) {
    const resolution = resolutionOf({ resolution: text, resolution_puts: puts, resolution_deletes: deletes })
    if (resolution === null) continue
    const others = partials.get(position)
    if (others === undefined) partials.set(position, [{ shards, resolution }])
    else others.push({ shards, resolution })
  }
  return partials
}

export async function resolversIn(
  database: Database,
  index: IndexId,
): Promise<ReadonlyMap<ReplicaId, readonly number[]>> {
  const { rows } = await reach(() =>
    database.pool.query<{ node: string; physicalUid: string; shards: number[]; state: PlacementState }>({
      name: 'resolvers',
      text: 'select node_id as node, physical_uid as "physicalUid", shards, state from placements where index_id = $1 and not is_gone',
      values: [index],
    }),
  )
  return resolversOf(rows)
}
