/** Names as reads see them: given when changes complete, and swapped when everything before a swap is complete. */
import type { PoolClient } from 'pg'
import type { IndexId, ProjectId } from '../store/catalogue.ts'
import type { Sealing } from '../store/data-keys.ts'
import type { OpenRow } from './change-row.ts'
import { decodeOpen, openColumns } from './change-row.ts'
import { type Ending, giveName, type NameGiven, swapRenamings, type TaskRenaming } from './completion.ts'
import { type LockedIndex, lockIndexes } from './index-rows.ts'
import { lockProgress } from './progress-lock.ts'
import { finishedDetails } from './task-details.ts'

/** Gives names in order; indexes that lose theirs join `locked`. The caller saves `locked`. */
export async function giveNames(
  client: PoolClient,
  sealing: Sealing,
  locked: Map<IndexId, LockedIndex>,
  names: readonly NameGiven[],
): Promise<void> {
  for (const name of names) {
    const { rows } = await client.query<{ id: string }>(
      'select id from indexes where project_id = $1 and read_uid = $2 and id <> $3',
      [name.index.project, name.uid, name.index.id],
    )
    const missing = rows.filter(({ id }) => !locked.has(id)).map(({ id }) => id)
    if (missing.length > 0) {
      for (const [id, index] of await lockIndexes(client, sealing, missing)) locked.set(id, index)
    }
    // Drafts win over rows: an earlier name of this very round may have moved it.
    const holder = [...locked.values()].find(
      ({ state }) => state.project === name.index.project && state.readUid === name.uid && state !== name.index,
    )
    giveName(name, holder?.state)
  }
}

/** Every index that a waiting swap of one of `ids` touches, those included. */
export async function indexesOfSwaps(client: PoolClient, ids: readonly IndexId[]): Promise<readonly IndexId[]> {
  const { rows } = await client.query<{ index_id: string }>({
    name: 'indexes-of-swaps',
    text: `select distinct b.index_id from waits a join waits b on b.project_id = a.project_id and b.task = a.task
      where a.index_id = any($1::uuid[])`,
    values: [ids],
  })
  return [...new Set([...ids, ...rows.map(({ index_id }) => index_id)])]
}

/**
 * Records what a swap waits for: the heads of its indexes, and whatever earlier swaps of the same indexes still wait for,
 * so that swaps complete in order.
 */
export async function saveWaits(
  client: PoolClient,
  project: ProjectId,
  task: number,
  heads: ReadonlyMap<IndexId, number>,
): Promise<void> {
  const { rows } = await client.query<{ index_id: string; position: number }>(
    `select b.index_id, max(b.position) as position from waits a
       join waits b on b.project_id = a.project_id and b.task = a.task
     where a.index_id = any($1::uuid[]) group by b.index_id`,
    [[...heads.keys()]],
  )
  const positions = new Map(heads)
  for (const row of rows) positions.set(row.index_id, Math.max(row.position, positions.get(row.index_id) ?? 0))
  await client.query(
    `insert into waits (project_id, task, index_id, position)
     select $1, $2, index_id, position from unnest($3::uuid[], $4::bigint[]) as w (index_id, position)`,
    [project, task, [...positions.keys()], [...positions.values()]],
  )
}

/**
 * Completes the swaps that wait for nothing any more: names as reads see them, and the names that past tasks show.
 * `locked` holds every index of every waiting swap of `ids` (see `indexesOfSwaps`), as drafts. The caller saves them, then
 * renames tasks, then saves the endings: an order in which all transactions take their locks.
 */
export async function completeSwaps(
  client: PoolClient,
  sealing: Sealing,
  project: ProjectId,
  locked: Map<IndexId, LockedIndex>,
  ids: readonly IndexId[],
  now: number,
): Promise<{ readonly endings: readonly Ending[]; readonly renamings: readonly TaskRenaming[] }> {
  const { rows: waits } = await client.query<{ task: number; index_id: string; position: number }>({
    name: 'swaps-of-indexes',
    text: `select b.task, b.index_id, b.position from waits b
      where b.project_id = $1 and b.task in (select task from waits where index_id = any($2::uuid[])) order by b.task`,
    values: [project, ids],
  })
  const endings: Ending[] = []
  const renamings: TaskRenaming[] = []
  for (const task of new Set(waits.map((wait) => wait.task))) {
    const isWaiting = waits.some(
      (wait) => wait.task === task && (locked.get(wait.index_id)?.state.completed ?? 0) < wait.position,
    )
    if (isWaiting) continue
    const { rows } = await client.query<OpenRow>(
      `select ${openColumns} from changes where project_id = $1 and task = $2 and finished_at is null`,
      [project, task],
    )
    const [row] = rows
    await client.query('delete from waits where project_id = $1 and task = $2', [project, task])
    if (row === undefined) continue
    const swap = decodeOpen(sealing, row)
    const names = swap.naming.flatMap(({ index, uid }) => {
      const state = locked.get(index)?.state
      return state === undefined ? [] : [{ index: state, uid, task }]
    })
    await swapNames(client, sealing, locked, names)
    renamings.push(...swapRenamings(task, swap.operation))
    endings.push({
      task,
      status: 'succeeded',
      error: null,
      details: finishedDetails(swap.operation, swap.details, 'succeeded', null),
      startedAt: now,
      finishedAt: now,
      batchKey: `task:${task}`,
      canceledBy: null,
    })
  }
  return { endings, renamings }
}

/** All at once: an index that hands its name on must not be taken for one that loses it. */
async function swapNames(
  client: PoolClient,
  sealing: Sealing,
  locked: Map<IndexId, LockedIndex>,
  names: readonly NameGiven[],
): Promise<void> {
  for (const { index, task } of names) if (index.namedBy < task) index.readUid = null
  await giveNames(client, sealing, locked, names)
}

/**
 * Tasks before a swap or a rename follow the data, as on a stock server (P-13).
 *
 * Locks are taken in this order by everybody: indexes, open changes, the project's progress, finished changes. Who ends tasks
 * holds the progress while it hides finished ones, so they must not be renamed before the progress is ours; and whoever holds
 * open changes waits for the progress next, so that these must be ours before it.
 */
export async function renameTasks(
  client: PoolClient,
  project: ProjectId,
  renamings: readonly TaskRenaming[],
): Promise<void> {
  if (renamings.length === 0) return
  const newest = Math.max(...renamings.map(({ task }) => task))
  await client.query(
    `select 1 from changes where project_id = $1 and task < $2 and index_uid = any($3::text[]) and finished_at is null
     order by task for update`,
    [project, newest, [...new Set(renamings.map(({ from }) => from))]],
  )
  await lockProgress(client, project)
  for (const [task, group] of groupByTask(renamings)) {
    await client.query(
      `update changes c set index_uid = r.after from unnest($3::text[], $4::text[]) as r (before, after)
       where c.project_id = $1 and c.task < $2 and c.index_uid = r.before`,
      [project, task, group.map(({ from }) => from), group.map(({ to }) => to)],
    )
  }
}

/** The renamings of one task happen at once: a swap must not rename twice what it has just renamed. */
function groupByTask(renamings: readonly TaskRenaming[]): ReadonlyMap<number, readonly TaskRenaming[]> {
  const groups = new Map<number, TaskRenaming[]>()
  for (const renaming of renamings) groups.set(renaming.task, [...(groups.get(renaming.task) ?? []), renaming])
  return groups
}
