/** Ends tasks: status, batch number and place in the feed of finished tasks. */
import type { PoolClient } from 'pg'
import { assert } from '../lib/assert.ts'
import type { ProjectId } from '../store/catalogue.ts'
import { jsonText } from './change-row.ts'
import type { Ending } from './completion.ts'
import { asPart, type Saving } from './index-rows.ts'
import { lockProgressAnd } from './progress-lock.ts'
import { endDeletions } from './task-deletion.ts'

export interface EndingNumbers {
  /** By key. */
  readonly batches: ReadonlyMap<string, number>
  /** Keys that have no batch yet. */
  readonly fresh: readonly string[]
  readonly firstFinish: number
  /** Deletions of tasks that wait for others to end. */
  readonly waitingDeletions: number
}

/** Numbers for endings, from rows that stay locked until the commit: the feed becomes visible in order. */
export async function numberEndings(
  client: PoolClient,
  project: ProjectId,
  endings: readonly Pick<Ending, 'batchKey'>[],
): Promise<EndingNumbers> {
  const numbers = await readNumbers(client, project, endings)
  const { batches, fresh } = numbers
  await client.query({
    name: 'count-endings',
    text: `with counted as (${countText(1, 2, 3)}) ${batchText(1, 4, 5)}`,
    values: [project, fresh.length, endings.length, fresh.map((key) => batches.get(key)), fresh],
  })
  return numbers
}

/** Numbers that nobody else takes before the commit; the caller writes down that they are taken. */
async function readNumbers(
  client: PoolClient,
  project: ProjectId,
  endings: readonly Pick<Ending, 'batchKey'>[],
): Promise<EndingNumbers> {
  const keys = [...new Set(endings.map(({ batchKey }) => batchKey))]
  const literals = keys.map((key) => client.escapeLiteral(key))
  const { progress, rows } = await lockProgressAnd<{ uid: number; key: string }>(
    client,
    project,
    `select uid, key from batches
     where project_id = ${client.escapeLiteral(project)} and key = any(array[${literals.join(', ')}]::text[])`,
  )
  const batches = new Map(rows.map(({ uid, key }) => [key, uid]))
  const fresh = keys.filter((key) => !batches.has(key))
  for (const [at, key] of fresh.entries()) batches.set(key, progress.nextBatch + at)
  const { nextFinish: firstFinish, waitingDeletions } = progress
  return { batches, fresh, firstFinish, waitingDeletions }
}

/** With the numbers of the parameters. */
function countText(project: number, batchCount: number, endingCount: number): string {
  return `update project_progress set next_batch = next_batch + $${batchCount}, next_finish = next_finish + $${endingCount}
    where project_id = $${project}`
}

function batchText(project: number, uids: number, keys: number): string {
  return `insert into batches (project_id, uid, key)
    select $${project}, uid, key from unnest($${uids}::bigint[], $${keys}::text[]) as fresh (uid, key)`
}

/**
 * Tasks that have ended already are left as they are. Deletions that waited for these tasks end with them.
 *
 * @param saving  what is written in the same round trip; there must be endings then.
 */
export async function saveEndings(
  client: PoolClient,
  project: ProjectId,
  endings: readonly Ending[],
  now: number,
  saving?: Saving,
): Promise<void> {
  assert(saving === undefined || endings.length > 0, 'what goes with endings needs them')
  if (endings.length === 0) return
  const { batches, fresh, firstFinish, waitingDeletions } = await readNumbers(client, project, endings)
  const beside = asPart(saving, 14)
  await client.query({
    name: saving === undefined ? 'save-endings' : 'save-endings-and-indexes',
    text: `with saved as (${beside.text}), counted as (${countText(1, 11, 12)}), numbered as (${batchText(1, 13, 14)})
      update changes c set status = e.status, error = e.error, details = e.details, started_at = e.started_at,
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
      fresh.length,
      endings.length,
      fresh.map((key) => batches.get(key)),
      fresh,
      ...beside.values,
    ],
  })
  if (waitingDeletions === 0) return
  const ended = endings.map(({ task }) => task)
  await saveEndings(client, project, await endDeletions(client, project, ended, now), now)
}
