/** Whether a write may be accepted, by which replicas of its index live (design 2, rule 2; C-07). Pure. */
import { unreachable } from '../lib/assert.ts'
import type { PlacementState } from '../store/catalogue.ts'
import { isDelivered, isInSync } from './placement-states.ts'

/**
 * `available`: every shard has a live replica in some group. `quorum`: every shard has ⌊RF/2⌋+1 live replicas in one group.
 * `journal`: always.
 */
export type AdmissionMode = 'available' | 'quorum' | 'journal'

/** A placement, and what is known of its node. */
export interface AdmissionReplica {
  readonly shards: readonly number[]
  readonly state: PlacementState
  /** Replica group of its node. */
  readonly group: number
  /** Whether its node takes changes. */
  readonly isLive: boolean
}

export interface Admission {
  readonly admitted: boolean
  /** Groups in which some shard has no quorum of replicas, whatever the mode; ascending. */
  readonly shortGroups: readonly number[]
  /** Shards that have none in some group; ascending. */
  readonly shortShards: readonly number[]
  /** Shards that stand against the write; ascending, empty when it is admitted. */
  readonly unmetShards: readonly number[]
}

/**
 * A replica that is being filled applies changes, so that it is enough for `available`; it counts for no quorum. One that is
 * lost does neither. Replicas beyond the replication factor, as during a move, do not raise the quorum.
 *
 * @param replicas  all placements of one generation, in any order.
 */
export function admits(
  replicas: readonly AdmissionReplica[],
  { shards, replicationFactor }: { readonly shards: number; readonly replicationFactor: number },
  mode: AdmissionMode,
): Admission {
  const groups = [...new Set(replicas.map(({ group }) => group))].sort((a, b) => a - b)
  const applying = new Uint8Array(shards)
  const hasQuorum = new Uint8Array(shards)
  const isShort = new Uint8Array(shards)
  const shortGroups: number[] = []
  for (const group of groups) {
    const members = replicas.filter((replica) => replica.group === group)
    const holders = countShards(members, shards)
    const live = members.filter((replica) => replica.isLive && isDelivered(replica))
    const counting = countShards(live.filter(isInSync), shards)
    for (const { shards: held } of live) for (const shard of held) applying[shard] = 1
    let isWhole = true
    for (let shard = 0; shard < shards; shard += 1) {
      const quorum = quorumOf(Math.min(replicationFactor, holders[shard] ?? 0))
      if ((counting[shard] ?? 0) >= quorum) {
        hasQuorum[shard] = 1
      } else {
        isShort[shard] = 1
        isWhole = false
      }
    }
    if (!isWhole) shortGroups.push(group)
  }
  const unmetShards = unmet(mode, applying, hasQuorum)
  return { admitted: unmetShards.length === 0, shortGroups, shortShards: shardsWhere(isShort, 1), unmetShards }
}

/** Live replicas that a shard needs in a group; 1 also where nobody holds it. */
export function quorumOf(replicationFactor: number): number {
  return Math.floor(replicationFactor / 2) + 1
}

function unmet(mode: AdmissionMode, applying: Uint8Array, hasQuorum: Uint8Array): readonly number[] {
  switch (mode) {
    case 'journal':
      return []
    case 'available':
      return shardsWhere(applying, 0)
    case 'quorum':
      return shardsWhere(hasQuorum, 0)
    default:
      return unreachable(mode)
  }
}

function countShards(replicas: readonly AdmissionReplica[], shards: number): Uint16Array {
  const counts = new Uint16Array(shards)
  for (const { shards: held } of replicas) for (const shard of held) counts[shard]! += 1
  return counts
}

function shardsWhere(flags: Uint8Array, value: 0 | 1): readonly number[] {
  const found: number[] = []
  flags.forEach((flag, shard) => {
    if (flag === value) found.push(shard)
  })
  return found
}

/**
 * Value of `X-Miroir-Degraded` for a write that is accepted (C-07): `groups=1`, or `groups=0,1;shards=3,7` when not every
 * shard falls short; `undefined` when none does.
 */
export function degradedGroups({ shortGroups, shortShards }: Admission, shards: number): string | undefined {
  if (shortGroups.length === 0) return undefined
  const some = shortShards.length < shards ? `;shards=${shortShards.join(',')}` : ''
  return `groups=${shortGroups.join(',')}${some}`
}
