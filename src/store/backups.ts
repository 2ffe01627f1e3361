/** Backups of indexes and restores as rows: durable jobs with a lease; and when backups are made and given up. */
import { randomUUID } from 'node:crypto'
import type { PoolClient } from 'pg'
import type { Json, JsonObject } from '../lib/json.ts'
import type { IndexId, ProjectId, Spread } from './catalogue.ts'
import type { Sealing } from './data-keys.ts'
import { type Database, nowMs, reach } from './database.ts'
import { isAnyOpen } from './open-jobs.ts'
import type { Tables } from './tables.ts'
import { transact } from './transaction.ts'

/** `deleting`: its parts go, then its row. */
export type BackupState = 'waiting' | 'copying' | 'recording' | 'done' | 'failed' | 'deleting'

/** One object of a backup. */
export interface BackupPart {
  readonly name: string
  /** Documents as they lie in the index, or what was written while these were read. */
  readonly kind: 'documents' | 'changes'
  readonly byteCount: number
  /** Of the object, lower-case hex. */
  readonly sha256: string
  /** Lines of documents and ids in it. */
  readonly lines: number
}

/** One replica. When a number differs later, it was built anew and may have shown less than there is. */
export interface ReadReplica {
  readonly node: string
  readonly physicalUid: string
  readonly revision: number
  readonly diskEpoch: number
}

/** How far it is, and what came of it. */
export interface BackupBody {
  /** Name of the index when it was asked for. */
  readonly uid: string
  readonly isScheduled: boolean
  /** Bytes that it may carry per second; null = as fast as it goes. */
  readonly bytesPerSecond: number | null
  /** Where its objects are, and what their names begin with; null = not begun. */
  readonly place: string | null
  readonly folder: string | null
  /** Position whose settings it begins with: whatever was written behind it is in the changes. */
  readonly from: number | null
  readonly primaryKey: string | null
  readonly spread: Spread | null
  /** What its documents were read from, as it was then. */
  readonly sources: readonly ReadReplica[]
  readonly parts: readonly BackupPart[]
  readonly documents: number
  /** Of the index when it began, about. */
  readonly documentCount: number | null
  readonly byteCount: number
  /** Times that it began anew. */
  readonly attempts: number
  /** Why it does not get on, or why it ended; null = nothing is wrong. */
  readonly failure: string | null
}

export interface Backup extends BackupBody {
  /** UUID v7. */
  readonly id: string
  readonly project: ProjectId
  readonly index: IndexId
  readonly state: BackupState
  /** Of the index's journal; null = not known yet. */
  readonly position: number | null
  /** The index was so at this time, milliseconds since 1970. */
  readonly takenAt: number | null
  /** Of its parts; null = none was made yet. */
  readonly key: Buffer | null
  readonly createdAt: number
  readonly updatedAt: number
  readonly finishedAt: number | null
}

export interface BackupPolicy {
  readonly project: ProjectId
  /** null = all indexes of the project that have none of their own. */
  readonly uid: string | null
  readonly everyMs: number
  /** The newest so many are kept, 1 or more. */
  readonly keepCount: number
  /** And those that are not older than this; null = no others. */
  readonly keepMs: number | null
}

export const restoreStates = [
  'waiting',
  'filling',
  'catching_up',
  'switching',
  'keeping_back',
  'undoing',
  'clearing',
  'done',
  'undone',
  'cancelled',
  'failed',
] as const
export type RestoreState = (typeof restoreStates)[number]
export type RestoreWish = 'cancel' | 'undo' | 'close'

export interface RestoreBody {
  /** Name of the index that is restored, as it was asked for. */
  readonly uid: string
  /** Name under which it is to be found in the end. */
  readonly target: string
  /** Name while it is filled, beside the target; then of the index that was there before. */
  readonly workUid: string
  /** The index that has the target's name before; null = none. */
  readonly replaced: IndexId | null
  /** The one that is made; null = not yet. */
  readonly made: IndexId | null
  /** null = from the beginning of the journal. */
  readonly backup: string | null
  /** Of the journal of what is restored: the last change that is taken over. */
  readonly position: number
  /** Milliseconds since 1970. */
  readonly at: number
  readonly keepMs: number
  readonly bytesPerSecond: number | null
  /** What was brought: where to go on. */
  readonly cursor: RestoreCursor | null
  readonly changes: number
  readonly lines: number
  readonly bytes: number
  /** Task of the switch, or of the switch back. */
  readonly task: number | null
  readonly keepUntil: number | null
  /** What it comes to when it is cleared. */
  readonly outcome: 'cancelled' | 'failed' | 'undone' | null
  readonly failure: string | null
}

/** The next step of the backup's parts, or the last position of the journal that was brought. */
export type RestoreCursor =
  | { readonly kind: 'part'; readonly part: number; readonly step: number }
  | { readonly kind: 'journal'; readonly position: number }

export interface Restore extends RestoreBody {
  readonly id: string
  /** Into which. */
  readonly project: ProjectId
  /** What is restored. */
  readonly index: IndexId
  readonly state: RestoreState
  readonly wish: RestoreWish | null
  readonly createdAt: number
  readonly updatedAt: number
  readonly finishedAt: number | null
}

/** What schedules look at. */
export interface BackupMark extends Pick<Backup, 'id' | 'index' | 'state' | 'isScheduled' | 'createdAt' | 'takenAt'> {}

/** Every method may throw `StoreUnavailable`. */
export interface Backups {
  /** `undefined` = one of the index is being made. */
  open(backup: Pick<Backup, 'id' | 'project' | 'index' | 'createdAt'> & BackupBody): Promise<Backup | undefined>
  /** Takes over what another installation made; `false` = it is known. */
  adopt(backup: Backup): Promise<boolean>
  get(id: string): Promise<Backup | undefined>
  /** Newest first. */
  list(filter: { readonly project?: ProjectId; readonly index?: IndexId }, limit: number): Promise<readonly Backup[]>
  /** All of a project, oldest first. */
  marks(project: ProjectId): Promise<readonly BackupMark[]>
  /** Its objects and then its row go; one that is being made is given up. `false` = it is not there, or a restore reads it. */
  doom(id: string): Promise<boolean>
  /**
   * Takes or renews leases: those of this worker first, then those that are free. Oldest first.
   *
   * @param deletedMax  of those that are to go, which `limit` does not count: a place that deletes nothing holds up no other.
   */
  claim(worker: string, leaseMs: number, limit: number, deletedMax: number): Promise<readonly Backup[]>
  /** `false` = the lease is another's, or the backup is to go and its worker does not know. */
  save(worker: string, backup: Backup): Promise<boolean>
  /** The row. */
  remove(worker: string, id: string): Promise<void>
  release(worker: string): Promise<void>

  policies(project?: ProjectId): Promise<readonly BackupPolicy[]>
  putPolicy(policy: BackupPolicy): Promise<void>
  deletePolicy(project: ProjectId, uid: string | null): Promise<boolean>

  openRestore(restore: Pick<Restore, 'id' | 'project' | 'index' | 'createdAt'> & RestoreBody): Promise<Restore>
  getRestore(id: string): Promise<Restore | undefined>
  listRestores(filter: { readonly project?: ProjectId }, limit: number): Promise<readonly Restore[]>
  wishRestore(id: string, wish: RestoreWish, states: readonly RestoreState[]): Promise<boolean>
  /** Those that only wait for their time or for people are left alone until it comes. */
  claimRestores(worker: string, leaseMs: number, limit: number): Promise<readonly Restore[]>
  /** A new state ends the wish. `false` = the lease is another's, or another wish came than the one it was decided under. */
  saveRestore(worker: string, restore: Restore): Promise<boolean>
}

export const backupContext = (id: string) => `backup:${id}`

type BackupRow = Tables['backups']
type RestoreRow = Tables['restores']

const isRestoreEnded = (state: RestoreState) =>
  state === 'done' || state === 'undone' || state === 'cancelled' || state === 'failed'

export function openBackups({
  database,
  sealing,
}: {
  readonly database: Database
  readonly sealing: Sealing
}): Backups {
  const { pool } = database
  const rowsOf = async <Row extends object>(text: string, values: readonly unknown[]): Promise<readonly Row[]> =>
    (await reach(() => pool.query<Row>(text, [...values]))).rows
  const countOf = async (text: string, values: readonly unknown[]): Promise<number> =>
    (await reach(() => pool.query(text, [...values]))).rowCount ?? 0
  const decode = (row: BackupRow): Backup => ({
    ...decodeBody(row.body),
    id: row.id,
    project: row.project_id,
    index: row.index_id,
    state: row.state as BackupState,
    position: row.position,
    takenAt: row.taken_at,
    key: row.key_sealed === null ? null : sealing.open(row.key_sealed, backupContext(row.id)),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    finishedAt: row.finished_at,
  })
  const sealKey = async (client: PoolClient, { id, project, key }: Pick<Backup, 'id' | 'project' | 'key'>) =>
    key === null ? null : (await sealing.ofProjects(client, [project]))(project).seal(key, backupContext(id))
  const claimed = (table: 'backups' | 'restores', isOpen: string) =>
    `update ${table} t set owner = $1, lease_until = ${nowMs} + $2 where id in (
       select id from ${table} where ${isOpen} and (owner = $1 or lease_until <= ${nowMs})
       order by owner = $1 desc, id limit $3 for update skip locked
     ) returning *`
  // As text: what stands in the body may be no JSON to PostgreSQL.
  const isBusy = `finished_at is null and (state <> 'keeping_back' or wish is not null
    or coalesce(substring(body from '"keepUntil":([0-9]+)')::bigint, 0) <= ${nowMs})`
  return {
    async open({ id, project, index, createdAt, ...body }) {
      const [row] = await rowsOf<BackupRow>(
        `insert into backups (id, project_id, index_id, state, body, created_at, updated_at)
         values ($1, $2, $3, 'waiting', $4, $5, $5)
         on conflict (index_id) where state in ('waiting', 'copying', 'recording') do nothing returning *`,
        [id, project, index, JSON.stringify(body), createdAt],
      )
      return row && decode(row)
    },
    adopt: (backup) =>
      transact(database, async (client) => {
        const known = await client.query('select 1 from backups where id = $1', [backup.id])
        if (known.rowCount !== 0) return false
        // What is left of a deleted index stands for one that nobody here knows. An index with a journal of its own does
        // not, even under this id: positions of the other installation would not be its positions.
        const taken = await client.query(
          'select 1 from indexes i where id = $1 and (named_by <> -1 or exists (select 1 from changes where index_id = i.id))',
          [backup.index],
        )
        const index = taken.rowCount === 0 ? backup.index : randomUUID()
        await client.query(
          `insert into indexes (id, project_id, write_uid, named_by, is_gone, head, completed, spread)
           values ($1, $2, null, -1, true, $3, $3, $4) on conflict (id) do nothing`,
          [index, backup.project, backup.position, backup.spread === null ? null : JSON.stringify(backup.spread)],
        )
        const { rowCount } = await client.query(
          `insert into backups (id, project_id, index_id, state, position, taken_at, body, key_sealed, created_at, updated_at, finished_at)
           values ($1, $2, $3, 'done', $4, $5, $6, $7, $8, $8, $8) on conflict (id) do nothing`,
          [
            ...[backup.id, backup.project, index, backup.position, backup.takenAt],
            ...[JSON.stringify(bodyOf(backup)), await sealKey(client, backup), backup.createdAt],
          ],
        )
        return rowCount === 1
      }),
    async get(id) {
      const [row] = await rowsOf<BackupRow>('select * from backups where id = $1', [id])
      return row && decode(row)
    },
    async list({ project, index }, limit) {
      const rows = await rowsOf<BackupRow>(
        `select * from backups where ($1::uuid is null or project_id = $1) and ($2::uuid is null or index_id = $2)
         order by id desc limit $3`,
        [project ?? null, index ?? null, limit],
      )
      return rows.map(decode)
    },
    async marks(project) {
      const rows = await rowsOf<
        Pick<BackupRow, 'id' | 'index_id' | 'state' | 'created_at' | 'taken_at'> & { scheduled: boolean }
      >(
        `select id, index_id, state, created_at, taken_at, (body::jsonb ->> 'isScheduled')::boolean as scheduled from backups
         where project_id = $1 order by id`,
        [project],
      )
      return rows.map((row) => ({
        ...{ id: row.id, index: row.index_id, state: row.state as BackupState },
        ...{ isScheduled: row.scheduled, createdAt: row.created_at, takenAt: row.taken_at },
      }))
    },
    doom: async (id) =>
      (await countOf(
        // Whoever has it keeps it: another worker would delete while this one still writes.
        `update backups set state = 'deleting', finished_at = null
         where id = $1 and state <> 'deleting' and not exists (
           select 1 from restores where finished_at is null and state in ('waiting', 'filling') and strpos(body, $2) > 0)`,
        [id, `"backup":"${id}"`],
      )) === 1,
    async claim(worker, leaseMs, limit, deletedMax) {
      if (!(await isAnyOpen(pool, 'backups'))) return []
      const made = claimed('backups', "state not in ('done', 'failed', 'deleting')")
      const gone = claimed('backups', "state = 'deleting'")
      const rows = [
        ...(await rowsOf<BackupRow>(made, [worker, leaseMs, limit])),
        ...(await rowsOf<BackupRow>(gone, [worker, leaseMs, deletedMax])),
      ]
      return rows.map(decode).sort((a, b) => (a.id < b.id ? -1 : 1))
    },
    save: (worker, backup) =>
      transact(database, async (client) => {
        const isOver = backup.state === 'done' || backup.state === 'failed'
        const { rowCount } = await client.query(
          `update backups set state = $3, position = $4, taken_at = $5, body = $6, key_sealed = $7, updated_at = ${nowMs},
             finished_at = case when $8 then ${nowMs} end
           where id = $1 and owner = $2 and lease_until > ${nowMs} and (state <> 'deleting' or $3 = 'deleting')`,
          [
            ...[backup.id, worker, backup.state, backup.position, backup.takenAt],
            ...[JSON.stringify(bodyOf(backup)), await sealKey(client, backup), isOver],
          ],
        )
        return rowCount === 1
      }),
    async remove(worker, id) {
      await countOf("delete from backups where id = $1 and owner = $2 and state = 'deleting'", [id, worker])
    },
    async release(worker) {
      for (const table of ['backups', 'restores']) {
        await countOf(`update ${table} set owner = '', lease_until = 0 where owner = $1`, [worker])
      }
    },

    async policies(project) {
      const rows = await rowsOf<Tables['backup_policies']>(
        'select * from backup_policies where $1::uuid is null or project_id = $1 order by project_id, uid',
        [project ?? null],
      )
      return rows.map(({ project_id, uid, body }) => ({
        project: project_id,
        uid: uid === '' ? null : uid,
        ...(JSON.parse(body) as Pick<BackupPolicy, 'everyMs' | 'keepCount' | 'keepMs'>),
      }))
    },
    async putPolicy({ project, uid, ...body }) {
      await countOf(
        `insert into backup_policies (project_id, uid, body) values ($1, $2, $3)
         on conflict (project_id, uid) do update set body = excluded.body`,
        [project, uid ?? '', JSON.stringify(body)],
      )
    },
    deletePolicy: async (project, uid) =>
      (await countOf('delete from backup_policies where project_id = $1 and uid = $2', [project, uid ?? ''])) === 1,

    async openRestore({ id, project, index, createdAt, ...body }) {
      const rows = await rowsOf<RestoreRow>(
        `insert into restores (id, project_id, index_id, state, body, created_at, updated_at)
         values ($1, $2, $3, 'waiting', $4, $5, $5) returning *`,
        [id, project, index, JSON.stringify(body), createdAt],
      )
      return decodeRestore(rows[0]!)
    },
    async getRestore(id) {
      const [row] = await rowsOf<RestoreRow>('select * from restores where id = $1', [id])
      return row && decodeRestore(row)
    },
    async listRestores({ project }, limit) {
      const rows = await rowsOf<RestoreRow>(
        'select * from restores where $1::uuid is null or project_id = $1 order by id desc limit $2',
        [project ?? null, limit],
      )
      return rows.map(decodeRestore)
    },
    wishRestore: async (id, wish, states) =>
      (await countOf('update restores set wish = $2 where id = $1 and state = any($3::text[])', [id, wish, states])) ===
      1,
    async claimRestores(worker, leaseMs, limit) {
      if (!(await isAnyOpen(pool, 'restores'))) return []
      const rows = await rowsOf<RestoreRow>(claimed('restores', isBusy), [worker, leaseMs, limit])
      return rows.map(decodeRestore).sort((a, b) => (a.id < b.id ? -1 : 1))
    },
    saveRestore: async (worker, { id, state, wish, ...restore }) =>
      (await countOf(
        `update restores set wish = case when state = $3 then wish end, state = $3, body = $4, updated_at = ${nowMs},
           finished_at = case when $5 then ${nowMs} end
         where id = $1 and owner = $2 and lease_until > ${nowMs} and wish is not distinct from $6`,
        [id, worker, state, JSON.stringify(restoreBodyOf(restore)), isRestoreEnded(state), wish],
      )) === 1,
  }
}

function decodeBody(text: string): BackupBody {
  const body = JSON.parse(text) as Omit<BackupBody, 'sources'> & Partial<Pick<BackupBody, 'sources'>>
  return { ...body, sources: body.sources ?? [] }
}

function bodyOf(backup: BackupBody): BackupBody {
  const { uid, isScheduled, bytesPerSecond, place, folder, from, primaryKey, spread, sources, parts } = backup
  const { documents, documentCount, byteCount, attempts, failure } = backup
  const begun = { uid, isScheduled, bytesPerSecond, place, folder, from, primaryKey, spread, sources, parts }
  return { ...begun, documents, documentCount, byteCount, attempts, failure }
}

function restoreBodyOf(restore: RestoreBody): RestoreBody {
  const { uid, target, workUid, replaced, made, backup, position, at, keepMs, bytesPerSecond } = restore
  const { cursor, changes, lines, bytes, task, keepUntil, outcome, failure } = restore
  const order = { uid, target, workUid, replaced, made, backup, position, at, keepMs, bytesPerSecond }
  return { ...order, cursor, changes, lines, bytes, task, keepUntil, outcome, failure }
}

function decodeRestore(row: RestoreRow): Restore {
  return {
    ...(JSON.parse(row.body) as RestoreBody),
    id: row.id,
    project: row.project_id,
    index: row.index_id,
    state: row.state as RestoreState,
    wish: row.wish as RestoreWish | null,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    finishedAt: row.finished_at,
  }
}

/** A backup as operators see it. */
export function backupView({ key: _key, parts, spread, sources: _sources, ...backup }: Backup): JsonObject {
  return { ...backup, spread: spread as Json, parts: parts.length }
}

/** A restore as operators see it. */
export function restoreView({ cursor: _cursor, ...restore }: Restore): JsonObject {
  return restore
}
