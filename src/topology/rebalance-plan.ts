/**
 * Desired against actual: which moves bring indexes to where they are wanted, and which of them may begin now (design 5). Pure;
 * nothing but what it answers opens moves by itself.
 */
import type { IndexId, NodeId } from '../store/catalogue.ts'
import type { IndexLayout, LayoutNode, PlannedMove, StuckReplica } from './index-layout.ts'
import { type PackRules, planPack } from './pack-plan.ts'
import { createSpreadPlanner } from './spread-plan.ts'

export interface Brakes {
  /** Nodes that take data at once, of all; at least one may. */
  readonly nodesAtOncePercent: number
  /** Moves on their way to or from one node at once. */
  readonly perNode: number
  /** Nothing begins in a region while more of its nodes than that are away or lost (P-38). */
  readonly awayPercentMax: number
}

export const brakesDefault: Brakes = { nodesAtOncePercent: 25, perNode: 16, awayPercentMax: 30 }

/** A move that is open. */
export interface OpenMove {
  readonly index: IndexId
  readonly nodes: readonly NodeId[]
  readonly target: NodeId
  /** Data goes to its target, or will: it is neither kept back nor on its way out. */
  readonly isUnderWay: boolean
  /** It has switched, and is kept only for as long as nothing else is to be done with its index. */
  readonly isKept: boolean
}

export interface RebalancePlan {
  /** Everything that is to be done; of each index in order. */
  readonly moves: readonly PlannedMove[]
  /** Those that may begin now: one of an index at most. */
  readonly next: readonly PlannedMove[]
  /** Indexes whose open move must close first: it is kept, and another waits. */
  readonly superseded: readonly IndexId[]
  readonly stuck: readonly StuckReplica[]
  /** Regions in which nothing begins, since too many of their nodes are away. */
  readonly braked: readonly string[]
}

export interface Fleet {
  readonly layouts: readonly IndexLayout[]
  readonly nodes: readonly LayoutNode[]
  readonly open: readonly OpenMove[]
  /** Indexes that are left alone for a while, since a move of theirs came to nothing. */
  readonly resting: ReadonlySet<IndexId>
  /** Those that have moved lately: they do not move again for want of room. */
  readonly settled: ReadonlySet<IndexId>
}

export function planRebalance(
  { layouts, nodes, open, resting, settled }: Fleet,
  brakes: Brakes = brakesDefault,
  packRules?: PackRules,
): RebalancePlan {
  const moving = new Set(open.flatMap(({ index, isKept }) => (isKept ? [] : [index])))
  const kept = new Set(open.flatMap(({ index, isKept }) => (isKept ? [index] : [])))
  const rests = ({ index }: IndexLayout) => moving.has(index) || resting.has(index)
  const planner = createSpreadPlanner(nodes)
  const moves: PlannedMove[] = []
  const stuck: StuckReplica[] = []
  const plain: IndexLayout[] = []
  for (const layout of layouts) {
    if (layout.spread === null) {
      plain.push(layout)
      continue
    }
    if (rests(layout)) continue
    const plan = planner.plan(layout)
    moves.push(...plan.moves)
    stuck.push(...plan.stuck)
  }
  const packed = planPack(plain, nodes, { rests, isSettled: ({ index }) => settled.has(index) }, packRules)
  moves.push(...packed.moves)
  stuck.push(...packed.stuck)
  const braked = regionsAway(nodes, brakes.awayPercentMax)
  const free = moves.filter(({ layout }) => !kept.has(layout.index))
  return {
    ...{ moves, next: nextOf(free, nodes, open, braked, brakes), stuck, braked: [...braked].sort() },
    superseded: [...new Set(moves.map(({ layout }) => layout.index))].filter((index) => kept.has(index)),
  }
}

function regionsAway(nodes: readonly LayoutNode[], percentMax: number): ReadonlySet<string> {
  const counts = new Map<string, { all: number; away: number }>()
  for (const { region, isLive, state } of nodes) {
    const known = counts.get(region) ?? { all: 0, away: 0 }
    counts.set(region, known)
    known.all += 1
    if (!isLive || state === 'lost') known.away += 1
  }
  // One node that is away is no sign of a broken network.
  const isBraked = ({ all, away }: { all: number; away: number }) => away > 1 && away * 100 > percentMax * all
  return new Set([...counts].flatMap(([region, count]) => (isBraked(count) ? [region] : [])))
}

function nextOf(
  moves: readonly PlannedMove[],
  nodes: readonly LayoutNode[],
  open: readonly OpenMove[],
  braked: ReadonlySet<string>,
  { nodesAtOncePercent, perNode }: Brakes,
): readonly PlannedMove[] {
  const regionOf = new Map(nodes.map(({ id, region }) => [id, region]))
  const underWay = open.filter(({ isUnderWay }) => isUnderWay)
  const busy = new Map<NodeId, number>()
  const enter = (some: readonly NodeId[]) => {
    for (const id of some) busy.set(id, (busy.get(id) ?? 0) + 1)
  }
  for (const move of underWay) enter(move.nodes)
  const targets = new Set(underWay.map(({ target }) => target))
  const targetsMax = Math.max(1, Math.ceil((nodes.length * nodesAtOncePercent) / 100))
  const begun = new Set<IndexId>()
  const next: PlannedMove[] = []
  // Smallest first: a node that is emptied shows soon that it is.
  const byIndex = new Map<IndexId, PlannedMove>()
  for (const move of moves) if (!byIndex.has(move.layout.index)) byIndex.set(move.layout.index, move)
  for (const move of [...byIndex.values()].sort(bySize)) {
    const own = nodesOf(move)
    if (begun.has(move.layout.index) || own.some((id) => braked.has(regionOf.get(id) ?? ''))) continue
    if (own.some((id) => (busy.get(id) ?? 0) >= perNode)) continue
    const isTaking = move.kind !== 'removal'
    if (isTaking && !targets.has(move.target) && targets.size >= targetsMax) continue
    if (isTaking) targets.add(move.target)
    enter(own)
    begun.add(move.layout.index)
    next.push(move)
  }
  return next
}

function bySize(a: PlannedMove, b: PlannedMove): number {
  return a.layout.byteCount - b.layout.byteCount || (a.layout.index < b.layout.index ? -1 : 1)
}

/** Every node that takes part, once. */
export function nodesOf({
  kind,
  takes,
  target,
}: Pick<PlannedMove, 'takes' | 'target'> & { readonly kind: string }): readonly NodeId[] {
  return [...new Set([...takes.map(({ node }) => node), ...(kind === 'removal' ? [] : [target])])]
}
