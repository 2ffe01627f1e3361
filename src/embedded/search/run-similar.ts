/** `POST /indexes/{uid}/similar`: nearest neighbours of a document (M-F19). */
import { isDocumentId, wrongDocumentId } from '../../api/document-id.ts'
import { ApiError } from '../../api/errors.ts'
import { defaultSearchQuery } from '../../api/search-query.ts'
import type { SimilarQuery } from '../../api/similar-query.ts'
import { Bitmap } from '../../lib/bitmap.ts'
import type { IndexReader } from '../index-reader.ts'
import { evaluateFilter } from './filter-evaluation.ts'
import { readFilter } from './filter-request.ts'
import { HitMaker } from './hits.ts'
import { MatchingWords } from './matching-words.ts'
import type { Neighbour } from './nearest-first.ts'
import type { OrderedJson, OrderedObject } from './ordered-json.ts'
import { hitJson, performanceDetails } from './run-search.ts'
import type { SearchContext } from './search-context.ts'
import { embedderOf, nearest } from './vectors.ts'

/** @throws ApiError `not_found_similar_id`, `invalid_similar_embedder`, `invalid_similar_filter`. */
export function runSimilar(reader: IndexReader, query: SimilarQuery, context: SearchContext): OrderedObject {
  const startedAt = context.clock.monotonic()
  const embedder = embedderOf(reader, query.embedder, 'invalid_similar_embedder')
  const filter = readFilter(query.filter, 'invalid_similar_filter', context.features)
  if (!isDocumentId(query.id))
    throw new ApiError(
      'invalid_similar_id',
      `Invalid value at \`.id\`: ${wrongDocumentId(JSON.stringify(query.id)).message}`,
    )
  const docid = reader.docidOf(query.id)
  if (docid === undefined) throw new ApiError('not_found_similar_id', `Document \`${query.id}\` not found.`)
  const passing = filter === null ? reader.documentIds : evaluateFilter(reader, filter, 'invalid_similar_filter')
  let candidates = passing.andNot(Bitmap.of(docid))
  const own = reader.vectorsOf(embedder.name, docid)
  const ordered = own.length === 0 ? undefined : nearest(reader, embedder, own, candidates, 'by-place')
  const all: Neighbour[] = []
  while (all.length < query.offset + query.limit && ordered?.first !== undefined) all.push(ordered.take()!)
  const neighbours = all.slice(query.offset)
  const below = neighbours.findIndex(({ similarity }) => similarity < (query.rankingScoreThreshold ?? 0))
  const shown = below < 0 ? neighbours : neighbours.slice(0, below)
  // Below the threshold nothing counts; hits of pages before do, whatever their likeness.
  if (below >= 0) candidates = Bitmap.from(all.slice(0, query.offset + below).map((neighbour) => neighbour.docid))
  const maker = new HitMaker(reader, { ...defaultSearchQuery, ...query, sort: null }, new MatchingWords([]))
  const hits = shown.map((neighbour) =>
    hitJson(maker.make(neighbour.docid, [{ kind: 'vector', similarity: neighbour.similarity }])),
  )
  const answer = new Map<string, OrderedJson>([
    ['hits', hits],
    ['id', query.id],
    ['processingTimeMs', Math.round(context.clock.monotonic() - startedAt)],
    ['limit', query.limit],
    ['offset', query.offset],
    ['estimatedTotalHits', Math.min(candidates.size, reader.settings.pagination.maxTotalHits)],
  ])
  if (query.showPerformanceDetails)
    answer.set('performanceDetails', performanceDetails(context.clock.monotonic() - startedAt))
  return answer
}
