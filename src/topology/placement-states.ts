/** What the state of a placement means for those who deliver to it, count on it and read it. Pure. */
import type { Placement, PlacementState } from '../store/catalogue.ts'

interface Standing {
  /** A lane brings it what is appended. */
  readonly hasLane: boolean
  /** Of the in-sync set: a change ends only when it has applied it. */
  readonly isInSync: boolean
  readonly isRead: boolean
  /** Becomes `active` by itself as soon as it holds everything that is completed. */
  readonly entersWhenWhole: boolean
}

const standings: Readonly<Record<PlacementState, Standing>> = {
  copying: { hasLane: false, isInSync: false, isRead: false, entersWhenWhole: false },
  standby: { hasLane: true, isInSync: false, isRead: false, entersWhenWhole: false },
  filling: { hasLane: true, isInSync: false, isRead: false, entersWhenWhole: true },
  joining: { hasLane: true, isInSync: true, isRead: false, entersWhenWhole: true },
  active: { hasLane: true, isInSync: true, isRead: true, entersWhenWhole: false },
  parting: { hasLane: true, isInSync: true, isRead: false, entersWhenWhole: false },
  draining: { hasLane: true, isInSync: true, isRead: true, entersWhenWhole: false },
  leaving: { hasLane: true, isInSync: false, isRead: false, entersWhenWhole: false },
  lost: { hasLane: true, isInSync: false, isRead: false, entersWhenWhole: false },
}

type Stated = { readonly state: PlacementState }

export const isRead = ({ state }: Stated): boolean => standings[state].isRead

/** In the in-sync set (design 2, rule 3): it counts for completion. */
export const isInSync = ({ state }: Stated): boolean => standings[state].isInSync

export const entersWhenWhole = ({ state }: Stated): boolean => standings[state].entersWhenWhole

export const hasLane = ({ state }: Stated): boolean => standings[state].hasLane

/** Whether its lane delivers what is appended: only such a one lets a write in. */
export const isDelivered = ({ state }: Stated): boolean =>
  standings[state].hasLane && state !== 'leaving' && state !== 'lost'

/** Whether its lane has something to do: to deliver, or to take the index, or what it gave up of it, off the node. */
export function hasWork(
  placement: Stated & { readonly applied: number; readonly hasLeftovers?: boolean | undefined },
  head: number,
): boolean {
  if (placement.state === 'leaving') return true
  return standings[placement.state].hasLane && (placement.applied < head || placement.hasLeftovers === true)
}

/** It is where it is, and no part of a move. */
export const isSettled = ({ state }: Stated): boolean =>
  state === 'filling' || state === 'lost' || standings[state].isInSync

/** Which of its shards it answers for. */
export function servedShards({ shards, shed }: Pick<Placement, 'shards' | 'shed'>): readonly number[] {
  return shed === undefined || shed.length === 0 ? shards : shards.filter((shard) => !shed.includes(shard))
}

/** Its state once it was put back to the beginning: what is read or counted must be filled first. */
export function emptiedState({ state }: Stated): PlacementState {
  return standings[state].isInSync ? 'filling' : state
}

/** States for which a question holds, as the database asks it. */
export function statesWhere(holds: (placement: Stated) => boolean): readonly PlacementState[] {
  return (Object.keys(standings) as PlacementState[]).filter((state) => holds({ state }))
}
