/** What is kept, and for how long (design 2, rule 7; M-C7). */
import type { Blobs } from '../store/blobs.ts'
import { type Database, reach } from '../store/database.ts'
import { transact } from '../store/transaction.ts'
import { blobsOf } from './change-row.ts'
import type { LaneJournal } from './ports.ts'

type Retention = Pick<LaneJournal, 'dropPayloads' | 'cleanTasks'>

/** A blob is younger than this while its change may still be on the way. */
const orphanAgeMsMin = 3_600_000

/** The last change of a deleted index is the deletion. */
const wasGone = (before: string) => `coalesce((
  select g.finished_at < ${before} from changes g where g.index_id = i.id and g.position = i.head), true)`

/** An index with backups can be restored to any time since the last one before `$1`. Served by backups_index. */
const isPassed = `(not exists (select 1 from backups b where b.index_id = c.index_id and b.state = 'done') or c.position <= (
  select max(b.position) from backups b where b.index_id = c.index_id and b.state = 'done' and b.taken_at < $1))`

/** A restore that is being filled reads the journal of its index, also of one that is gone. Served by restores_due. */
const isUnread = `not exists (select 1 from restores open
  where open.index_id = c.index_id and open.finished_at is null and open.state in ('waiting', 'filling'))`

export function openRetention({ database, blobs }: { readonly database: Database; readonly blobs: Blobs }): Retention {
  return {
    /** Served by changes_retained (finished_at). Files go after the commit: a crash between leaves orphans, which are swept. */
    async dropPayloads(finishedBefore, limit, goneBefore = Number.MAX_SAFE_INTEGER) {
      const rows = await transact(database, async (client) => {
        const dropped = await client.query<{ blob: string | null; resolution: string | null }>(
          `with old as (
             select c.project_id, c.task, c.blob, c.resolution from changes c left join indexes i on i.id = c.index_id
             where c.finished_at is not null
               and (c.payload is not null or c.blob is not null or c.resolution is not null)
               and case when coalesce(i.is_gone, false) then ${wasGone('$3')} else
                 c.finished_at < $1 and c.position is not distinct from least(c.position, (
                   select min(p.applied) from placements p where p.index_id = c.index_id and not p.is_gone)) and ${isPassed}
               end
               and ${isUnread}
             order by c.finished_at limit $2 for update of c skip locked
           ), dropped as (
             update changes c set payload = null, blob = null, resolution = null, resolution_puts = null,
               resolution_deletes = null
             from old where c.project_id = old.project_id and c.task = old.task
           )
           select blob, resolution from old`,
          [finishedBefore, limit, goneBefore],
        )
        return dropped.rows
      })
      const partials = await reach(() =>
        database.pool.query<{ resolution: string }>(
          `delete from partial_resolutions r using changes c, indexes i
           where c.index_id = r.index_id and c.position = r.position and i.id = c.index_id and c.finished_at is not null
             and case when i.is_gone then ${wasGone('$2')} else
               c.finished_at < $1 and c.position <= (
                 select min(p.applied) from placements p where p.index_id = c.index_id and not p.is_gone) and ${isPassed}
             end
             and ${isUnread}
           returning r.resolution`,
          [finishedBefore, goneBefore],
        ),
      )
      const parts = partials.rows.map(({ resolution }) => ({ blob: null, resolution }))
      for (const name of [...rows, ...parts].flatMap(blobsOf)) await blobs.delete(name)
      return rows.length
    },
    async cleanTasks(taskCountMax) {
      await reach(() =>
        database.pool.query(
          `with full_projects as (
             select project_id, count(*) as count from changes where not is_hidden
             group by project_id having count(*) >= $1
           ), old as (
             select c.project_id, c.task from full_projects f cross join lateral (
               select project_id, task from changes where project_id = f.project_id and finished_at is not null
                 and not is_hidden order by task limit greatest(1, f.count / 10)
             ) c
           )
           update changes c set is_hidden = true from old where c.project_id = old.project_id and c.task = old.task`,
          [taskCountMax],
        ),
      )
    },
  }
}

/** Deletes blobs that no change refers to. Answers how many. */
export async function sweepBlobs(database: Database, blobs: Blobs): Promise<number> {
  let count = 0
  for await (const names of blobs.olderThan(orphanAgeMsMin)) {
    const { rows } = await reach(() =>
      database.pool.query<{ name: string }>(
        `select name from unnest($1::text[]) as old (name)
         where not exists (select 1 from changes c where c.blob = old.name)
           and not exists (
             select 1 from changes c where c.resolution is not null and strpos(c.resolution, old.name) > 0
           )
           and not exists (select 1 from partial_resolutions r where strpos(r.resolution, old.name) > 0)`,
        [names],
      ),
    )
    for (const { name } of rows) await blobs.delete(name)
    count += rows.length
  }
  return count
}
