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
  { shards, of, resolution }: PartialResolution,
): Promise<true> {
  const { text, puts, deletes } = encodeResolution(resolution)
  // Two lanes must not record the same shard side by side.
  await client.query('select 1 from indexes where id = $1 for no key update', [index])
  await client.query(
    `insert into partial_resolutions (index_id, position, shards, resolution, puts, deletes, shard_count)
     select $1, $2, $3::int[], $4, $5, $6, $9::int where not exists (
       select 1 from partial_resolutions
       where index_id = $1 and position = $2 and shard_count = $9::int and shards && $3::int[]
     ) and exists (
       select 1 from indexes i join placements p on p.index_id = i.id and p.node_id = $7 and p.physical_uid = $8 and not p.is_gone
         and p.generation = i.generation
       where i.id = $1 and least(i.completed, p.applied) >= $2::bigint - 1
     )`,
    [index, position, `{${shards.join(',')}}`, text, puts, deletes, node, physicalUid, of],
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
      shard_count: number
    }>(
      `select position, shards, resolution, puts, deletes, shard_count from partial_resolutions
       where index_id = $1 and position = any($2::bigint[]) order by shard_count, shards`,
      [index, positions],
    ),
  )
  for (const { position, shards, resolution: text, puts, deletes, shard_count: of } of found.rows) {
    const resolution = resolutionOf({ resolution: text, resolution_puts: puts, resolution_deletes: deletes })
    if (resolution === null) continue
    const others = partials.get(position)
    if (others === undefined) partials.set(position, [{ shards, of, resolution }])
    else others.push({ shards, of, resolution })
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
      text: `select p.node_id as node, p.physical_uid as "physicalUid", p.shards, p.state
        from placements p join indexes i on i.id = p.index_id and i.generation = p.generation
        where p.index_id = $1 and not p.is_gone`,
      values: [index],
    }),
  )
  return resolversOf(rows)
}
