/** Reading documents (M-E6) and what lists show of fields (M-A3): runs in a search worker. */
import { ApiError } from '../api/errors.ts'
import { Bitmap } from '../lib/bitmap.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { joinMembers, splitMembers } from '../lib/json-cut.ts'
import type { DocumentQuery } from './core.ts'
import type { DocId } from './index-reader.ts'
import type { LmdbIndexReader } from './lmdb-index-reader.ts'
import { selectTexts } from './search/document-selection.ts'
import { evaluateFilter } from './search/filter-evaluation.ts'
import { readFilter } from './search/filter-request.ts'
import { sortDocuments } from './search/sort-documents.ts'

interface Shape {
  /** null = everything. */
  readonly fields: readonly string[] | null
  readonly retrieveVectors: boolean
}

/** JSON text of one document. @throws ApiError `document_not_found`. */
export function readDocument(reader: LmdbIndexReader, id: string, shape: Shape): string {
  const docid = reader.docidOf(id)
  if (docid === undefined) throw new ApiError('document_not_found', `Document \`${id}\` not found.`)
  return documentText(reader, docid, shape)
}

/** JSON text of a page. */
export function readDocuments(reader: LmdbIndexReader, query: DocumentQuery): string {
  const { offset, limit } = query
  let found = reader.documentIds
  const filter = readFilter(query.filter ?? null, 'invalid_document_filter', query.features ?? {})
  if (filter !== null) found = found.and(evaluateFilter(reader, filter, 'invalid_document_filter'))
  if (query.ids !== undefined) found = found.and(Bitmap.from(query.ids.flatMap((id) => reader.docidOf(id) ?? [])))
  const page =
    query.sort === undefined || query.sort.length === 0
      ? slice(found, offset, limit)
      : sortDocuments(reader, query.sort, found, { offset, limit })
  const shape = { fields: fieldsOf(query.fields), retrieveVectors: query.retrieveVectors }
  const results = page.map((docid) => documentText(reader, docid, shape))
  return `{"results":[${results.join(',')}],"offset":${offset},"limit":${limit},"total":${found.size}}`
}

export const fieldsOf = (fields: readonly string[] | undefined): readonly string[] | null =>
  fields === undefined || fields.includes('*') ? null : fields

function slice(found: Bitmap, offset: number, limit: number): DocId[] {
  const page: DocId[] = []
  if (limit === 0) return page
  let place = 0
  for (const docid of found) {
    place += 1
    if (place <= offset) continue
    page.push(docid)
    if (page.length === limit) break
  }
  return page
}

function documentText(reader: LmdbIndexReader, docid: DocId, { fields, retrieveVectors }: Shape): string {
  const stored = reader.storedDocument(docid)?.text ?? '{}'
  // As stored, unless something is taken out or added: numbers keep their last digit that way.
  const hasVectors = stored.includes('"_vectors"')
  if (fields === null && !retrieveVectors && !hasVectors) return stored
  const members = splitMembers(fields === null ? stored : selectTexts(stored, new Set([...fields, '_vectors'])))
  const own = members.get('_vectors')
  members.delete('_vectors')
  if (retrieveVectors) {
    const vectors = vectorsOf(reader, docid, own === undefined ? {} : (JSON.parse(own) as Json))
    members.set('_vectors', JSON.stringify(vectors))
  }
  return joinMembers(members)
}

/** Vectors as documents show them (M-E6): each embedder with its list and whether it is computed anew. */
export function vectorsOf(reader: LmdbIndexReader, docid: DocId, own: Json): JsonObject {
  const shown: Record<string, Json> =
    typeof own === 'object' && own !== null && !Array.isArray(own) ? { ...(own as JsonObject) } : {}
  for (const name of Object.keys(reader.settings.embedders)) {
    const given = reader.givenVectors(name, docid)
    if (given === undefined) continue
    shown[name] = {
      embeddings: given.vectors.map((vector) => [...vector]),
      regenerate: given.regenerate,
    }
  }
  return shown
}

/**
 * Documents from number `from` on that pass the filter (null = all), as a dump holds them: a line with the number to go on
 * from (empty = that was all), then NDJSON of at least one document and about `bytesMax` bytes. Numbers keep their last
 * digit.
 */
export function readDumpPage(
  reader: LmdbIndexReader,
  { from, bytesMax, filter }: { readonly from: DocId; readonly bytesMax: number; readonly filter: Json },
): string {
  const condition = readFilter(filter, 'invalid_document_filter', {})
  const found = condition === null ? null : evaluateFilter(reader, condition, 'invalid_document_filter')
  const embedders = Object.keys(reader.settings.embedders)
  const lines: string[] = []
  let byteCount = 0
  for (const { docid, text: stored } of reader.storedDocuments(from)) {
    if (found !== null && !found.has(docid)) continue
    if (byteCount > bytesMax) return `${docid}\n${lines.join('')}`
    const text = withVectors(reader, docid, stored, embedders)
    byteCount += text.length
    lines.push(`${text}\n`)
  }
  return `\n${lines.join('')}`
}

function withVectors(reader: LmdbIndexReader, docid: DocId, stored: string, embedders: readonly string[]): string {
  if (embedders.every((name) => reader.givenVectors(name, docid) === undefined)) return stored
  const members = splitMembers(stored)
  const own = members.get('_vectors')
  const vectors = vectorsOf(reader, docid, own === undefined ? {} : (JSON.parse(own) as Json))
  return joinMembers(
    [...members].filter(([name]) => name !== '_vectors').concat([['_vectors', JSON.stringify(vectors)]]),
  )
}
