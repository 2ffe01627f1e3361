/**
 * Finds the paths of one cost through a rule's graph, depth first. Costs to the end prune branches that cannot have the
 * right cost, dead ends those whose conditions are known to share no document.
 */
import { Bits } from './bits.ts'
import { endNode, startNode } from './query-graph.ts'
import type { DeadEnds, Edge, RuleGraph } from './rule-graph.ts'

/** Gets each path as condition numbers, and may add dead ends; `stop` ends the visit. */
export type VisitPath = (path: readonly number[]) => 'go-on' | 'stop'

export function visitPaths(
  graph: RuleGraph,
  costs: readonly (readonly number[])[],
  cost: number,
  deadEnds: DeadEnds,
  visit: VisitPath,
): void {
  const path: number[] = []
  const visitedConditions = new Bits()
  const visitedNodes = new Bits()
  let forbidden = deadEnds.forbidden.clone()
  let nodesToSkip = new Bits()
  let remaining = cost

  /** `stop`, or whether some path was found. */
  const visitNode = (node: number): boolean | 'stop' => {
    let found = false
    for (const edge of graph.edges[node]!.slice()) {
      if (remaining < edge.cost) continue
      remaining -= edge.cost
      const result = costs[edge.target]!.includes(remaining) ? visitEdge(edge) : false
      remaining += edge.cost
      if (result === 'stop') return 'stop'
      if (!result) continue
      found = true
      // The visit of a path may have taught new dead ends, even for where we stand.
      forbidden = deadEnds.upTo(path)
      if (visitedConditions.intersects(forbidden)) return true
    }
    return found
  }

  const visitEdge = (edge: Edge): boolean | 'stop' => {
    const skipBefore = nodesToSkip
    if (edge.condition === null) {
      if (edge.target === endNode) return visit(path) === 'stop' ? 'stop' : true
      nodesToSkip = union(nodesToSkip, edge.nodesToSkip)
      const result = visitNode(edge.target)
      nodesToSkip = skipBefore
      return result
    }
    if (forbidden.has(edge.condition) || nodesToSkip.has(edge.target) || edge.nodesToSkip.intersects(visitedNodes))
      return false
    path.push(edge.condition)
    visitedNodes.add(edge.target)
    visitedConditions.add(edge.condition)
    const forbiddenBefore = forbidden
    const further = deadEnds.after(path)
    if (further !== undefined) forbidden = union(forbidden, further)
    nodesToSkip = union(nodesToSkip, edge.nodesToSkip)
    const result = visitNode(edge.target)
    nodesToSkip = skipBefore
    forbidden = forbiddenBefore
    visitedConditions.delete(edge.condition)
    visitedNodes.delete(edge.target)
    path.pop()
    return result
  }

  visitNode(startNode)
}

function union(left: Bits, right: Bits): Bits {
  const both = left.clone()
  both.addAll(right)
  return both
}
