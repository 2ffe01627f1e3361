/** What the journal tells of the past: which index had a name, how far it was, and whether that can be built again. */
import type { IndexId, ProjectId, Spread } from '../store/catalogue.ts'
import { decodeSpread } from '../store/catalogue-rows.ts'
import { type Database, reach } from '../store/database.ts'
import { namesIn, parseText } from './change-row.ts'

/** An index, also one that is gone. */
export interface IndexPast {
  readonly project: ProjectId
  readonly spread: Spread | null
  readonly primaryKey: string | null
  readonly head: number
  readonly completed: number
  readonly isGone: boolean
}

export interface JournalHistory {
  past(index: IndexId): Promise<IndexPast | undefined>
  /** The index that had the name then, in the order in which changes were appended. */
  indexNamed(project: ProjectId, uid: string, at: number): Promise<IndexId | undefined>
  /** The last position before which nothing was appended later than `at`; 0 = nothing was appended by then. */
  positionAt(index: IndexId, at: number): Promise<number>
  /** When a position was appended. */
  appendedAt(index: IndexId, position: number): Promise<number | undefined>
  /** The first position behind `after`, up to `through`, whose payload is needed and was dropped; null = none was. */
  firstGap(index: IndexId, after: number, through: number): Promise<number | null>
  /** Whether its settings or its primary key changed behind `after`, up to `through`. */
  isReshaped(index: IndexId, after: number, through: number): Promise<boolean>
  /** Payload bytes behind `after`, up to `through`. */
  bytesBetween(index: IndexId, after: number, through: number): Promise<number>
  /** The first position of the index whose change has other metadata; null = none has. */
  firstForeign(index: IndexId, customMetadata: string): Promise<number | null>
  /** The first change of the index that failed. */
  firstFailure(index: IndexId): Promise<{ readonly task: number; readonly message: string } | undefined>
}

type NamingRow = { task: number; index_id: string | null; operation: string; index_uid: string | null; body: string }

export function openHistory(database: Database): JournalHistory {
  const rowsOf = async <Row extends object>(text: string, values: readonly unknown[]): Promise<readonly Row[]> =>
    (await reach(() => database.pool.query<Row>(text, [...values]))).rows
  return {
    async past(index) {
      const [row] = await rowsOf<{
        project_id: string
        spread: string | null
        primary_key: string | null
        head: number
        completed: number
        is_gone: boolean
      }>('select project_id, spread, primary_key, head, completed, is_gone from indexes where id = $1', [index])
      if (row === undefined) return undefined
      const { head, completed } = row
      const primaryKey = parseText<string>(row.primary_key)
      return {
        project: row.project_id,
        spread: decodeSpread(row.spread),
        primaryKey,
        head,
        completed,
        isGone: row.is_gone,
      }
    },
    /** First changes by changes_position (index_id, position); the rest is a walk over the project's tasks. */
    async indexNamed(project, uid, at) {
      const rows = await rowsOf<NamingRow>(
        `select c.task, c.index_id, 'first' as operation, c.index_uid, c.body from indexes i
           join changes c on c.index_id = i.id and c.position = 1
           where i.project_id = $1 and c.enqueued_at <= $2
         union all
         select task, index_id, operation, index_uid, body from changes
           where project_id = $1 and enqueued_at <= $2 and operation in ('index-swap', 'index-update', 'index-delete')
             and status = 'succeeded'
         order by task`,
        [project, at],
      )
      return nameHolders(rows).get(uid)
    },
    async positionAt(index, at) {
      const [row] = await rowsOf<{ position: number | null }>(
        `select coalesce(
           (select min(position) - 1 from changes where index_id = $1 and enqueued_at > $2),
           (select head from indexes where id = $1)) as position`,
        [index, at],
      )
      return row?.position ?? 0
    },
    async appendedAt(index, position) {
      const [row] = await rowsOf<{ enqueued_at: number }>(
        'select enqueued_at from changes where index_id = $1 and position = $2',
        [index, position],
      )
      return row?.enqueued_at
    },
    async firstGap(index, after, through) {
      const [row] = await rowsOf<{ position: number | null }>(
        `select min(c.position) as position from changes c
         where c.index_id = $1 and c.position > $2 and c.position <= $3 and c.status = 'succeeded'
           and c.payload is null and c.blob is null and c.resolution is null
           and (c.byte_count > 0 or c.operation in ('documents-delete-by-filter', 'documents-edit'))
           and not exists (select 1 from partial_resolutions r where r.index_id = c.index_id and r.position = c.position)`,
        [index, after, through],
      )
      return row?.position ?? null
    },
    async isReshaped(index, after, through) {
      const rows = await rowsOf<object>(
        `select 1 from changes where index_id = $1 and position > $2 and position <= $3 and status = 'succeeded'
           and operation in ('settings', 'index-update') limit 1`,
        [index, after, through],
      )
      return rows.length > 0
    },
    async bytesBetween(index, after, through) {
      const [row] = await rowsOf<{ bytes: number | null }>(
        'select sum(byte_count)::bigint as bytes from changes where index_id = $1 and position > $2 and position <= $3',
        [index, after, through],
      )
      return row?.bytes ?? 0
    },
    async firstForeign(index, customMetadata) {
      // As text: JSON of clients may hold what PostgreSQL's does not.
      const [row] = await rowsOf<{ position: number | null }>(
        'select min(position) as position from changes where index_id = $1 and strpos(body, $2) = 0',
        [index, `"metadata":${JSON.stringify(customMetadata)}`],
      )
      return row?.position ?? null
    },
    async firstFailure(index) {
      const [row] = await rowsOf<{ task: number; error: string | null }>(
        "select task, error from changes where index_id = $1 and status in ('failed', 'canceled') order by position limit 1",
        [index],
      )
      if (row === undefined) return undefined
      return { task: row.task, message: parseText<{ message: string }>(row.error)?.message ?? 'it was cancelled' }
    },
  }
}

function nameHolders(rows: readonly NamingRow[]): ReadonlyMap<string, IndexId> {
  const holders = new Map<string, IndexId>()
  const names = new Map<IndexId, string>()
  const release = (index: IndexId) => {
    const name = names.get(index)
    if (name !== undefined && holders.get(name) === index) holders.delete(name)
    names.delete(index)
  }
  for (const { index_id: index, operation, index_uid: now, body } of rows) {
    const { naming, uid = now } = namesIn({ body })
    if (operation === 'first' && index !== null && uid !== null) {
      names.set(index, uid)
      holders.set(uid, index)
    } else if (operation === 'index-delete' && index !== null) {
      release(index)
    } else {
      for (const named of naming) release(named.index)
      for (const named of naming) {
        names.set(named.index, named.uid)
        holders.set(named.uid, named.index)
      }
    }
  }
  return holders
}
