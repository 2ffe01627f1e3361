/** Where the shards of a new spread index go. Pure. */
import type { NodeId } from '../store/catalogue.ts'
import { compareIds, ownersOf } from './rendezvous.ts'

export interface PlannedPlacement {
  readonly node: NodeId
  /** Ascending, at least one. */
  readonly shards: readonly number[]
}

/**
 * Spreads an index over nodes: every replica group that has nodes holds every shard, each on as many of its nodes as there
 * are copies, or on all when it has fewer (C-03). Groups do not touch each other: a node more in one moves nothing in another.
 *
 * @param nodes  those that may take data, in any order.
 * @returns by group and id; a node that wins no shard is left out.
 */
export function spreadPlacements(
  nodes: readonly { readonly id: NodeId; readonly group: number }[],
  { shards, replicationFactor }: { readonly shards: number; readonly replicationFactor: number },
): readonly PlannedPlacement[] {
  return membersByGroup(nodes).flatMap((members) => {
    const held = new Map<NodeId, number[]>(members.map((node) => [node, []]))
    for (let shard = 0; shard < shards; shard += 1) {
      for (const owner of ownersOf(shard, members, replicationFactor)) held.get(owner)?.push(shard)
    }
    return members.flatMap((node) => {
      const own = held.get(node) ?? []
      return own.length === 0 ? [] : [{ node, shards: own }]
    })
  })
}

/** Ids of each group's nodes in order of their bytes, by ascending group. */
function membersByGroup(
  nodes: readonly { readonly id: NodeId; readonly group: number }[],
): readonly (readonly NodeId[])[] {
  const groups = new Map<number, NodeId[]>()
  for (const { id, group } of nodes) {
    const members = groups.get(group)
    if (members === undefined) groups.set(group, [id])
    else members.push(id)
  }
  return [...groups].sort(([a], [b]) => a - b).map(([, members]) => members.sort(compareIds))
}
