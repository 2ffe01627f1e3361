/** Document routes (M-A4). Payloads are judged for syntax here; ids and fields are the task's affair. */

import { allows } from '../../api/actions.ts'
import { type DocumentFindings, type DocumentFormat, readDocuments } from '../../api/document-payload.ts'
import {
  type DocumentsQuery,
  type DocumentWriteQuery,
  decodeCustomMetadata,
  decodeDeleteByFilter,
  decodeDocumentEdition,
  decodeDocumentParameters,
  decodeDocumentsParameters,
  decodeDocumentsQuery,
  decodeDocumentWrite,
} from '../../api/documents-query.ts'
import { ApiError } from '../../api/errors.ts'
import { featureNotEnabled } from '../../api/features.ts'
import { idLines, readIdList } from '../../api/id-list.ts'
import { parseJsonBody } from '../../api/json-text.ts'
import type { DocumentQuery, EngineOperation } from '../core.ts'
import { checkEditFunction, contextTextOf } from '../edit-function/edit-request.ts'
import { readFilter } from '../search/filter-request.ts'
import { refuseForeign } from '../search/foreign-filter.ts'
import {
  type Answer,
  accepted,
  type Call,
  checkContentType,
  pathUid,
  type Route,
  readJson,
  readPieces,
  readRaw,
} from './call.ts'

const prefix = '/indexes/{uid}/documents'

export const documentRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: prefix,
    action: 'documents.get',
    handle: (call) => page(call, decodeDocumentsParameters(call.search)),
  },
  {
    method: 'POST',
    path: `${prefix}/fetch`,
    action: 'documents.get',
    handle: async (call) => page(call, decodeDocumentsQuery(await readJson(call))),
  },
  { method: 'POST', path: prefix, action: 'documents.add', handle: (call) => put(call, false) },
  { method: 'PUT', path: prefix, action: 'documents.add', handle: (call) => put(call, true) },
  {
    method: 'DELETE',
    path: prefix,
    action: 'documents.delete',
    handle: (call) => write(call, decodeCustomMetadata(call.search), { kind: 'documents-clear' }),
  },
  {
    method: 'POST',
    path: `${prefix}/delete-batch`,
    action: 'documents.delete',
    async handle(call) {
      const customMetadata = decodeCustomMetadata(call.search)
      return deleteIds(call, customMetadata, readIdList(await readRaw(call)))
    },
  },
  {
    method: 'POST',
    path: `${prefix}/delete`,
    action: 'documents.delete',
    async handle(call) {
      const customMetadata = decodeCustomMetadata(call.search)
      const filter = decodeDeleteByFilter(await readJson(call))
      refuseForeign(readFilter(filter, 'invalid_document_filter', call.parts.features()), 'invalid_document_filter')
      return write(call, customMetadata, { kind: 'documents-delete-by-filter', filter })
    },
  },
  {
    method: 'POST',
    path: `${prefix}/edit`,
    action: 'documents.add',
    async handle(call) {
      const customMetadata = decodeCustomMetadata(call.search)
      const body = await readRaw(call)
      const edition = decodeDocumentEdition(parseJsonBody(body))
      if (!call.parts.features().editDocumentsByFunction)
        throw featureNotEnabled('editDocumentsByFunction', 'Using the documents edit route')
      checkEditFunction(edition.function)
      if (edition.filter !== null)
        namingIndex(pathUid(call), () => readFilter(edition.filter, 'invalid_document_filter', call.parts.features()))
      return write(call, customMetadata, { kind: 'documents-edit', ...edition, ...contextTextOf(body) })
    },
  },
  {
    method: 'GET',
    path: `${prefix}/{id}`,
    action: 'documents.get',
    async handle(call) {
      const { fields, retrieveVectors } = decodeDocumentParameters(call.search)
      const options = { retrieveVectors, ...(fields === null ? {} : { fields }) }
      return { status: 200, body: await call.parts.core.document(pathUid(call), call.params[1] ?? '', options) }
    },
  },
  {
    method: 'DELETE',
    path: `${prefix}/{id}`,
    action: 'documents.delete',
    handle: (call) => deleteIds(call, decodeCustomMetadata(call.search), [[call.params[1] ?? '']]),
  },
]

async function page(call: Call, query: DocumentsQuery): Promise<Answer> {
  const { fields, ids, sort, filter } = query
  if (query.useNetwork && !call.parts.features().network)
    throw featureNotEnabled('network', 'passing `useNetwork` in a search query')
  const wanted: DocumentQuery = {
    offset: query.offset,
    limit: query.limit,
    retrieveVectors: query.retrieveVectors,
    features: call.parts.features(),
    ...(fields === null ? {} : { fields }),
    ...(ids === null ? {} : { ids }),
    ...(sort === null ? {} : { sort }),
    ...(filter === null ? {} : { filter }),
  }
  return { status: 200, body: await call.parts.core.documents(pathUid(call), wanted) }
}

const formats = ['application/json', 'application/x-ndjson', 'text/csv'] as const

/** Messages 9 to 11. */
function formatOf(call: Call, { csvDelimiter }: DocumentWriteQuery): DocumentFormat {
  const type = checkContentType(call.request, formats)
  if (type === 'text/csv') return { kind: 'csv', delimiter: csvDelimiter ?? ',' }
  if (csvDelimiter !== null)
    throw new ApiError(
      'invalid_content_type',
      `The Content-Type \`${type}\` does not support the use of a csv delimiter. The csv delimiter can only be used with the Content-Type \`text/csv\`.`,
    )
  return { kind: type === 'application/json' ? 'json' : 'ndjson' }
}

async function put(call: Call, merge: boolean): Promise<Answer> {
  const query = decodeDocumentWrite(call.search)
  const documents = readDocuments(readPieces(call), formatOf(call, query), null)
  let findings: DocumentFindings | undefined
  async function* lines(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const next = await documents.next()
      if (next.done) {
        findings = next.value
        return
      }
      yield next.value
    }
  }
  const task = await call.parts.core.enqueue({
    uid: pathUid(call),
    operation: { kind: 'documents-put', merge, skipCreation: query.skipCreation, primaryKey: query.primaryKey },
    payload: lines(),
    received: () => findings?.received ?? 0,
    customMetadata: query.customMetadata,
    allowIndexCreation: allows(call.access.actions, 'indexes.create'),
  })
  return accepted(task)
}

async function deleteIds(
  call: Call,
  customMetadata: string | null,
  groups: AsyncIterable<readonly string[]> | Iterable<readonly string[]>,
): Promise<Answer> {
  const { lines, count } = idLines(groups)
  const task = await call.parts.core.enqueue({
    uid: pathUid(call),
    operation: { kind: 'documents-delete' },
    payload: lines,
    received: count,
    customMetadata,
    allowIndexCreation: false,
  })
  return accepted(task)
}

async function write(call: Call, customMetadata: string | null, operation: EngineOperation): Promise<Answer> {
  const task = await call.parts.core.enqueue({
    uid: pathUid(call),
    operation,
    customMetadata,
    allowIndexCreation: false,
  })
  return accepted(task)
}

/** Filters that are refused at once name the index, those of other document routes do not. */
function namingIndex(uid: string, check: () => unknown): void {
  try {
    check()
  } catch (error) {
    if (error instanceof ApiError && error.code === 'invalid_document_filter')
      throw new ApiError(error.code, `Index \`${uid}\`: ${error.message}`)
    throw error
  }
}
