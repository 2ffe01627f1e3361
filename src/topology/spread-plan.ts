/**
 * Where the shards of spread indexes should be (C-02, C-03), and what must be moved for it: a pure function of nodes and
 * placements. Each replica group is ranked by itself, so that nothing in one moves for what happens in another; a node that is
 * added takes the shards that it wins, and nothing else moves (C-22).
 */
import type { NodeId } from '../store/catalogue.ts'
import { quorumOf } from './admission.ts'
import type {
  IndexLayout,
  IndexPlan,
  LayoutNode,
  LayoutReplica,
  PlannedMove,
  StuckReplica,
  Take,
} from './index-layout.ts'
import { type Members, membersOf, ownersAmong } from './placement-plan.ts'
import { isRead, isSettled, servedShards } from './placement-states.ts'
import { compareIds } from './rendezvous.ts'
import { replicaId } from './replica-id.ts'

export interface SpreadPlanner {
  /** First what copies more, then what moves, then what takes copies away. */
  plan(layout: IndexLayout): IndexPlan
}

/** Members are ranked once for all indexes that have the same: a plan of many indexes costs little more than reading them. */
export function createSpreadPlanner(nodes: readonly LayoutNode[]): SpreadPlanner {
  const fleet = new Fleet(nodes)
  return { plan: (layout) => planIndex(fleet, layout) }
}

class Fleet {
  readonly nodes: ReadonlyMap<NodeId, LayoutNode>
  readonly #takers = new Map<number, ReadonlySet<NodeId>>()
  /** By group and ids of further members: the list of all members' seats. */
  readonly #lists = new Map<string, Members>()

  constructor(nodes: readonly LayoutNode[]) {
    this.nodes = new Map(nodes.map((node) => [node.id, node]))
    const takers = new Map<number, Set<NodeId>>()
    for (const node of nodes) {
      if (!node.takesExisting || !isMember(node)) continue
      const known = takers.get(node.group)
      if (known === undefined) takers.set(node.group, new Set([node.id]))
      else known.add(node.id)
    }
    this.#takers = takers
  }

  get groupsWithTakers(): Iterable<number> {
    return this.#takers.keys()
  }

  /** Those who rank for the shards of an index within a group: who holds some of it, and who takes indexes that exist. */
  members(group: number, holders: Iterable<NodeId>): Members {
    const takers = this.#takers.get(group)
    const further = [...new Set(holders)]
      .filter((id) => !takers?.has(id) && isMember(this.nodes.get(id)))
      .sort(compareIds)
    const key = `${group}:${further.join()}`
    const known = this.#lists.get(key)
    if (known !== undefined) return known
    const made = membersOf([...(takers ?? []), ...further].flatMap((id) => this.nodes.get(id) ?? []))
    this.#lists.set(key, made)
    return made
  }
}

/** A node that is lost keeps what it has until somebody removes it: its disk may come back. */
function isMember(node: LayoutNode | undefined): boolean {
  return node !== undefined && node.state !== 'draining'
}

interface Shifts {
  /** By target and source. */
  readonly copies: Map<NodeId, Map<string, { readonly replica: LayoutReplica; readonly shards: number[] }>>
  readonly moves: Shifts['copies']
  readonly removals: Map<string, { readonly replica: LayoutReplica; readonly shards: number[] }>
}

function planIndex(fleet: Fleet, layout: IndexLayout): IndexPlan {
  const { spread, wanted } = layout
  if (spread === null) return { moves: [], stuck: [] }
  const replicas = layout.replicas.filter(isSettled)
  const shifts: Shifts = { copies: new Map(), moves: new Map(), removals: new Map() }
  const stuck = new Map<string, StuckReplica>()
  const note = (node: NodeId, reason: string) => stuck.set(`${node}:${reason}`, { layout, node, reason })
  const byGroup = new Map<number, LayoutReplica[]>()
  for (const replica of replicas) {
    const group = fleet.nodes.get(replica.node)?.group
    if (group === undefined) continue
    const known = byGroup.get(group)
    if (known === undefined) byGroup.set(group, [replica])
    else known.push(replica)
  }
  const groups = wanted.groups ?? [...new Set([...byGroup.keys(), ...fleet.groupsWithTakers])]
  const isUsable = (replica: LayoutReplica) =>
    isRead(replica) && fleet.nodes.get(replica.node)?.isLive === true && fleet.nodes.get(replica.node)?.state !== 'lost'
  let usable: readonly LayoutReplica[][] | undefined
  const usableOf = (shard: number): readonly LayoutReplica[] => {
    usable ??= holdersByShard(replicas.filter(isUsable), spread.shards)
    return usable[shard] ?? []
  }
  for (const group of new Set([...groups, ...byGroup.keys()])) {
    const own = byGroup.get(group) ?? []
    const members = groups.includes(group)
      ? fleet.members(
          group,
          own.map(({ node }) => node),
        )
      : undefined
    if (members !== undefined && isPlaced(own, members, spread)) continue
    const holdersOf = holdersByShard(own, spread.shards)
    for (let shard = 0; shard < spread.shards; shard += 1) {
      const holders = holdersOf[shard]!
      const owners = members === undefined ? [] : ownersAmong(members, shard, spread.replicationFactor)
      const gains = owners.filter((id) => !holders.some(({ node }) => node === id))
      const losses = holders.filter(({ node }) => !owners.includes(node))
      const usable = usableOf(shard)
      for (const target of gains) {
        const at = losses.findIndex(isUsable)
        const [loser] = at < 0 ? [] : losses.splice(at, 1)
        const near = usable.filter(({ node }) => fleet.nodes.get(node)?.group === group)
        const sources = near.length > 0 ? near : usable
        const source = sources[shard % Math.max(1, sources.length)]
        if (fleet.nodes.get(target)?.isLive === false) note(target, 'it does not answer')
        else if (loser !== undefined) shift(shifts.moves, target, loser, shard)
        else if (source !== undefined) shift(shifts.copies, target, source, shard)
        else note(target, 'no replica that answers holds what it should have')
      }
      // What is to come comes first.
      if (losses.length === 0 || gains.length > 0) continue
      const stays = holders.filter((holder) => !losses.includes(holder) && isUsable(holder)).length
      const isSpared =
        owners.length === 0
          ? usable.some(({ node }) => staysElsewhere(fleet.nodes.get(node), group))
          : stays >= quorumOf(spread.replicationFactor)
      for (const loser of losses) {
        if (isSpared) take(shifts.removals, loser, shard)
        else note(loser.node, tooFew(owners.length, group))
      }
    }
  }
  return { moves: movesOf(layout, spread.shards, shifts), stuck: [...stuck.values()] }
}

/** By list of members, shards and copies: what each of them is to hold. */
const placedLists = new WeakMap<Members, Map<string, ReadonlyMap<NodeId, readonly number[]>>>()

function placementsAmong(
  members: Members,
  { shards, replicationFactor }: { readonly shards: number; readonly replicationFactor: number },
): ReadonlyMap<NodeId, readonly number[]> {
  const lists = placedLists.get(members) ?? new Map<string, ReadonlyMap<NodeId, readonly number[]>>()
  placedLists.set(members, lists)
  const key = `${shards}:${replicationFactor}`
  const known = lists.get(key)
  if (known !== undefined) return known
  const held = new Map<NodeId, number[]>()
  for (let shard = 0; shard < shards; shard += 1) {
    for (const owner of ownersAmong(members, shard, replicationFactor)) {
      const own = held.get(owner)
      if (own === undefined) held.set(owner, [shard])
      else own.push(shard)
    }
  }
  lists.set(key, held)
  return held
}

/** Everything of a group lies where it should, as almost always. */
function isPlaced(
  own: readonly LayoutReplica[],
  members: Members,
  spread: { readonly shards: number; readonly replicationFactor: number },
): boolean {
  const wanted = placementsAmong(members, spread)
  if (own.length !== wanted.size) return false
  for (const { node, shards, shed } of own) {
    const held = wanted.get(node)
    if (held === undefined || held.length !== shards.length || (shed !== undefined && shed.length > 0)) return false
    for (let at = 0; at < held.length; at += 1) if (held[at] !== shards[at]) return false
  }
  return true
}

function staysElsewhere(node: LayoutNode | undefined, group: number): boolean {
  return node !== undefined && node.group !== group && node.state === 'active'
}

function tooFew(owners: number, group: number): string {
  return owners === 0
    ? `no other replica group holds all of it; add nodes to replica group ${group}`
    : `replica group ${group} would hold too few copies without it; add a node to the group`
}

function holdersByShard(replicas: readonly LayoutReplica[], shards: number): readonly LayoutReplica[][] {
  const holders = Array.from({ length: shards }, (): LayoutReplica[] => [])
  for (const replica of replicas) for (const shard of servedShards(replica)) holders[shard]?.push(replica)
  return holders
}

function take(takes: Shifts['removals'], replica: LayoutReplica, shard: number): void {
  const key = replicaId(replica)
  const known = takes.get(key)
  if (known === undefined) takes.set(key, { replica, shards: [shard] })
  else known.shards.push(shard)
}

function shift(shifts: Shifts['copies'], target: NodeId, replica: LayoutReplica, shard: number): void {
  const known = shifts.get(target) ?? new Map()
  shifts.set(target, known)
  take(known, replica, shard)
}

function movesOf(layout: IndexLayout, shardCount: number, { copies, moves, removals }: Shifts): readonly PlannedMove[] {
  const takesOf = (some: Shifts['removals']): readonly Take[] =>
    [...some.values()].map(({ replica: { node, physicalUid }, shards }) => ({ node, physicalUid, shards }))
  const bytesOf = (takes: readonly Take[]) =>
    Math.round((layout.byteCount * takes.reduce((sum, { shards }) => sum + shards.length, 0)) / shardCount)
  const shifted = (kind: 'copy' | 'move', shifts: Shifts['copies']) =>
    [...shifts].map(([target, some]): PlannedMove => {
      const takes = takesOf(some)
      return { layout, kind, takes, target, bytes: bytesOf(takes) }
    })
  const away = takesOf(removals)
  return [
    ...shifted('copy', copies),
    ...shifted('move', moves),
    ...(away[0] === undefined
      ? []
      : [{ layout, kind: 'removal', takes: away, target: away[0].node, bytes: 0 } satisfies PlannedMove]),
  ]
}
