/**
 * All ways to read a query, as a graph (M-F6). Nodes are terms and n-grams; an edge leads to what may follow. A path from
 * start to end is one reading.
 *
 *     start ─┬─ sun ── flower ─┬─ end
 *            └─── sunflower ───┘
 */
import { Bits } from './bits.ts'
import type { LocatedTerm, TermFactory } from './query-parser.ts'
import { type Located, locatedKey, TermSubset } from './term-subset.ts'

export type NodeData = 'start' | 'end' | 'removed' | Located

export interface QueryNode {
  data: NodeData
  readonly predecessors: Bits
  readonly successors: Bits
}

export const startNode = 0
export const endNode = 1

export class QueryGraph {
  readonly nodes: readonly QueryNode[]

  constructor(nodes: readonly QueryNode[]) {
    this.nodes = nodes
  }

  /** The graph of a parsed query, and every term in it, n-grams included. */
  static ofTerms(
    terms: readonly LocatedTerm[],
    factory: TermFactory,
  ): { readonly graph: QueryGraph; readonly terms: readonly LocatedTerm[] } {
    const nodes: QueryNode[] = [emptyNode('start'), emptyNode('end')]
    const all = [...terms]
    for (const [index, located] of terms.entries()) {
      nodes.push(emptyNode(locate(located, index, index)))
      for (const length of [2, 3]) {
        const from = index - length + 1
        const ngram = from < 0 ? null : factory.ngram(terms.slice(from, index + 1))
        if (ngram === null) continue
        all.push(ngram)
        nodes.push(emptyNode(locate(ngram, from, index)))
      }
    }
    connect(nodes)
    return { graph: new QueryGraph(nodes), terms: all }
  }

  /** The graph of the readings that produced a bucket. Nodes with the same rest of the path are shared. */
  static ofPaths(paths: readonly (readonly PathStep[])[]): QueryGraph {
    const nodes: QueryNode[] = [emptyNode('start'), emptyNode('end')]
    const known = new Map<string, number>()
    for (const path of paths) {
      const terms = mergeSteps(path)
      const keys = terms.map(locatedKey)
      let before = startNode
      for (const [index, term] of terms.entries()) {
        const key = keys.slice(index).join('\n')
        let node = known.get(key)
        if (node === undefined) {
          node = nodes.length
          nodes.push(emptyNode(term))
          known.set(key, node)
        }
        nodes[before]!.successors.add(node)
        nodes[node]!.predecessors.add(before)
        before = node
      }
      nodes[before]!.successors.add(endNode)
      nodes[endNode]!.predecessors.add(before)
    }
    return new QueryGraph(nodes)
  }

  /** The graph without some nodes: what stood before one now leads to what stood after it. */
  without(removed: Bits): QueryGraph {
    const nodes = this.nodes.map((node) => ({
      data: node.data,
      predecessors: node.predecessors.clone(),
      successors: node.successors.clone(),
    }))
    for (const id of removed) {
      const node = nodes[id]!
      for (const before of node.predecessors) {
        nodes[before]!.successors.delete(id)
        nodes[before]!.successors.addAll(node.successors)
      }
      for (const after of node.successors) {
        nodes[after]!.predecessors.delete(id)
        nodes[after]!.predecessors.addAll(node.predecessors)
      }
      node.data = 'removed'
      node.predecessors.clear()
      node.successors.clear()
    }
    return new QueryGraph(nodes)
  }

  /** The terms with their node numbers, in node order. */
  *terms(): Iterable<readonly [id: number, term: Located]> {
    for (const [id, { data }] of this.nodes.entries()) if (typeof data !== 'string') yield [id, data]
  }

  /** Words of the phrases in the query. */
  get phraseWordCount(): number {
    let count = 0
    for (const [, { subset }] of this.terms())
      count += subset.originalPhrase?.words.filter((word) => word !== null).length ?? 0
    return count
  }

  /** Groups of nodes in the order in which the strategy `last` drops them. */
  lastRemovalOrder(): readonly Bits[] {
    let first = Number.POSITIVE_INFINITY
    let last = 0
    for (const [, { firstTerm, lastTerm }] of this.terms()) {
      first = Math.min(first, firstTerm)
      last = Math.max(last, lastTerm)
    }
    return first >= last ? [] : this.#removalOrder((term) => 1 + last - term)
  }

  /** The same for `frequency`. `frequencies`: how many documents match each term, by its number. */
  frequencyRemovalOrder(frequencies: ReadonlyMap<number, number>): readonly Bits[] {
    const byFrequency = [...frequencies]
      .map(([term, frequency]) => [term, frequency === 0 ? Number.POSITIVE_INFINITY : frequency] as const)
      .sort((left, right) => left[0] - right[0])
      .sort((left, right) => (right[1] === left[1] ? 0 : right[1] - left[1]))
    const ranks = new Map<number, number>()
    let rank = 1
    for (const [index, [term, frequency]] of byFrequency.entries()) {
      ranks.set(term, rank)
      const next = byFrequency[index + 1]
      if (next !== undefined && next[1] !== frequency) rank += 1
    }
    return this.#removalOrder((term) => ranks.get(term) ?? 0)
  }

  #removalOrder(costOf: (term: number) => number): readonly Bits[] {
    const groups = new Map<number, Bits>()
    let hasMandatory = false
    for (const [id, { subset, firstTerm, lastTerm }] of this.terms()) {
      if (subset.originalPhrase !== null || subset.isMandatory) {
        hasMandatory = true
        continue
      }
      let cost = 0
      for (let term = firstTerm; term <= lastTerm; term += 1) cost = Math.max(cost, costOf(term))
      const group = groups.get(cost) ?? new Bits()
      group.add(id)
      groups.set(cost, group)
    }
    const order = [...groups].sort((left, right) => left[0] - right[0]).map(([, group]) => group)
    return hasMandatory ? order : order.slice(0, -1)
  }
}

/** One condition of a path: the terms that it used, `from` when it looked at a pair. */
export interface PathStep {
  readonly from: Located | null
  readonly to: Located
}

/** The terms along a path. Where a pair's left term continues the step before, both narrow it. */
function mergeSteps(path: readonly PathStep[]): readonly Located[] {
  const terms: Located[] = []
  let before: Located | null = null
  for (const { from, to } of path) {
    if (before === null) {
      if (from !== null) terms.push(from)
    } else if (from === null) terms.push(before)
    else if (from.firstTerm === before.firstTerm && from.lastTerm === before.lastTerm)
      terms.push({ ...from, subset: from.subset.intersect(before.subset) })
    else terms.push(before, from)
    before = to
  }
  if (before !== null) terms.push(before)
  return terms
}

function locate({ term, start, end }: LocatedTerm, firstTerm: number, lastTerm: number): Located {
  return { subset: TermSubset.full(term), start, end, firstTerm, lastTerm }
}

function emptyNode(data: NodeData): QueryNode {
  return { data, predecessors: new Bits(), successors: new Bits() }
}

/** Each node leads to the nodes with the next higher term, the last ones to the end. */
function connect(nodes: readonly QueryNode[]): void {
  const firstOf = (data: NodeData): number | null => {
    if (data === 'end') return Number.POSITIVE_INFINITY
    return typeof data === 'string' ? null : data.firstTerm
  }
  for (const [id, node] of nodes.entries()) {
    if (node.data === 'end' || node.data === 'removed') continue
    const last = node.data === 'start' ? -1 : node.data.lastTerm
    const starts = nodes.map(({ data }) => firstOf(data))
    const next = Math.min(...starts.filter((start): start is number => start !== null && start > last))
    for (const [after, start] of starts.entries()) {
      if (start !== next) continue
      node.successors.add(after)
      nodes[after]!.predecessors.add(id)
    }
  }
}
