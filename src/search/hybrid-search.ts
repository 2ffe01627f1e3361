/**
 * Words and vectors together (M-F17). Each node would weigh its own two lists and leave its vectors out by its own hits
 * (F7), so both lists are asked for by themselves, merged, and weighed here.
 */
import type { SearchQuery } from '../api/search-query.ts'
import { assert } from '../lib/assert.ts'
import { type Comparable, comparablesOf, compareComparables } from './comparable-scores.ts'
import { valuesOf } from './distinct-lists.ts'
import type { Hit } from './hit.ts'
import { type ReadOptions, RefusedByNode } from './leg.ts'
import { askLegs, type LegAnswer } from './leg-answers.ts'
import { type MergedHits, mergeHits } from './merged-hits.ts'
import type { RankedHits } from './ranked-hits.ts'
import { legQuery, type SearchPlan } from './search-plan.ts'

/** When all keyword hits score this much, weighted, vectors are not looked at. */
const goodEnoughScore = 0.45
/**
 * What is found by vectors alone knows no words: where matches are shown or words excluded or counted, nodes are asked for
 * both, with next to no weight for words.
 */
const nearlyAllVectors = 0.999999

export async function hybridSearch(plan: SearchPlan, options: ReadOptions): Promise<RankedHits> {
  const { hybrid } = plan.query
  assert(hybrid !== null, 'a hybrid plan has a hybrid query')
  const query = legQuery(plan)
  const wordQuery = { ...query, hybrid: null, vector: null, media: null }
  const keyword = await mergeHits(plan, wordQuery, await askLegs(plan.index, wordQuery, options), options)
  if (isGoodEnough(plan, keyword, hybrid.semanticRatio)) return { ...keyword, semanticHits: new Set() }
  const semantic = await semanticHits(plan, query, options)
  if (semantic === null) return { ...keyword, semanticHits: new Set() }
  const hits = join(plan, semantic.hits, keyword.hits, hybrid.semanticRatio)
  const found = new Set(semantic.hits)
  return {
    hits,
    pins: keyword.pins,
    total: semantic.total,
    answers: semantic.answers,
    semanticHits: new Set(hits.filter((hit) => found.has(hit))),
  }
}

function isGoodEnough({ needed, index, query }: SearchPlan, { hits }: MergedHits, ratio: number): boolean {
  const settings = index.settings.embedders[query.hybrid?.embedder ?? '']
  const isKnown = settings !== undefined && (query.vector === null || query.vector.length === settings.dimensions)
  // What is wrong with an embedder is for nodes to say.
  if (!isKnown) return false
  return hits.length >= needed && hits.every(({ score }) => score * (1 - ratio) >= goodEnoughScore)
}

/** null: the query could not be made a vector, and words must do. */
async function semanticHits(plan: SearchPlan, query: SearchQuery, options: ReadOptions): Promise<MergedHits | null> {
  const { hybrid, q } = query
  assert(hybrid !== null, 'a hybrid plan has a hybrid query')
  const needsWords =
    query.attributesToHighlight !== null ||
    query.attributesToCrop !== null ||
    query.showMatchesPosition ||
    // Both parts have a count of their own then.
    query.rankingScoreThreshold !== null ||
    // What is pinned by its words is no neighbour.
    plan.index.pinPositions.length > 0 ||
    (q ?? '').includes('-')
  const semanticRatio = needsWords ? nearlyAllVectors : 1
  const vectorQuery = { ...query, hybrid: { ...hybrid, semanticRatio } }
  try {
    const answers = await askLegs(plan.index, vectorQuery, options)
    return await mergeHits(plan, vectorQuery, answers.map(withoutWordHits), options)
  } catch (error) {
    if (error instanceof RefusedByNode && error.body.code === 'vector_embedding_error') return null
    throw error
  }
}

const withoutWordHits = (answer: LegAnswer): LegAnswer => ({
  ...answer,
  hits: [...answer.hits].filter(({ details }) => details.some(({ name }) => name === 'vectorSort')),
})

interface Entry {
  readonly hit: Hit
  readonly values: readonly Comparable[]
}

/** One list, best first, each document once; what is found by vectors wins ties. */
function join(plan: SearchPlan, semantic: readonly Hit[], keyword: readonly Hit[], ratio: number): readonly Hit[] {
  const left = semantic.map((hit): Entry => ({ hit, values: comparablesOf(hit, ratio) }))
  const right = keyword.map((hit): Entry => ({ hit, values: comparablesOf(hit, 1 - ratio) }))
  const known = new Set<string>()
  const taken = new Set<number | string>()
  const hits: Hit[] = []
  let [i, j] = [0, 0]
  while (hits.length < plan.needed) {
    const [first, second] = [left[i], right[j]]
    const takesFirst = first !== undefined && (second === undefined || compareEntries(first, second) <= 0)
    const entry = takesFirst ? first : second
    if (entry === undefined) break
    if (takesFirst) i += 1
    else j += 1
    if (known.has(entry.hit.sequence)) continue
    const values = plan.distinct === null ? [] : valuesOf(entry.hit, plan.distinct)
    if (values.some((value) => taken.has(value))) continue
    known.add(entry.hit.sequence)
    for (const value of values) taken.add(value)
    hits.push(entry.hit)
  }
  return hits
}

/** A score against a value to sort by: only a score of 0 loses. */
function compareEntries({ values: a }: Entry, { values: b }: Entry): number {
  for (let at = 0; ; at += 1) {
    const [first, second] = [a[at], b[at]]
    if (first === undefined || second === undefined) return b.length - a.length
    const order = compareComparables(first, second)
    if (order === null) {
      if (first.kind === 'score') return first.score === 0 ? 1 : -1
      if (second.kind === 'score') return second.score === 0 ? -1 : 1
      return 0
    }
    if (order !== 0) return order
  }
}
