/** The twin in memory of `lane-progress.ts`: what came of changes, and what completes with it. */
import type { NodeId } from '../store/catalogue.ts'
import { emptiedState, entersWhenWhole, hasWork, isInSync } from '../topology/placement-states.ts'
import { complete } from './completion.ts'
import { completedThrough, holdersOfFailed, joinReports, leavers } from './joint-progress.ts'
import type { Progress } from './lane-progress.ts'
import type { MemoryDependencies } from './memory-journal.ts'
import {
  completeSwaps,
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
  const restart = new Set<NodeId>()
  for (const outcome of outcomes) {
    const { position, status } = outcome
    const change = index.changes[position - 1]
    if (change?.finishedAt != null && change.refusal === null && change.status !== status) restart.add(placement.node)
    if (position <= completed) continue
    const others = (index.reports.get(position) ?? []).filter(({ node }) => node !== placement.node)
    index.reports.set(position, [...others, { node: placement.node, outcome }])
  }
  return settleJointly(deps, index, restart, isChanged)
}

/** Several lanes report what became of its changes. A plain index has more than one while it moves. */
export function isJoint({ state, placements }: StoredIndex): boolean {
  return state.spread !== null || placements.filter(({ isGone }) => !isGone).length > 1
}

export function leave(deps: MemoryDependencies, index: StoredIndex, nodes: ReadonlySet<NodeId>): Effects {
  const leaving = leavers(standingsOf(deps, index), nodes)
  for (const placement of index.placements) if (leaving.includes(placement.node)) placement.state = 'filling'
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
  restart: Set<NodeId>,
  isChanged: boolean,
): Effects {
  const { state: one, reports } = index
  const replicas = standingsOf(deps, index)
  const completed = completedThrough(replicas, one.spread?.shards ?? 1, one.completed)
  const outcomes: ChangeOutcome[] = []
  for (const [position, told] of [...reports].sort(([a], [b]) => a - b)) {
    if (position > completed) continue
    reports.delete(position)
    if (position <= one.completed) continue
    const outcome = joinReports(told, replicas)
    outcomes.push(outcome)
    if (outcome.status === 'failed') {
      for (const node of holdersOfFailed(position, told, replicas)) restart.add(node)
    }
  }
  for (const placement of index.placements) {
    if (placement.isGone || !restart.has(placement.node)) continue
    Object.assign(placement, { applied: 0, appliedBytes: 0, proof: null, state: emptiedState(placement) })
    placement.revision += 1
  }
  const foremost = Math.max(
    0,
    ...standingsOf(deps, index)
      .filter(isInSync)
      .map(({ applied }) => applied),
  )
  one.heldSince = foremost > completed ? (one.heldSince ?? deps.clock.now()) : null
  const { isFinished } = settle(deps, index, { completed, outcomes }, isChanged || restart.size > 0)
  return { isFinished, woken: [...restart] }
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
    for (const gone of index.placements) gone.isGone = true
    Object.assign(one, { writeUid: null, readUid: null, behindSince: null, heldSince: null })
    index.reports.clear()
  } else if (!index.placements.some((replica) => !replica.isGone && hasWork(replica, one.head))) one.behindSince = null
  else one.behindSince ??= now
  const swaps = completeSwaps(state, one.project, now)
  endings.push(...swaps.endings)
  saveEndings(state, one.project, endings, now)
  const changed = new Set([...swaps.renamed].map(({ id }) => id))
  if (isChanged) changed.add(one.id)
  memory.record([...changed].map((entityId) => ({ entity: 'index', project: one.project, entityId })))
  return { isFinished: endings.length > 0, woken: [] }
}
