/** Where the shards of a new spread index go. Pure. */
import type { NodeId } from '../store/catalogue.ts'
import { compareIds, ownersOf } from './rendezvous.ts'

export interface PlannedPlacement {
  readonly node: NodeId
  /** Ascending, at least one. */
  readonly shards: readonly number[]
}

/** A node that is ranked for shards. */
export interface RankedNode {
  readonly id: NodeId
  readonly group: number
  /** The id by which it is ranked; absent = its own. */
  readonly seat?: NodeId | undefined
}

/** The nodes of one group, by the ids by which they are ranked. */
export interface Members {
  readonly seats: readonly NodeId[]
  readonly nodeOf: ReadonlyMap<NodeId, NodeId>
}

export function membersOf(nodes: readonly Pick<RankedNode, 'id' | 'seat'>[]): Members {
  const nodeOf = new Map<NodeId, NodeId>(nodes.map(({ id }) => [id, id]))
  for (const { id, seat = id } of nodes) {
    // A seat whose first holder is a member again is that one's.
    if (nodeOf.has(seat)) continue
    nodeOf.delete(id)
    nodeOf.set(seat, id)
  }
  return { seats: [...nodeOf.keys()].sort(compareIds), nodeOf }
}

/** The nodes that hold a shard, the best first. */
export function ownersAmong({ seats, nodeOf }: Members, shard: number, replicationFactor: number): readonly NodeId[] {
  return seats.length === 0 ? [] : ownersOf(shard, seats, replicationFactor).map((seat) => nodeOf.get(seat) ?? seat)
}

/**
 * Spreads an index over nodes: every replica group that has nodes holds every shard, each on as many of its nodes as there
 * are copies, or on all when it has fewer (C-03). Groups do not touch each other: a node more in one moves nothing in another.
 *
 * @param nodes  those that may take data, in any order.
 * @returns by group and id; a node that wins no shard is left out.
 */
export function spreadPlacements(
  nodes: readonly RankedNode[],
  { shards, replicationFactor }: { readonly shards: number; readonly replicationFactor: number },
): readonly PlannedPlacement[] {
  return byGroup(nodes).flatMap((group) => {
    const members = membersOf(group)
    const held = new Map<NodeId, number[]>(group.map(({ id }) => [id, []]))
    for (let shard = 0; shard < shards; shard += 1) {
      for (const owner of ownersAmong(members, shard, replicationFactor)) held.get(owner)?.push(shard)
    }
    return group.flatMap(({ id }) => {
      const own = held.get(id) ?? []
      return own.length === 0 ? [] : [{ node: id, shards: own }]
    })
  })
}

/** Each group's nodes in order of the bytes of their ids, by ascending group. */
function byGroup(nodes: readonly RankedNode[]): readonly (readonly RankedNode[])[] {
  const groups = new Map<number, RankedNode[]>()
  for (const node of nodes) {
    const members = groups.get(node.group)
    if (members === undefined) groups.set(node.group, [node])
    else members.push(node)
  }
  return [...groups].sort(([a], [b]) => a - b).map(([, members]) => members.sort((a, b) => compareIds(a.id, b.id)))
}
