/** The lock under which tasks of a project end: its row of `project_progress`, held until the commit. */
import type { PoolClient } from 'pg'
import type { ProjectId } from '../store/catalogue.ts'

export interface ProjectProgress {
  readonly nextBatch: number
  readonly nextFinish: number
  /** Deletions of tasks that wait for others to end. */
  readonly waitingDeletions: number
}

/** May be taken again in the same transaction. */
export async function lockProgress(client: PoolClient, project: ProjectId): Promise<ProjectProgress> {
  const { rows } = await client.query<{ next_batch: number; next_finish: number; waiting_deletions: number }>({
    name: 'lock-progress',
    text: `insert into project_progress (project_id) values ($1)
      on conflict (project_id) do update set next_finish = project_progress.next_finish
      returning next_batch, next_finish, waiting_deletions`,
    values: [project],
  })
  const [row] = rows
  return {
    nextBatch: row?.next_batch ?? 0,
    nextFinish: row?.next_finish ?? 1,
    waitingDeletions: row?.waiting_deletions ?? 0,
  }
}
