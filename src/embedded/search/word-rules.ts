/** The rules that rank by the words of the query: costs of M-F8 as edges of rule graphs. */
import { Bitmap } from '../../lib/bitmap.ts'
import type { FieldId } from '../index-reader.ts'
import { Bits } from './bits.ts'
import { proximityEdges } from './proximity-rule.ts'
import type { QueryGraph } from './query-graph.ts'
import { GraphRule } from './ranking-rule.ts'
import type { Condition, EdgeBuilder, Skips } from './rule-graph.ts'
import type { TermDocids } from './term-docids.ts'
import { type Located, locatedKey, termCount } from './term-subset.ts'

export type Strategy = 'last' | 'all' | 'frequency'

/** `words`: one per term that is left out. */
export function wordsRule(docids: TermDocids, strategy: Strategy): GraphRule {
  return new GraphRule({
    build: (_from, to) => [{ cost: 0, condition: matches(docids, to) }],
    score: (rank, max) => ({ kind: 'words', rank, max }),
    skips: (graph) => ({
      skips: skipsOf(removalOrder(graph, strategy, docids)),
      extraMax: Math.max(0, graph.phraseWordCount - 1),
    }),
  })
}

/** Groups of nodes that the strategy drops, first to go first. */
export function removalOrder(graph: QueryGraph, strategy: Strategy, docids: TermDocids): readonly Bits[] {
  switch (strategy) {
    case 'last':
      return graph.lastRemovalOrder()
    case 'frequency': {
      const byTerm = new Map<number, Bitmap>()
      for (const [, { subset, firstTerm, lastTerm }] of graph.terms())
        for (let term = firstTerm; term <= lastTerm; term += 1)
          byTerm.set(term, docids.of(subset).or(byTerm.get(term) ?? Bitmap.of()))
      return graph.frequencyRemovalOrder(new Map([...byTerm].map(([term, found]) => [term, found.size])))
    }
    case 'all':
      return []
  }
}

/** Who skips a group must have skipped all groups before. */
function skipsOf(order: readonly Bits[]): Skips {
  const skips = new Map<number, Bits>()
  const before = new Bits()
  for (const group of order) {
    const nodesToSkip = before.clone()
    for (const node of group) skips.set(node, nodesToSkip)
    before.addAll(group)
  }
  return skips
}

/** `typo`: typos used, and n for an n-gram of n words. */
export function typoRule(docids: TermDocids): GraphRule {
  return new GraphRule({
    build: (_from, to) => {
      const base = termCount(to) === 1 ? 0 : termCount(to)
      return Array.from({ length: to.subset.maxTypoCost + 1 }, (_, typos) => ({
        cost: base + typos,
        condition: matches(docids, { ...to, subset: to.subset.atTypos(typos) }),
      }))
    },
    score: (rank, max) => ({ kind: 'typo', typoCount: max - rank, maxTypoCount: max - 1 }),
  })
}

/** `proximity`: how far apart neighbouring terms are. */
export function proximityRule(docids: TermDocids): GraphRule {
  return new GraphRule({
    build: proximityEdges(docids, (to) => matches(docids, to)),
    score: (rank, max) => ({ kind: 'proximity', rank, max }),
  })
}

/** `attributeRank`: the weight of the best attribute that has the term. */
export function attributeRankRule(docids: TermDocids): GraphRule {
  const { reader } = docids.postings
  const byWeight = new Map<number, FieldId[]>()
  for (const { id, weight } of reader.searchableFields) {
    const fields = byWeight.get(weight) ?? []
    fields.push(id)
    byWeight.set(weight, fields)
  }
  const weights = [...byWeight.keys()].sort((left, right) => left - right)
  const build: EdgeBuilder = (_from, to) =>
    weights.map((weight) => ({
      cost: weight * termCount(to),
      // With one weight the rule tells nothing apart: every match is in some searchable field.
      condition: weights.length === 1 ? matches(docids, to) : inFields(docids, to, weight, byWeight.get(weight) ?? []),
    }))
  return new GraphRule({ build, score: (rank, max) => ({ kind: 'attributeRank', rank, max }) })
}

function inFields(docids: TermDocids, to: Located, weight: number, fields: readonly FieldId[]): Condition {
  return {
    key: `${weight} ${locatedKey(to)}`,
    from: null,
    to,
    resolve: (universe) => docids.inFields(to.subset, fields).and(universe),
  }
}

/** `wordPosition`: how far the term's place in an attribute is from its place in the query. */
export function wordPositionRule(docids: TermDocids): GraphRule {
  const build: EdgeBuilder = (_from, to) => {
    const count = termCount(to)
    const byCost = new Map<number, number[]>()
    for (const bucket of docids.bucketsOf(to.subset)) {
      const distance = Math.abs(bucket - to.start)
      let cost = 0
      for (let index = 0; index < count; index += 1) cost += distanceCost(distance + index)
      const buckets = byCost.get(cost) ?? []
      buckets.push(bucket)
      byCost.set(cost, buckets)
    }
    if (!byCost.has(count * highestDistanceCost)) byCost.set(count * highestDistanceCost, [])
    return [...byCost].map(([cost, buckets]) => ({
      cost,
      condition: {
        key: `${cost} ${locatedKey(to)}`,
        from: null,
        to,
        resolve: (universe: Bitmap) => docids.inBuckets(to.subset, buckets).and(universe),
      },
    }))
  }
  return new GraphRule({ build, score: (rank, max) => ({ kind: 'wordPosition', rank, max }) })
}

const highestDistanceCost = 10
/** Cost n is for distances up to the n-th bound. */
const distanceBounds = [0, 1, 4, 7, 11, 16, 24, 64, 256, 1024]

function distanceCost(distance: number): number {
  const cost = distanceBounds.findIndex((bound) => distance <= bound)
  return cost === -1 ? highestDistanceCost : cost
}

/** The second half of `exactness`: terms that are found as typed. */
export function exactWordsRule(docids: TermDocids): GraphRule {
  const build: EdgeBuilder = (_from, to) => [
    { cost: 0, condition: exactly(docids, to) },
    { cost: termCount(to), condition: matches(docids, to) },
  ]
  return new GraphRule({
    build,
    score: (rank, max) => ({ kind: 'exactWords', matching: Math.max(0, rank - 1), max: Math.max(0, max - 1) }),
  })
}

function exactly(docids: TermDocids, to: Located): Condition {
  const { exactTerm } = to.subset
  const found =
    exactTerm === null
      ? () => Bitmap.of()
      : exactTerm.kind === 'phrase'
        ? () => docids.ofPhrase(exactTerm.phrase)
        : () => docids.postings.original(exactTerm.word)
  return {
    key: `= ${locatedKey(to)}`,
    from: null,
    to: { ...to, subset: to.subset.onlyExact() },
    resolve: (universe) => found().and(universe),
  }
}

/** Documents that match any derivation of the term. */
export function matches(docids: TermDocids, to: Located): Condition {
  return { key: locatedKey(to), from: null, to, resolve: (universe) => docids.of(to.subset).and(universe) }
}
