/** The lock under which tasks of a project end: its row of `project_progress`, held until the commit. */
import type { PoolClient } from 'pg'
import { assert } from '../lib/assert.ts'
import type { ProjectId } from '../store/catalogue.ts'

export interface ProjectProgress {
  readonly nextBatch: number
  readonly nextFinish: number
  /** Deletions of tasks that wait for others to end. */
  readonly waitingDeletions: number
}

type Row = { next_batch: number; next_finish: number; waiting_deletions: number }

const lockText = (project: string) => `insert into project_progress (project_id) values (${project})
  on conflict (project_id) do update set next_finish = project_progress.next_finish
  returning next_batch, next_finish, waiting_deletions`

/** May be taken again in the same transaction. */
export async function lockProgress(client: PoolClient, project: ProjectId): Promise<ProjectProgress> {
  const { rows } = await client.query<Row>({ name: 'lock-progress', text: lockText('$1'), values: [project] })
  return decode(rows)
}

/** With a query that goes along in the same round trip and sees what was committed before the lock was ours. */
export async function lockProgressAnd<T>(
  client: PoolClient,
  project: ProjectId,
  query: string,
): Promise<{ readonly progress: ProjectProgress; readonly rows: readonly T[] }> {
  const results: unknown = await client.query(`${lockText(client.escapeLiteral(project))};\n${query}`)
  assert(Array.isArray(results) && results.length === 2, 'each statement has a result')
  return { progress: decode(results[0].rows), rows: results[1].rows }
}

function decode([row]: readonly Row[]): ProjectProgress {
  return {
    nextBatch: row?.next_batch ?? 0,
    nextFinish: row?.next_finish ?? 1,
    waitingDeletions: row?.waiting_deletions ?? 0,
  }
}
