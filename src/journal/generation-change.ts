/** What a reshard does to the generations of an index, decided. Pure, shared by the PostgreSQL journal and its twin in memory. */
import type { Generation, NodeId, Spread } from '../store/catalogue.ts'
import { isInSync, isRead } from '../topology/placement-states.ts'
import { type NodeRoom, placesFor } from './index-creation.ts'
import type { ReplicaOutcome } from './ports.ts'
import { openTurn } from './settings-turn.ts'
import type { IndexState, ReplicaStanding } from './write-index.ts'

type State = Pick<IndexState, 'generation' | 'spread' | 'beside' | 'replicas'>

/**
 * Where the replicas of a further generation go. `done`: it is there.
 *
 * @param known  the highest number that a replica of the index has, also one that is gone.
 */
export function addedGeneration(
  { generation, beside }: State,
  spread: Spread | null,
  rooms: readonly NodeRoom[],
  known: number,
):
  | {
      readonly number: number
      readonly places: readonly { readonly node: NodeId; readonly shards: readonly number[] }[]
    }
  | ReplicaOutcome {
  if (beside !== null) return beside.number > generation ? 'done' : 'unsuited'
  const places = placesFor(rooms, spread)
  if (places.length === 0) return 'needed'
  return { number: Math.max(generation, known) + 1, places }
}

export interface ReadGeneration {
  readonly generation: number
  readonly spread: Spread | null
  readonly beside: Generation
  readonly replicas: readonly ReplicaStanding[]
}

/**
 * The other generation is read, in one step: every replica of it could be read, so that it holds what is complete and changes
 * wait for it. A settings change that goes over the replicas in turns ends first.
 */
export function readGeneration(
  { generation, spread, beside, replicas }: State,
  number: number,
): ReadGeneration | ReplicaOutcome {
  if (generation === number) return 'done'
  if (beside?.number !== number) return 'unsuited'
  const others = replicas.filter((replica) => replica.generation === number)
  const held = new Set(others.flatMap(({ shards }) => shards))
  const isWhole = held.size === (beside.spread?.shards ?? 1)
  const isReady = others.every((replica) => isInSync(replica) && isRead(replica) && replica.turn === null)
  if (!isWhole || !isReady || openTurn(replicas) !== 0) return 'needed'
  return {
    generation: number,
    spread: beside.spread,
    beside: { number: generation, spread },
    replicas: replicas.map((replica) => ({ ...replica, isCurrent: replica.generation === number })),
  }
}

/** `now`: it is to be forgotten. */
export function forgottenGeneration({ beside, replicas }: State, number: number): ReplicaOutcome | 'now' {
  if (beside === null) return 'done'
  if (beside.number !== number) return 'unsuited'
  return replicas.some((replica) => replica.generation === number) ? 'needed' : 'now'
}
