/** Ends tasks: status, batch number and place in the feed of finished tasks. */
import type { PoolClient } from 'pg'
import type { ProjectId } from '../store/catalogue.ts'
import { jsonText } from './change-row.ts'
import type { Ending } from './completion.ts'
import { lockProgress } from './progress-lock.ts'
import { endDeletions } from './task-deletion.ts'

/** Numbers for endings, from rows that stay locked until the commit: the feed becomes visible in order. */
export async function numberEndings(
  client: PoolClient,
  project: ProjectId,
  endings: readonly Pick<Ending, 'batchKey'>[],
): Promise<{
  readonly batches: ReadonlyMap<string, number>
  readonly firstFinish: number
  /** Deletions of tasks that wait for others to end. */
  readonly waitingDeletions: number
}> {
  const keys = [...new Set(endings.map(({ batchKey }) => batchKey))]
  const { nextBatch, nextFinish, waitingDeletions } = await lockProgress(client, project)
  const known = await client.query<{ uid: number; key: string }>({
    name: 'known-batches',
    text: 'select uid, key from batches where project_id = $1 and key = any($2::text[])',
    values: [project, keys],
  })
  const batches = new Map(known.rows.map(({ uid, key }) => [key, uid]))
  const fresh = keys.filter((key) => !batches.has(key))
  for (const [at, key] of fresh.entries()) batches.set(key, nextBatch + at)
  await client.query({
    name: 'count-endings',
    text: `with counted as (
        update project_progress set next_batch = next_batch + $2, next_finish = next_finish + $3 where project_id = $1
      )
      insert into batches (project_id, uid, key)
      select $1, uid, key from unnest($4::bigint[], $5::text[]) as fresh (uid, key)`,
    values: [project, fresh.length, endings.length, fresh.map((key) => batches.get(key)), fresh],
  })
  return { batches, firstFinish: nextFinish, waitingDeletions }
}

/** Tasks that have ended already are left as they are. Deletions that waited for these tasks end with them. */
export async function saveEndings(
  client: PoolClient,
  project: ProjectId,
  endings: readonly Ending[],
  now: number,
): Promise<void> {
  if (endings.length === 0) return
  const { batches, firstFinish, waitingDeletions } = await numberEndings(client, project, endings)
  await client.query({
    name: 'save-endings',
    text: `update changes c set status = e.status, error = e.error, details = e.details, started_at = e.started_at,
        finished_at = e.finished_at, batch = e.batch, canceled_by = e.canceled_by, finish_seq = e.finish_seq
      from unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
        $10::bigint[])
        as e (task, status, error, details, started_at, finished_at, batch, canceled_by, finish_seq)
      where c.project_id = $1 and c.task = e.task and c.finished_at is null`,
    values: [
      project,
      endings.map((ending) => ending.task),
      endings.map((ending) => ending.status),
      endings.map((ending) => jsonText(ending.error)),
      endings.map((ending) => jsonText(ending.details)),
      endings.map((ending) => ending.startedAt),
      endings.map((ending) => ending.finishedAt),
      endings.map((ending) => batches.get(ending.batchKey)),
      endings.map((ending) => ending.canceledBy),
      endings.map((_, at) => firstFinish + at),
    ],
  })
  if (waitingDeletions === 0) return
  const ended = endings.map(({ task }) => task)
  await saveEndings(client, project, await endDeletions(client, project, ended, now), now)
}
