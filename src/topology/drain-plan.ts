/** Where the replicas of a node go that is to be emptied. Pure. */
import type { IndexId, Node, NodeId, ProjectId, Spread } from '../store/catalogue.ts'

/** A replica that may leave its node. */
export interface Leaver {
  readonly index: IndexId
  readonly uid: string
  readonly project: ProjectId
  readonly spread: Spread | null
  readonly node: NodeId
  /** Every node that holds a replica of the index. */
  readonly holders: readonly NodeId[]
}

export interface DrainOrder {
  readonly leaver: Leaver
  readonly target: NodeId
}

export interface DrainPlan {
  readonly orders: readonly DrainOrder[]
  /** Replicas that no node can take, and why. */
  readonly stuck: readonly { readonly leaver: Leaver; readonly reason: string }[]
}

/**
 * Each goes to the node that holds the fewest indexes, those of this plan counted: of its region and kind of engine, and of
 * its replica group when it is a part of a spread index.
 *
 * @param loads  indexes on each node.
 */
export function planDrain(
  leavers: readonly Leaver[],
  nodes: readonly Node[],
  loads: ReadonlyMap<NodeId, number>,
): DrainPlan {
  const known = new Map(nodes.map((node) => [node.id, node]))
  const counts = new Map(nodes.map(({ id }) => [id, loads.get(id) ?? 0]))
  const orders: DrainOrder[] = []
  const stuck: DrainPlan['stuck'][number][] = []
  for (const leaver of leavers) {
    const from = known.get(leaver.node)
    if (from === undefined) continue
    const fits = nodes.filter(
      (node) =>
        node.state === 'active' &&
        node.region === from.region &&
        node.engine === from.engine &&
        (leaver.spread === null || node.group === from.group),
    )
    const free = fits.filter(({ id }) => !leaver.holders.includes(id))
    const [best] = [...free].sort((a, b) => (counts.get(a.id) ?? 0) - (counts.get(b.id) ?? 0) || (a.id < b.id ? -1 : 1))
    if (best === undefined) {
      const where = leaver.spread === null ? `region ${from.region}` : `replica group ${from.group}`
      const reason =
        fits.length === 0
          ? `no other active ${from.engine} node is in ${where}`
          : `every node of ${where} that could take it holds a replica of it already`
      stuck.push({ leaver, reason })
      continue
    }
    counts.set(best.id, (counts.get(best.id) ?? 0) + 1)
    orders.push({ leaver, target: best.id })
  }
  return { orders, stuck }
}
