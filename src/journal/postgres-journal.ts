/** The journal as gateways see it, over PostgreSQL. */
import type { JsonObject } from '../lib/json.ts'
import type { ProjectId } from '../store/catalogue.ts'
import type { Sealing } from '../store/data-keys.ts'
import { type Database, reach, reachInTime } from '../store/database.ts'
import type { Signals } from '../store/signals.ts'
import type { ChangeRow } from '../store/tables.ts'
import { decodeChange, openSettings, parseText, sealContexts } from './change-row.ts'
import type { PayloadStore } from './payload-store.ts'
import type { Journal, WriteState } from './ports.ts'
import type { Appender } from './postgres-appender.ts'
import { findBatch, findTask, finishedAfter, listBatches, listTasks, matchingTasks } from './task-queries.ts'

export interface JournalDependencies {
  readonly database: Database
  readonly sealing: Sealing
  readonly payloads: PayloadStore
  readonly appender: Appender
  readonly signals: Signals
}

export function openPostgresJournal(deps: JournalDependencies): Journal {
  const { database, sealing, payloads, appender, signals } = deps
  const { db, pool } = database
  return {
    append: (request) => appender.append(request),
    stage: (bytes) => payloads.stage(bytes),
    discard: (payload) => payloads.discard(payload),
    open: (payload) => payloads.open(payload),
    writeState: (project, uid) => reachInTime(() => writeState(deps, project, uid)),
    async completedSettings(index) {
      const { rows } = await reachInTime(() =>
        pool.query<{ settings_done_sealed: Buffer | null }>({
          name: 'completed-settings',
          text: 'select settings_done_sealed from indexes where id = $1',
          values: [index],
        }),
      )
      return openSettings(sealing, rows[0]?.settings_done_sealed ?? null, sealContexts.settingsDone(index))
    },
    task: (project, task) => reachInTime(() => findTask(database, project, task)),
    tasks: (project, query, authorised) => reachInTime(() => listTasks(db, project, query, authorised)),
    batches: (project, query, authorised) => reachInTime(() => listBatches(db, project, query, authorised)),
    batch: (project, batch) => reachInTime(() => findBatch(db, project, batch)),
    matchingTasks: (project, filter, authorised) => reachInTime(() => matchingTasks(db, project, filter, authorised)),
    async busyIndexes(project) {
      const { rows } = await reachInTime(() =>
        pool.query<{ read_uid: string }>(
          `select read_uid from indexes
           where project_id = $1 and read_uid is not null and completed < head order by read_uid`,
          [project],
        ),
      )
      return rows.map((row) => row.read_uid)
    },
    async taskBytes(project) {
      const { rows } = await reachInTime(() =>
        pool.query<{ bytes: number }>(
          'select coalesce(sum(pg_column_size(c)), 0)::float8 as bytes from changes c where project_id = $1',
          [project],
        ),
      )
      return rows[0]?.bytes ?? 0
    },
    async change(project, task) {
      const { rows } = await reachInTime(() =>
        pool.query<ChangeRow>('select * from changes where project_id = $1 and task = $2 and not is_hidden', [
          project,
          task,
        ]),
      )
      return rows[0] === undefined ? undefined : decodeChange(sealing, rows[0])
    },
    finishedAfter: (project, cursor, limit) => reachInTime(() => finishedAfter(db, project, cursor, limit)),
    async feedsBehind(consumer, limit) {
      const { rows } = await reachInTime(() =>
        pool.query<{ project: string; cursor: number }>({
          name: 'feeds-behind',
          text: `select p.project_id as project, coalesce(c.cursor, 0) as cursor from project_progress p
           left join feed_cursors c on c.project_id = p.project_id and c.consumer = $1
           where p.next_finish - 1 > coalesce(c.cursor, 0) order by p.project_id limit $2`,
          values: [consumer, limit],
        }),
      )
      return rows
    },
    async saveFeedCursor(consumer, project, cursor) {
      await reach(() =>
        pool.query(
          `insert into feed_cursors as f (consumer, project_id, cursor) values ($1, $2, $3)
           on conflict (consumer, project_id) do update set cursor = greatest(f.cursor, excluded.cursor)`,
          [consumer, project, cursor],
        ),
      )
    },
    async onFinished(listener) {
      const stop = signals.listen('flapjack_finished', (project) => {
        if (project !== '') listener(project)
      })
      return async () => stop()
    },
  }
}

type StateRow = { id: string; write_primary_key: string | null; settings_version: number }

/** Served by indexes_write_uid. Settings of a version that this process has seen are not read again. */
async function writeState(
  { database, sealing, appender }: JournalDependencies,
  project: ProjectId,
  uid: string,
): Promise<WriteState | undefined> {
  const { rows } = await database.pool.query<StateRow>({
    name: 'write-state',
    text: 'select id, write_primary_key, settings_version from indexes where project_id = $1 and write_uid = $2',
    values: [project, uid],
  })
  const [row] = rows
  if (row === undefined) return undefined
  const known = row.settings_version === 0 ? {} : appender.settingsOf(row.id, row.settings_version)
  const settings = known ?? (await loadSettings(database, sealing, appender, row.id))
  return { index: row.id, primaryKey: parseText<string>(row.write_primary_key), settings }
}

async function loadSettings(
  database: Database,
  sealing: Sealing,
  appender: Appender,
  index: string,
): Promise<JsonObject> {
  const { rows } = await database.pool.query<{ settings_version: number; settings_sealed: Buffer | null }>(
    'select settings_version, settings_sealed from indexes where id = $1',
    [index],
  )
  const [row] = rows
  if (row === undefined) return {}
  const settings = openSettings(sealing, row.settings_sealed, sealContexts.settings(index))
  appender.remember(index, row.settings_version, settings)
  return settings
}
