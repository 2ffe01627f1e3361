/** The twin in memory of `lane-progress.ts`: what came of changes, and what completes with it. */
import type { NodeId } from '../store/catalogue.ts'
import { emptiedState, entersWhenWhole, hasWork, isInSync } from '../topology/placement-states.ts'
import { type ReplicaId, replicaId } from '../topology/replica-id.ts'
import { complete } from './completion.ts'
import { completedThrough, currentOf, joinAll, leavers, readAgain } from './joint-progress.ts'
import type { Progress } from './lane-progress.ts'
import type { MemoryDependencies } from './memory-journal.ts'
import {
  completeSwaps,
  emptied,
  giveNames,
  openChanges,
  projectIn,
  renameTasks,
  type StoredIndex,
  type StoredPlacement,
  saveEndings,
  saveRewritten,
  standingsOf,
} from './memory-state.ts'
import type { ChangeOutcome } from './ports.ts'
import { endTurns, mayMix, openTurn, passTurn, turned, turnVerdict, withTurns } from './settings-turn.ts'
import type { ReplicaStanding } from './write-index.ts'

export interface Effects {
  readonly isFinished: boolean
  /** Nodes with replicas that were put back to the beginning. */
  readonly woken: readonly NodeId[]
}

export function advance(
  deps: MemoryDependencies,
  index: StoredIndex,
  placement: StoredPlacement,
  { applied, outcomes, proof }: Omit<Progress, 'placement'>,
): Effects {
  const { completed } = index.state
  const before = placement.state
  if (applied > placement.applied) {
    placement.applied = applied
    placement.appliedBytes = index.changes[applied - 1]?.bytesThrough ?? 0
  }
  if (proof !== null) placement.proof = proof
  if (entersWhenWhole(placement) && placement.applied >= completed) placement.state = 'active'
  const isChanged = placement.state !== before
  if (!isJoint(index)) return settle(deps, index, { completed: placement.applied, outcomes }, isChanged)
  const restart = new Set<ReplicaId>()
  const own = replicaId(placement)
  for (const outcome of outcomes) {
    const { position, status, isElsewhere } = outcome
    const change = index.changes[position - 1]
    const isOver = change?.finishedAt != null && change.refusal === null && !isElsewhere
    if (isOver && change.status !== status) restart.add(own)
    if (position <= completed) continue
    const others = (index.reports.get(position) ?? []).filter(({ replica }) => replica !== own)
    index.reports.set(position, [...others, { replica: own, outcome }])
  }
  return settleJointly(deps, index, restart, isChanged)
}

/** Several lanes report what became of its changes. A plain index has more than one while it moves. */
export function isJoint({ state, placements }: StoredIndex): boolean {
  return state.spread !== null || placements.filter(({ isGone }) => !isGone).length > 1
}

export function leave(deps: MemoryDependencies, index: StoredIndex, ids: ReadonlySet<ReplicaId>): Effects {
  const leaving = leavers(standingsOf(deps, index), ids)
  for (const placement of index.placements) {
    if (!placement.isGone && leaving.includes(replicaId(placement))) placement.state = 'filling'
  }
  return leaving.length === 0 ? nothing : settleJointly(deps, index, new Set(), true)
}

export function comeBack(deps: MemoryDependencies, index: StoredIndex, node: NodeId): Effects {
  const back = index.placements.filter(
    (one) => one.node === node && !one.isGone && one.state === 'filling' && one.applied >= index.state.completed,
  )
  for (const placement of back) placement.state = 'active'
  return back.length === 0 ? nothing : settleJointly(deps, index, new Set(), true)
}

const nothing: Effects = { isFinished: false, woken: [] }

export function settleJointly(
  deps: MemoryDependencies,
  index: StoredIndex,
  restart: Set<ReplicaId>,
  isChanged: boolean,
): Effects {
  const { state: one, reports } = index
  const isFirstRead = keepReads(deps, index)
  const replicas = standingsOf(deps, index)
  const position = openTurn(replicas)
  const verdict = turnVerdict(currentOf(replicas), position, reports.get(position) ?? [])
  const passed = passTurn(replicas, position, verdict)
  const completed = completedThrough(passed.replicas, one.spread?.shards ?? 1, one.completed)
  const over = [...reports].filter(([at]) => at <= completed).sort(([a], [b]) => a - b)
  for (const [at] of over) reports.delete(at)
  const ended = new Map(over.filter(([at]) => at > one.completed))
  const { outcomes, odd, failedTurn } = joinAll(ended, replicas, { position, verdict })
  const changed = turned(replicas, endTurns(passed.replicas, completed, failedTurn))
  keepTurns(deps, index, changed)
  for (const id of [...odd, ...passed.deviant]) restart.add(id)
  const woken = new Set<NodeId>()
  for (const placement of index.placements) {
    if (placement.isGone || !restart.has(replicaId(placement))) continue
    woken.add(placement.node)
    Object.assign(placement, { ...emptied, state: emptiedState(placement) })
    placement.revision += 1
  }
  const isThenRead = keepReads(deps, index)
  const foremost = Math.max(
    0,
    ...standingsOf(deps, index)
      .filter(isInSync)
      .map(({ applied }) => applied),
  )
  one.heldSince = foremost > completed ? (one.heldSince ?? deps.clock.now()) : null
  const isVisible = isChanged || isFirstRead || isThenRead || restart.size + changed.length > 0
  const { isFinished } = settle(deps, index, { completed, outcomes }, isVisible)
  return { isFinished, woken: [...woken] }
}

/** See `readAgain`. @returns whether one is. */
function keepReads(deps: MemoryDependencies, index: StoredIndex): boolean {
  const replicas = standingsOf(deps, index)
  const reading = readAgain(replicas).filter((replica, at) => replica !== replicas[at])
  for (const { state, shed, ...replica } of reading) {
    const placement = index.placements.find((one) => !one.isGone && replicaId(one) === replicaId(replica))
    if (placement !== undefined) Object.assign(placement, { state, shed })
  }
  return reading.length > 0
}

/** Replicas are given turns at a settings change, as far as they need some; what they have made of it counts. */
export function giveTurns(deps: MemoryDependencies, index: StoredIndex, asking: ReplicaId, position: number): Effects {
  const { state: one } = index
  const before = currentOf(standingsOf(deps, index))
  const isDue = one.completed === position - 1
  const changed = isDue ? turned(before, withTurns(before, position, { asking, mayMix: mayMix(one) })) : []
  keepTurns(deps, index, changed)
  return settleJointly(deps, index, new Set(), changed.length > 0)
}

/** It has the settings of before again. */
export function endTurn(deps: MemoryDependencies, index: StoredIndex, placement: StoredPlacement): Effects {
  if (placement.role !== 'undo') return nothing
  Object.assign(placement, { turn: 0, role: null })
  return settleJointly(deps, index, new Set(), true)
}

function keepTurns({ clock }: MemoryDependencies, index: StoredIndex, changed: readonly ReplicaStanding[]): void {
  for (const { state, turn, ...replica } of changed) {
    const placement = index.placements.find((one) => !one.isGone && replicaId(one) === replicaId(replica))
    if (placement === undefined) continue
    const role = turn?.role ?? null
    if (placement.role !== role || placement.turn !== turn?.position) placement.turnedAt = clock.now()
    Object.assign(placement, { state, turn: turn?.position ?? 0, role })
  }
}

/** Ends what is complete, and everything that waited for it. */
function settle(
  { state, memory, clock }: MemoryDependencies,
  index: StoredIndex,
  through: { readonly completed: number; readonly outcomes: readonly ChangeOutcome[] },
  isVisible: boolean,
): Effects {
  const { state: one } = index
  const now = clock.now()
  let isChanged = isVisible
  const endings = []
  if (through.completed > one.completed) {
    const byPosition = new Map(through.outcomes.map((outcome) => [outcome.position, outcome]))
    const completion = complete(one, openChanges(index), through.completed, byPosition, now)
    const renamed = giveNames(state, completion.names)
    renameTasks(projectIn(state, one.project), completion.renamings)
    saveRewritten(index, completion.rewritten)
    endings.push(...completion.endings)
    isChanged ||= completion.isVisible || isJoint(index)
    for (const { id } of renamed) {
      if (id !== one.id) memory.record([{ entity: 'index', project: one.project, entityId: id }])
    }
  }
  if (one.isGone) {
    for (const one of index.placements) {
      if (!one.isGone) Object.assign(one, { isGone: true, mustDrop: one.applied < index.state.head })
    }
    Object.assign(one, { writeUid: null, readUid: null, behindSince: null, heldSince: null })
    index.reports.clear()
  } else if (!index.placements.some((replica) => !replica.isGone && (hasWork(replica, one.head) || replica.turn > 0)))
    one.behindSince = null
  else one.behindSince ??= now
  const swaps = completeSwaps(state, one.project, now)
  endings.push(...swaps.endings)
  saveEndings(state, one.project, endings, now)
  const changed = new Set([...swaps.renamed].map(({ id }) => id))
  if (isChanged) changed.add(one.id)
  memory.record([...changed].map((entityId) => ({ entity: 'index', project: one.project, entityId })))
  return { isFinished: endings.length > 0, woken: [] }
}
