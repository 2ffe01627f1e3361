/** How moves place replicas, as transactions. */
import { assert } from '../lib/assert.ts'
import type { IndexId, NodeId, Placement } from '../store/catalogue.ts'
import { decodeGeneration, decodeSpread } from '../store/catalogue-rows.ts'
import { type Database, reach } from '../store/database.ts'
import { decodePlacement, type PlacementRow } from '../store/placement-row.ts'
import { recordEvents, transact } from '../store/transaction.ts'
import { physicalName } from '../topology/physical-name.ts'
import { isDelivered, statesWhere } from '../topology/placement-states.ts'
import { parseText } from './change-row.ts'
import { type DiskRow, decodeDisk } from './disk-row.ts'
import { holding } from './lane-leases.ts'
import { editReplica, type ProgressDependencies, type ProgressEffects } from './lane-progress.ts'
import type { IndexStanding, NodeLease, ReplicaJournal } from './ports.ts'
import { editGenerations } from './postgres-generations.ts'
import { openPostgresLayouts } from './postgres-layouts.ts'

export interface ReplicaDependencies extends ProgressDependencies {
  readonly database: Database
  /** Told of each commit. */
  readonly tell: (effects: ProgressEffects) => void
}

export function openPostgresReplicas(deps: ReplicaDependencies): ReplicaJournal {
  const { database, tell } = deps
  return {
    ...openPostgresLayouts(database, () => tell({ finished: undefined, isCatalogueChanged: true, woken: [] })),
    standing: (index) => standing(database, index),
    async addReplica(index, node, shards) {
      const placement = await transact(database, (client) => addReplica(client, index, node, shards))
      if (placement !== undefined) tell({ finished: undefined, isCatalogueChanged: true, woken: [] })
      return placement
    },
    async changeReplica(index, replica, change) {
      const { outcome, effects } = await transact(database, (client) =>
        editReplica(client, deps, index, replica, change),
      )
      tell(effects)
      return outcome
    },
    async changeGeneration(index, change) {
      const { outcome, effects } = await transact(database, (client) => editGenerations(client, deps, index, change))
      tell(effects)
      return outcome
    },
    async loads() {
      const { rows } = await reach(() =>
        database.pool.query<{ id: string; index_count: number }>('select id, index_count from nodes'),
      )
      return new Map(rows.map(({ id, index_count }) => [id, index_count]))
    },
  }
}

type StandingRow = {
  project_id: string
  read_uid: string | null
  spread: string | null
  generation: number
  beside: string | null
  head: number
  completed: number
  byte_count: number
  primary_key: string | null
}

async function standing(database: Database, index: IndexId): Promise<IndexStanding | undefined> {
  const { rows } = await reach(() =>
    database.pool.query<
      StandingRow & {
        replicas: (PlacementRow & DiskRow & { applied_bytes: number })[] | null
      }
    >(
      `select i.project_id, i.read_uid, i.spread, i.generation, i.beside, i.head, i.completed, i.byte_count, i.primary_key, (
         select json_agg(json_build_object('index_id', p.index_id, 'generation', p.generation, 'shards', p.shards,
           'node_id', p.node_id, 'physical_uid', p.physical_uid, 'state', p.state, 'applied', p.applied,
           'revision', p.revision, 'turn_position', p.turn_position, 'shed', p.shed, 'has_leftovers', p.has_leftovers, 'applied_bytes', p.applied_bytes, 'since_epoch', n.since_epoch, 'marker', n.marker,
           'proof_task', p.proof_task, 'proof_mark', p.proof_mark) order by p.node_id, p.physical_uid)
         from placements p join nodes n on n.id = p.node_id where p.index_id = i.id and not p.is_gone
       ) as replicas
       from indexes i where i.id = $1 and not i.is_gone`,
      [index],
    ),
  )
  const [row] = rows
  if (row === undefined) return undefined
  return {
    index,
    project: row.project_id,
    uid: row.read_uid,
    spread: decodeSpread(row.spread),
    generation: row.generation,
    beside: decodeGeneration(row.beside),
    head: row.head,
    completed: row.completed,
    byteCount: row.byte_count,
    primaryKey: parseText<string>(row.primary_key),
    replicas: (row.replicas ?? []).map((replica) => {
      const { sinceEpoch: diskEpoch, marker: diskMarker, proof } = decodeDisk(replica)
      const pendingBytes = row.byte_count - replica.applied_bytes
      return { ...decodePlacement(replica), pendingBytes, diskEpoch, diskMarker, proof }
    }),
  }
}

type Client = Parameters<Parameters<typeof transact>[1]>[0]

async function addReplica(
  client: Client,
  index: IndexId,
  node: NodeId,
  shards: readonly number[],
): Promise<Placement | undefined> {
  // In the order of other transactions: nodes, then the index.
  const { rows: nodes } = await client.query(
    "select id from nodes where id = $1 and state <> 'lost' for no key update",
    [node],
  )
  const { rows } = await client.query<{
    project_id: string
    ref: string
    uid: string | null
    generation: number
  }>(
    `select i.project_id, p.ref, coalesce(i.read_uid, i.write_uid) as uid, i.generation
     from indexes i join projects p on p.id = i.project_id where i.id = $1 and not i.is_gone for no key update of i`,
    [index],
  )
  const [row] = rows
  if (nodes.length === 0 || row === undefined || row.uid === null) return undefined
  const { generation } = row
  const { rows: known } = await client.query<PlacementRow>(
    `select * from placements where index_id = $1 and generation = $2 and node_id = $3 and shards = $4::int[]
       and state = 'copying' and not is_gone`,
    [index, generation, node, shards],
  )
  if (known[0] !== undefined) return decodePlacement(known[0])
  const physicalUid = await freeName(client, node, row.ref, row.uid)
  // The rows of earlier stays keep their names: what still comes for those finds nothing of this replica. Its marks are none of theirs.
  const { rows: placed } = await client.query<PlacementRow>(
    `insert into placements (index_id, generation, shards, node_id, physical_uid, state, revision)
     select $1, $2, $3, $4, $5, 'copying', coalesce(max(revision) + 1, 0) from placements where index_id = $1 and node_id = $4
     returning *`,
    [index, generation, shards, node, physicalUid],
  )
  assert(placed[0] !== undefined, 'an insert answers its row')
  await client.query('update nodes set index_count = index_count + 1 where id = $1', [node])
  await recordEvents(client, [{ entity: 'index', project: row.project_id, entityId: index }])
  return decodePlacement(placed[0])
}

const namesPerLook = 16

/** Served by the uniqueness of (node_id, physical_uid). The node is locked. */
export async function freeName(client: Client, node: NodeId, ref: string, uid: string): Promise<string> {
  for (let from = 1; ; from += namesPerLook) {
    const names = Array.from({ length: namesPerLook }, (_, at) => physicalName(ref, uid, from + at))
    const { rows } = await client.query<{ physical_uid: string }>(
      'select physical_uid from placements where node_id = $1 and physical_uid = any($2::text[])',
      [node, names],
    )
    const taken = new Set(rows.map((row) => row.physical_uid))
    const free = names.find((name) => !taken.has(name))
    if (free !== undefined) return free
  }
}

/** See `LaneJournal.removeReplica`. Answers `false` when the lease is lost. */
export async function removeReplica(
  deps: ReplicaDependencies,
  lease: NodeLease,
  placement: Placement,
): Promise<boolean> {
  const { index, physicalUid, node, revision } = placement
  const isRemoved = await holding(deps.database, lease, async (client) => {
    const { rows } = await client.query<{ project_id: string }>(
      `with gone as (
         update placements set is_gone = true
         where index_id = $1 and physical_uid = $2 and node_id = $3 and revision = $4 and state = 'leaving' and not is_gone
         returning node_id
       ), counted as (
         update nodes n set index_count = greatest(0, n.index_count - 1) from gone where n.id = gone.node_id
       )
       select i.project_id from indexes i, gone where i.id = $1`,
      [index, physicalUid, node, revision],
    )
    await client.query(
      `update indexes i set behind_since = null where i.id = $1 and not exists (
         select 1 from placements p where p.index_id = i.id and not p.is_gone
           and ((p.applied < i.head or p.has_leftovers) and p.state = any($2::text[]) or p.state = 'leaving'))`,
      [index, statesWhere(isDelivered)],
    )
    await recordEvents(
      client,
      rows.map((row) => ({ entity: 'index', project: row.project_id, entityId: index })),
    )
    return true
  })
  if (isRemoved) deps.tell({ finished: undefined, isCatalogueChanged: true, woken: [] })
  return isRemoved
}
