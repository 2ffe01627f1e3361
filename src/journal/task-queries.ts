/** Reads tasks and batches: every filter of M-C6 as SQL. */
import { type ExpressionBuilder, type ExpressionWrapper, type SelectQueryBuilder, type SqlBool, sql } from 'kysely'
import { renderTask } from '../api/task-view.ts'
import type { BatchView, TaskFilter, TaskPageQuery, TaskView } from '../api/tasks.ts'
import type { ProjectId } from '../store/catalogue.ts'
import type { Database, Db } from '../store/database.ts'
import type { Tables } from '../store/tables.ts'
import { batchView } from './batch-view.ts'
import { decodeTask, type TaskRow, taskColumns } from './change-row.ts'
import type { FinishedTasks, TaskPage } from './ports.ts'

type Changes<Row> = SelectQueryBuilder<Tables, 'changes', Row>
type Build = ExpressionBuilder<Tables, 'changes'>

/** What clients ask again and again while they wait, so planned once for each connection. */
export async function findTask({ pool }: Database, project: ProjectId, task: number): Promise<TaskView | undefined> {
  const { rows } = await pool.query<TaskRow>({
    name: 'find-task',
    text: `select ${taskColumns.join(', ')} from changes where project_id = $1 and task = $2 and not is_hidden`,
    values: [project, task],
  })
  return rows[0] && renderTask(decodeTask(rows[0]))
}

/** Served by the primary key (project_id, task); by changes_index_uid when names are given. */
export async function listTasks(
  db: Db,
  project: ProjectId,
  query: TaskPageQuery,
  authorised?: readonly string[],
): Promise<TaskPage<TaskView>> {
  const direction = query.reverse ? 'asc' : 'desc'
  let page = authorise(filtered(db, project, query.filter), authorised).select(taskColumns)
  if (query.from !== undefined) page = page.where('task', query.reverse ? '>=' : '<=', query.from)
  const rows = await page
    .orderBy('task', direction)
    .limit(query.limit + 1)
    .execute()
  const { count } = await filtered(db, project, query.filter)
    .select((e) => e.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  const results = rows.slice(0, query.limit).map((row) => renderTask(decodeTask(row)))
  return { results, total: count, from: results[0]?.uid ?? null, next: rows[query.limit]?.task ?? null }
}

export async function matchingTasks(
  db: Db,
  project: ProjectId,
  filter: TaskFilter,
  authorised?: readonly string[],
): Promise<readonly number[]> {
  const rows = await authorise(filtered(db, project, filter), authorised)
    .select('task')
    .orderBy('task')
    .execute()
  return rows.map(({ task }) => task)
}

/** Served by changes_batch (project_id, batch). */
export async function listBatches(
  db: Db,
  project: ProjectId,
  query: TaskPageQuery,
  authorised?: readonly string[],
): Promise<TaskPage<BatchView>> {
  const direction = query.reverse ? 'asc' : 'desc'
  let page = authorise(filtered(db, project, query.filter), authorised)
    .select('batch')
    .distinct()
    .where('batch', 'is not', null)
  if (query.from !== undefined) page = page.where('batch', query.reverse ? '>=' : '<=', query.from)
  const rows = await page
    .orderBy('batch', direction)
    .limit(query.limit + 1)
    .execute()
  const { count } = await filtered(db, project, query.filter)
    .select((e) => e.fn.count<number>('batch').distinct().as('count'))
    .executeTakeFirstOrThrow()
  const uids = rows.flatMap(({ batch }) => (batch === null ? [] : [batch]))
  const results = await batchViews(db, project, uids.slice(0, query.limit))
  return { results, total: count, from: results[0]?.uid ?? null, next: uids[query.limit] ?? null }
}

export async function findBatch(db: Db, project: ProjectId, batch: number): Promise<BatchView | undefined> {
  const [view] = await batchViews(db, project, [batch])
  return view
}

async function batchViews(db: Db, project: ProjectId, uids: readonly number[]): Promise<readonly BatchView[]> {
  if (uids.length === 0) return []
  const tasks = await visible(db, project).select(taskColumns).where('batch', 'in', uids).orderBy('task').execute()
  return uids.flatMap((uid) => {
    const records = tasks.filter(({ batch }) => batch === uid).map(decodeTask)
    return records.length === 0 ? [] : [batchView(uid, records)]
  })
}

/** Served by changes_finish (project_id, finish_seq). Deleted tasks are among them: they did finish. */
export async function finishedAfter(db: Db, project: ProjectId, cursor: number, limit: number): Promise<FinishedTasks> {
  const rows = await db
    .selectFrom('changes')
    .select([...taskColumns, 'finish_seq'])
    .where('project_id', '=', project)
    .where('finish_seq', '>', cursor)
    .orderBy('finish_seq')
    .limit(limit)
    .execute()
  return { tasks: rows.map((row) => renderTask(decodeTask(row))), cursor: rows.at(-1)?.finish_seq ?? cursor }
}

function visible(db: Db, project: ProjectId) {
  return db.selectFrom('changes').where('project_id', '=', project).where('is_hidden', '=', false)
}

/** Values inside one filter are ORed, filters are ANDed, bounds are exclusive. */
function filtered(db: Db, project: ProjectId, filter: TaskFilter) {
  let query = visible(db, project)
  const among = (column: keyof Tables['changes'], values: readonly (string | number)[] | undefined, type: string) => {
    if (values === undefined) return
    query = query.where(sql<SqlBool>`${sql.ref(column)} = any(${[...values]}::${sql.raw(type)}[])`)
  }
  among('task', filter.uids, 'bigint')
  among('batch', filter.batchUids, 'bigint')
  among('status', filter.statuses, 'text')
  among('kind', filter.types, 'text')
  among('index_uid', filter.indexUids, 'text')
  among('canceled_by', filter.canceledBy, 'bigint')
  if (filter.beforeEnqueuedAt !== undefined) query = query.where('enqueued_at', '<', filter.beforeEnqueuedAt)
  if (filter.afterEnqueuedAt !== undefined) query = query.where('enqueued_at', '>', filter.afterEnqueuedAt)
  if (filter.beforeStartedAt !== undefined) query = query.where('started_at', '<', filter.beforeStartedAt)
  if (filter.afterStartedAt !== undefined) query = query.where('started_at', '>', filter.afterStartedAt)
  if (filter.beforeFinishedAt !== undefined) query = query.where('finished_at', '<', filter.beforeFinishedAt)
  if (filter.afterFinishedAt !== undefined) query = query.where('finished_at', '>', filter.afterFinishedAt)
  return query
}

/** A key limited to some indexes does not see tasks of others, nor of none. */
function authorise<Row>(query: Changes<Row>, patterns: readonly string[] | undefined): Changes<Row> {
  if (patterns === undefined || patterns.includes('*')) return query
  return query.where((e) =>
    e.or(
      patterns.map(
        (pattern): ExpressionWrapper<Tables, 'changes', SqlBool> =>
          pattern.endsWith('*') ? startsWith(e, pattern.slice(0, -1)) : e('index_uid', '=', pattern),
      ),
    ),
  )
}

function startsWith(e: Build, prefix: string): ExpressionWrapper<Tables, 'changes', SqlBool> {
  return e(e.fn<boolean>('starts_with', ['index_uid', sql`${prefix}::text`]), '=', true)
}
