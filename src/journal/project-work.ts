/** Dumps, snapshots and exports: changes that a worker claims and carries out. */
import type { Clock } from '../lib/clock.ts'
import { SealBroken } from '../lib/seal.ts'
import type { ProjectId } from '../store/catalogue.ts'
import type { Sealing } from '../store/data-keys.ts'
import { type Database, nowMs, reach } from '../store/database.ts'
import type { ChangeRow } from '../store/tables.ts'
import { transact } from '../store/transaction.ts'
import { decodeChange } from './change-row.ts'
import type { Ending } from './completion.ts'
import { saveEndings } from './ending-rows.ts'
import type { LaneJournal } from './ports.ts'
import { finishedDetails } from './task-details.ts'

type ProjectWork = Pick<LaneJournal, 'claimProjectChange' | 'renewProjectChange' | 'finishProjectChange'>

export function openProjectWork({
  database,
  sealing,
  clock,
  sendFinished,
}: {
  readonly database: Database
  readonly sealing: Sealing
  readonly clock: Clock
  readonly sendFinished: (project: ProjectId) => void
}): ProjectWork {
  return {
    /** Two workers never get the same change, since locked rows are skipped; an expired claim counts as free. */
    claimProjectChange: (worker, leaseMs) =>
      transact(database, async (client) => {
        const { rows } = await client.query<ChangeRow>(
          `with due as (
             select project_id, task from project_work where until <= ${nowMs}
             order by enqueued_at, project_id, task limit 1 for update skip locked
           ), claimed as (
             update project_work w set owner = $1, until = ${nowMs} + $2 from due
             where w.project_id = due.project_id and w.task = due.task
           )
           update changes c set status = 'processing', started_at = coalesce(c.started_at, $3) from due
           where c.project_id = due.project_id and c.task = due.task and c.finished_at is null
           returning c.*`,
          [worker, leaseMs, clock.now()],
        )
        try {
          return rows[0] === undefined ? undefined : decodeChange(sealing, rows[0])
        } catch (error) {
          if (!(error instanceof SealBroken)) throw error
          // It stays claimed, so that those behind it have their turn.
          return undefined
        }
      }),
    renewProjectChange: async (worker, change, leaseMs) => {
      const { rowCount } = await reach(() =>
        database.pool.query(
          `update project_work set until = ${nowMs} + $4 where project_id = $1 and task = $2 and owner = $3`,
          [change.project, change.task, worker, leaseMs],
        ),
      )
      return rowCount === 1
    },
    async finishProjectChange(worker, change, outcome) {
      const isOurs = await transact(database, async (client) => {
        const { rowCount } = await client.query(
          'delete from project_work where project_id = $1 and task = $2 and owner = $3',
          [change.project, change.task, worker],
        )
        if (rowCount === 0) return false
        const finishedAt = clock.now()
        const ending: Ending = {
          task: change.task,
          status: outcome.status,
          error: outcome.error,
          details: finishedDetails(change.operation, change.details, outcome.status, outcome.details),
          startedAt: change.startedAt ?? finishedAt,
          finishedAt,
          batchKey: `task:${change.task}`,
          canceledBy: null,
        }
        await saveEndings(client, change.project, [ending], finishedAt)
        return true
      })
      if (isOurs) sendFinished(change.project)
      return isOurs
    },
  }
}
