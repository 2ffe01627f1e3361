/** A lane's progress: what came of changes, and what completes with it, in one transaction. */
import type { PoolClient } from 'pg'
import type { Clock } from '../lib/clock.ts'
import type { SealingKey } from '../lib/seal.ts'
import type { IndexId, Placement, ProjectId } from '../store/catalogue.ts'
import { recordEvents } from '../store/transaction.ts'
import { complete } from './completion.ts'
import { saveEndings } from './ending-rows.ts'
import { type LockedIndex, lockWithSwaps, prepareSaving } from './index-rows.ts'
import { lockOpen, saveRewritten } from './open-rows.ts'
import type { ChangeOutcome, LaneProof } from './ports.ts'
import { completeSwaps, giveNames, renameTasks } from './read-names.ts'

export interface Progress {
  readonly placement: Placement
  readonly applied: number
  readonly outcomes: readonly ChangeOutcome[]
  readonly proof: LaneProof | null
}

export interface ProgressEffects {
  /** The project whose tasks ended; `undefined` = none did. */
  readonly finished: ProjectId | undefined
  readonly isCatalogueChanged: boolean
}

const nothing: ProgressEffects = { finished: undefined, isCatalogueChanged: false }

/** The caller holds the lease. Positions that are complete already are passed over. */
export async function recordProgress(
  client: PoolClient,
  { sealing, clock }: { readonly sealing: SealingKey; readonly clock: Clock },
  progress: Progress,
): Promise<ProgressEffects> {
  const { index: id } = progress.placement
  const locked = await lockWithSwaps(client, sealing, id)
  const state = locked.get(id)?.state
  if (state === undefined || state.isGone) return nothing
  const now = clock.now()
  const moved = await movePlacement(client, progress, state.completed)
  if (moved === undefined) return nothing
  let isCatalogueChanged = moved.isActivated
  const endings = []
  const renamings = []
  if (moved.applied > state.completed) {
    const hasFailed = progress.outcomes.some(({ status }) => status === 'failed')
    const open = await lockOpen(client, sealing, state, hasFailed ? state.head : moved.applied)
    const outcomes = new Map(progress.outcomes.map((outcome) => [outcome.position, outcome]))
    const completion = complete(state, open, moved.applied, outcomes, now)
    await giveNames(client, sealing, locked, completion.names)
    renamings.push(...completion.renamings)
    await saveRewritten(client, sealing, state.project, completion.rewritten)
    endings.push(...completion.endings)
    isCatalogueChanged ||= completion.isVisible
  }
  if (state.isGone) await removePlacements(client, id)
  else if (moved.slowest >= state.head) state.behindSince = null
  const swaps = await completeSwaps(client, sealing, state.project, locked, [id], now)
  endings.push(...swaps.endings)
  renamings.push(...swaps.renamings)
  const touched = [...locked.values()].filter((index) => index.state.id === id || isRenamed(index))
  const saving = await prepareSaving(client, sealing, touched)
  const mayGoTogether = endings.length > 0 && renamings.length === 0
  if (saving !== undefined && !mayGoTogether) await client.query({ name: 'save-indexes', ...saving })
  await renameTasks(client, state.project, renamings)
  await saveEndings(client, state.project, endings, now, mayGoTogether ? saving : undefined)
  const changed = touched.filter((index) => isRenamed(index) || (index.state.id === id && isCatalogueChanged))
  await recordEvents(
    client,
    changed.map(({ state: { project, id: entityId } }) => ({ entity: 'index', project, entityId })),
  )
  return { finished: endings.length > 0 ? state.project : undefined, isCatalogueChanged: changed.length > 0 }
}

function isRenamed({ state, loaded }: LockedIndex): boolean {
  return state.readUid !== loaded.readUid
}

/** Never back. A replica that was filling is read again from when it holds all that is complete. */
async function movePlacement(
  client: PoolClient,
  { placement, applied, proof }: Progress,
  completed: number,
): Promise<{ readonly applied: number; readonly slowest: number; readonly isActivated: boolean } | undefined> {
  const { rows } = await client.query<{ applied: number; state: string; was: string; slowest: number | null }>({
    name: 'move-placement',
    text: `with before as (
       select state from placements where index_id = $1 and generation = $2 and node_id = $3 and not is_gone
     ), others as (
       select min(applied) as slowest from placements
       where index_id = $1 and not is_gone and not (generation = $2 and node_id = $3)
     )
     update placements p set
       applied = greatest(p.applied, $4::bigint),
       applied_bytes = case when p.applied >= $4::bigint then p.applied_bytes
         else coalesce((select bytes_through from changes where index_id = $1 and position = $4::bigint), p.applied_bytes) end,
       proof_task = coalesce($5::bigint, p.proof_task),
       proof_mark = coalesce($6::text, p.proof_mark),
       state = case when p.state = 'filling' and greatest(p.applied, $4::bigint) >= $7::bigint then 'active' else p.state end
     from before, others
     where p.index_id = $1 and p.generation = $2 and p.node_id = $3 and not p.is_gone
     returning p.applied, p.state, before.state as was, others.slowest`,
    values: [
      placement.index,
      placement.generation,
      placement.node,
      applied,
      proof?.task ?? null,
      proof?.mark ?? null,
      completed,
    ],
  })
  const [row] = rows
  if (row === undefined) return undefined
  const slowest = Math.min(row.applied, row.slowest ?? row.applied)
  return { applied: row.applied, slowest, isActivated: row.state !== row.was }
}

/** The rows stay, so that their physical names are never used again. */
async function removePlacements(client: PoolClient, index: IndexId): Promise<void> {
  await client.query(
    `with gone as (
       update placements set is_gone = true where index_id = $1 and not is_gone returning node_id
     )
     update nodes n set index_count = greatest(0, n.index_count - c.count)
     from (select node_id, count(*) as count from gone group by node_id) c where n.id = c.node_id`,
    [index],
  )
}
