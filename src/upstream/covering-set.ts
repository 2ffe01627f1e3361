/**
 * Which replicas answer a read: one replica group, and in it one replica for each shard, on few nodes (C-09). Shards that
 * the group cannot answer come from other groups, nearest first; the rest is said to be missing. No shard is ever chosen
 * twice (I3). Pure: the same input gives the same answer.
 */
import { assert } from '../lib/assert.ts'
import type { NodeId } from '../store/catalogue.ts'

/** One copy of a set of shards: what a placement and its node say of it. */
export interface Replica {
  readonly node: NodeId
  /** Replica group of the node, from 0. */
  readonly group: number
  /** What it holds, ascending. */
  readonly shards: readonly number[]
  /** The index's name on the node. */
  readonly physicalUid: string
}

/** One request to one node. */
export interface Leg<R extends Replica = Replica> {
  readonly replica: R
  /** What it answers for, ascending. */
  readonly shards: readonly number[]
  /** That is all that the replica holds: the node needs no filter. */
  readonly isWhole: boolean
}

export interface CoveringSet<R extends Replica = Replica> {
  /** The chosen group; `undefined` when there is no replica at all. */
  readonly group: number | undefined
  readonly legs: readonly Leg<R>[]
  /** Shards that no replica may be asked for, ascending. */
  readonly missing: readonly number[]
}

/** `good` is asked first, `poor` when no good replica has a shard, `trial` as the last resort. */
export type Standing = 'good' | 'poor' | 'trial'

/** How nodes stand for one read. */
export interface NodeView {
  /** `undefined` = it must not be asked. */
  standing(node: NodeId): Standing | undefined
  /** Above 0; a node that costs twice as much gets half of the shards. */
  cost(node: NodeId): number
  /** Counts reads, so that equals take turns. */
  readonly turn: number
}

export interface GroupRule {
  /** By session or affinity: this group is chosen as long as it has a replica that may be asked. */
  readonly preferred?: number | undefined
  /** Nothing comes from any other group than the preferred one. Default false. */
  readonly isPinned?: boolean
  /** Other groups that may answer what the chosen one cannot. */
  readonly fallbackGroupsMax: number
  /** `turns`: one after the other. `weighted`: in turn as well, the cheaper ones more often. */
  readonly rotation: 'turns' | 'weighted'
}

export const defaultGroupRule: GroupRule = { fallbackGroupsMax: 2, rotation: 'weighted' }

/**
 * Replicas that add at least this part of what the best adds take turns with it, or the largest would always be asked; so do
 * those that cost little more, as measured costs are never quite equal.
 */
const nearlyBestGain = 0.5
const nearlyBestCost = 1.25
const goldenRatio = (Math.sqrt(5) - 1) / 2
const standings: readonly Standing[] = ['good', 'poor', 'trial']

/**
 * Chooses who answers for the shards.
 *
 * @param replicas  of one generation of one index, no shard twice on one node. In the same order in every call, since turns
 *                  are taken by it.
 * @param targets   shards to answer, each once.
 */
export function coverShards<R extends Replica>(
  replicas: readonly R[],
  targets: readonly number[],
  view: NodeView,
  rule: GroupRule = defaultGroupRule,
): CoveringSet<R> {
  const candidates = replicas.flatMap((replica): Candidate<R>[] => {
    const standing = view.standing(replica.node)
    return standing === undefined ? [] : [{ replica, standing, cost: view.cost(replica.node) }]
  })
  const groups = groupsOf(candidates)
  const group = chooseGroup(groups, targets, view.turn, rule)
  const open = new Set(targets)
  const legs: Leg<R>[] = []
  if (group !== undefined) {
    const order = rule.isPinned
      ? [group]
      : [...groups.keys()].sort((a, b) => distance(a, group) - distance(b, group) || a - b)
    const turn = Math.floor(view.turn / groups.size)
    for (const standing of standings) {
      for (const id of order.slice(0, 1 + rule.fallbackGroupsMax)) {
        if (open.size === 0) break
        const eligible = groups.get(id)!.filter((candidate) => candidate.standing === standing)
        legs.push(...coverWithin(eligible, open, turn))
      }
    }
  }
  return { group, legs, missing: [...open].sort((a, b) => a - b) }
}

/** Near means near in number, as an operator lays out regions and racks. */
function distance(a: number, b: number): number {
  return Math.abs(a - b)
}

interface Candidate<R extends Replica> {
  readonly replica: R
  readonly standing: Standing
  readonly cost: number
}

/** Ascending by group. */
function groupsOf<R extends Replica>(
  candidates: readonly Candidate<R>[],
): ReadonlyMap<number, readonly Candidate<R>[]> {
  const groups = new Map<number, Candidate<R>[]>()
  for (const candidate of candidates) {
    const known = groups.get(candidate.replica.group)
    if (known === undefined) groups.set(candidate.replica.group, [candidate])
    else known.push(candidate)
  }
  return groups.size < 2 ? groups : new Map([...groups].sort(([a], [b]) => a - b))
}

function chooseGroup<R extends Replica>(
  groups: ReadonlyMap<number, readonly Candidate<R>[]>,
  targets: readonly number[],
  turn: number,
  { preferred, isPinned, rotation }: GroupRule,
): number | undefined {
  if (preferred !== undefined && groups.has(preferred)) return preferred
  if (isPinned) return undefined
  if (groups.size < 2) return groups.keys().next().value
  const wanted = new Set(targets)
  const rated = [...groups].map(([id, candidates]) => {
    const good = candidates.filter(({ standing }) => standing === 'good')
    const covered = new Set(good.flatMap(({ replica }) => replica.shards.filter((shard) => wanted.has(shard))))
    const cost = good.reduce((sum, candidate) => sum + candidate.cost, 0) / good.length
    return { id, covered: covered.size, weight: good.length === 0 ? 0 : 1 / cost }
  })
  const most = Math.max(...rated.map(({ covered }) => covered))
  const best = rated.filter(({ covered }) => covered === most)
  if (rotation === 'turns') return best[turn % best.length]!.id
  // The multiples of the golden ratio fall evenly everywhere: turns by weight without a memory.
  const whole = best.reduce((sum, { weight }) => sum + weight, 0)
  let rest = ((turn * goldenRatio) % 1) * whole
  for (const { id, weight } of best) {
    rest -= weight
    if (rest < 0) return id
  }
  return best.at(-1)!.id
}

/** Covers what it can of `open`, and takes it out. */
function coverWithin<R extends Replica>(
  candidates: readonly Candidate<R>[],
  open: Set<number>,
  turn: number,
): readonly Leg<R>[] {
  const owners = new Map<number, number[]>()
  /** How many shards each candidate would add. */
  const gains = candidates.map(({ replica }, at) => {
    let gain = 0
    for (const shard of replica.shards) {
      if (!open.has(shard)) continue
      gain += 1
      const known = owners.get(shard)
      if (known === undefined) owners.set(shard, [at])
      else known.push(at)
    }
    return gain
  })
  const picked = pickNodes(candidates, gains, owners, turn)
  const shares = shareOut(candidates, picked, owners)
  for (const shard of owners.keys()) open.delete(shard)
  return [...shares].map(([at, shards]) => legOf(candidates[at]!.replica, shards))
}

/** Greedy: again and again the one that adds the most for its cost. */
function pickNodes<R extends Replica>(
  candidates: readonly Candidate<R>[],
  gains: number[],
  owners: ReadonlyMap<number, readonly number[]>,
  turn: number,
): ReadonlySet<number> {
  const picked = new Set<number>()
  const covered = new Set<number>()
  for (let rest = turn; covered.size < owners.size; ) {
    let best = 0
    for (let at = 1; at < candidates.length; at += 1) {
      if (gains[at]! / candidates[at]!.cost > gains[best]! / candidates[best]!.cost) best = at
    }
    const bestCost = candidates[best]!.cost
    const equals = candidates.flatMap(({ cost }, at) =>
      cost <= nearlyBestCost * bestCost && gains[at]! / cost >= (nearlyBestGain * gains[best]!) / bestCost ? [at] : [],
    )
    const at = equals[rest % equals.length]!
    rest = Math.floor(rest / equals.length)
    picked.add(at)
    for (const shard of candidates[at]!.replica.shards) {
      const holders = owners.get(shard)
      if (holders === undefined || covered.has(shard)) continue
      covered.add(shard)
      for (const holder of holders) gains[holder]! -= 1
    }
  }
  return picked
}

/** Gives each shard to one of the picked nodes that hold it: what only one holds first, then to whom has the least to do. */
function shareOut<R extends Replica>(
  candidates: readonly Candidate<R>[],
  picked: ReadonlySet<number>,
  owners: ReadonlyMap<number, readonly number[]>,
): ReadonlyMap<number, number[]> {
  const shares = new Map<number, number[]>()
  const give = (shard: number, at: number) => {
    const known = shares.get(at)
    if (known === undefined) shares.set(at, [shard])
    else known.push(shard)
  }
  const shared: (readonly [number, readonly number[]])[] = []
  for (const [shard, holders] of owners) {
    const mine = holders.filter((at) => picked.has(at))
    if (mine.length === 1) give(shard, mine[0]!)
    else shared.push([shard, mine])
  }
  for (const [shard, mine] of shared) {
    let least = mine[0]!
    let leastLoad = Number.POSITIVE_INFINITY
    for (const at of mine) {
      const load = ((shares.get(at)?.length ?? 0) + 1) * candidates[at]!.cost
      if (load < leastLoad) {
        least = at
        leastLoad = load
      }
    }
    give(shard, least)
  }
  return shares
}

function legOf<R extends Replica>(replica: R, shards: number[]): Leg<R> {
  assert(shards.length > 0, 'a leg without shards')
  return {
    replica,
    shards: shards.sort((a, b) => a - b),
    // All of them are the replica's own.
    isWhole: shards.length === replica.shards.length,
  }
}
