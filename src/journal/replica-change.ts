/** What a move does to one replica of an index, decided. Pure, shared by the PostgreSQL journal and its twin in memory. */
import { unreachable } from '../lib/assert.ts'
import type { PlacementState } from '../store/catalogue.ts'
import { emptiedState, isDelivered, isInSync, isRead } from '../topology/placement-states.ts'
import { type ReplicaId, replicaId } from '../topology/replica-id.ts'
import { leavers } from './joint-progress.ts'
import type { ReplicaChange, ReplicaOutcome } from './ports.ts'
import type { ReplicaStanding } from './write-index.ts'

/** An index whose move came to nothing is left alone for so long. */
export const coolDownMs = 10 * 60_000

export interface ChangedReplica {
  readonly state: PlacementState
  readonly applied: number
  readonly revision: number
}

/** @param completed  position up to which the index is complete. */
export function changedReplica(
  replicas: readonly ReplicaStanding[],
  id: ReplicaId,
  completed: number,
  change: ReplicaChange,
): ChangedReplica | Exclude<ReplicaOutcome, 'done'> {
  const own = replicas.find((replica) => replicaId(replica) === id)
  if (own === undefined) return 'unsuited'
  const { state, applied, revision } = own
  const unchanged = { state, applied, revision }
  const to = (next: PlacementState) => ({ ...unchanged, state: next })
  switch (change.kind) {
    case 'begin':
      if (state === 'standby') return unchanged
      return state === 'copying' ? { state: 'standby', applied: change.applied, revision } : 'unsuited'
    case 'admit':
      if (state === 'filling' || (isInSync(own) && state !== 'parting')) return unchanged
      if (state !== 'standby' && state !== 'parting') return 'unsuited'
      return to(applied >= completed ? 'active' : 'joining')
    case 'part':
      if (state === 'parting') return unchanged
      if (!isRead(own)) return 'unsuited'
      return isSpared(replicas, own) ? to('parting') : 'needed'
    case 'keep':
      if (state === 'standby') return unchanged
      if (state === 'filling') return to('standby')
      if (!isInSync(own)) return 'unsuited'
      return isSpared(replicas, own) ? to('standby') : 'needed'
    case 'rebuild':
      if (!isDelivered(own)) return 'unsuited'
      if (isInSync(own) && !isSpared(replicas, own)) return 'needed'
      return { state: emptiedState(own), applied: 0, revision: revision + 1 }
    case 'leave':
      if (state === 'leaving') return unchanged
      if (isInSync(own)) return 'needed'
      return isSpared(replicas, own) ? to('leaving') : 'needed'
    default:
      return unreachable(change)
  }
}

/** Replicas that are read hold all its shards without it. */
function isSpared(replicas: readonly ReplicaStanding[], own: ReplicaStanding): boolean {
  const counted = [
    ...replicas.filter((replica) => replica !== own && isRead(replica)),
    { ...own, state: 'active' as const },
  ]
  return leavers(counted, new Set([replicaId(own)])).length === 1
}
