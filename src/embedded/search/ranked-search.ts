/** Keyword, semantic and hybrid search over one index (M-F17): which runs, and how their lists become one. */
import { ApiError } from '../../api/errors.ts'
import type { SearchQuery } from '../../api/search-query.ts'
import { Bitmap } from '../../lib/bitmap.ts'
import { EmbedError } from '../embedders/embed-error.ts'
import type { QueryEmbeddings } from '../embedders/query-embeddings.ts'
import type { IndexReader } from '../index-reader.ts'
import { sharesValue } from './distinct.ts'
import { type Pin, withPins } from './pinned-hits.ts'
import { type PreparedQuery, type QueryOptions, type QueryResult, runQuery } from './query-search.ts'
import { type ComparableScore, comparableScores, compareScore, rankingScore, type ScoreDetail } from './score.ts'
import { cutoffOf } from './search-context.ts'
import { checkDimensions, type Embedder, embedderOf } from './vectors.ts'

export interface RankedResult extends QueryResult {
  /** The search had a semantic part, even if no hit comes from it. */
  readonly isSemantic: boolean
  /** The vector that was used, for `retrieveVectors`. */
  readonly queryVector: readonly number[] | null
}

export type RankedOptions = Omit<QueryOptions, 'vector'>

/** When all keyword hits score this much, weighted, the semantic half is not asked. */
const goodEnoughScore = 0.45

export type Plan =
  | { readonly kind: 'keyword' }
  | { readonly kind: 'semantic'; readonly embedder: Embedder; readonly target: readonly number[] }
  | {
      readonly kind: 'hybrid'
      readonly embedder: Embedder
      readonly ratio: number
      /** Asked for only when the keyword half is not good enough. @throws EmbeddingNeeded, EmbedError */
      readonly target: () => readonly number[]
    }

/**
 * Which search runs. Messages 36 and 33 come from here, without the index's name.
 *
 * @throws EmbeddingNeeded when the query must become a vector first, ApiError `vector_embedding_error` when it cannot.
 */
export function planSearch(reader: IndexReader, query: SearchQuery, embeddings: QueryEmbeddings): Plan {
  const { q, hybrid, vector, media } = query
  const hasWords = q !== null && q.trim() !== ''
  const hasOther = vector !== null || media !== null
  if (hybrid === null || hybrid.semanticRatio === 0 || (!hasWords && !hasOther)) return { kind: 'keyword' }
  const embedder = embedderOf(reader, hybrid.embedder, 'invalid_search_embedder')
  if (vector !== null) checkDimensions(embedder, vector)
  const cutoffMs = cutoffOf(reader.settings.searchCutoffMs)
  const target = () => vector ?? embeddings.vectorOf({ ...embedder, cutoffMs }, { q, media })
  if (hybrid.semanticRatio === 1 || !hasWords) return { kind: 'semantic', embedder, target: vectorOrRefusal(target) }
  return { kind: 'hybrid', embedder, ratio: hybrid.semanticRatio, target }
}

function vectorOrRefusal(target: () => readonly number[]): readonly number[] {
  try {
    return target()
  } catch (error) {
    if (!(error instanceof EmbedError)) throw error
    throw new ApiError('vector_embedding_error', `Error while generating embeddings: ${error.message}`, {
      cause: error,
    })
  }
}

/** null: what was found by words must do. */
function vectorOrNull(target: () => readonly number[]): readonly number[] | null {
  try {
    return target()
  } catch (error) {
    if (!(error instanceof EmbedError)) throw error
    return null
  }
}

export function rankedSearch(
  reader: IndexReader,
  query: SearchQuery,
  plan: Plan,
  prepared: PreparedQuery,
  options: RankedOptions,
): RankedResult {
  switch (plan.kind) {
    case 'keyword': {
      const found = runQuery(reader, query, prepared, { ...options, vector: null })
      return { ...pinnedPage(found, options), isSemantic: false, queryVector: null }
    }
    case 'semantic': {
      const { embedder, target } = plan
      const vector = { embedder, target }
      const found = runQuery(reader, { ...query, q: null }, prepared, { ...options, needsScores: true, vector })
      return { ...pinnedPage(found, options), isSemantic: true, queryVector: target }
    }
    case 'hybrid':
      return hybridSearch(reader, query, prepared, options, plan)
  }
}

function hybridSearch(
  reader: IndexReader,
  query: SearchQuery,
  prepared: PreparedQuery,
  options: RankedOptions,
  { embedder, ratio, target }: Extract<Plan, { kind: 'hybrid' }>,
): RankedResult {
  const { from, length } = options
  const whole = { ...options, from: 0, length: from + length, needsScores: true }
  const keyword = runQuery(reader, query, prepared, { ...whole, vector: null })
  const isGoodEnough =
    keyword.docids.length >= from + length &&
    keyword.scores.every((details) => rankingScore(details) * (1 - ratio) >= goodEnoughScore)
  const vector = isGoodEnough ? null : vectorOrNull(target)
  if (vector === null) {
    if (keyword.pins.length > 0) return { ...pinnedPage(keyword, options), isSemantic: true, queryVector: null }
    const page = {
      docids: keyword.docids.slice(from, from + length),
      scores: keyword.scores.slice(from, from + length),
    }
    return { ...keyword, ...page, isSemantic: true, queryVector: null }
  }
  const semantic = runQuery(reader, query, prepared, { ...whole, vector: { embedder, target: vector } })
  const merged = mergeLists(reader, query.distinct ?? reader.settings.distinctAttribute, [
    ...entries(semantic, ratio, true),
    ...entries(keyword, 1 - ratio, false),
  ])
  const organic = merged.hits.map(({ docid, details }): Placed => ({ docid, details }))
  const page = placed(organic, keyword.pins).slice(from, from + length)
  let candidates = semantic.candidates.or(keyword.candidates)
  if (merged.excluded !== null)
    candidates = candidates.andNot(merged.excluded).or(Bitmap.from(page.map(({ docid }) => docid)))
  return {
    docids: page.map(({ docid }) => docid),
    scores: page.map(({ details }) => details),
    candidates,
    words: keyword.words,
    pins: [],
    isSemantic: true,
    queryVector: vector,
  }
}

interface Placed {
  readonly docid: number
  readonly details: readonly ScoreDetail[]
}

function placed(organic: readonly Placed[], pins: readonly Pin[]): readonly Placed[] {
  if (pins.length === 0) return organic
  return withPins(
    organic,
    pins.map(({ docid, position }) => ({ position, hit: { docid, details: [{ kind: 'pin', position }] } })),
  )
}

/** The page of a list that is whole when something is pinned into it. */
function pinnedPage(found: QueryResult, { from, length }: RankedOptions): QueryResult {
  if (found.pins.length === 0) return found
  const organic = found.docids.map((docid, index): Placed => ({ docid, details: found.scores[index] ?? [] }))
  const page = placed(organic, found.pins).slice(from, from + length)
  return { ...found, docids: page.map(({ docid }) => docid), scores: page.map(({ details }) => details) }
}

interface Entry {
  readonly docid: number
  readonly details: readonly ScoreDetail[]
  readonly scores: readonly ComparableScore[]
  readonly isSemantic: boolean
}

function entries({ docids, scores }: QueryResult, weight: number, isSemantic: boolean): readonly Entry[] {
  return docids.map((docid, index) => {
    const details = scores[index] ?? []
    return { docid, details, scores: comparableScores(details, weight), isSemantic }
  })
}

/** One list, best first, each document once; semantic hits win ties. Both lists are in order already. */
function mergeLists(
  reader: IndexReader,
  distinct: string | null,
  all: readonly Entry[],
): { readonly hits: readonly Entry[]; readonly excluded: Bitmap | null } {
  const semantic = all.filter(({ isSemantic }) => isSemantic)
  const keyword = all.filter(({ isSemantic }) => !isSemantic)
  const field = distinct === null ? undefined : reader.fieldId(distinct)
  let excluded = Bitmap.of()
  const seen = new Set<number>()
  const hits: Entry[] = []
  let left = 0
  let right = 0
  while (left < semantic.length || right < keyword.length) {
    const first = semantic[left]
    const second = keyword[right]
    const takesFirst = first !== undefined && (second === undefined || compareLists(first.scores, second.scores) >= 0)
    const entry = takesFirst ? first : second
    if (takesFirst) left += 1
    else right += 1
    if (entry === undefined || seen.has(entry.docid) || excluded.has(entry.docid)) continue
    seen.add(entry.docid)
    if (field !== undefined) excluded = excluded.or(sharesValue(reader, field, entry.docid))
    hits.push(entry)
  }
  return { hits, excluded: field === undefined ? null : excluded }
}

/** A relevancy score against a sort value: only a score of 0 loses. */
function compareLists(left: readonly ComparableScore[], right: readonly ComparableScore[]): number {
  for (let index = 0; ; index += 1) {
    const first = left[index]
    const second = right[index]
    if (first === undefined || second === undefined) return first === undefined ? (second === undefined ? 0 : -1) : 1
    const order = compareScore(first, second)
    if (order === null) {
      if (first.kind === 'score') return first.score === 0 ? -1 : 1
      if (second.kind === 'score') return second.score === 0 ? 1 : -1
      return 0
    }
    if (order !== 0) return order
  }
}
