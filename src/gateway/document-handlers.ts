/** Writes of documents (M-A4). Payloads stream through the checks into the journal's stage; nothing is held whole. */

import {
  type DocumentCheck,
  type DocumentFindings,
  type DocumentFormat,
  readDocuments,
} from '../api/document-payload.ts'
import {
  type DocumentWriteQuery,
  decodeCustomMetadata,
  decodeDeleteByFilter,
  decodeDocumentEdition,
  decodeDocumentWrite,
} from '../api/documents-query.ts'
import { ApiError, type ErrorBody, errorBody } from '../api/errors.ts'
import { idLines, readIdList } from '../api/id-list.ts'
import { parseJsonBody } from '../api/json-text.ts'
import { reservedFields } from '../api/reserved-fields.ts'
import { checkEditFunction, contextTextOf } from '../embedded/edit-function/edit-request.ts'
import { readFilter } from '../embedded/search/filter-request.ts'
import { refuseForeign } from '../embedded/search/foreign-filter.ts'
import type { Payload } from '../journal/change.ts'
import type { AppendRequest, WriteState } from '../journal/ports.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { StoreUnavailable } from '../store/ports.ts'
import type { Answer } from './answer.ts'
import { append, appendRequest, noteWrite, storeAway, summary } from './append.ts'
import { type Call, type Handler, param, pathUid } from './exchange.ts'
import { mentionsForeign } from './foreign-documents.ts'
import { bodyStream, checkContentType, checkJsonType, readBody, readJson } from './request-body.ts'
import type { RequestHeaders } from './request-headers.ts'

/** How often a payload is checked again because the index changed meanwhile. */
const checksMax = 8

const acceptedTypes = ['application/json', 'application/x-ndjson', 'text/csv']

function formatOf(headers: RequestHeaders, query: DocumentWriteQuery): DocumentFormat {
  const contentType = headers.contentType?.replace(/;.*/s, '').trim()
  const type = contentType?.toLowerCase() ?? ''
  checkContentType({ contentType }, acceptedTypes.includes(type), acceptedTypes)
  if (type === 'text/csv') return { kind: 'csv', delimiter: query.csvDelimiter ?? ',' }
  if (query.csvDelimiter !== null) {
    throw new ApiError(
      'invalid_content_type',
      `The Content-Type \`${contentType}\` does not support the use of a csv delimiter. The csv delimiter can only be used with the Content-Type \`text/csv\`.`,
    )
  }
  return type === 'application/json' ? { kind: 'json' } : { kind: 'ndjson' }
}

/** `POST` and `PUT /indexes/{uid}/documents`. */
export const putDocuments: Handler = async (call) => {
  const query = decodeDocumentWrite(call.search)
  const format = formatOf(call.headers, query)
  const uid = pathUid(call)
  const { journal, limits } = call.parts
  const project = call.principal.project.id
  const merge = call.policy.method === 'PUT'
  let state = await readState(call, uid)
  const body = bodyStream(call.exchange.request, limits.documentBytesMax)
  let { payload, findings } = await stage(call, readDocuments(body, format, checkOf(uid, state, query)))
  try {
    for (let check = 1; check <= checksMax; check += 1) {
      const request = putRequest(call, { uid, query, merge, payload, findings, state })
      const outcome = await journal.append(request)
      if (outcome.kind === 'appended') payload = undefined
      noteWrite(call, outcome)
      if (outcome.kind !== 'stale') return summary(request, outcome)
      // The index got another key or other embedders since: the staged documents are judged again, as NDJSON.
      // Of refused documents not all are staged: the client must send them again.
      if (payload === undefined || findings.refusal !== null) break
      state = await journal.writeState(project, uid)
      findings = await judge(journal.open(payload), checkOf(uid, state, query))
    }
    throw storeAway(new Error('the index changed again and again while a payload was checked'))
  } finally {
    if (payload !== undefined) await journal.discard(payload).catch(() => undefined)
  }
}

async function readState(call: Call, uid: string): Promise<WriteState | undefined> {
  try {
    return await call.parts.journal.writeState(call.principal.project.id, uid)
  } catch (error) {
    throw error instanceof StoreUnavailable ? storeAway(error) : error
  }
}

function checkOf(uid: string, state: WriteState | undefined, query: DocumentWriteQuery): DocumentCheck {
  const settings: JsonObject = state?.settings ?? {}
  const embedders = settings.embedders
  const known = Object.entries(embedders !== undefined && isObject(embedders) ? embedders : {})
  return {
    uid,
    primaryKey: state?.primaryKey ?? query.primaryKey,
    reserved: reservedFields,
    geo: namesGeo(settings.filterableAttributes) || namesGeo(settings.sortableAttributes),
    shapes: Array.isArray(settings.filterableAttributes) && settings.filterableAttributes.includes('_geojson'),
    embedders: Object.fromEntries(
      known.map(([name, embedder]) => {
        const dimensions = isObject(embedder) ? embedder.dimensions : null
        return [name, typeof dimensions === 'number' ? dimensions : null]
      }),
    ),
  }
}

/** Whether a list of fields, or of rules with patterns, holds `_geo`. */
function namesGeo(fields: Json | undefined): boolean {
  if (!Array.isArray(fields)) return false
  const entries: readonly Json[] = fields
  return entries.some((entry) => entry === '_geo' || (isObject(entry) && namesGeo(entry.attributePatterns)))
}

interface Staged {
  payload: Payload | undefined
  findings: DocumentFindings
}

/** Stores what the reader yields; its findings come when it ends. */
async function stage(call: Call, documents: AsyncGenerator<Uint8Array, DocumentFindings>): Promise<Staged> {
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
  try {
    const payload = await call.parts.journal.stage(lines())
    if (findings === undefined) throw new Error('a payload was stored before it was read to its end')
    return { payload, findings }
  } catch (error) {
    throw error instanceof StoreUnavailable ? storeAway(error) : error
  }
}

async function judge(staged: AsyncIterable<Uint8Array>, check: DocumentCheck): Promise<DocumentFindings> {
  const documents = readDocuments(staged, { kind: 'ndjson' }, check)
  for (;;) {
    const next = await documents.next()
    if (next.done) return next.value
  }
}

interface Put {
  readonly uid: string
  readonly query: DocumentWriteQuery
  readonly merge: boolean
  readonly payload: Payload | undefined
  readonly findings: DocumentFindings
  readonly state: WriteState | undefined
}

function putRequest(call: Call, { uid, query, merge, payload, findings, state }: Put): AppendRequest {
  const { inferred, refusal } = inference(findings)
  const base = appendRequest(call, {
    uid,
    operation: {
      kind: 'documents-put',
      merge,
      skipCreation: query.skipCreation,
      primaryKey: query.primaryKey,
      received: findings.received,
      distinct: findings.distinct,
    },
    payload: payload ?? null,
    customMetadata: query.customMetadata,
    refusal: refusal ?? otherKey(uid, query, state),
  })
  // A refusal stands as of the request's arrival: it is not judged again, and there is nothing left to store.
  if (base.refusal !== null) return { ...base, payload: null }
  return {
    ...base,
    checkedAgainst: { primaryKey: state?.primaryKey ?? null, embedders: state?.settings.embedders ?? null },
    ...(inferred === undefined ? {} : { inferred }),
  }
}

/** A refused inference counts only while the index has no key, which the journal knows best. */
function inference(findings: DocumentFindings): {
  readonly inferred?: AppendRequest['inferred']
  readonly refusal: ErrorBody | null
} {
  const { refusal, inferred } = findings
  if (refusal?.code.startsWith('index_primary_key_')) return { inferred: { refusal }, refusal: null }
  return inferred === null ? { refusal } : { inferred: { primaryKey: inferred }, refusal }
}

/** Message 22. */
function otherKey(uid: string, query: DocumentWriteQuery, state: WriteState | undefined): ErrorBody | null {
  const known = state?.primaryKey ?? null
  if (known === null || query.primaryKey === null || query.primaryKey === known) return null
  return errorBody(
    'index_primary_key_already_exists',
    `Index \`${uid}\`: Index already has a primary key: \`${known}\`.`,
  )
}

/** `DELETE /indexes/{uid}/documents`. */
export const clearDocuments: Handler = (call) =>
  append(call, {
    uid: pathUid(call),
    operation: { kind: 'documents-clear' },
    customMetadata: decodeCustomMetadata(call.search),
    mayCreateIndex: false,
  })

/** `DELETE /indexes/{uid}/documents/{id}`. */
export const deleteDocument: Handler = (call) =>
  deleteIds(call, [[param(call, 'id')]], decodeCustomMetadata(call.search))

/** `POST /indexes/{uid}/documents/delete-batch`. */
export const deleteBatch: Handler = async (call) => {
  const customMetadata = decodeCustomMetadata(call.search)
  checkContentType(call.headers, /json/i.test(call.headers.contentType ?? ''), ['application/json'])
  const body = await readBody(call.exchange.request, call.parts.limits.documentBytesMax)
  return deleteIds(call, readIdList(body), customMetadata)
}

async function deleteIds(
  call: Call,
  groups: AsyncIterable<readonly string[]> | Iterable<readonly string[]>,
  customMetadata: string | null,
): Promise<Answer> {
  const { journal } = call.parts
  const { lines, count } = idLines(groups)
  let payload: Payload | undefined
  try {
    payload = await journal.stage(lines)
    const parts = { uid: pathUid(call), payload, customMetadata, mayCreateIndex: false }
    const answer = await append(call, { ...parts, operation: { kind: 'documents-delete', provided: count() } })
    payload = undefined
    return answer
  } catch (error) {
    throw error instanceof StoreUnavailable ? storeAway(error) : error
  } finally {
    if (payload !== undefined) await journal.discard(payload).catch(() => undefined)
  }
}

/** `POST /indexes/{uid}/documents/delete`. */
export const deleteByFilter: Handler = async (call) => {
  const customMetadata = decodeCustomMetadata(call.search)
  const { request } = call.exchange
  const filter = decodeDeleteByFilter(await readJson(request, call.headers, call.parts.limits.bodyBytesMax))
  if (mentionsForeign(JSON.stringify(filter))) {
    const { features } = call.principal.project
    refuseForeign(readFilter(filter, 'invalid_document_filter', features), 'invalid_document_filter')
  }
  return append(call, {
    uid: pathUid(call),
    operation: { kind: 'documents-delete-by-filter', filter },
    customMetadata,
    mayCreateIndex: false,
  })
}

/** `POST /indexes/{uid}/documents/edit`. */
export const editDocuments: Handler = async (call) => {
  const customMetadata = decodeCustomMetadata(call.search)
  const { request } = call.exchange
  checkJsonType(call.headers)
  const body = await readBody(request, call.parts.limits.bodyBytesMax)
  const edition = decodeDocumentEdition(parseJsonBody(body))
  checkEditFunction(edition.function)
  return append(call, {
    uid: pathUid(call),
    operation: { kind: 'documents-edit', ...edition, ...contextTextOf(body) },
    customMetadata,
    mayCreateIndex: false,
  })
}
