/** The journal as lanes see it. Every write names the lease that it is made under, and does nothing once that is lost. */

import type { PoolClient } from 'pg'
import { assert } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import type { Blobs } from '../store/blobs.ts'
import type { IndexId, NodeId, Placement, PlacementState, ProjectId } from '../store/catalogue.ts'
import { decodeSpread } from '../store/catalogue-rows.ts'
import type { Sealing } from '../store/data-keys.ts'
import { type Database, reach } from '../store/database.ts'
import { decodePlacement } from '../store/placement-row.ts'
import type { Signals } from '../store/signals.ts'
import type { ChangeRow } from '../store/tables.ts'
import { againAfterConflict, recordEvents } from '../store/transaction.ts'
import { isDelivered, isInSync, statesWhere } from '../topology/placement-states.ts'
import type { Change } from './change.ts'
import {
  decodeChange,
  encodeResolution,
  isResolvable,
  openDeliver,
  openSettings,
  parseText,
  sealContexts,
} from './change-row.ts'
import { type DiskRow, decodeDisk } from './disk-row.ts'
import { noteSilence, releaseHeld } from './in-sync-set.ts'
import { holding, leaseNodes, noteTrouble, releaseNodes, troubles } from './lane-leases.ts'
import { endTurn, giveTurns, type ProgressEffects, recordProgress, settleStandings } from './lane-progress.ts'
import { partialsOf, resolversIn, savePartial } from './partial-rows.ts'
import type { PayloadStore } from './payload-store.ts'
import type {
  CompletedSettings,
  LaneChange,
  LaneJournal,
  LaneState,
  NodeLease,
  PlacementStanding,
  SettingsPrint,
} from './ports.ts'
import { removeReplica } from './postgres-replicas.ts'
import { openProjectWork } from './project-work.ts'
import { failedOn, settingsTurns } from './report-rows.ts'
import { openRetention } from './retention.ts'
import type { SettingsTurn } from './settings-turn.ts'
import { openWorkWaiter, projectWork } from './work-waiter.ts'

export interface LaneDependencies {
  readonly database: Database
  readonly sealing: Sealing
  readonly payloads: PayloadStore
  readonly blobs: Blobs
  readonly signals: Signals
  readonly clock: Clock
}

export function openPostgresLanes(deps: LaneDependencies): LaneJournal {
  const { database, sealing, payloads, signals, clock } = deps
  const waiter = openWorkWaiter(clock, (wake) => signals.listen('flapjack_work', wake))
  const sendFinished = (project: ProjectId) => signals.send('flapjack_finished', project)
  const tell = tellerOf(signals)
  return {
    leaseNodes: (worker, leaseMs) => leaseNodes(database, sealing, worker, leaseMs),
    releaseNodes: (worker) => releaseNodes(database, worker),
    noteTrouble: (lease, trouble) => noteTrouble(database, lease, trouble),
    troubles: () => troubles(database),
    lanesBehind: (node, limit) => lanesBehind(database, node, limit),
    laneOn: (node, physicalUid) => laneOn(database, node, physicalUid),
    read: (index, after, limit, byteCountMax) => read(deps, index, after, limit, byteCountMax),
    isHeldElsewhere: (placement) => isHeldElsewhere(database, placement),
    standingsOn: (node, physicalUids) => standingsOn(database, node, physicalUids),
    completedSettings: (index) => completedSettings(database, sealing, index),
    lanesToAudit: (node, after, limit) => lanesToAudit(database, node, after, limit),
    savePrint: (lease, { index, physicalUid, revision }, print) =>
      holding(database, lease, async (client) => {
        await client.query(
          `update placements set settings_print = $5
           where index_id = $1 and physical_uid = $2 and node_id = $3 and revision = $4 and not is_gone`,
          [index, physicalUid, lease.node.id, revision, JSON.stringify(print)],
        )
        return true
      }),
    failedOn: (placement, positions) => failedOn(database, placement, positions),
    open: (payload) => payloads.open(payload),
    stage: (bytes) => payloads.stage(bytes),
    markSent: (lease, index, positions, startedAt) => markSent(database, lease, index, positions, startedAt),
    recordResolution: (lease, index, position, resolution) =>
      holding(database, lease, async (client) => {
        const { text, puts, deletes } = encodeResolution(resolution)
        await client.query(
          `update changes set resolution = $3, resolution_puts = $4, resolution_deletes = $5
           where index_id = $1 and position = $2 and resolution is null`,
          [index, position, text, puts, deletes],
        )
        return true
      }),
    recordPartial: (lease, placement, position, partial) =>
      holding(database, lease, (client) => savePartial(client, placement, position, partial)),
    async advance(lease, placement, applied, outcomes, proof) {
      const effects = await holding(database, lease, (client) =>
        recordProgress(client, deps, { placement, applied, outcomes, proof }),
      )
      if (effects === false || effects === 'restarted') return effects
      tell(effects)
      return true
    },
    async giveTurns(lease, placement, position) {
      const effects = await holding(database, lease, (client) => giveTurns(client, deps, placement, position))
      if (effects !== false) tell(effects)
      return effects !== false
    },
    async endTurn(lease, placement) {
      const effects = await holding(database, lease, (client) => endTurn(client, deps, placement))
      if (effects !== false) tell(effects)
      return effects !== false
    },
    async dueDrops(node, limit) {
      const { rows } = await reach(() =>
        database.pool.query<{ physical_uid: string }>({
          name: 'due-drops',
          text: 'select physical_uid from placements where node_id = $1 and must_drop order by physical_uid limit $2',
          values: [node, limit],
        }),
      )
      return rows.map((row) => row.physical_uid)
    },
    noteDropped: (lease, physicalUid) =>
      holding(database, lease, async (client) => {
        await client.query('update placements set must_drop = false where node_id = $1 and physical_uid = $2', [
          lease.node.id,
          physicalUid,
        ])
        return true
      }),
    noteLeftover: (lease, physicalUid) =>
      holding(database, lease, async (client) => {
        await client.query(
          'update placements set must_drop = true where node_id = $1 and physical_uid = $2 and is_gone',
          [lease.node.id, physicalUid],
        )
        return true
      }),
    noteSilence: (lease, isSilent) => noteSilence({ ...deps, tell }, lease, isSilent),
    releaseHeld: (lagMs) => releaseHeld({ ...deps, tell }, lagMs),
    identity: (lease) =>
      holding(database, lease, async (client) => {
        const { rows } = await client.query<DiskRow>(
          `select n.marker, n.since_epoch, p.proof_task, p.proof_mark from nodes n left join lateral (
             select proof_task, proof_mark from placements where node_id = n.id and proof_task is not null
             order by proof_task desc limit 1
           ) p on true where n.id = $1`,
          [lease.node.id],
        )
        const [row] = rows
        assert(row !== undefined, 'a leased node exists')
        return decodeDisk(row)
      }),
    async adopt(lease, marker) {
      const adopted = await holding(database, lease, async (client) => {
        const effects = await emptyPlacements(client, deps, lease.node.id, null)
        await client.query(
          'update placements set proof_task = null, proof_mark = null where node_id = $1 and proof_task is not null',
          [lease.node.id],
        )
        await client.query('update nodes set marker = $2, since_epoch = $3 where id = $1', [
          lease.node.id,
          marker,
          lease.epoch,
        ])
        return effects
      })
      if (adopted !== false) adopted.map(tell)
      return adopted !== false
    },
    async restart(lease, placement) {
      const restarted = await holding(database, lease, (client) =>
        emptyPlacements(client, deps, lease.node.id, placement.physicalUid),
      )
      if (restarted !== false) restarted.map(tell)
      return restarted !== false
    },
    async noteTrimmed(lease, { index, physicalUid, node, revision }) {
      const isNoted = await holding(database, lease, async (client) => {
        const { rows } = await client.query<{ project_id: string }>(
          `update placements p set has_leftovers = false from indexes i where i.id = p.index_id
             and p.node_id = $1 and p.physical_uid = $2 and p.revision = $3 and p.has_leftovers returning i.project_id`,
          [node, physicalUid, revision],
        )
        await recordEvents(
          client,
          rows.map((row) => ({ entity: 'index', project: row.project_id, entityId: index })),
        )
        return true
      })
      if (isNoted) signals.send('flapjack_catalogue', '')
      return isNoted
    },
    removeReplica: (lease, placement) => removeReplica({ ...deps, tell }, lease, placement),
    waitForWork: (node, timeoutMs, signal) => waiter.wait(node, timeoutMs, signal),
    waitForProjectWork: (timeoutMs, signal) => waiter.wait(projectWork, timeoutMs, signal),
    ...openProjectWork({ database, sealing, clock, sendFinished }),
    ...openRetention(deps),
  }
}

/** Wakes those whom progress concerns, in every process. */
export function tellerOf(signals: Pick<Signals, 'send'>) {
  return ({ isCatalogueChanged, finished, woken }: ProgressEffects) => {
    if (isCatalogueChanged) signals.send('flapjack_catalogue', '')
    if (finished !== undefined) signals.send('flapjack_finished', finished)
    for (const node of woken) signals.send('flapjack_work', node)
  }
}

/** Puts the placements of a node, or one of them, back to the beginning. */
async function emptyPlacements(
  client: PoolClient,
  deps: LaneDependencies,
  node: NodeId,
  physicalUid: string | null,
): Promise<readonly ProgressEffects[]> {
  // Locked by a statement of its own: the next one sees what other replicas completed before.
  const { rows } = await client.query<{ id: string; project_id: string }>(
    `select i.id, i.project_id from indexes i where i.id in (
       select index_id from placements where node_id = $1 and not is_gone and ($2::text is null or physical_uid = $2)
     ) order by i.id for no key update`,
    [node, physicalUid],
  )
  const ids = rows.map(({ id }) => id)
  await client.query(
    `with emptied as (
       update placements p set applied = 0, applied_bytes = 0, proof_task = null, proof_mark = null,
         turn_position = 0, turn_role = null,
         state = case when p.state = any($4::text[]) and i.completed > 0 then 'filling' else p.state end
       from indexes i where p.node_id = $1 and not p.is_gone and i.id = p.index_id and i.id = any($3::uuid[])
         and ($5::text is null or p.physical_uid = $5)
     )
     update indexes i set behind_since = coalesce(behind_since, $2) where i.id = any($3::uuid[]) and i.head > 0`,
    [node, deps.clock.now(), ids, statesWhere(isInSync), physicalUid],
  )
  await recordEvents(
    client,
    rows.map((row) => ({ entity: 'index', project: row.project_id, entityId: row.id })),
  )
  const { rows: moving } = await client.query<{ index_id: string }>(
    `select distinct index_id from placements where index_id = any($1::uuid[]) and not is_gone
       and (state = 'parting' or shed <> '{}') order by index_id`,
    [ids],
  )
  const effects: ProgressEffects[] = [{ finished: undefined, isCatalogueChanged: true, woken: [] }]
  for (const { index_id: index } of moving) effects.push(await settleStandings(client, deps, index))
  return effects
}

type BehindRow = {
  index_id: string
  generation: number
  shards: number[]
  node_id: string
  physical_uid: string
  state: PlacementState
  applied: number
  revision: number
  turn_position: number
  shed: number[]
  has_leftovers: boolean
  spread: string | null
  is_current: boolean
  project_id: string
  head: number
  primary_key: string | null
  pending_bytes: number
}

/** How the generation lies that a replica is of, as JSON. */
const spreadSql =
  "case when p.generation = i.generation then i.spread else nullif((i.beside::json->'spread')::text, 'null') end"

const selectLanes = `select p.index_id, p.generation, p.shards, p.node_id, p.physical_uid, p.state, p.applied, p.revision, p.turn_position, p.shed, p.has_leftovers, ${spreadSql} as spread,
    p.generation = i.generation as is_current, p.settings_print, i.project_id,
    i.head, i.primary_key, i.byte_count - p.applied_bytes as pending_bytes
  from indexes i join placements p on p.index_id = i.id`

/** Served by indexes_behind (behind_since): only indexes with work are in it. */
async function lanesBehind(database: Database, node: NodeId, limit: number): Promise<readonly LaneState[]> {
  const { rows } = await reach(() =>
    database.pool.query<BehindRow>({
      name: 'lanes-behind',
      text: `${selectLanes} where i.behind_since is not null and p.node_id = $1 and not p.is_gone
          and ((p.applied < i.head or p.turn_position > 0 or p.has_leftovers) and p.state = any($3::text[]) or p.state = 'leaving')
        order by i.behind_since, i.id limit $2`,
      values: [node, limit, statesWhere(isDelivered)],
    }),
  )
  return rows.map(decodeLane)
}

/** Served by the uniqueness of (node_id, physical_uid). */
async function laneOn(database: Database, node: NodeId, physicalUid: string): Promise<LaneState | undefined> {
  const { rows } = await reach(() =>
    database.pool.query<BehindRow>(
      `${selectLanes} where p.node_id = $1 and p.physical_uid = $2 and not p.is_gone and p.state <> 'copying'`,
      [node, physicalUid],
    ),
  )
  return rows[0] && decodeLane(rows[0])
}

/** Served by the uniqueness of (node_id, physical_uid). */
async function lanesToAudit(
  database: Database,
  node: NodeId,
  after: string,
  limit: number,
): Promise<readonly { readonly lane: LaneState; readonly print: SettingsPrint | null }[]> {
  const { rows } = await reach(() =>
    database.pool.query<BehindRow & { settings_print: string | null }>(
      `${selectLanes} where p.node_id = $1 and p.physical_uid > $2 and not p.is_gone and ${spreadSql} is not null and p.state <> 'copying'
       order by p.physical_uid limit $3`,
      [node, after, limit],
    ),
  )
  return rows.map((row) => ({ lane: decodeLane(row), print: parseText<SettingsPrint>(row.settings_print) }))
}

/** Served by placements_index (index_id). */
async function isHeldElsewhere(
  database: Database,
  { index, generation, node, physicalUid, shards }: Placement,
): Promise<boolean> {
  const { rows } = await reach(() =>
    database.pool.query<{ is_held: boolean }>(
      `select $5::int[] <@ coalesce(array_agg(shard), '{}') as is_held
       from placements o join nodes n on n.id = o.node_id, unnest(o.shards) as shard
       where o.index_id = $1 and o.generation = $2 and (o.node_id <> $3 or o.physical_uid <> $4) and not o.is_gone
         and o.state = any($6::text[]) and n.state <> 'lost'`,
      [index, generation, node, physicalUid, shards, statesWhere(isDelivered)],
    ),
  )
  return rows[0]?.is_held === true
}

async function standingsOn(
  database: Database,
  node: NodeId,
  physicalUids: readonly string[],
): Promise<readonly PlacementStanding[]> {
  const { rows } = await reach(() =>
    database.pool.query<{ physical_uid: string; applied: number; proof_task: number | null }>(
      `select physical_uid, applied, proof_task from placements
       where node_id = $1 and physical_uid = any($2::text[]) and not is_gone`,
      [node, physicalUids],
    ),
  )
  return rows.map((row) => ({ physicalUid: row.physical_uid, applied: row.applied, proof: row.proof_task }))
}

function decodeLane(row: BehindRow): LaneState {
  return {
    placement: decodePlacement(row),
    spread: decodeSpread(row.spread),
    isCurrent: row.is_current,
    project: row.project_id,
    head: row.head,
    primaryKey: parseText<string>(row.primary_key),
    pendingBytes: row.pending_bytes,
  }
}

/** Served by changes_position (index_id, position). */
async function read(
  { database, sealing }: LaneDependencies,
  index: IndexId,
  after: number,
  limit: number,
  byteCountMax: number,
): Promise<readonly LaneChange[]> {
  const { rows } = await reach(() =>
    database.pool.query<ChangeRow>(
      `with first as (
         select bytes_through - byte_count as base from changes where index_id = $1 and position = $2::bigint + 1
       )
       select c.* from changes c cross join first
       where c.index_id = $1 and c.position > $2::bigint and c.position <= $2::bigint + $3
         and (c.bytes_through - first.base <= $4 or c.position = $2::bigint + 1)
       order by c.position`,
      [index, after, limit, byteCountMax],
    ),
  )
  const partials = await partialsOf(database, index, rows)
  const turns = await settingsTurns(database, index, rows)
  const isUnresolved = (row: ChangeRow) => row.finished_at === null && isResolvable(row)
  const resolvers = rows.some(isUnresolved) ? await resolversIn(database, index) : undefined
  return rows.map((row) => ({
    change: withPlace(decodeChange(sealing, row)),
    settings: openDeliver(sealing, row),
    primaryKey: parseText<string>(row.primary_key),
    partials: partials.get(row.position ?? 0) ?? [],
    ...turnOf(turns, row.position),
    ...(resolvers !== undefined && isUnresolved(row) ? { resolvers } : {}),
  }))
}

function turnOf(turns: ReadonlyMap<number, SettingsTurn>, position: number | null): Pick<LaneChange, 'turn'> {
  const turn = turns.get(position ?? 0)
  return turn === undefined ? {} : { turn }
}

async function completedSettings(database: Database, sealing: Sealing, index: IndexId): Promise<CompletedSettings> {
  const { rows } = await reach(() =>
    database.pool.query<{ completed: number; settings_position: number; settings_done_sealed: Buffer | null }>(
      'select completed, settings_position, settings_done_sealed from indexes where id = $1',
      [index],
    ),
  )
  const [row] = rows
  assert(row !== undefined, 'an index in a lane exists')
  const settings = openSettings(sealing, row.settings_done_sealed, sealContexts.settingsDone(index))
  return { completed: row.completed, position: row.settings_position, settings }
}

/**
 * One statement, since every write waits for it. A row that a cancellation changes meanwhile is seen as it is then by the
 * update, and only by it: so what was enqueued counts only when the update took it.
 */
async function markSent(
  database: Database,
  lease: NodeLease,
  index: IndexId,
  positions: readonly number[],
  startedAt: number,
): Promise<readonly number[] | false> {
  const { rows } = await againAfterConflict(() =>
    database.pool.query<{ is_held: boolean; position: number | null }>({
      name: 'mark-sent',
      text: `with held as (
          select 1 from node_leases where node_id = $1 and epoch = $2 and owner <> '' for share
        ), taken as (
          update changes set status = 'processing', started_at = coalesce(started_at, $5)
          where index_id = $3 and position = any($4::bigint[]) and status = 'enqueued' and exists (select 1 from held)
          returning position
        ), allowed as (
          select position from taken
          union all
          select position from changes
          where index_id = $3 and position = any($4::bigint[]) and status not in ('enqueued', 'canceled')
        )
        select exists (select 1 from held) as is_held, a.position from (values (1)) as one left join allowed a on true
        order by a.position`,
      values: [lease.node.id, lease.epoch, index, positions, startedAt],
    }),
  )
  if (rows[0]?.is_held !== true) return false
  return rows.flatMap(({ position }) => position ?? [])
}

function withPlace(change: Change): LaneChange['change'] {
  const { index, position } = change
  assert(index !== null && position !== null, 'a change in a lane has a position')
  return { ...change, index, position }
}
