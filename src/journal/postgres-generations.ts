/** Generations of indexes beside the one that is read, as transactions. */
import type { PoolClient } from 'pg'
import type { IndexId, NodeId, Spread } from '../store/catalogue.ts'
import { recordEvents } from '../store/transaction.ts'
import { addedGeneration, forgottenGeneration, readGeneration } from './generation-change.ts'
import { lockFresh, type ProgressDependencies, type ProgressEffects, settleJointly } from './lane-progress.ts'
import type { GenerationChange, ReplicaOutcome } from './ports.ts'
import { freeName } from './postgres-replicas.ts'
import type { IndexState } from './write-index.ts'

interface Edited {
  readonly outcome: ReplicaOutcome
  readonly effects: ProgressEffects
}

const nothing: ProgressEffects = { finished: undefined, isCatalogueChanged: false, woken: [] }
const changed: ProgressEffects = { ...nothing, isCatalogueChanged: true }

export async function editGenerations(
  client: PoolClient,
  deps: ProgressDependencies,
  index: IndexId,
  change: GenerationChange,
): Promise<Edited> {
  if (change.kind === 'add') return add(client, deps, index, change.spread)
  const locked = await lockFresh(client, deps.sealing, index)
  const state = locked.get(index)?.state
  if (state === undefined || state.isGone) return { outcome: 'unsuited', effects: nothing }
  if (change.kind === 'forget') {
    const outcome = forgottenGeneration(state, change.number)
    if (outcome !== 'now') return { outcome, effects: nothing }
    await client.query('update indexes set beside = null where id = $1', [index])
    return { outcome: 'done', effects: nothing }
  }
  const next = readGeneration(state, change.number)
  if (typeof next === 'string') return { outcome: next, effects: nothing }
  const { replicas, generation, spread, beside } = next
  await client.query('update indexes set generation = $2, spread = $3, beside = $4 where id = $1', [
    ...[index, generation, spread && JSON.stringify(spread), JSON.stringify(beside)],
  ])
  Object.assign(state, { generation, spread, beside, replicas })
  const standing = { replicas, restart: new Set<string>(), isChanged: true }
  const effects = await settleJointly(client, deps, locked, state, standing)
  return { outcome: 'done', effects }
}

async function add(
  client: PoolClient,
  deps: ProgressDependencies,
  index: IndexId,
  spread: Spread | null,
): Promise<Edited> {
  // In the order of other transactions: nodes, then the index.
  const { rows: nodes } = await client.query<{ id: NodeId; group: number; seat: NodeId; load: number }>(
    `select id, replica_group as group, coalesce(seat, id) as seat, index_count as load from nodes where state = 'active' order by id
     for no key update`,
  )
  const state = (await lockFresh(client, deps.sealing, index)).get(index)?.state
  const uid = state?.readUid ?? state?.writeUid ?? null
  if (state === undefined || state.isGone || uid === null) return { outcome: 'unsuited', effects: nothing }
  const { rows } = await client.query<{ ref: string; known: number | null }>(
    `select p.ref, (select max(generation) from placements where index_id = $1) as known from projects p where p.id = $2`,
    [index, state.project],
  )
  const added = addedGeneration(state, spread, nodes, rows[0]?.known ?? 0)
  if (typeof added === 'string') return { outcome: added, effects: nothing }
  for (const { node, shards } of added.places) {
    const physicalUid = await freeName(client, node, rows[0]?.ref ?? '', uid)
    await client.query(
      `insert into placements (index_id, generation, shards, node_id, physical_uid, state)
       values ($1, $2, $3, $4, $5, 'copying')`,
      [index, added.number, shards, node, physicalUid],
    )
    await client.query('update nodes set index_count = index_count + 1 where id = $1', [node])
  }
  await client.query('update indexes set beside = $2 where id = $1', [
    index,
    JSON.stringify({ number: added.number, spread }),
  ])
  await recordEvents(client, [eventOf(state)])
  return { outcome: 'done', effects: changed }
}

function eventOf({ id, project }: IndexState) {
  return { entity: 'index', project, entityId: id } as const
}
