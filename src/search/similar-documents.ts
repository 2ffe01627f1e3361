/**
 * `GET` and `POST /indexes/{uid}/similar` over the shards of a spread index: the vectors of the document come from the shard
 * that has it, and all shards are searched with them (merge findings, section 5 step 7).
 */
import { defaultSearchQuery, type SearchQuery } from '../api/search-query.ts'
import type { SimilarQuery } from '../api/similar-query.ts'
import type { JsonObject } from '../lib/json.ts'
import { splitMembers } from '../lib/json-cut.ts'
import { ownerOf } from './documents.ts'
import { changedHit, type Hit, sequenceOf } from './hit.ts'
import { indexPath, type Leg, type ReadOptions, type SearchedIndex } from './leg.ts'
import { askLegs, totalOf } from './leg-answers.ts'
import { type Neighbour, nearest, type SourceVectors, vectorsIn, vectorsMax } from './near-documents.ts'
import { projectionOf } from './projection.ts'
import { isRefusal, refusal } from './refusals.ts'
import { hitText } from './render-hit.ts'
import { withClientNames } from './reserved-names.ts'
import { countQuery } from './search-plan.ts'

/** @returns JSON text of the whole answer. @throws as `searchIndex`. */
export async function searchSimilar(index: SearchedIndex, sent: SimilarQuery, options: ReadOptions): Promise<string> {
  const query = withClientNames(sent, index.settings)
  await checkSimilar(index, query, options)
  const document = await readVectors(index, query, options)
  const { maxTotalHits } = index.settings.pagination
  const { offset, limit, rankingScoreThreshold } = query
  const projection = projectionOf(
    index,
    { attributesToRetrieve: query.attributesToRetrieve, attributesToHighlight: null, attributesToCrop: null },
    [],
  )
  const search: SearchQuery = {
    ...defaultSearchQuery,
    filter: query.filter,
    hybrid: { embedder: query.embedder, semanticRatio: 1 },
    attributesToRetrieve: projection.retrieve,
    retrieveVectors: true,
    showRankingScore: true,
    showRankingScoreDetails: true,
    showPerformanceDetails: query.showPerformanceDetails,
  }
  const { answers, near, isOwnFound } = await nearest(
    index,
    search,
    { ...document, embedder: query.embedder, count: offset + limit },
    options,
  )
  const found = near.slice(0, offset + limit)
  const below = found.findIndex(({ similarity }, at) => at >= offset && similarity < (rankingScoreThreshold ?? 0))
  const shown = below < 0 ? found.slice(offset) : found.slice(offset, below)
  const total = below < 0 ? await countOthers(index, query, isOwnFound, options) : below
  const shape = {
    projection,
    showScore: query.showRankingScore,
    showDetails: query.showRankingScoreDetails,
    drops: query.retrieveVectors ? [] : (['_vectors'] as const),
  }
  const slowest = Math.max(0, ...answers.map(({ processingTimeMs }) => processingTimeMs))
  const details = answers[0]?.members.get('performanceDetails')
  const members = [
    `"hits":[${shown.map((neighbour) => hitText(alone(neighbour), shape)).join(',')}]`,
    `"id":${JSON.stringify(query.id)}`,
    `"processingTimeMs":${slowest}`,
    `"limit":${limit}`,
    `"offset":${offset}`,
    `"estimatedTotalHits":${Math.min(total, maxTotalHits)}`,
    ...(details === undefined ? [] : [`"performanceDetails":${details}`]),
  ]
  return `{${members.join(',')}}`
}

/** The node that has the document says what is wrong with the request. */
async function checkSimilar(index: SearchedIndex, query: SimilarQuery, options: ReadOptions): Promise<void> {
  const { id, embedder, filter } = query
  const body: JsonObject = { id, embedder, limit: 0, ...(filter === null ? {} : { filter }) }
  const leg: Leg = { target: ownerOf(index, id).id, method: 'POST', path: indexPath(index, '/similar'), body }
  const reply = await options.ask(leg, options.signal)
  if (isRefusal(reply)) throw await refusal(index, [reply], leg, options)
}

async function readVectors(
  index: SearchedIndex,
  { id, embedder }: SimilarQuery,
  options: ReadOptions,
): Promise<Pick<SourceVectors, 'vectors' | 'sequence'>> {
  const path = indexPath(index, '/documents/fetch')
  const body = { ids: [id], retrieveVectors: true }
  const leg: Leg = { target: ownerOf(index, id).id, method: 'POST', path, body }
  const reply = await options.ask(leg, options.signal)
  if (isRefusal(reply)) throw await refusal(index, [reply], leg, options)
  const [text] = listItems(reply.body)
  if (text === undefined) return { vectors: [], sequence: '' }
  return { vectors: vectorsIn(text, embedder).slice(0, vectorsMax), sequence: sequenceOf(text) }
}

function listItems(body: string): readonly string[] {
  const results = splitMembers(body).get('results') ?? '[]'
  return results === '[]' ? [] : [results.slice(1, -1)]
}

/** Documents that pass the filter, without the document itself. */
async function countOthers(
  index: SearchedIndex,
  query: SimilarQuery,
  isOwnFound: boolean | undefined,
  options: ReadOptions,
): Promise<number> {
  const all = countQuery({ ...defaultSearchQuery, filter: query.filter })
  const own = isOwnFound === undefined ? isAmongFound(index, query, options) : Number(isOwnFound)
  const [answers, ownCount] = await Promise.all([askLegs(index, all, options), own])
  return totalOf(answers) - ownCount
}

/** 1 when the filter lets the document itself through. */
async function isAmongFound(index: SearchedIndex, { id, filter }: SimilarQuery, options: ReadOptions): Promise<number> {
  if (filter === null) return 1
  const leg: Leg = {
    target: ownerOf(index, id).id,
    method: 'POST',
    path: indexPath(index, '/documents/fetch'),
    body: { ids: [id], filter, limit: 0 },
  }
  const reply = await options.ask(leg, options.signal)
  if (isRefusal(reply)) throw await refusal(index, [reply], leg, options)
  return Number(splitMembers(reply.body).get('total') ?? 0)
}

/** Likeness is the only rule of this search. */
function alone({ hit, similarity }: Neighbour): Hit {
  const detail = { name: 'vectorSort', fields: { order: 0, similarity } }
  return changedHit(hit, { score: similarity, scoreText: String(similarity), details: [detail], detailsText: null })
}
