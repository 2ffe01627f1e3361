/**
 * Deletions of tasks (M-C7). A stock server runs one behind the batch that is running when it is asked for; so a deletion
 * here waits for the matched tasks that an engine works on by then, and ends with the last of them. Every wait is written
 * and ended under the lock of the project's progress, so that no ending is missed.
 */
import type { PoolClient } from 'pg'
import type { Json } from '../lib/json.ts'
import type { ProjectId } from '../store/catalogue.ts'
import { doomedTasks, parseText } from './change-row.ts'
import type { Ending } from './completion.ts'
import { lockProgress } from './progress-lock.ts'
import { finishedDetails } from './task-details.ts'

/**
 * Starts a deletion: it is carried out at once, or waits. Answers its ending, or `undefined` = it waits.
 *
 * Waited for are matched tasks that were sent or claimed, and the first open change of an index: it is about to be.
 */
export async function beginDeletion(
  client: PoolClient,
  project: ProjectId,
  task: number,
  doomed: readonly number[],
  now: number,
): Promise<Ending | undefined> {
  await lockProgress(client, project)
  const { rowCount } = await client.query(
    `insert into deletion_waits (project_id, task, awaited)
     select $1, $2, c.task from changes c left join indexes i on i.id = c.index_id
     where c.project_id = $1 and c.task = any($3::bigint[]) and c.task < $2 and c.finished_at is null and not c.is_hidden
       and (c.status = 'processing' or (c.position > i.completed and not exists (
         select 1 from changes e where e.index_id = c.index_id and e.position > i.completed and e.position < c.position
           and e.finished_at is null)))`,
    [project, task, doomed],
  )
  if ((rowCount ?? 0) === 0) return endDeletion(client, project, task, now)
  await client.query('update project_progress set waiting_deletions = waiting_deletions + 1 where project_id = $1', [
    project,
  ])
  return undefined
}

/** Carries out the deletions that waited for nothing but these tasks, which have ended. Answers their endings. */
export async function endDeletions(
  client: PoolClient,
  project: ProjectId,
  ended: readonly number[],
  now: number,
): Promise<readonly Ending[]> {
  const { rows } = await client.query<{ task: number }>(
    'delete from deletion_waits where project_id = $1 and awaited = any($2::bigint[]) returning task',
    [project, ended],
  )
  if (rows.length === 0) return []
  const ready = await client.query<{ task: number }>(
    `select distinct t.task from unnest($2::bigint[]) as t (task)
     where not exists (select 1 from deletion_waits w where w.project_id = $1 and w.task = t.task) order by t.task`,
    [project, rows.map(({ task }) => task)],
  )
  const endings: Ending[] = []
  for (const { task } of ready.rows) {
    const ending = await endDeletion(client, project, task, now)
    if (ending !== undefined) endings.push(ending)
  }
  await countWaiting(client, project)
  return endings
}

/** Deletions that wait no more, since they are cancelled. */
export async function forgetDeletions(
  client: PoolClient,
  project: ProjectId,
  tasks: readonly number[],
): Promise<readonly number[]> {
  const progress = await client.query(
    'select 1 from project_progress where project_id = $1 and waiting_deletions > 0 for update',
    [project],
  )
  if (progress.rowCount === 0) return []
  const { rows } = await client.query<{ task: number }>(
    'delete from deletion_waits where project_id = $1 and task = any($2::bigint[]) returning task',
    [project, tasks],
  )
  if (rows.length > 0) await countWaiting(client, project)
  return [...new Set(rows.map(({ task }) => task))]
}

async function countWaiting(client: PoolClient, project: ProjectId): Promise<void> {
  await client.query(
    `update project_progress set waiting_deletions = (
       select count(distinct task) from deletion_waits where project_id = $1
     ) where project_id = $1`,
    [project],
  )
}

/** Tasks are hidden at once; retention removes the rows when no replica needs them any more. */
async function endDeletion(
  client: PoolClient,
  project: ProjectId,
  task: number,
  now: number,
): Promise<Ending | undefined> {
  const { rows } = await client.query<{ body: string; details: string | null }>(
    'select body, details from changes where project_id = $1 and task = $2 and finished_at is null',
    [project, task],
  )
  const [row] = rows
  if (row === undefined) return undefined
  const doomed = doomedTasks(row)
  const { rowCount } = await client.query(
    `update changes set is_hidden = true
     where project_id = $1 and task = any($2::bigint[]) and task < $3 and finished_at is not null and not is_hidden`,
    [project, doomed, task],
  )
  const operation = { kind: 'task-delete', filter: '', tasks: doomed } as const
  const deleted = { deletedTasks: rowCount ?? 0 }
  return {
    task,
    status: 'succeeded',
    error: null,
    details: finishedDetails(operation, parseText<Json>(row.details), 'succeeded', deleted),
    startedAt: now,
    finishedAt: now,
    batchKey: `task:${task}`,
    canceledBy: null,
  }
}
