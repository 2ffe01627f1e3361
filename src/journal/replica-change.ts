/** What a move does to one replica of an index, decided. Pure, shared by the PostgreSQL journal and its twin in memory. */
import { unreachable } from '../lib/assert.ts'
import type { PlacementState } from '../store/catalogue.ts'
import { emptiedState, isDelivered, isInSync, isRead, servedShards } from '../topology/placement-states.ts'
import { type ReplicaId, replicaId } from '../topology/replica-id.ts'
import { leavers } from './joint-progress.ts'
import type { ReplicaChange, ReplicaOutcome } from './ports.ts'
import type { ReplicaStanding } from './write-index.ts'

export interface ChangedReplica {
  readonly state: PlacementState
  readonly applied: number
  readonly revision: number
  readonly shards: readonly number[]
  readonly shed: readonly number[]
  readonly hasLeftovers: boolean
}

/** Whether something changes by it. */
export function isChanged(
  own: Pick<ReplicaStanding, 'state' | 'applied' | 'revision' | 'shards' | 'shed'>,
  next: ChangedReplica,
): boolean {
  return (
    own.state !== next.state ||
    own.applied !== next.applied ||
    own.revision !== next.revision ||
    own.shards.length !== next.shards.length ||
    (own.shed?.length ?? 0) !== next.shed.length
  )
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
  const { state, applied, revision, shards, shed = [], hasLeftovers = false } = own
  const unchanged = { state, applied, revision, shards, shed, hasLeftovers }
  const to = (next: PlacementState) => ({ ...unchanged, state: next })
  switch (change.kind) {
    case 'begin':
      if (state === 'standby') return unchanged
      return state === 'copying' ? { ...unchanged, state: 'standby', applied: change.applied } : 'unsuited'
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
      return { ...unchanged, state: emptiedState(own), applied: 0, revision: revision + 1 }
    case 'leave':
      if (state === 'leaving') return unchanged
      if (isInSync(own)) return 'needed'
      return isSpared(replicas, own) ? to('leaving') : 'needed'
    case 'shed': {
      const others = new Set(
        replicas.flatMap((replica) => (replica !== own && isRead(replica) ? servedShards(replica) : [])),
      )
      if (!change.shards.every((shard) => shards.includes(shard))) return 'unsuited'
      if (!change.shards.every((shard) => shed.includes(shard) || others.has(shard))) return 'needed'
      return { ...unchanged, shed: ascending([...shed, ...change.shards]) }
    }
    case 'reclaim':
      return { ...unchanged, shed: shed.filter((shard) => !change.shards.includes(shard)) }
    case 'shrink': {
      const given = change.shards.filter((shard) => shards.includes(shard))
      if (given.length === 0) return unchanged
      if (!isDelivered(own) || given.length === shards.length || given.some((shard) => !shed.includes(shard)))
        return 'unsuited'
      const rest = (some: readonly number[]) => some.filter((shard) => !given.includes(shard))
      return { ...unchanged, shards: rest(shards), shed: rest(shed), revision: revision + 1, hasLeftovers: true }
    }
    default:
      return unreachable(change)
  }
}

function ascending(shards: readonly number[]): readonly number[] {
  return [...new Set(shards)].sort((a, b) => a - b)
}

/** Replicas that are read answer for all its shards without it. */
function isSpared(replicas: readonly ReplicaStanding[], own: ReplicaStanding): boolean {
  const counted = [
    ...replicas.flatMap((one) => (one !== own && isRead(one) ? [{ ...one, shards: servedShards(one) }] : [])),
    { ...own, state: 'active' as const },
  ]
  return leavers(counted, new Set([replicaId(own)])).length === 1
}
