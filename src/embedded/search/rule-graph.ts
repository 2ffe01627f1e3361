/**
 * A ranking rule as a graph over the query graph: each edge has a cost and, unless it skips a term, a condition on
 * documents. Documents on the cheapest paths come first (M-F7.4, M-F8).
 */
import type { Bitmap } from '../../lib/bitmap.ts'
import { Bits } from './bits.ts'
import { endNode, type QueryGraph, startNode } from './query-graph.ts'
import { type Located, termCount } from './term-subset.ts'

export interface Condition {
  /** Equal for equal conditions of one graph. */
  readonly key: string
  /** Terms of the next query graph, should the condition lie on a path that found documents. */
  readonly from: Located | null
  readonly to: Located
  /** Documents of `universe` that satisfy it. */
  resolve(universe: Bitmap): Bitmap
}

/** The edges into a term; `from` is null when the term comes first. */
export type EdgeBuilder = (
  from: Located | null,
  to: Located,
) => readonly { readonly cost: number; readonly condition: Condition }[]

export interface Edge {
  readonly target: number
  readonly cost: number
  /** Number of the condition; null = the edge skips its target. */
  readonly condition: number | null
  /** Nodes that a path with this edge must skip as well. */
  readonly nodesToSkip: Bits
}

/** Which nodes may be skipped, at cost 1 per term, and what must be skipped with them. */
export type Skips = ReadonlyMap<number, Bits>

const noNodes = new Bits()

export class RuleGraph {
  readonly graph: QueryGraph
  readonly conditions: readonly Condition[]
  /** By source node. Edges of impossible conditions are taken out as they are met. */
  readonly edges: Edge[][]

  constructor(graph: QueryGraph, skips: Skips, build: EdgeBuilder) {
    this.graph = graph
    const conditions: Condition[] = []
    const numbers = new Map<string, number>()
    this.edges = graph.nodes.map((node) => {
      const edges: Edge[] = []
      if (node.data === 'end' || node.data === 'removed') return edges
      const from = node.data === 'start' ? null : node.data
      for (const target of node.successors) {
        const { data } = graph.nodes[target]!
        if (typeof data === 'string') {
          if (data === 'end') edges.push({ target, cost: 0, condition: null, nodesToSkip: noNodes })
          continue
        }
        const nodesToSkip = skips.get(target)
        if (nodesToSkip !== undefined) edges.push({ target, cost: termCount(data), condition: null, nodesToSkip })
        for (const { cost, condition } of build(from, data)) {
          let number = numbers.get(condition.key)
          if (number === undefined) {
            number = conditions.length
            conditions.push(condition)
            numbers.set(condition.key, number)
          }
          edges.push({ target, cost, condition: number, nodesToSkip: noNodes })
        }
      }
      return edges
    })
    this.conditions = conditions
  }

  /** For each node, the costs of all paths from it to the end, ascending. */
  costsToEnd(): readonly (readonly number[])[] {
    const costs: (readonly number[] | undefined)[] = this.graph.nodes.map(() => undefined)
    const visit = (id: number): readonly number[] => {
      const known = costs[id]
      if (known !== undefined) return known
      if (id === endNode) {
        costs[id] = [0]
        return [0]
      }
      const found = new Set<number>()
      for (const { target, cost } of this.edges[id]!) for (const rest of visit(target)) found.add(cost + rest)
      const sorted = [...found].sort((left, right) => left - right)
      costs[id] = sorted
      return sorted
    }
    visit(startNode)
    return costs.map((known) => known ?? [])
  }

  removeCondition(condition: number): void {
    for (const [source, edges] of this.edges.entries())
      this.edges[source] = edges.filter((edge) => edge.condition !== condition)
  }
}

/** Conditions that lead nowhere, given the conditions before them: a tree by path. */
export class DeadEnds {
  readonly forbidden = new Bits()
  readonly #next = new Map<number, DeadEnds>()

  /** `condition` fails after `prefix`, and after every path that begins so. */
  forbid(prefix: readonly number[], condition: number): void {
    let at: DeadEnds = this
    for (const step of prefix) {
      let next = at.#next.get(step)
      if (next === undefined) {
        next = new DeadEnds()
        at.#next.set(step, next)
      }
      at = next
    }
    at.forbidden.add(condition)
  }

  /** What is forbidden right after exactly this path. */
  after(prefix: readonly number[]): Bits | undefined {
    let at: DeadEnds | undefined = this
    for (const step of prefix) {
      at = at.#next.get(step)
      if (at === undefined) return undefined
    }
    return at.forbidden
  }

  /** What is forbidden after this path or any beginning of it. */
  upTo(prefix: readonly number[]): Bits {
    const forbidden = this.forbidden.clone()
    let at: DeadEnds | undefined = this
    for (const step of prefix) {
      at = at.#next.get(step)
      if (at === undefined) break
      forbidden.addAll(at.forbidden)
    }
    return forbidden
  }
}
