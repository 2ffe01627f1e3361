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
        isCatalogueChanged = true
        if (await changeRules(client, project, change, change.operation, now)) finished.add(project)
        else {
          hasProjectWork = true
          await handOver(client, project, change.task, now)
        }
        break
      default:
        hasProjectWork = true
        await handOver(client, project, change.task, now)
    }
  }
  return { isCatalogueChanged, finished: [...finished], hasProjectWork }
}

async function handOver(client: PoolClient, project: ProjectId, task: number, now: number): Promise<void> {
  await client.query(
    'insert into project_work (project_id, task, enqueued_at, owner, until) values ($1, $2, $3, null, 0)',
    [project, task, now],
  )
}

/** `false` = the task ends when the nodes that keep rules themselves have been told. */
async function changeRules(
  client: PoolClient,
  project: ProjectId,
  change: NewChange,
  operation: RuleOperation,
  now: number,
): Promise<boolean> {
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
  const ending = endingOf(change, now, ruleCounts(operation, before))
  const { rowCount } = await client.query(
    `select 1 from placements l join indexes i on i.id = l.index_id join nodes n on n.id = l.node_id
     where i.project_id = $1 and not l.is_gone and n.engine = 'meilisearch' limit 1`,
    [project],
  )
  if (rowCount === 0) {
    await saveEndings(client, project, [ending], now)
    return true
  }
  const details = [project, change.task, JSON.stringify(ending.details)]
  await client.query('update changes set details = $3 where project_id = $1 and task = $2', details)
  return false
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

/** Dumps and the like that no worker has claimed, and deletions that wait. What changed rules holds already. */
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
       delete from project_work w where w.project_id = $1 and w.task = any($2::bigint[]) and w.owner is null
         and not exists (select from changes c where c.project_id = w.project_id and c.task = w.task
           and c.operation in ('rule-put', 'rule-delete', 'rules-clear'))
       returning w.task
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
