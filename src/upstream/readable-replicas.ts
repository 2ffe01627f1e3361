/** The replicas of an index that may be read, as the routes show them. Pure. */
import type { Node, NodeId, Placement } from '../store/catalogue.ts'
import { isRead, servedShards } from '../topology/placement-states.ts'
import type { Replica } from './covering-set.ts'

export interface ReadableReplica extends Replica {
  /** Position in the index's journal up to which it holds everything, at least. */
  readonly applied: number
}

/**
 * Of the newest generation that is read at all, ordered by node and name.
 *
 * @param node  looks a node up; `undefined` = it is gone.
 */
export function readableReplicas(
  placements: readonly Placement[],
  node: (id: NodeId) => Pick<Node, 'group' | 'state'> | undefined,
): readonly ReadableReplica[] {
  const found = placements.flatMap((placement) => {
    const home = isRead(placement) ? node(placement.node) : undefined
    return home === undefined || home.state === 'lost' ? [] : [{ placement, group: home.group }]
  })
  const newest = Math.max(...found.map(({ placement }) => placement.generation))
  return found
    .filter(({ placement }) => placement.generation === newest)
    .map(({ placement, group }) => {
      const { node: id, physicalUid, applied, turn, shed, hasLeftovers } = placement
      return {
        node: id,
        group,
        shards: servedShards(placement),
        physicalUid,
        applied,
        ...(turn === undefined ? {} : { isTurning: true }),
        ...(shed !== undefined || hasLeftovers ? { holdsMore: true } : {}),
      }
    })
    .filter(({ shards }) => shards.length > 0)
    .sort((a, b) => (a.node === b.node ? (a.physicalUid < b.physicalUid ? -1 : 1) : a.node < b.node ? -1 : 1))
}

/**
 * Whether a replica, asked for these shards by the routes of `before`, answers for them still, as what it was: it, or some of its
 * shards, may have been taken away, or it was built anew.
 */
export function isReadAsBefore(
  asked: Pick<Placement, 'node' | 'physicalUid' | 'shards'>,
  before: readonly Placement[],
  now: readonly Placement[],
): boolean {
  const isIt = (one: Placement) => one.node === asked.node && one.physicalUid === asked.physicalUid
  const own = now.find((one) => isIt(one) && isRead(one))
  if (own === undefined || own.revision !== before.find(isIt)?.revision) return false
  const served = servedShards(own)
  return asked.shards.every((shard) => served.includes(shard))
}

/**
 * The floor of `X-Miroir-Min-Settings-Version` (C-17): the position of a settings change that the answer must show.
 * What is no unsigned whole number is ignored, and gives no floor.
 */
export function settingsFloor(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,20}$/.test(header) ? Number(header) : undefined
}

/**
 * The replicas that have all settings up to a floor: only they may answer. None = 503 `miroir_settings_version_stale`, once the
 * routes are fresh.
 *
 * @param settingsPosition  of the index: every readable replica has the settings that are completed. What a replica has
 *                          applied beyond them, routes show late or not at all.
 */
export function replicasAbove(
  replicas: readonly ReadableReplica[],
  floor: number | undefined,
  settingsPosition: number,
): readonly ReadableReplica[] {
  if (floor === undefined || floor <= settingsPosition) return replicas
  return replicas.filter(({ applied }) => applied >= floor)
}
