/** The journal as lanes see it, in memory. */
import { assert } from '../lib/assert.ts'
import type { IndexId, NodeId, Placement, Spread } from '../store/catalogue.ts'
import { emptiedState, hasLane, hasWork, isDelivered } from '../topology/placement-states.ts'
import { replicaId } from '../topology/replica-id.ts'
import type { Change } from './change.ts'
import { laggards, resolversOf } from './joint-progress.ts'
import type { MemoryDependencies } from './memory-journal.ts'
import {
  advance,
  comeBack,
  type Effects,
  endTurn,
  giveTurns,
  isJoint,
  leave,
  settleJointly,
} from './memory-progress.ts'
import {
  changeOf,
  emptied,
  placementOf,
  projectIn,
  type StoredChange,
  type StoredIndex,
  type StoredPlacement,
  saveEndings,
  standingsOf,
} from './memory-state.ts'
import type { LaneChange, LaneJournal, LaneState, NodeLease } from './ports.ts'
import { mayMix, settingsTurn } from './settings-turn.ts'
import { finishedDetails } from './task-details.ts'
import { troubleText } from './trouble-text.ts'
import { projectWork, type WorkWaiter } from './work-waiter.ts'
import type { IndexState, ReplicaStanding } from './write-index.ts'

export function openMemoryLanes(deps: MemoryDependencies, waiter: WorkWaiter): LaneJournal {
  const { state, memory, payloads, clock } = deps
  const isHeld = ({ node, epoch }: NodeLease) => {
    const lease = state.leases.get(node.id)
    return lease !== undefined && lease.epoch === epoch && lease.owner !== ''
  }
  const placed = (node: NodeId) =>
    [...state.indexes.values()].flatMap((index) =>
      index.placements.filter((one) => one.node === node && !one.isGone).map((placement) => ({ index, placement })),
    )
  /** Also those that are gone: what was sent for them is on the node's disk all the same. */
  const placedEver = (node: NodeId) =>
    [...state.indexes.values()].flatMap(({ placements }) => placements.filter((one) => one.node === node))
  const storedOf = (replica: Placement) =>
    state.indexes.get(replica.index)?.placements.find((one) => !one.isGone && replicaId(one) === replicaId(replica))
  const changeAt = (index: IndexId, position: number) => state.indexes.get(index)?.changes[position - 1]
  const wakeFinished = (project: string) => {
    for (const listener of deps.finished) listener(project)
  }
  const tell = tellerOf(deps)
  const working = () =>
    [...state.projects.values()]
      .flatMap(({ changes }) => changes)
      .filter((change) => change.claim !== null && change.finishedAt === null)
  const claimOf = (change: { readonly project: string; readonly task: number }, worker: string) => {
    const stored = projectIn(state, change.project).changes[change.task]
    return stored?.finishedAt === null && stored.claim?.owner === worker ? stored : undefined
  }
  return {
    async leaseNodes(worker, leaseMs) {
      const now = clock.now()
      const leases: NodeLease[] = []
      for (const node of [...memory.nodes.values()].sort((a, b) => (a.id < b.id ? -1 : 1))) {
        const before = state.leases.get(node.id) ?? { owner: '', epoch: 0, until: 0, trouble: null }
        if (before.owner !== worker && before.until > now) continue
        const isRenewed = before.owner === worker && before.until > now
        const epoch = isRenewed ? before.epoch : before.epoch + 1
        state.leases.set(node.id, { ...before, owner: worker, epoch, until: now + leaseMs })
        leases.push({ node, epoch })
      }
      return leases
    },
    async releaseNodes(worker) {
      for (const lease of state.leases.values()) {
        if (lease.owner === worker) Object.assign(lease, { owner: '', until: 0 })
      }
    },
    async noteTrouble(lease, trouble) {
      const held = state.leases.get(lease.node.id)
      if (held === undefined || !isHeld(lease)) return false
      held.trouble = trouble
      return true
    },
    async troubles() {
      const known = new Set([...state.leases.keys(), ...state.silent.keys()])
      const nodes = [...known].filter((node) => memory.nodes.has(node))
      return new Map(
        nodes.flatMap((node) => {
          const text = troubleText(state.leases.get(node)?.trouble ?? null, state.silent.get(node) ?? null)
          return text === '' ? [] : [[node, text] as const]
        }),
      )
    },
    lanesBehind: async (node, limit) =>
      placed(node)
        .filter(({ index, placement }) => hasWork(placement, index.state.head) || placement.turn > 0)
        .sort((a, b) => (a.index.state.behindSince ?? 0) - (b.index.state.behindSince ?? 0) || byId(a.index, b.index))
        .slice(0, limit)
        .map(({ index, placement }) => laneOf(index, placement)),
    async laneOn(node, physicalUid) {
      const found = placed(node).find(({ placement }) => placement.physicalUid === physicalUid && hasLane(placement))
      return found && laneOf(found.index, found.placement)
    },
    async isHeldElsewhere(placement) {
      const others = (state.indexes.get(placement.index)?.placements ?? []).filter(
        (one) =>
          !one.isGone &&
          one.generation === placement.generation &&
          replicaId(one) !== replicaId(placement) &&
          isDelivered(one) &&
          memory.nodes.get(one.node)?.state !== 'lost',
      )
      return placement.shards.every((shard) => others.some(({ shards }) => shards.includes(shard)))
    },
    async read(id, after, limit, byteCountMax) {
      const index = state.indexes.get(id)
      const rows = index?.changes.slice(after, after + limit) ?? []
      const [first] = rows
      if (first === undefined || index === undefined) return []
      const base = first.bytesThrough - first.byteCount
      let known: readonly ReplicaStanding[] | undefined
      const standings = () => {
        known ??= standingsOf(deps, index)
        return known
      }
      return rows
        .filter((row) => row === first || row.bytesThrough - base <= byteCountMax)
        .map((row) => laneChangeOf(row, index, standings))
    },
    lanesToAudit: async (node, after, limit) =>
      placed(node)
        .filter(
          ({ index, placement }) =>
            spreadOf(index.state, placement) !== null && placement.physicalUid > after && hasLane(placement),
        )
        .sort((a, b) => (a.placement.physicalUid < b.placement.physicalUid ? -1 : 1))
        .slice(0, limit)
        .map(({ index, placement }) => ({ lane: laneOf(index, placement), print: placement.print })),
    async savePrint(lease, replica, print) {
      if (!isHeld(lease)) return false
      const placement = storedOf(replica)
      if (placement?.revision === replica.revision) placement.print = print
      return true
    },
    standingsOn: async (node, physicalUids) =>
      placed(node)
        .filter(({ placement }) => physicalUids.includes(placement.physicalUid))
        .map(({ placement: { physicalUid, applied, proof } }) => ({
          physicalUid,
          applied,
          proof: proof?.task ?? null,
        })),
    async completedSettings(id) {
      const index = state.indexes.get(id)
      assert(index !== undefined, 'an index in a lane exists')
      const { completed, settingsPosition: position, settingsDone: settings } = index.state
      return { completed, position, settings }
    },
    async failedOn(placement, positions) {
      const index = state.indexes.get(placement.index)
      return positions.filter((position) => {
        const change = index?.changes[position - 1]
        const told = index?.reports.get(position)?.find(({ replica }) => replica === replicaId(placement))
        return (change?.finishedAt != null && change.status === 'failed') || told?.outcome.status === 'failed'
      })
    },
    open: (payload) => payloads.open(payload),
    stage: (bytes) => payloads.stage(bytes),
    async markSent(lease, index, positions, startedAt) {
      if (!isHeld(lease)) return false
      return [...positions]
        .sort((a, b) => a - b)
        .filter((position) => {
          const change = changeAt(index, position)
          if (change?.status === 'enqueued') {
            change.status = 'processing'
            change.startedAt ??= startedAt
          }
          return change !== undefined && change.status !== 'canceled'
        })
    },
    async recordResolution(lease, index, position, resolution) {
      if (!isHeld(lease)) return false
      const change = changeAt(index, position)
      if (change !== undefined) change.resolution ??= resolution
      return true
    },
    async recordPartial(lease, replica, position, partial) {
      if (!isHeld(lease)) return false
      const index = state.indexes.get(replica.index)
      const placement = storedOf(replica)
      if (index === undefined || placement === undefined) return true
      const known = index.partials.get(position) ?? []
      const isFree = known.every(
        ({ shards, of }) => of !== partial.of || !shards.some((shard) => partial.shards.includes(shard)),
      )
      const isAgreed = Math.min(index.state.completed, placement.applied) >= position - 1
      if (isFree && isAgreed && placement.generation === index.state.generation)
        index.partials.set(
          position,
          [...known, partial].sort((a, b) => a.of - b.of || a.shards[0]! - b.shards[0]!),
        )
      return true
    },
    async advance(lease, replica, applied, outcomes, proof) {
      if (!isHeld(lease)) return false
      const index = state.indexes.get(replica.index)
      const placement = storedOf(replica)
      if (index === undefined || placement === undefined || index.state.isGone) return true
      if (placement.revision !== replica.revision || !isDelivered(placement)) return 'restarted'
      tell(index, advance(deps, index, placement, { applied, outcomes, proof }))
      return true
    },
    async giveTurns(lease, replica, position) {
      if (!isHeld(lease)) return false
      const index = state.indexes.get(replica.index)
      if (index === undefined || index.state.isGone || index.state.spread === null) return true
      tell(index, giveTurns(deps, index, replicaId(replica), position))
      return true
    },
    async endTurn(lease, replica) {
      if (!isHeld(lease)) return false
      const index = state.indexes.get(replica.index)
      const placement = storedOf(replica)
      if (index !== undefined && placement?.revision === replica.revision) tell(index, endTurn(deps, index, placement))
      return true
    },
    async dueDrops(node, limit) {
      return [...state.indexes.values()]
        .flatMap(({ placements }) => placements.filter((one) => one.node === node && one.mustDrop))
        .map(({ physicalUid }) => physicalUid)
        .sort()
        .slice(0, limit)
    },
    async noteDropped(lease, physicalUid) {
      if (!isHeld(lease)) return false
      for (const { placements } of state.indexes.values()) {
        for (const one of placements) {
          if (one.node === lease.node.id && one.physicalUid === physicalUid) one.mustDrop = false
        }
      }
      return true
    },
    async noteLeftover(lease, physicalUid) {
      if (!isHeld(lease)) return false
      for (const one of placedEver(lease.node.id)) {
        if (one.physicalUid === physicalUid && one.isGone) one.mustDrop = true
      }
      return true
    },
    async noteSilence(lease, isSilent) {
      if (!isHeld(lease)) return false
      const node = lease.node.id
      if (!isSilent) state.silent.delete(node)
      else if (!state.silent.has(node)) state.silent.set(node, clock.now())
      for (const { index } of placed(node)) {
        if (!isJoint(index)) continue
        if (isSilent)
          tell(index, leave(deps, index, new Set(placed(node).map(({ placement }) => replicaId(placement)))))
        else tell(index, comeBack(deps, index, node))
      }
      return true
    },
    async releaseHeld(lagMs) {
      for (const index of state.indexes.values()) {
        const { heldSince, isGone } = index.state
        if (isGone || heldSince === null || heldSince > clock.now() - lagMs) continue
        tell(index, leave(deps, index, laggards(standingsOf(deps, index))))
        // The one that held the others back may be gone with its node.
        if (index.state.heldSince !== null) tell(index, settleJointly(deps, index, new Set(), false))
      }
    },
    async identity(lease) {
      if (!isHeld(lease)) return false
      const identity = state.identities.get(lease.node.id)
      const proofs = placedEver(lease.node.id).flatMap(({ proof }) => proof ?? [])
      const [proof] = proofs.sort((a, b) => b.task - a.task)
      return { marker: identity?.marker ?? null, sinceEpoch: identity?.sinceEpoch ?? 0, proof: proof ?? null }
    },
    async adopt(lease, marker) {
      if (!isHeld(lease)) return false
      state.identities.set(lease.node.id, { marker, sinceEpoch: lease.epoch })
      emptyPlacements(deps, tell, placed(lease.node.id))
      for (const placement of placedEver(lease.node.id)) placement.proof = null
      return true
    },
    async restart(lease, placement) {
      if (!isHeld(lease)) return false
      emptyPlacements(
        deps,
        tell,
        placed(lease.node.id).filter((one) => one.placement.physicalUid === placement.physicalUid),
      )
      return true
    },
    async noteTrimmed(lease, replica) {
      if (!isHeld(lease)) return false
      const placement = storedOf(replica)
      if (placement === undefined || placement.revision !== replica.revision) return true
      placement.hasLeftovers = false
      const index = state.indexes.get(replica.index)
      if (index !== undefined)
        memory.record([{ entity: 'index', project: index.state.project, entityId: replica.index }])
      return true
    },
    async removeReplica(lease, replica) {
      if (!isHeld(lease)) return false
      const index = state.indexes.get(replica.index)
      const gone = storedOf(replica)
      if (index === undefined || gone?.state !== 'leaving' || gone.revision !== replica.revision) return true
      gone.isGone = true
      memory.record([{ entity: 'index', project: index.state.project, entityId: replica.index }])
      return true
    },
    waitForWork: (node, timeoutMs, signal) => waiter.wait(node, timeoutMs, signal),
    waitForProjectWork: (timeoutMs, signal) => waiter.wait(projectWork, timeoutMs, signal),
    async claimProjectChange(worker, leaseMs) {
      const now = clock.now()
      const [due] = working()
        .filter(({ claim }) => (claim?.until ?? 0) <= now)
        .sort((a, b) => a.enqueuedAt - b.enqueuedAt || a.task - b.task)
      if (due === undefined) return undefined
      due.claim = { owner: worker, until: now + leaseMs }
      due.status = 'processing'
      due.startedAt ??= now
      return changeOf(due)
    },
    async renewProjectChange(worker, change, leaseMs) {
      const stored = claimOf(change, worker)
      if (stored === undefined) return false
      stored.claim = { owner: worker, until: clock.now() + leaseMs }
      return true
    },
    async finishProjectChange(worker, change, outcome) {
      const stored = claimOf(change, worker)
      if (stored === undefined) return false
      const finishedAt = clock.now()
      const details = finishedDetails(stored.operation, stored.details, outcome.status, outcome.details)
      saveEndings(
        state,
        stored.project,
        [
          {
            task: stored.task,
            status: outcome.status,
            error: outcome.error,
            details,
            startedAt: stored.startedAt ?? finishedAt,
            finishedAt,
            batchKey: `task:${stored.task}`,
            canceledBy: null,
          },
        ],
        finishedAt,
      )
      wakeFinished(stored.project)
      return true
    },
    async dropPayloads(finishedBefore, limit, goneBefore = Number.MAX_SAFE_INTEGER) {
      const isPassed = (change: StoredChange) => {
        const index = change.index === null ? undefined : state.indexes.get(change.index)
        if (index?.state.isGone) return (index.changes.at(-1)?.finishedAt ?? 0) < goneBefore
        const slowest = Math.min(...(index?.placements.filter(({ isGone }) => !isGone) ?? []).map((one) => one.applied))
        return (change.finishedAt ?? 0) < finishedBefore && (change.position ?? 0) <= slowest
      }
      const old = [...state.projects.values()]
        .flatMap(({ changes }) => changes)
        .filter((one) => one.finishedAt !== null && (one.payload !== null || one.resolution !== null) && isPassed(one))
        .sort((a, b) => (a.finishedAt ?? 0) - (b.finishedAt ?? 0))
        .slice(0, limit)
      for (const change of old) {
        for (const payload of [change.payload, change.resolution?.puts, change.resolution?.deletes]) {
          if (payload) await payloads.discard(payload)
        }
        change.payload = null
        change.resolution = null
      }
      return old.length
    },
    async cleanTasks(taskCountMax) {
      for (const { changes } of state.projects.values()) {
        const shown = changes.filter(({ isHidden }) => !isHidden)
        if (shown.length < taskCountMax) continue
        const ended = shown.filter(({ finishedAt }) => finishedAt !== null)
        for (const change of ended.slice(0, Math.max(1, Math.floor(shown.length / 10)))) change.isHidden = true
      }
    },
  }
}

/** Wakes those whom progress concerns. */
export function tellerOf({ finished, wakeNode }: MemoryDependencies) {
  return ({ state }: StoredIndex, { isFinished, woken }: Effects) => {
    if (isFinished) for (const listener of finished) listener(state.project)
    for (const node of woken) wakeNode(node)
  }
}

function emptyPlacements(
  deps: MemoryDependencies,
  tell: ReturnType<typeof tellerOf>,
  hosted: readonly { readonly index: StoredIndex; readonly placement: StoredPlacement }[],
): void {
  for (const { index, placement } of hosted) {
    Object.assign(placement, emptied)
    if (index.state.completed > 0) placement.state = emptiedState(placement)
    if (index.state.head > 0) index.state.behindSince ??= deps.clock.now()
  }
  deps.memory.record(
    hosted.map(({ index: { state } }) => ({ entity: 'index', project: state.project, entityId: state.id })),
  )
  const hasGivenWay = ({ placements }: StoredIndex) =>
    placements.some(({ isGone, state, shed }) => !isGone && (state === 'parting' || (shed ?? []).length > 0))
  for (const index of new Set(hosted.map((one) => one.index).filter(hasGivenWay)))
    tell(index, settleJointly(deps, index, new Set(), false))
}

function byId(a: StoredIndex, b: StoredIndex): number {
  return a.state.id < b.state.id ? -1 : 1
}

/** How the generation lies that a replica is of. */
function spreadOf({ generation, spread, beside }: IndexState, placement: StoredPlacement): Spread | null {
  return placement.generation === generation ? spread : (beside?.spread ?? null)
}

function laneOf({ state }: StoredIndex, placement: StoredPlacement): LaneState {
  return {
    placement: placementOf(placement),
    spread: spreadOf(state, placement),
    isCurrent: placement.generation === state.generation,
    project: state.project,
    head: state.head,
    primaryKey: state.primaryKey,
    pendingBytes: state.byteCount - placement.appliedBytes,
  }
}

/** @param standings  how the replicas stand, made where somebody asks: most changes need none. */
function laneChangeOf(stored: StoredChange, on: StoredIndex, standings: () => readonly ReplicaStanding[]): LaneChange {
  const change = changeOf(stored)
  const { index, position, operation, status, refusal, finishedAt } = change
  assert(index !== null && position !== null, 'a change in a lane has a position')
  const resolvers = () =>
    resolversOf(on.placements.filter(({ isGone, generation }) => !isGone && generation === on.state.generation))
  const isTurning =
    operation.kind === 'settings' && status !== 'canceled' && refusal === null && on.state.spread !== null
  const terms = { isOver: finishedAt !== null, mayMix: mayMix(on.state) }
  const turn = () =>
    settingsTurn(
      standings().filter(({ isCurrent }) => terms.isOver || isCurrent),
      position,
      on.reports.get(position) ?? [],
      terms,
    )
  return {
    change: { ...change, index, position },
    settings: stored.deliver,
    primaryKey: stored.primaryKey,
    partials: on.partials.get(position) ?? [],
    ...(on.state.spread !== null && isUnresolved(change) ? { resolvers: resolvers() } : {}),
    ...(isTurning ? { turn: turn() } : {}),
  }
}

function isUnresolved({ operation, finishedAt, refusal, resolution }: Change): boolean {
  if (finishedAt !== null || refusal !== null || resolution !== null) return false
  if (operation.kind === 'documents-put') return operation.skipCreation
  return operation.kind === 'documents-delete-by-filter' || operation.kind === 'documents-edit'
}
