/** Requests of the document routes (M-A4), payloads apart. */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import {
  array,
  bodyRoot,
  boolean,
  type Decoder,
  integer,
  json,
  object,
  optional,
  orNull,
  required,
  string,
} from './decode.ts'
import {
  booleanParameter,
  decodeParameters,
  integerParameter,
  invalidParameter,
  listParameter,
  type ParameterDecoder,
  parameter,
  parameterOrNull,
  textParameter,
} from './decode-query.ts'
import { isDocumentId, wrongDocumentId } from './document-id.ts'
import { ApiError } from './errors.ts'
import { isEmptyFilter, wrongFilterShape } from './filter.ts'
import { filterJson, filterParameter } from './filter-value.ts'
import { JsonSyntaxError, parseJsonBytes } from './json-text.ts'
import { sortParameter } from './search-query.ts'

export interface DocumentsQuery {
  readonly offset: number
  readonly limit: number
  /** null = all fields. */
  readonly fields: readonly string[] | null
  readonly retrieveVectors: boolean
  /** Ids as text: an integer and its decimal string are the same (M-E3). */
  readonly ids: readonly string[] | null
  readonly filter: Json
  readonly sort: readonly string[] | null
  readonly useNetwork: boolean | null
}

/** An id as text. */
const documentId: Decoder<string> = (value, at) => {
  const id = typeof value === 'number' && Number.isInteger(value) ? String(value) : value
  if (typeof id === 'string' && isDocumentId(id)) return id
  throw new ApiError(at.code, `In \`${at.path}\`: ${wrongDocumentId(JSON.stringify(value)).message}`)
}

const idsParameter: ParameterDecoder<readonly string[]> = (text, at) =>
  words(text, at).map((id, index) => documentId(id, { path: `.ids[${index}]`, code: at.code }))

const fetchBody = object<DocumentsQuery>({
  offset: optional(integer, 0, 'invalid_document_offset'),
  limit: optional(integer, 20, 'invalid_document_limit'),
  fields: orNull(array(string), 'invalid_document_fields'),
  retrieveVectors: optional(boolean, false, 'invalid_document_retrieve_vectors'),
  ids: orNull(array(documentId), 'invalid_document_ids'),
  filter: orNull(filterJson, 'invalid_document_filter'),
  sort: orNull(array(string), 'invalid_document_sort'),
  useNetwork: orNull(boolean, 'invalid_document_use_network'),
})

/** `POST /indexes/{uid}/documents/fetch`. */
export function decodeDocumentsQuery(body: Json): DocumentsQuery {
  return withoutStar(fetchBody(body, bodyRoot))
}

const words = listParameter(textParameter)

/** `GET /indexes/{uid}/documents`. */
export function decodeDocumentsParameters(search: string): DocumentsQuery {
  return withoutStar(
    decodeParameters<DocumentsQuery>(search, {
      offset: parameter(integerParameter, 0, 'invalid_document_offset'),
      limit: parameter(integerParameter, 20, 'invalid_document_limit'),
      fields: parameterOrNull(words, 'invalid_document_fields'),
      retrieveVectors: parameter(booleanParameter, false, 'invalid_document_retrieve_vectors'),
      ids: parameterOrNull(idsParameter, 'invalid_document_ids'),
      filter: parameterOrNull(filterParameter, 'invalid_document_filter'),
      sort: parameterOrNull(sortParameter, 'invalid_document_sort'),
      useNetwork: parameterOrNull(booleanParameter, 'invalid_document_use_network'),
    }),
  )
}

export type DocumentQuery = Pick<DocumentsQuery, 'fields' | 'retrieveVectors' | 'useNetwork'>

/** `GET /indexes/{uid}/documents/{id}`. */
export function decodeDocumentParameters(search: string): DocumentQuery {
  return withoutStar(
    decodeParameters<DocumentQuery>(search, {
      fields: parameterOrNull(words, 'invalid_document_fields'),
      retrieveVectors: parameter(booleanParameter, false, 'invalid_document_retrieve_vectors'),
      useNetwork: parameterOrNull(booleanParameter, 'invalid_document_use_network'),
    }),
  )
}

function withoutStar<T extends { readonly fields: readonly string[] | null }>(query: T): T {
  return query.fields?.includes('*') ? { ...query, fields: null } : query
}

export interface DocumentWriteQuery {
  readonly primaryKey: string | null
  readonly csvDelimiter: string | null
  readonly customMetadata: string | null
  readonly skipCreation: boolean
}

/** One ASCII character (message 86). */
const delimiter: ParameterDecoder<string> = (text, at) => {
  const characters = [...text]
  if (characters.length === 0)
    throw invalidParameter('expected a string of one character, but found an empty string', at)
  if (characters.length > 1)
    throw invalidParameter(
      `expected a string of one character, but found the following string of ${characters.length} characters: \`${text}\``,
      at,
    )
  if (text.charCodeAt(0) > 127)
    throw new ApiError(at.code, `csv delimiter must be an ascii character. Found: \`${text}\``)
  return text
}

const skipCreation: ParameterDecoder<boolean> = (text, at) => {
  if (text !== 'true' && text !== 'false')
    throw new ApiError(at.code, `skipCreation must be either \`true\` or \`false\`. Found: \`${text}\``)
  return text === 'true'
}

const customMetadata = parameterOrNull(textParameter, 'invalid_index_custom_metadata')

/** `POST` and `PUT /indexes/{uid}/documents`. */
export function decodeDocumentWrite(search: string): DocumentWriteQuery {
  return decodeParameters<DocumentWriteQuery>(search, {
    primaryKey: parameterOrNull(textParameter, 'invalid_index_primary_key'),
    csvDelimiter: parameterOrNull(delimiter, 'invalid_document_csv_delimiter'),
    customMetadata,
    skipCreation: parameter(skipCreation, false, 'invalid_skip_creation'),
  })
}

/** The one parameter of the other document writes (M-C4). */
export function decodeCustomMetadata(search: string): string | null {
  return decodeParameters<{ customMetadata: string | null }>(search, { customMetadata }).customMetadata
}

/** `POST …/delete-batch`: ids; other JSON values than strings become their JSON text (M-E5). Message 89. */
export function decodeDeleteBatch(bytes: Uint8Array): readonly Json[] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length === 0) throw new ApiError('missing_payload', 'A json payload is missing.')
  let body: Json
  try {
    body = parseJsonBytes(bytes)
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error
    throw new ApiError('malformed_payload', `The json payload provided is malformed. \`${error.message}\`.`)
  }
  if (!Array.isArray(body))
    throw new ApiError(
      'bad_request',
      `Json deserialize error: invalid type: ${serdeKind(body)}, expected a sequence at line 1 column ${isObject(body) ? 0 : text.toString().trimEnd().length}`,
    )
  return body
}

/** A document id of a deletion as text. */
export const idText = (id: Json): string => (typeof id === 'string' ? id : JSON.stringify(id))

function serdeKind(value: Json): string {
  if (value === null) return 'null'
  if (typeof value === 'boolean') return `boolean \`${value}\``
  if (typeof value === 'number') return `${Number.isInteger(value) ? 'integer' : 'floating point'} \`${value}\``
  return typeof value === 'string' ? `string ${JSON.stringify(value)}` : 'map'
}

const deletion = object<{ filter: Json }>({
  filter: required(filterJson, 'invalid_document_filter', 'missing_document_filter'),
})

/** `POST …/delete`: the filter, never an empty one (message 29). */
export function decodeDeleteByFilter(body: Json): Json {
  const { filter } = deletion(body, bodyRoot)
  if (filter === null) throw wrongFilterShape(filter, 'String, Array', 'invalid_document_filter')
  if (isEmptyFilter(filter)) throw new ApiError('invalid_document_filter', 'Sending an empty filter is forbidden.')
  return filter
}

export interface DocumentEdition {
  readonly function: string
  readonly filter: Json
  readonly context: JsonObject | null
}

const edition = object<Omit<DocumentEdition, 'context'> & { context: Json }>({
  filter: orNull(json, 'invalid_document_filter'),
  context: orNull(json, 'invalid_document_edition_context'),
  function: required(string, 'invalid_document_edition_function_filter', 'missing_document_edition_function'),
})

/** `POST …/edit`. */
export function decodeDocumentEdition(body: Json): DocumentEdition {
  const { context, filter, function: text } = edition(body, bodyRoot)
  if (filter !== null && isEmptyFilter(filter))
    throw new ApiError('invalid_document_filter', 'Sending an empty filter is forbidden.')
  if (context !== null && !isObject(context))
    throw new ApiError('invalid_document_edition_context', 'The context must be an object')
  return { function: text, filter, context }
}
