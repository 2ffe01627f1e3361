/** What bucket sort needs of a rule, and the common shape of those that rank by the words of the query. */
import { Bitmap } from '../../lib/bitmap.ts'
import type { Bits } from './bits.ts'
import { visitPaths } from './path-visitor.ts'
import { type PathStep, QueryGraph, startNode } from './query-graph.ts'
import { DeadEnds, type EdgeBuilder, RuleGraph, type Skips } from './rule-graph.ts'
import type { ScoreDetail } from './score.ts'

export interface Bucket {
  /** What the next rule sees of the query; null for a search without words. */
  readonly graph: QueryGraph | null
  readonly candidates: Bitmap
  readonly score: ScoreDetail
}

/**
 * A rule splits a set of documents into ordered buckets. Between `start` and `end` it is asked for one bucket after the
 * other, each time with the documents that are left.
 */
export interface RankingRule {
  start(universe: Bitmap, graph: QueryGraph | null): void
  /** Null = no more: what is left of `universe` matches none of the rule's cases. */
  next(universe: Bitmap): Bucket | null
  /** A bucket that costs no work, for when time is up. */
  nextWithoutWork?(universe: Bitmap): Bucket | null
  end(): void
}

export interface GraphRuleOptions {
  readonly build: EdgeBuilder
  readonly score: (rank: number, max: number) => ScoreDetail
  /** Terms that may be left out, and what the rule's highest rank gains; only for `words`. */
  readonly skips?: (graph: QueryGraph) => { readonly skips: Skips; readonly extraMax: number }
}

interface State {
  readonly graph: RuleGraph
  readonly deadEnds: DeadEnds
  readonly docids: Map<number, { universeSize: number; docids: Bitmap }>
  costs: readonly (readonly number[])[]
  nextCost: number
  readonly max: number
}

/** A rule whose buckets are the documents of its cheapest paths. */
export class GraphRule implements RankingRule {
  readonly #options: GraphRuleOptions
  #state: State | undefined

  constructor(options: GraphRuleOptions) {
    this.#options = options
  }

  start(_universe: Bitmap, queryGraph: QueryGraph | null): void {
    if (queryGraph === null) return
    const { skips, extraMax } = this.#options.skips?.(queryGraph) ?? { skips: new Map<number, Bits>(), extraMax: 0 }
    const graph = new RuleGraph(queryGraph, skips, this.#options.build)
    const costs = graph.costsToEnd()
    const max = 1 + extraMax + (costs[startNode]!.at(-1) ?? 0)
    this.#state = { graph, deadEnds: new DeadEnds(), docids: new Map(), costs, nextCost: 0, max }
  }

  next(before: Bitmap): Bucket | null {
    const state = this.#state
    if (state === undefined) return null
    const cost = state.costs[startNode]!.find((known) => known >= state.nextCost)
    if (cost === undefined) return null
    state.nextCost = cost + 1
    const { graph, deadEnds } = state
    let universe = before
    const found: Bitmap[] = []
    const goodPaths: number[][] = []
    let removedAny = false
    /** The conditions of the path visited last, each with the documents that satisfy it and all before it. */
    const along: { readonly condition: number; docids: Bitmap }[] = []

    const enter = (condition: number): boolean => {
      const docids = this.#resolve(state, condition, universe)
      if (docids.isEmpty()) {
        deadEnds.forbid([], condition)
        graph.removeCondition(condition)
        removedAny = true
        return false
      }
      const last = along.at(-1)
      const reached = last === undefined ? docids : last.docids.and(docids)
      if (!reached.isEmpty()) {
        along.push({ condition, docids: reached })
        return true
      }
      deadEnds.forbid(
        along.map((step) => step.condition),
        condition,
      )
      const prefix: number[] = []
      for (const step of along.slice(0, -1)) {
        prefix.push(step.condition)
        if (!docids.intersects(step.docids)) deadEnds.forbid(prefix, condition)
      }
      return false
    }

    visitPaths(graph, state.costs, cost, deadEnds, (path) => {
      if (universe.isEmpty()) return 'stop'
      let same = 0
      while (same < path.length && along[same]?.condition === path[same]) same += 1
      along.length = same
      for (const condition of path.slice(same)) if (!enter(condition)) return 'go-on'
      const docids = along.pop()?.docids ?? universe
      goodPaths.push([...path])
      found.push(docids)
      universe = universe.withoutSubset(docids)
      for (const step of along) step.docids = step.docids.andNot(docids)
      return universe.isEmpty() ? 'stop' : 'go-on'
    })

    const steps = goodPaths.map((path) => path.map((number): PathStep => graph.conditions[number]!))
    if (removedAny) state.costs = graph.costsToEnd()
    return {
      graph: QueryGraph.ofPaths(steps),
      candidates: found.length === 1 ? found[0]! : Bitmap.union(found),
      score: this.#options.score(state.max - cost, state.max),
    }
  }

  end(): void {
    this.#state = undefined
  }

  #resolve(state: State, condition: number, universe: Bitmap): Bitmap {
    const known = state.docids.get(condition)
    if (known !== undefined) {
      if (known.universeSize !== universe.size) {
        known.docids = known.docids.and(universe)
        known.universeSize = universe.size
      }
      return known.docids
    }
    const docids = state.graph.conditions[condition]!.resolve(universe)
    state.docids.set(condition, { universeSize: universe.size, docids })
    return docids
  }
}
