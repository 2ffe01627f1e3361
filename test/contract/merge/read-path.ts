/** Questions of the differential test, answered by the read path of spread indexes. */

import {
  decodeDocumentParameters,
  decodeDocumentsParameters,
  decodeDocumentsQuery,
} from '../../../src/api/documents-query.ts'
import { ApiError } from '../../../src/api/errors.ts'
import { decodeFacetSearch } from '../../../src/api/facet-search-query.ts'
import { decodeMultiSearch } from '../../../src/api/multi-search-query.ts'
import { decodeSearchParameters, decodeSearchQuery } from '../../../src/api/search-query.ts'
import { decodeSimilar } from '../../../src/api/similar-query.ts'
import type { Json } from '../../../src/lib/json.ts'
import { listDocuments, readDocument } from '../../../src/search/documents.ts'
import { searchFacet } from '../../../src/search/facet-search.ts'
import { readStats } from '../../../src/search/index-stats.ts'
import { type Ask, type ReadOptions, RefusedByNode, type SearchedIndex } from '../../../src/search/leg.ts'
import { multiSearch } from '../../../src/search/multi-search.ts'
import { narrow } from '../../../src/search/narrowing.ts'
import { searchIndex } from '../../../src/search/search-index.ts'
import { searchSimilar } from '../../../src/search/similar-documents.ts'
import type { Answer } from '../differential/comparison.ts'
import type { Question } from '../differential/questions.ts'

/** undefined = no question of the read path. */
export async function answerQuestion(question: Question, index: SearchedIndex, ask: Ask): Promise<Answer | undefined> {
  const options = { ask, signal: AbortSignal.timeout(60_000), newUid: () => 'uid', narrow, withMetadata: false }
  try {
    const text = await answerText(question, index, options)
    return text === undefined ? undefined : { status: 200, body: JSON.parse(text) as Json }
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof RefusedByNode)) throw error
    return { status: error.status, body: { ...error.body } }
  }
}

async function answerText(
  { method, path, body }: Question,
  index: SearchedIndex,
  options: ReadOptions,
): Promise<string | undefined> {
  const [place = '', search = ''] = path.split('?')
  const route = `${method ?? 'POST'} ${place.replace(`/indexes/${index.uid}`, '')}`
  switch (route) {
    case 'POST /search':
      return searchIndex(index, decodeSearchQuery(body ?? {}), options)
    case 'GET /search':
      return searchIndex(index, decodeSearchParameters(`?${search}`), options)
    case 'POST /facet-search':
      return searchFacet(index, decodeFacetSearch(body ?? {}), options)
    case 'POST /similar':
      return searchSimilar(index, decodeSimilar(body ?? {}), options)
    case 'POST /documents/fetch':
      return listDocuments(index, decodeDocumentsQuery(body ?? {}), options)
    case 'GET /documents':
      return listDocuments(index, decodeDocumentsParameters(`?${search}`), options)
    case 'GET /stats':
      return readStats(index, options).then((stats) => JSON.stringify(stats))
    case 'POST /multi-search':
      return multiSearch((uid) => (uid === index.uid ? index : undefined), decodeMultiSearch(body ?? {}), options)
    default:
      return /^GET \/documents\/[^/]+$/.test(route)
        ? readDocument(index, place.split('/').at(-1)!, decodeDocumentParameters(`?${search}`), options)
        : undefined
  }
}
