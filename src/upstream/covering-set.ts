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
  /** What it answers for, ascending. */
  readonly shards: readonly number[]
  /** It may hold documents of other shards as well: whatever it is asked must name the shards. */
  readonly holdsMore?: boolean
  /** The index's name on the node. */
  readonly physicalUid: string
  /** It takes a settings change, or takes one back: what it answers may follow other settings than what the others do. */
  readonly isTurning?: boolean
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
 * @param replicas  of one generation of one index. In the same order in every call, since turns are taken by it.
 * @param targets   shards to answer, each once.
 */
export function coverShards<R extends Replica>(
  replicas: readonly R[],
  targets: readonly number[],
  view: NodeView,
  rule: GroupRule = defaultGroupRule,
): CoveringSet<R> {
  const groups = groupsOf(replicas, view)
  const group = chooseGroup(groups, targets, view.turn, rule)
  const open = new OpenShards(targets)
  const legs: Leg<R>[] = []
  if (group !== undefined) {
    const order = rule.isPinned
      ? [group]
      : [...groups.keys()].sort((a, b) => distance(a, group) - distance(b, group) || a - b)
    const turn = Math.floor(view.turn / groups.size)
    for (const standing of standings) {
      for (const id of order.slice(0, 1 + rule.fallbackGroupsMax)) {
        if (open.count === 0) break
        const eligible = groups.get(id)!.filter((candidate) => candidate.standing === standing)
        if (eligible.length > 0) coverWithin(eligible, open, turn, legs)
      }
    }
  }
  return { group, legs, missing: open.rest() }
}

/** Who may answer for the legs of a plan: only replicas that agree on the settings, where those hold every shard. */
export interface AgreedCover<R extends Replica = Replica> extends CoveringSet<R> {
  readonly replicas: readonly R[]
  /** Some of them may follow other settings than others. */
  readonly isMixed: boolean
}

/** As `coverShards`, of replicas with the same settings as long as those that do not have to be tried hold every shard. */
export function coverInAgreement<R extends Replica>(
  replicas: readonly R[],
  targets: readonly number[],
  view: NodeView,
  rule?: GroupRule,
): AgreedCover<R> {
  const all = () => coverShards(replicas, targets, view, rule)
  if (!replicas.some(({ isTurning }) => isTurning)) return { ...all(), replicas, isMixed: false }
  const agreeing = replicas.filter(({ isTurning }) => isTurning !== true)
  const untried: NodeView = {
    ...{ turn: view.turn, cost: (node) => view.cost(node) },
    standing(node) {
      const standing = view.standing(node)
      return standing === 'trial' ? undefined : standing
    },
  }
  const cover = coverShards(agreeing, targets, untried, rule)
  if (cover.missing.length === 0) return { ...cover, replicas: agreeing, isMixed: false }
  return { ...all(), replicas, isMixed: true }
}

/** Shards without a replica yet. */
class OpenShards {
  /** By shard: 1 = open. */
  readonly #flags: Uint8Array
  count = 0

  constructor(targets: readonly number[]) {
    let last = -1
    for (const shard of targets) if (shard > last) last = shard
    this.#flags = new Uint8Array(last + 1)
    for (const shard of targets) this.#flags[shard] = 1
    this.count = targets.length
  }

  get size(): number {
    return this.#flags.length
  }

  has(shard: number): boolean {
    return this.#flags[shard] === 1
  }

  close(shard: number): void {
    this.#flags[shard] = 0
    this.count -= 1
  }

  /** Ascending. */
  rest(): readonly number[] {
    if (this.count === 0) return []
    return Array.from(this.#flags.keys()).filter((shard) => this.has(shard))
  }
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

/** Those that may be asked, ascending by group. */
function groupsOf<R extends Replica>(
  replicas: readonly R[],
  view: NodeView,
): ReadonlyMap<number, readonly Candidate<R>[]> {
  const groups = new Map<number, Candidate<R>[]>()
  for (const replica of replicas) {
    const standing = view.standing(replica.node)
    if (standing === undefined) continue
    const candidate = { replica, standing, cost: view.cost(replica.node) }
    const known = groups.get(replica.group)
    if (known === undefined) groups.set(replica.group, [candidate])
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
  open: OpenShards,
  turn: number,
  legs: Leg<R>[],
): void {
  /** By shard, candidates that hold it. */
  const owners = new Array<number[] | undefined>(open.size).fill(undefined)
  /** How many shards each candidate would add. */
  const gains = new Array<number>(candidates.length).fill(0)
  let coverable = 0
  for (let at = 0; at < candidates.length; at += 1) {
    for (const shard of candidates[at]!.replica.shards) {
      if (!open.has(shard)) continue
      gains[at]! += 1
      const known = owners[shard]
      if (known === undefined) {
        owners[shard] = [at]
        coverable += 1
      } else known.push(at)
    }
  }
  const isPicked = pickNodes(candidates, gains, owners, coverable, turn)
  const shares = shareOut(candidates, isPicked, owners)
  for (let at = 0; at < candidates.length; at += 1) {
    const shards = shares[at]!
    if (shards.length === 0) continue
    for (const shard of shards) open.close(shard)
    const { replica } = candidates[at]!
    shards.sort((a, b) => a - b)
    // All of them are the replica's own.
    legs.push({ replica, shards, isWhole: shards.length === replica.shards.length && !replica.holdsMore })
  }
}

/** Greedy: again and again the one that adds the most for its cost. */
function pickNodes<R extends Replica>(
  candidates: readonly Candidate<R>[],
  gains: number[],
  owners: readonly (readonly number[] | undefined)[],
  coverable: number,
  turn: number,
): readonly boolean[] {
  const isPicked = new Array<boolean>(candidates.length).fill(false)
  const isCovered = new Uint8Array(owners.length)
  let rest = turn
  for (let covered = 0; covered < coverable; ) {
    const equals = nearlyBest(candidates, gains)
    const at = equals[rest % equals.length]!
    rest = Math.floor(rest / equals.length)
    isPicked[at] = true
    for (const shard of candidates[at]!.replica.shards) {
      const holders = owners[shard]
      if (holders === undefined || isCovered[shard] === 1) continue
      isCovered[shard] = 1
      covered += 1
      for (const holder of holders) gains[holder]! -= 1
    }
  }
  return isPicked
}

/** Candidates that take turns. At least one of them adds something. */
function nearlyBest<R extends Replica>(
  candidates: readonly Candidate<R>[],
  gains: readonly number[],
): readonly number[] {
  let best = 0
  for (let at = 1; at < candidates.length; at += 1) {
    if (gains[at]! * candidates[best]!.cost > gains[best]! * candidates[at]!.cost) best = at
  }
  const costMax = nearlyBestCost * candidates[best]!.cost
  const worthMin = (nearlyBestGain * gains[best]!) / candidates[best]!.cost
  const equals: number[] = []
  for (let at = 0; at < candidates.length; at += 1) {
    const { cost } = candidates[at]!
    if (cost <= costMax && gains[at]! >= worthMin * cost) equals.push(at)
  }
  assert(worthMin > 0 && equals.length > 0, 'somebody holds what can be covered')
  return equals
}

/** Gives each shard to one of the picked nodes that hold it: what only one holds first, then to whom has the least to do. */
function shareOut<R extends Replica>(
  candidates: readonly Candidate<R>[],
  isPicked: readonly boolean[],
  owners: readonly (readonly number[] | undefined)[],
): readonly number[][] {
  const shares = candidates.map((): number[] => [])
  const shared: number[] = []
  for (let shard = 0; shard < owners.length; shard += 1) {
    const holders = owners[shard]
    if (holders === undefined) continue
    let only = -1
    for (const at of holders) if (isPicked[at]) only = only === -1 ? at : -2
    if (only >= 0) shares[only]!.push(shard)
    else shared.push(shard)
  }
  for (const shard of shared) {
    let least = -1
    let leastLoad = Number.POSITIVE_INFINITY
    for (const at of owners[shard]!) {
      if (!isPicked[at]) continue
      const load = (shares[at]!.length + 1) * candidates[at]!.cost
      if (load < leastLoad) {
        least = at
        leastLoad = load
      }
    }
    shares[least]!.push(shard)
  }
  return shares
}
