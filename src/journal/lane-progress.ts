/** A lane's progress: what came of changes, and what completes with it, in one transaction. */
import type { PoolClient } from 'pg'
import type { Clock } from '../lib/clock.ts'
import type { IndexId, NodeId, Placement, ProjectId } from '../store/catalogue.ts'
import type { Sealing } from '../store/data-keys.ts'
import { nowMs } from '../store/database.ts'
import { recordEvents } from '../store/transaction.ts'
import {
  emptiedState,
  entersWhenWhole,
  hasWork,
  isDelivered,
  isInSync,
  statesWhere,
} from '../topology/placement-states.ts'
import { type ReplicaId, replicaId } from '../topology/replica-id.ts'
import { complete, type Ending, type TaskRenaming } from './completion.ts'
import { saveEndings } from './ending-rows.ts'
import { type LockedIndex, lockWithSwaps, prepareSaving } from './index-rows.ts'
import { completedThrough, currentOf, joinAll, laggards, leavers, readAgain } from './joint-progress.ts'
import { lockOpen, saveRewritten } from './open-rows.ts'
import type { ChangeOutcome, LaneProof, ReplicaChange, ReplicaOutcome } from './ports.ts'
import { completeSwaps, giveNames, renameTasks } from './read-names.ts'
import { changedReplica, isChanged } from './replica-change.ts'
import { deleteReports, isContradicted, reportsOf, saveReports, takeReports } from './report-rows.ts'
import { endTurns, mayMix, openTurn, passTurn, turned, turnVerdict, withTurns } from './settings-turn.ts'
import type { IndexState, ReplicaStanding } from './write-index.ts'

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
  /** Nodes with replicas that were put back to the beginning. */
  readonly woken: readonly NodeId[]
}

export interface ProgressDependencies {
  readonly sealing: Sealing
  readonly clock: Clock
}

/** `ReplicaId` of a row of `placements`. */
const replicaIdSql = "node_id || '/' || physical_uid"

function idsOn(replicas: readonly ReplicaStanding[], node: NodeId): ReadonlySet<ReplicaId> {
  return new Set(replicas.filter((replica) => replica.node === node).map(replicaId))
}

function nodesOf(replicas: readonly ReplicaStanding[], ids: ReadonlySet<ReplicaId>): readonly NodeId[] {
  return [...new Set(replicas.flatMap((replica) => (ids.has(replicaId(replica)) ? [replica.node] : [])))]
}

const nothing: ProgressEffects = { finished: undefined, isCatalogueChanged: false, woken: [] }

/**
 * The caller holds the lease. Positions that are complete already are passed over. `restarted`: the placement was put back
 * to the beginning since the lane learnt of it; nothing was written.
 */
export async function recordProgress(
  client: PoolClient,
  deps: ProgressDependencies,
  progress: Progress,
): Promise<ProgressEffects | 'restarted'> {
  const { placement, outcomes } = progress
  const locked = await lockFresh(client, deps.sealing, placement.index)
  const state = locked.get(placement.index)?.state
  const own = state?.replicas.find((replica) => replicaId(replica) === replicaId(placement))
  if (state === undefined || own === undefined || state.isGone) return nothing
  if (own.revision !== placement.revision || !isDelivered(own)) return 'restarted'
  const moved = await movePlacement(client, progress, state.completed)
  const replicas = state.replicas.map((replica) => (replica === own ? { ...own, ...moved } : replica))
  const isActivated = moved.state !== own.state
  if (!isJoint(state)) {
    const through = { completed: moved.applied, outcomes }
    return settle(client, deps, locked, state, { replicas, through, isChanged: isActivated })
  }
  const fresh = outcomes.filter(({ position }) => position > state.completed)
  await saveReports(client, placement, fresh)
  const isOdd = await isContradicted(client, placement.index, outcomes)
  const restart = isOdd ? new Set([replicaId(placement)]) : new Set<ReplicaId>()
  return settleJointly(client, deps, locked, state, { replicas, restart, isChanged: isActivated })
}

/** Replicas change their standing without having applied anything; what completes by that completes. */
export async function changeStanding(
  client: PoolClient,
  deps: ProgressDependencies,
  index: IndexId,
  change:
    | { readonly kind: 'leave'; readonly node: NodeId }
    | { readonly kind: 'return'; readonly node: NodeId }
    /** Those leave that hold back what others have applied since before `heldBefore`. */
    | { readonly kind: 'unhold'; readonly heldBefore: number },
): Promise<ProgressEffects> {
  const locked = await lockFresh(client, deps.sealing, index)
  const state = locked.get(index)?.state
  if (state === undefined || state.isGone || (change.kind !== 'unhold' && !isJoint(state))) return nothing
  if (change.kind === 'unhold' && (state.heldSince === null || state.heldSince > change.heldBefore)) return nothing
  const leaving =
    change.kind === 'return'
      ? []
      : leavers(state.replicas, change.kind === 'leave' ? idsOn(state.replicas, change.node) : laggards(state.replicas))
  const isBack = (replica: ReplicaStanding) =>
    change.kind === 'return' &&
    replica.node === change.node &&
    replica.state === 'filling' &&
    replica.applied >= state.completed
  const returning = state.replicas.filter(isBack).map(replicaId)
  const isMoving = leaving.length > 0 || returning.length > 0
  // The one that held the others back may be gone with its node.
  if (!isMoving && change.kind !== 'unhold') return nothing
  await client.query(
    `update placements set state = case when ${replicaIdSql} = any($2::text[]) then 'filling' else 'active' end
     where index_id = $1 and not is_gone and ${replicaIdSql} = any($2::text[] || $3::text[])`,
    [index, leaving, returning],
  )
  const replicas = state.replicas.map((replica): ReplicaStanding => {
    if (leaving.includes(replicaId(replica))) return { ...replica, state: 'filling' }
    return returning.includes(replicaId(replica)) ? { ...replica, state: 'active' } : replica
  })
  return settleJointly(client, deps, locked, state, { replicas, restart: new Set(), isChanged: isMoving })
}

/** Replicas of a spread index are given turns at a settings change, as far as they need some (C-16); what they made of it counts. */
export async function giveTurns(
  client: PoolClient,
  deps: ProgressDependencies,
  placement: Placement,
  position: number,
): Promise<ProgressEffects> {
  const { index } = placement
  const locked = await lockFresh(client, deps.sealing, index)
  const state = locked.get(index)?.state
  if (state === undefined || state.isGone || state.spread === null || state.completed !== position - 1) return nothing
  const before = currentOf(state.replicas)
  const current = withTurns(before, position, { asking: replicaId(placement), mayMix: mayMix(state) })
  const isChanged = await saveTurns(client, index, turned(before, current))
  const replicas = [...current, ...state.replicas.filter(({ isCurrent }) => !isCurrent)]
  return settleJointly(client, deps, locked, state, { replicas, restart: new Set(), isChanged })
}

/** A replica has the settings of before again. */
export async function endTurn(
  client: PoolClient,
  deps: ProgressDependencies,
  placement: Placement,
): Promise<ProgressEffects> {
  const { index, revision } = placement
  const locked = await lockFresh(client, deps.sealing, index)
  const state = locked.get(index)?.state
  if (state === undefined || state.isGone) return nothing
  const isOwn = (one: ReplicaStanding) =>
    replicaId(one) === replicaId(placement) && one.revision === revision && one.turn?.role === 'undo'
  const replicas = state.replicas.map((one): ReplicaStanding => (isOwn(one) ? { ...one, turn: null } : one))
  if (!(await saveTurns(client, index, turned(state.replicas, replicas)))) return nothing
  return settleJointly(client, deps, locked, state, { replicas, restart: new Set(), isChanged: true })
}

/** @returns whether there are any. */
async function saveTurns(client: PoolClient, index: IndexId, changed: readonly ReplicaStanding[]): Promise<boolean> {
  if (changed.length === 0) return false
  await client.query({
    name: 'save-turns',
    text: `update placements p set state = t.state, turn_position = t.turn_position, turn_role = t.turn_role,
        turned_at = case when p.turn_position = t.turn_position and p.turn_role is not distinct from t.turn_role
          then p.turned_at else ${nowMs} end
      from unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[])
        as t (node_id, physical_uid, state, turn_position, turn_role)
      where p.index_id = $1 and p.node_id = t.node_id and p.physical_uid = t.physical_uid and not p.is_gone`,
    values: [
      index,
      changed.map(({ node }) => node),
      changed.map(({ physicalUid }) => physicalUid),
      changed.map(({ state }) => state),
      changed.map(({ turn }) => turn?.position ?? 0),
      changed.map(({ turn }) => turn?.role ?? null),
    ],
  })
  return true
}

/** The replicas of an index changed their standing; what completes by that completes. */
export async function settleStandings(
  client: PoolClient,
  deps: ProgressDependencies,
  index: IndexId,
): Promise<ProgressEffects> {
  const locked = await lockFresh(client, deps.sealing, index)
  const state = locked.get(index)?.state
  if (state === undefined || state.isGone || !isJoint(state)) return nothing
  const { replicas } = state
  return settleJointly(client, deps, locked, state, { replicas, restart: new Set(), isChanged: false })
}

/** What a move does to one replica of an index; what completes by that completes. */
export async function editReplica(
  client: PoolClient,
  deps: ProgressDependencies,
  index: IndexId,
  id: ReplicaId,
  change: ReplicaChange,
): Promise<{ readonly outcome: ReplicaOutcome; readonly effects: ProgressEffects }> {
  const locked = await lockFresh(client, deps.sealing, index)
  const state = locked.get(index)?.state
  if (state === undefined || state.isGone) return { outcome: 'unsuited', effects: nothing }
  const own = state.replicas.find((replica) => replicaId(replica) === id)
  const next = changedReplica(state.replicas, id, state.completed, change)
  if (typeof next === 'string' || own === undefined) {
    return { outcome: typeof next === 'string' ? next : 'unsuited', effects: nothing }
  }
  if (!isChanged(own, next)) return { outcome: 'done', effects: nothing }
  const { state: nextState, applied, revision, shards, shed, hasLeftovers } = next
  const proof = change.kind === 'begin' ? change.proof : null
  await client.query(
    `update placements set state = $3, applied = $4::bigint, revision = $5, shards = $6::int[], shed = $7::int[], has_leftovers = $8,
       proof_task = case when $4::bigint > 0 then coalesce($9::bigint, proof_task) end,
       proof_mark = case when $4::bigint > 0 then coalesce($10::text, proof_mark) end,
       applied_bytes = case when applied = $4::bigint then applied_bytes
         else coalesce((select bytes_through from changes where index_id = $1 and position = $4::bigint), 0) end
     where index_id = $1 and ${replicaIdSql} = $2 and not is_gone`,
    [index, id, nextState, applied, revision, shards, shed, hasLeftovers, proof?.task ?? null, proof?.mark ?? null],
  )
  const replicas = state.replicas.map((replica) => (replica === own ? { ...own, ...next } : replica))
  const effects = await settleJointly(client, deps, locked, state, { replicas, restart: new Set(), isChanged: true })
  return { outcome: 'done', effects: { ...effects, woken: [...effects.woken, own.node] } }
}

/**
 * A statement that waits for a lock sees other rows as of its beginning: what the lanes of other replicas recorded meanwhile
 * shows only in the next one. Where there is one lane, it holds its lease.
 */
export async function lockFresh(
  client: PoolClient,
  sealing: Sealing,
  index: IndexId,
): Promise<Map<IndexId, LockedIndex>> {
  const locked = await lockWithSwaps(client, sealing, index)
  const state = locked.get(index)?.state
  return state === undefined || !isJoint(state) ? locked : lockWithSwaps(client, sealing, index)
}

/** Several lanes report what became of its changes. A plain index has more than one while it moves. */
function isJoint({ spread, replicas }: IndexState): boolean {
  return spread !== null || replicas.length > 1
}

interface Standing {
  readonly replicas: readonly ReplicaStanding[]
  /** The route table shows another state of some replica. */
  readonly isChanged: boolean
}

/** Completes what the replicas of an index have applied together; those that contradict the rest start anew. */
export async function settleJointly(
  client: PoolClient,
  deps: ProgressDependencies,
  locked: Map<IndexId, LockedIndex>,
  state: IndexState,
  { replicas: found, restart, isChanged }: Standing & { readonly restart: Set<ReplicaId> },
): Promise<ProgressEffects> {
  const replicas = readAgain(found)
  const position = openTurn(replicas)
  const verdict = turnVerdict(
    currentOf(replicas),
    position,
    position === 0 ? [] : await reportsOf(client, state.id, position),
  )
  const passed = passTurn(replicas, position, verdict)
  const completed = completedThrough(passed.replicas, state.spread?.shards ?? 1, state.completed)
  const reports = await takeReports(client, state.id, state.completed, completed)
  const { outcomes, odd, failedTurn } = joinAll(reports, replicas, { position, verdict })
  const after = endTurns(passed.replicas, completed, failedTurn)
  const hasTurned = await saveTurns(client, state.id, turned(replicas, after))
  for (const id of [...odd, ...passed.deviant]) restart.add(id)
  if (restart.size > 0) await putBack(client, state.id, [...restart])
  const woken = nodesOf(after, restart)
  const restarted = after.map(
    (replica): ReplicaStanding =>
      restart.has(replicaId(replica)) ? { ...replica, applied: 0, state: emptiedState(replica), turn: null } : replica,
  )
  const left = readAgain(restarted)
  const isReadAgain = await saveReads(
    client,
    state.id,
    left.filter((replica, at) => replica !== restarted[at] || replicas[at] !== found[at]),
  )
  const foremost = Math.max(0, ...left.filter(isInSync).map(({ applied }) => applied))
  state.heldSince = foremost > completed ? (state.heldSince ?? deps.clock.now()) : null
  const through = { completed, outcomes }
  const effects = await settle(client, deps, locked, state, {
    replicas: left,
    through,
    isChanged: isChanged || hasTurned || isReadAgain || restart.size > 0,
  })
  if (state.isGone) await deleteReports(client, state.id)
  return { ...effects, woken }
}

/** Ends what is complete, and everything that waited for it. */
async function settle(
  client: PoolClient,
  { sealing, clock }: ProgressDependencies,
  locked: Map<IndexId, LockedIndex>,
  state: IndexState,
  {
    replicas,
    through,
    isChanged,
  }: Standing & { readonly through: { readonly completed: number; readonly outcomes: readonly ChangeOutcome[] } },
): Promise<ProgressEffects> {
  const { id } = state
  const now = clock.now()
  let isCatalogueChanged = isChanged
  const endings: Ending[] = []
  const renamings: TaskRenaming[] = []
  if (through.completed > state.completed) {
    const hasFailed = through.outcomes.some(({ status }) => status === 'failed')
    const open = await lockOpen(client, sealing, state, hasFailed ? state.head : through.completed)
    const outcomes = new Map(through.outcomes.map((outcome) => [outcome.position, outcome]))
    const completion = complete(state, open, through.completed, outcomes, now)
    await giveNames(client, sealing, locked, completion.names)
    renamings.push(...completion.renamings)
    await saveRewritten(client, sealing, state.project, completion.rewritten)
    endings.push(...completion.endings)
    // Sessions wait for positions, whatever came of them.
    isCatalogueChanged ||= completion.isVisible || isJoint(state)
  }
  if (state.isGone) await removePlacements(client, state)
  else if (!replicas.some((replica) => hasWork(replica, state.head) || replica.turn !== null)) state.behindSince = null
  else state.behindSince ??= now
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
  const finished = endings.length > 0 ? state.project : undefined
  return { finished, isCatalogueChanged: changed.length > 0, woken: [] }
}

function isRenamed({ state, loaded }: LockedIndex): boolean {
  return state.readUid !== loaded.readUid
}

/** Never back. A replica that was filling is read again from when it holds all that is complete. */
async function movePlacement(
  client: PoolClient,
  { placement, applied, proof }: Progress,
  completed: number,
): Promise<Pick<ReplicaStanding, 'applied' | 'state'>> {
  const { rows } = await client.query<Pick<ReplicaStanding, 'applied' | 'state'>>({
    name: 'move-placement',
    text: `update placements p set
       applied = greatest(p.applied, $4::bigint),
       applied_bytes = case when p.applied >= $4::bigint then p.applied_bytes
         else coalesce((select bytes_through from changes where index_id = $1 and position = $4::bigint), p.applied_bytes) end,
       proof_task = coalesce($5::bigint, p.proof_task),
       proof_mark = coalesce($6::text, p.proof_mark),
       state = case when p.state = any($8::text[]) and greatest(p.applied, $4::bigint) >= $7::bigint then 'active' else p.state end
     where p.index_id = $1 and p.physical_uid = $2 and p.node_id = $3 and not p.is_gone
     returning p.applied, p.state`,
    values: [
      placement.index,
      placement.physicalUid,
      placement.node,
      applied,
      proof?.task ?? null,
      proof?.mark ?? null,
      completed,
      statesWhere(entersWhenWhole),
    ],
  })
  return rows[0] ?? { applied: 0, state: 'lost' }
}

/** They are no more what their lanes take them for: whoever works on them starts from the journal's beginning. */
async function putBack(client: PoolClient, index: IndexId, ids: readonly ReplicaId[]): Promise<void> {
  await client.query(
    `update placements set applied = 0, applied_bytes = 0, proof_task = null, proof_mark = null, revision = revision + 1,
       turn_position = 0, turn_role = null,
       state = case when state = any($3::text[]) then 'filling' else state end
     where index_id = $1 and ${replicaIdSql} = any($2::text[]) and not is_gone`,
    [index, ids, statesWhere(isInSync)],
  )
}

/** @returns whether there are any. */
async function saveReads(client: PoolClient, index: IndexId, replicas: readonly ReplicaStanding[]): Promise<boolean> {
  for (const { node, physicalUid, state, shed = [] } of replicas) {
    await client.query(
      'update placements set state = $4, shed = $5::int[] where index_id = $1 and node_id = $2 and physical_uid = $3 and not is_gone',
      [index, node, physicalUid, state, shed],
    )
  }
  return replicas.length > 0
}

/** The rows stay, so that their physical names are never used again. Who was away has the deletion before it. */
async function removePlacements(client: PoolClient, { id, head }: IndexState): Promise<void> {
  await client.query(
    `with gone as (
       update placements set is_gone = true, must_drop = applied < $2 where index_id = $1 and not is_gone returning node_id
     )
     update nodes n set index_count = greatest(0, n.index_count - c.count)
     from (select node_id, count(*) as count from gone group by node_id) c where n.id = c.node_id`,
    [id, head],
  )
}
