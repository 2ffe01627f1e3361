/**
 * Where small plain indexes should be (P-39): where they are, until their node drains, is in another region than they are wanted
 * in, or holds more than it should. Pure.
 *
 * A node is relieved when it holds more than `highPercent` of its disk, down to `lowPercent`, and takes others only up to
 * `lowPercent`: what has moved has no reason to move again (hysteresis).
 */
import type { NodeId } from '../store/catalogue.ts'
import type { IndexLayout, LayoutNode, PlannedMove, StuckReplica } from './index-layout.ts'
import { isSettled as isAtHome, isRead } from './placement-states.ts'

export interface PackRules {
  readonly highPercent: number
  readonly lowPercent: number
}

export const packRulesDefault: PackRules = { highPercent: 80, lowPercent: 70 }

export interface PackPlan {
  readonly moves: readonly PlannedMove[]
  readonly stuck: readonly StuckReplica[]
}

/**
 * @param layouts  of plain indexes; of a moving one the plan only counts what it takes.
 * @param rests      indexes that stay where they are: they are moving, or are left alone for a while.
 * @param isSettled  indexes that do not move for want of room.
 */
export function planPack(
  layouts: readonly IndexLayout[],
  nodes: readonly LayoutNode[],
  {
    rests,
    isSettled,
  }: { readonly rests: (layout: IndexLayout) => boolean; readonly isSettled: (layout: IndexLayout) => boolean },
  rules: PackRules = packRulesDefault,
): PackPlan {
  const rooms = new Rooms(layouts, nodes, rules)
  const moves: PlannedMove[] = []
  const stuck: StuckReplica[] = []
  const crowded = new Map<NodeId, IndexLayout[]>()
  const go = (layout: IndexLayout, from: LayoutNode, isForced: boolean) => {
    const target = rooms.find(layout, from, isForced)
    if (typeof target === 'string') {
      if (isForced) stuck.push({ layout, node: from.id, reason: target })
      return false
    }
    const { node, physicalUid, shards } = layout.replicas.find(isAtHome)!
    rooms.shift(layout, from.id, target.id)
    moves.push({
      layout,
      kind: 'move',
      takes: [{ node, physicalUid, shards }],
      target: target.id,
      bytes: layout.byteCount,
    })
    return true
  }
  for (const layout of layouts) {
    const [replica, ...others] = layout.replicas.filter(isAtHome)
    const from = replica && rooms.node(replica.node)
    if (replica === undefined || from === undefined || others.length > 0 || rests(layout)) continue
    if (!isRead(replica) && replica.state !== 'filling') continue
    const isElsewhere = layout.wanted.region !== null && layout.wanted.region !== from.region
    if (from.state === 'draining' || isElsewhere) go(layout, from, true)
    else if (!isSettled(layout) && rooms.isCrowded(from.id))
      crowded.set(from.id, [...(crowded.get(from.id) ?? []), layout])
  }
  for (const [id, held] of crowded) {
    const from = rooms.node(id)!
    // The fewest moves: the largest first, as long as it is not more than must go.
    for (const layout of held.sort((a, b) => b.byteCount - a.byteCount || (a.index < b.index ? -1 : 1))) {
      const excess = rooms.excessOf(id)
      if (excess <= 0) break
      if (layout.byteCount > excess && held.some((one) => one.byteCount >= excess && one.byteCount < layout.byteCount))
        continue
      go(layout, from, false)
    }
  }
  return { moves, stuck }
}

/** What nodes hold, this plan counted. */
class Rooms {
  readonly #nodes: ReadonlyMap<NodeId, LayoutNode>
  /** By region and engine: those that take indexes. */
  readonly #takers = new Map<string, LayoutNode[]>()
  readonly #bytes = new Map<NodeId, number>()
  readonly #counts = new Map<NodeId, number>()
  readonly #rules: PackRules

  constructor(layouts: readonly IndexLayout[], nodes: readonly LayoutNode[], rules: PackRules) {
    this.#rules = rules
    this.#nodes = new Map(nodes.map((node) => [node.id, node]))
    for (const node of nodes) {
      if (node.state !== 'active' || !node.isLive) continue
      const key = `${node.region}:${node.engine}`
      const known = this.#takers.get(key)
      if (known === undefined) this.#takers.set(key, [node])
      else known.push(node)
    }
    for (const { byteCount, replicas } of layouts)
      for (const { node } of replicas.filter(isAtHome)) this.#add(node, byteCount, 1)
  }

  node(id: NodeId): LayoutNode | undefined {
    return this.#nodes.get(id)
  }

  #add(id: NodeId, bytes: number, count: number): void {
    this.#bytes.set(id, (this.#bytes.get(id) ?? 0) + bytes)
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + count)
  }

  shift({ byteCount }: IndexLayout, from: NodeId, to: NodeId): void {
    this.#add(from, -byteCount, -1)
    this.#add(to, byteCount, 1)
  }

  #limit(id: NodeId, percent: number): number {
    const disk = this.#nodes.get(id)?.capacity?.diskBytes ?? null
    return disk === null ? Number.POSITIVE_INFINITY : (disk * percent) / 100
  }

  isCrowded(id: NodeId): boolean {
    return (this.#bytes.get(id) ?? 0) > this.#limit(id, this.#rules.highPercent)
  }

  /** Bytes that must go, once it is crowded. */
  excessOf(id: NodeId): number {
    return (this.#bytes.get(id) ?? 0) - this.#limit(id, this.#rules.lowPercent)
  }

  /**
   * The node with the fewest indexes that stays below its mark. @param isForced  the index cannot stay: rather a full node than
   * none. A text says why there is none.
   */
  find({ byteCount, wanted }: IndexLayout, from: LayoutNode, isForced: boolean): LayoutNode | string {
    const region = wanted.region ?? from.region
    const alike = this.#takers.get(`${region}:${from.engine}`) ?? []
    // Rather another kind of engine than none: it is the last of its kind that is given up.
    const isLast = isForced && alike.every(({ id }) => id === from.id)
    const takers = isLast
      ? [...this.#takers].flatMap(([key, some]) => (key.startsWith(`${region}:`) ? some : []))
      : alike
    let best: LayoutNode | undefined
    let hasOther = false
    for (const node of takers) {
      if (node.id === from.id) continue
      hasOther = true
      const percent = isForced ? this.#rules.highPercent : this.#rules.lowPercent
      if ((this.#bytes.get(node.id) ?? 0) + byteCount > this.#limit(node.id, percent)) continue
      if (best === undefined || this.#isEmptier(node, best)) best = node
    }
    if (best !== undefined) return best
    const where = `region ${region}`
    return hasOther ? `no node in ${where} has room for it` : `no other active ${from.engine} node is in ${where}`
  }

  #isEmptier({ id }: LayoutNode, other: LayoutNode): boolean {
    const difference = (this.#counts.get(id) ?? 0) - (this.#counts.get(other.id) ?? 0)
    return difference < 0 || (difference === 0 && id < other.id)
  }
}
