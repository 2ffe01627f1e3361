/** Reads of one spread index: what `forward-read.ts` does for plain ones. */
import { decodeDocumentParameters, decodeDocumentsParameters, decodeDocumentsQuery } from '../api/documents-query.ts'
import type { ErrorCode } from '../api/errors.ts'
import { decodeFacetSearch, encodeFacetSearch } from '../api/facet-search-query.ts'
import { completeFeatures } from '../api/features.ts'
import { decodeFieldsQuery } from '../api/index-body.ts'
import { parseJsonBody } from '../api/json-text.ts'
import { decodeStatsQuery } from '../api/page-query.ts'
import { decodeSearchParameters, decodeSearchQuery, encodeSearchQuery } from '../api/search-query.ts'
import { renderSetting, renderSettings } from '../api/settings.ts'
import { decodeSimilar, decodeSimilarParameters } from '../api/similar-query.ts'
import { joinFilters } from '../api/tenant-token.ts'
import { forcedFilter } from '../control/principal.ts'
import { fieldsPage } from '../embedded/field-entries.ts'
import { assert } from '../lib/assert.ts'
import type { Json } from '../lib/json.ts'
import { listDocuments, readDocument } from '../search/documents.ts'
import { searchFacet } from '../search/facet-search.ts'
import { readFields, readStats } from '../search/index-stats.ts'
import type { ReadOptions, SearchedIndex } from '../search/leg.ts'
import { searchIndex } from '../search/search-index.ts'
import { searchSimilar } from '../search/similar-documents.ts'
import type { IndexEntry } from '../store/catalogue.ts'
import type { ReadOperation } from '../upstream/read-attempt.ts'
import { type Answer, json } from './answer.ts'
import { type Call, param, pathUid } from './exchange.ts'
import { ForeignDocuments } from './foreign-documents.ts'
import { asksMetadata } from './request-headers.ts'
import { readSpread } from './spread-read.ts'

/** What a client asks, decoded: anything wrong with it was told by then. */
interface Question {
  readonly operation: ReadOperation
  readonly withMetadata?: boolean
  /** The decoded search, with the forced filter: identical ones may share an answer. */
  readonly query?: () => Json
  readonly answer: (index: SearchedIndex, options: ReadOptions) => Promise<string>
}

/** @param body  of the request; `undefined` = the route has none. */
export async function answerSpread(call: Call, entry: IndexEntry, body: Buffer | undefined): Promise<Answer> {
  if (call.policy.handler === 'readSettings') return readSettings(call, entry)
  const { exchange, principal, signal, headers } = call
  const uid = pathUid(call)
  const foreign =
    principal.project.features.foreignKeys === true
      ? new ForeignDocuments(exchange, principal.project, signal)
      : undefined
  const question = await questionOf(call, body, foreign)
  const answer = await readSpread({
    ...{ exchange, principal, signal, uids: [uid], operation: question.operation },
    withMetadata: question.withMetadata === true && asksMetadata(headers),
    ...(question.query === undefined ? {} : { question: question.query }),
    answer: (find, options) => {
      const index = find(uid)
      assert(index !== undefined, 'the index that is read is known')
      return question.answer(index, options)
    },
  })
  if (foreign === undefined || question.operation !== 'search') return answer
  assert(answer.kind === 'bytes', 'a search is answered with bytes')
  return { ...answer, body: await foreign.fill(answer.body, uid) }
}

/** From the store: nodes know more than the client set. */
async function readSettings({ policy, principal, parts }: Call, entry: IndexEntry): Promise<Answer> {
  const folded = await parts.spread.settings.folded(entry)
  const { setting } = policy
  if (setting !== undefined) return json(200, renderSetting(folded, setting))
  return json(200, renderSettings(folded, completeFeatures(principal.project.features)))
}

async function questionOf(
  call: Call,
  sent: Buffer | undefined,
  foreign: ForeignDocuments | undefined,
): Promise<Question> {
  const { policy, search } = call
  const body = (): Json => parseJsonBody(sent ?? Buffer.alloc(0))
  const forced = policy.handler === 'search' ? forcedFilter(call.principal, pathUid(call)) : null
  const within = <T extends { readonly filter: Json }>(query: T): T =>
    forced === null ? query : { ...query, filter: joinFilters(forced, query.filter) }
  /** Without conditions on other indexes. */
  const resolved = async <T extends { readonly filter: Json }>(query: T, code: ErrorCode): Promise<T> =>
    foreign === undefined ? query : { ...query, filter: await foreign.resolve(pathUid(call), query.filter, code) }
  switch (`${policy.method} ${policy.path.slice('/indexes/{uid}'.length)}`) {
    case 'GET /search':
    case 'POST /search': {
      const asked = within(sent === undefined ? decodeSearchParameters(search) : decodeSearchQuery(body()))
      const query = await resolved(asked, 'invalid_search_filter')
      return {
        operation: 'search',
        withMetadata: true,
        query: () => encodeSearchQuery(query),
        answer: (index, options) => searchIndex(index, query, options),
      }
    }
    case 'POST /facet-search': {
      const query = await resolved(within(decodeFacetSearch(body())), 'invalid_search_filter')
      return {
        operation: 'facet_search',
        query: () => encodeFacetSearch(query),
        answer: (index, options) => searchFacet(index, query, options),
      }
    }
    case 'GET /similar':
    case 'POST /similar': {
      const query = within(sent === undefined ? decodeSimilarParameters(search) : decodeSimilar(body()))
      return { operation: 'similar', answer: (index, options) => searchSimilar(index, query, options) }
    }
    case 'GET /documents':
    case 'POST /documents/fetch': {
      const asked = sent === undefined ? decodeDocumentsParameters(search) : decodeDocumentsQuery(body())
      const query = await resolved(asked, 'invalid_document_filter')
      return { operation: 'documents', answer: (index, options) => listDocuments(index, query, options) }
    }
    case 'GET /documents/{id}': {
      const query = decodeDocumentParameters(search)
      const id = param(call, 'id')
      return { operation: 'documents', answer: (index, options) => readDocument(index, id, query, options) }
    }
    case 'GET /stats': {
      decodeStatsQuery(search)
      return {
        operation: 'stats',
        answer: async (index, options) => JSON.stringify(await readStats(index, options)),
      }
    }
    case 'POST /fields': {
      const query = decodeFieldsQuery(body())
      return {
        operation: 'stats',
        answer: async (index, options) => JSON.stringify(fieldsPage(await readFields(index, options), query)),
      }
    }
    default:
      throw new Error(`no read of spread indexes: ${policy.method} ${policy.path}`)
  }
}
