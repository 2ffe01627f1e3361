/** What changes of a whole project do in the transaction that appends them. */
import type { PoolClient } from 'pg'
import { type NamedRule, type RuleOperation, rulesAfter } from '../api/search-rule.ts'
import type { ProjectId } from '../store/catalogue.ts'
import type { Sealing } from '../store/data-keys.ts'
import { recordEvents } from '../store/transaction.ts'
import type { Insertion } from './change-insert.ts'
import { decodeOpen, type OpenRow, openColumns } from './change-row.ts'
import { cancel, cancelledEnding, type Ending } from './completion.ts'
import { saveEndings } from './ending-rows.ts'
import { lockIndexes, saveIndexes } from './index-rows.ts'
import { lockOpen, saveRewritten } from './open-rows.ts'
import { completeSwaps, indexesOfSwaps, renameTasks, saveWaits } from './read-names.ts'
import { beginDeletion, forgetDeletions } from './task-deletion.ts'
import { ruleCounts } from './task-details.ts'
import type { NewChange } from './write-index.ts'

export interface Effects {
  readonly isCatalogueChanged: boolean
  /** Projects with tasks that ended. */
  readonly finished: readonly ProjectId[]
  /** Something was handed to the workers. */
  readonly hasProjectWork: boolean
}

/** Carries out cancels, changes of search rules, and deletes and swaps that wait for nothing; hands dumps, snapshots and exports to the workers. */
export async function carryOut(
  client: PoolClient,
  sealing: Sealing,
  insertions: readonly Insertion[],
  now: number,
): Promise<Effects> {
  const finished = new Set<ProjectId>()
  let isCatalogueChanged = false
  let hasProjectWork = false
  for (const { project, change } of insertions) {
    if (change.status === 'failed') finished.add(project)
    if (change.status === 'failed' || change.index !== null) continue
    switch (change.operation.kind) {
      case 'task-cancel':
        await cancelTasks(client, sealing, project, change, change.operation.tasks, now)
        finished.add(project)
        break
      case 'task-delete':
        if (await deleteTasks(client, project, change.task, change.operation.tasks, now)) finished.add(project)
        break
      case 'index-swap': {
        const isDone = await beginSwap(client, sealing, project, change, now)
        if (isDone) finished.add(project)
        isCatalogueChanged ||= isDone
        break
      }
      case 'rule-put':
      case 'rule-delete':
      case 'rules-clear':
        await changeRules(client, project, change, change.operation, now)
        finished.add(project)
        isCatalogueChanged = true
        break
      default:
        hasProjectWork = true
        await client.query(
          'insert into project_work (project_id, task, enqueued_at, owner, until) values ($1, $2, $3, null, 0)',
          [project, change.task, now],
        )
    }
  }
  return { isCatalogueChanged, finished: [...finished], hasProjectWork }
}

async function changeRules(
  client: PoolClient,
  project: ProjectId,
  change: NewChange,
  operation: RuleOperation,
  now: number,
): Promise<void> {
  const { rows } = await client.query<{ search_rules: string | null }>(
    'select search_rules from projects where id = $1 for no key update',
    [project],
  )
  const before: readonly NamedRule[] = JSON.parse(rows[0]?.search_rules ?? '[]')
  await client.query('update projects set search_rules = $2 where id = $1', [
    project,
    JSON.stringify(rulesAfter(before, operation)),
  ])
  await recordEvents(client, [{ entity: 'project', project, entityId: project }])
  await saveEndings(client, project, [endingOf(change, now, ruleCounts(operation, before))], now)
}

async function beginSwap(
  client: PoolClient,
  sealing: Sealing,
  project: ProjectId,
  change: NewChange,
  now: number,
): Promise<boolean> {
  const ids = [...new Set(change.naming.map(({ index }) => index))]
  const locked = await lockIndexes(client, sealing, await indexesOfSwaps(client, ids))
  const heads = new Map(ids.map((id) => [id, locked.get(id)?.state.head ?? 0]))
  await saveWaits(client, project, change.task, heads)
  const { endings, renamings } = await completeSwaps(client, sealing, project, locked, ids, now)
  if (endings.length === 0 && ids.length > 0) return false
  await saveIndexes(client, sealing, [...locked.values()])
  await renameTasks(client, project, renamings)
  await saveEndings(client, project, endings.length > 0 ? endings : [endingOf(change, now, {})], now)
  await recordEvents(
    client,
    [...locked.keys()].map((entityId) => ({ entity: 'index', project, entityId })),
  )
  return true
}

async function cancelTasks(
  client: PoolClient,
  sealing: Sealing,
  project: ProjectId,
  change: NewChange,
  tasks: readonly number[],
  now: number,
): Promise<void> {
  const by = { task: change.task, now, batchKey: `task:${change.task}` }
  const { rows } = await client.query<{ index_id: string }>(
    `select distinct index_id from changes
     where project_id = $1 and task = any($2::bigint[]) and finished_at is null and index_id is not null`,
    [project, tasks],
  )
  const locked = await lockIndexes(
    client,
    sealing,
    rows.map((row) => row.index_id),
  )
  const wanted = new Set(tasks)
  const endings: Ending[] = []
  for (const { state } of locked.values()) {
    const open = await lockOpen(client, sealing, state)
    const cancelled = cancel(state, open, wanted, by)
    endings.push(...cancelled.endings)
    await saveRewritten(client, sealing, project, cancelled.rewritten)
  }
  await saveIndexes(client, sealing, [...locked.values()])
  endings.push(...(await cancelWork(client, sealing, project, tasks, by)))
  await saveEndings(client, project, [...endings, endingOf(change, now, { canceledTasks: endings.length })], now)
}

/** Dumps and the like that no worker has claimed, and deletions that wait. */
async function cancelWork(
  client: PoolClient,
  sealing: Sealing,
  project: ProjectId,
  tasks: readonly number[],
  by: { readonly task: number; readonly now: number; readonly batchKey: string },
): Promise<readonly Ending[]> {
  const deletions = await forgetDeletions(client, project, tasks)
  const { rows } = await client.query<OpenRow>(
    `with taken as (
       delete from project_work where project_id = $1 and task = any($2::bigint[]) and owner is null returning task
     )
     select ${openColumns} from changes
     where project_id = $1 and (task in (select task from taken) or task = any($3::bigint[])) and finished_at is null
     order by task`,
    [project, tasks, deletions],
  )
  return rows.map((row) => cancelledEnding(decodeOpen(sealing, row), by))
}

/** `false` = the deletion waits for tasks that are running. */
async function deleteTasks(
  client: PoolClient,
  project: ProjectId,
  task: number,
  doomed: readonly number[],
  now: number,
): Promise<boolean> {
  const ending = await beginDeletion(client, project, task, doomed, now)
  if (ending === undefined) return false
  await saveEndings(client, project, [ending], now)
  return true
}

function endingOf(change: NewChange, now: number, counts: Readonly<Record<string, number>>): Ending {
  const initial = change.details
  const details = typeof initial === 'object' && initial !== null ? { ...initial, ...counts } : initial
  return {
    task: change.task,
    status: 'succeeded',
    error: null,
    details,
    startedAt: now,
    finishedAt: now,
    batchKey: `task:${change.task}`,
    canceledBy: null,
  }
}
