/** Indexes as rows, loaded as drafts and locked, and written back. */
import type { Selectable } from 'kysely'
import type { PoolClient } from 'pg'
import type { JsonObject } from '../lib/json.ts'
import { decodeGeneration, decodeSpread } from '../store/catalogue-rows.ts'
import type { Sealing } from '../store/data-keys.ts'
import { nowMs } from '../store/database.ts'
import type { Opener } from '../store/key-ring.ts'
import type { Tables } from '../store/tables.ts'
import { openSettings, parseText, sealContexts, sealJson } from './change-row.ts'
import type { IndexState, ReplicaStanding } from './write-index.ts'

/** A locked index: the draft, and what was loaded, so that only what changed is sealed and written. */
export interface LockedIndex {
  readonly state: IndexState
  readonly loaded: {
    readonly writeUid: string | null
    readonly readUid: string | null
    settings: JsonObject
    settingsDone: JsonObject
  }
}

type Row = Selectable<Tables['indexes']> & { replicas: Omit<ReplicaStanding, 'isCurrent'>[] | null }

/** Columns and joins of an index with its nodes; `where` and locking follow. Settings only where they are needed. */
export function selectIndexes(withSettings: boolean, more?: string): string {
  return `select i.id, i.project_id, i.write_uid, i.read_uid, i.named_by, i.write_primary_key, i.primary_key, i.created_at,
      i.updated_at, i.head, i.completed, i.byte_count, i.behind_since, i.settings_version, i.may_hold_documents, i.is_gone,
      ${withSettings ? 'i.settings_sealed, i.settings_done_sealed' : 'null as settings_sealed, null as settings_done_sealed'},
      i.spread, i.generation, i.beside, i.held_since, i.settings_position, p.replicas${more === undefined ? '' : `, ${more}`}
    from indexes i cross join lateral (
      select json_agg(json_build_object('node', p.node_id, 'physicalUid', p.physical_uid, 'group', n.replica_group, 'shards', p.shards, 'shed', p.shed, 'hasLeftovers', p.has_leftovers, 'state', p.state,
        'generation', p.generation, 'applied', p.applied, 'revision', p.revision, 'isLive', n.state <> 'lost' and (i.spread is null or n.silent_since is null),
        'turn', case when p.turn_position > 0 then json_build_object('position', p.turn_position, 'role', p.turn_role,
          'ageMs', ${nowMs} - coalesce(p.turned_at, 0)) end)) as replicas
      from placements p join nodes n on n.id = p.node_id
      where p.index_id = i.id and not p.is_gone
    ) p`
}

/**
 * A statement that waits for the lock of an index sees the index as it is then, and its replicas as they were before: which of
 * them are current follows from the two.
 */
export function replicasIn({ replicas, generation }: Pick<Row, 'replicas' | 'generation'>): readonly ReplicaStanding[] {
  return (replicas ?? []).map((replica) => ({ ...replica, isCurrent: replica.generation === generation }))
}

export function decodeIndex(sealing: Opener, row: Row): LockedIndex {
  const settings = openSettings(sealing, row.settings_sealed, sealContexts.settings(row.id))
  const settingsDone = openSettings(sealing, row.settings_done_sealed, sealContexts.settingsDone(row.id))
  const state: IndexState = {
    id: row.id,
    project: row.project_id,
    writeUid: row.write_uid,
    readUid: row.read_uid,
    namedBy: row.named_by,
    writePrimaryKey: parseText<string>(row.write_primary_key),
    primaryKey: parseText<string>(row.primary_key),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    head: row.head,
    completed: row.completed,
    byteCount: row.byte_count,
    behindSince: row.behind_since,
    settings,
    settingsDone,
    settingsVersion: row.settings_version,
    mayHoldDocuments: row.may_hold_documents,
    isGone: row.is_gone,
    spread: decodeSpread(row.spread),
    generation: row.generation,
    beside: decodeGeneration(row.beside),
    heldSince: row.held_since,
    settingsPosition: row.settings_position,
    replicas: replicasIn(row),
  }
  return { state, loaded: { writeUid: row.write_uid, readUid: row.read_uid, settings, settingsDone } }
}

/** Locks indexes in order of id, so that transactions never wait for each other in a circle. */
export async function lockIndexes(
  client: PoolClient,
  sealing: Sealing,
  ids: readonly string[],
): Promise<Map<string, LockedIndex>> {
  const { rows } = await client.query<Row>({
    name: 'lock-indexes',
    text: `${selectIndexes(true)} where i.id = any($1::uuid[]) order by i.id for no key update of i`,
    values: [[...new Set(ids)].sort()],
  })
  return new Map(rows.map((row) => [row.id, decodeIndex(sealing, row)]))
}

/** The same of one index and of every other one that a waiting swap of it touches. */
export async function lockWithSwaps(
  client: PoolClient,
  sealing: Sealing,
  id: string,
): Promise<Map<string, LockedIndex>> {
  const { rows } = await client.query<Row>({
    name: 'lock-with-swaps',
    text: `${selectIndexes(true)} where i.id in (
        select $1::uuid
        union all
        select b.index_id from waits a join waits b on b.project_id = a.project_id and b.task = a.task where a.index_id = $1
      ) order by i.id for no key update of i`,
    values: [id],
  })
  return new Map(rows.map((row) => [row.id, decodeIndex(sealing, row)]))
}

/** Writes drafts back. A name moves from one row to another, so names that change are cleared first. */
export async function saveIndexes(
  client: PoolClient,
  sealing: Sealing,
  indexes: readonly LockedIndex[],
): Promise<void> {
  const saving = await prepareSaving(client, sealing, indexes)
  if (saving !== undefined) await client.query({ name: 'save-indexes', ...saving })
}

/** A statement that another one may take along, as a part of its `with`. */
export interface Saving {
  readonly text: string
  readonly values: unknown[]
}

/** As `saveIndexes`, but for the last statement, which it answers; `undefined` = there is none. */
export async function prepareSaving(
  client: PoolClient,
  sealing: Sealing,
  indexes: readonly LockedIndex[],
): Promise<Saving | undefined> {
  if (indexes.length === 0) return undefined
  for (const { state } of indexes) {
    if (!state.isGone) continue
    state.writeUid = null
    state.readUid = null
    state.behindSince = null
    state.heldSince = null
  }
  const renamed = indexes.filter(
    ({ state, loaded }) => state.writeUid !== loaded.writeUid || state.readUid !== loaded.readUid,
  )
  if (renamed.length > 0) {
    await client.query('update indexes set write_uid = null, read_uid = null where id = any($1::uuid[])', [
      renamed.map(({ state }) => state.id),
    ])
  }
  const states = indexes.map(({ state }) => state)
  const isChanged = ({ state, loaded }: LockedIndex, of: 'settings' | 'settingsDone') => state[of] !== loaded[of]
  const changed = indexes.filter((index) => isChanged(index, 'settings') || isChanged(index, 'settingsDone'))
  const seals = await sealing.ofProjects(
    client,
    changed.map(({ state }) => state.project),
  )
  const sealed = (of: 'settings' | 'settingsDone') =>
    indexes.map((index) => {
      const { id, project } = index.state
      return isChanged(index, of) ? sealJson(seals(project), index.state[of], sealContexts[of](id)) : null
    })
  return {
    text: `update indexes i set
        write_uid = u.write_uid, read_uid = u.read_uid, named_by = u.named_by, write_primary_key = u.write_primary_key,
        primary_key = u.primary_key, created_at = u.created_at, updated_at = u.updated_at, head = u.head,
        completed = u.completed, byte_count = u.byte_count, behind_since = u.behind_since,
        settings_version = u.settings_version, settings_sealed = coalesce(u.settings, i.settings_sealed),
        settings_done_sealed = coalesce(u.settings_done, i.settings_done_sealed),
        may_hold_documents = u.may_hold_documents, is_gone = u.is_gone, held_since = u.held_since,
        settings_position = u.settings_position
      from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
        $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bytea[], $15::bytea[],
        $16::boolean[], $17::boolean[], $18::bigint[], $19::bigint[])
        as u (id, write_uid, read_uid, named_by, write_primary_key, primary_key, created_at, updated_at, head, completed,
          byte_count, behind_since, settings_version, settings, settings_done, may_hold_documents, is_gone,
          held_since, settings_position)
      where i.id = u.id`,
    values: [
      states.map((state) => state.id),
      states.map((state) => state.writeUid),
      states.map((state) => state.readUid),
      states.map((state) => state.namedBy),
      states.map((state) => (state.writePrimaryKey === null ? null : JSON.stringify(state.writePrimaryKey))),
      states.map((state) => (state.primaryKey === null ? null : JSON.stringify(state.primaryKey))),
      states.map((state) => state.createdAt),
      states.map((state) => state.updatedAt),
      states.map((state) => state.head),
      states.map((state) => state.completed),
      states.map((state) => state.byteCount),
      states.map((state) => state.behindSince),
      states.map((state) => state.settingsVersion),
      sealed('settings'),
      sealed('settingsDone'),
      states.map((state) => state.mayHoldDocuments),
      states.map((state) => state.isGone),
      states.map((state) => state.heldSince),
      states.map((state) => state.settingsPosition),
    ],
  }
}

/** A statement that another takes along: its parameters come behind the other's. Always of the same form, for its name. */
export function asPart(saving: Saving | undefined, parameterCount: number): Saving {
  const { text, values } = saving ?? emptySaving
  return { text: text.replace(/\$(\d+)/g, (_, number) => `$${Number(number) + parameterCount}`), values }
}

const emptySaving: Saving = { text: 'select 1', values: [] }
