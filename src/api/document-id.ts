/** Identifiers of documents (M-E2, M-E3). */
import type { JsonObject } from '../lib/json.ts'
import { isObject, type Json } from '../lib/json.ts'
import { type ErrorBody, errorBody } from './errors.ts'

export const documentIdBytesMax = 511

const idForm = /^[A-Za-z0-9_-]{1,511}$/

export type FoundId = { readonly id: string } | { readonly refusal: ErrorBody }

/** Whether `id` can be an identifier: integers and their decimal strings are the same one. */
export function isDocumentId(id: string): boolean {
  return idForm.test(id)
}

/**
 * The key of a first document whose index has none: the one field that ends in `id`.
 * Messages 23 and 24 name fields in order of bytes.
 */
export function inferPrimaryKey(document: JsonObject): { readonly key: string } | { readonly refusal: ErrorBody } {
  const candidates = Object.keys(document)
    .filter((name) => name.toLowerCase().endsWith('id'))
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  const [first, second] = candidates
  if (first === undefined)
    return {
      refusal: errorBody(
        'index_primary_key_no_candidate_found',
        'The primary key inference failed as the engine did not find any field ending with `id` in its name. Please specify the primary key manually using the `primaryKey` query parameter.',
      ),
    }
  if (second === undefined) return { key: first }
  return {
    refusal: errorBody(
      'index_primary_key_multiple_candidates_found',
      `The primary key inference failed as the engine found ${candidates.length} fields ending with \`id\` in their names: '${first}' and '${second}'. Please specify the primary key manually using the \`primaryKey\` query parameter.`,
    ),
  }
}

/** Finds and checks the id. `text`: the document's JSON, for what parsing forgets (`1.0`, integers above 2^53). */
export function readDocumentId(document: JsonObject, key: string, text: () => string): FoundId {
  const values = valuesAt(document, key)
  const [value] = values
  if (value === undefined)
    return {
      refusal: errorBody(
        'missing_document_id',
        `Document doesn't have a \`${key}\` attribute: \`${shorten(JSON.stringify(document))}\`.`,
      ),
    }
  if (values.length > 1)
    return {
      refusal: errorBody(
        'invalid_document_id',
        `Document have too many matching \`${key}\` attribute: \`${shorten(JSON.stringify(document))}\`.`,
      ),
    }
  if (typeof value === 'string') return idForm.test(value) ? { id: value } : wrongId(JSON.stringify(value))
  if (typeof value !== 'number') return wrongId(JSON.stringify(value))
  return readNumber(value, key, text)
}

function readNumber(value: number, key: string, text: () => string): FoundId {
  // The reference reads it as a double.
  if (Object.is(value, -0)) return wrongId('-0.0')
  if (Number.isSafeInteger(value) && isWrittenPlainly(value, key, text())) return { id: String(value) }
  const written = writtenNumber(value, key, text())
  if (/^-?[0-9]+$/.test(written)) {
    const integer = BigInt(written)
    if (integer >= -(2n ** 63n) && integer < 2n ** 64n) return { id: integer.toString() }
    return wrongId(value.toExponential())
  }
  return wrongId(written)
}

/** The usual case, in one look: `"key":12` or `"key": 12`, and nothing of a fraction or an exponent behind it. */
function isWrittenPlainly(value: number, key: string, text: string): boolean {
  const digits = String(value)
  let at = text.indexOf(`"${key}":`)
  if (at < 0) return false
  at += key.length + 3
  if (text.charCodeAt(at) === 0x20) at += 1
  if (!text.startsWith(digits, at)) return false
  const next = text.charCodeAt(at + digits.length)
  return next === 0x2c || next === 0x7d || next === 0x20
}

/** The number as the client wrote it behind the last part of `key`; its JSON when it is not found. */
function writtenNumber(value: number, key: string, text: string): string {
  const names = [key, key.slice(key.lastIndexOf('.') + 1)]
  for (const name of new Set(names)) {
    const label = JSON.stringify(name)
    // The last of equal keys wins, as in parsing.
    for (let at = text.lastIndexOf(label); at >= 0; at = at === 0 ? -1 : text.lastIndexOf(label, at - 1)) {
      const written = /^\s*:\s*(-?[0-9][0-9.eE+-]*)/.exec(text.slice(at + label.length, at + label.length + 64))?.[1]
      if (written !== undefined && Number(written) === value) return written
    }
  }
  return JSON.stringify(value)
}

/** Values under a key whose dots may be part of names or steps into objects; arrays are not entered. */
function valuesAt(document: JsonObject, key: string): readonly Json[] {
  const own = Object.hasOwn(document, key) ? [document[key] ?? null] : []
  if (!key.includes('.')) return own
  const found = [...own]
  for (let dot = key.indexOf('.'); dot >= 0; dot = key.indexOf('.', dot + 1)) {
    const name = key.slice(0, dot)
    const inner = Object.hasOwn(document, name) ? (document[name] ?? null) : null
    if (isObject(inner)) found.push(...valuesAt(inner, key.slice(dot + 1)))
  }
  return found
}

/** Message 26. */
export function wrongDocumentId(json: string): ErrorBody {
  return errorBody(
    'invalid_document_id',
    `Document identifier \`${json}\` is invalid. A document identifier can be of type integer or string, only composed of alphanumeric characters (a-z A-Z 0-9), hyphens (-) and underscores (_), and can not be more than 511 bytes.`,
  )
}

function wrongId(json: string): { readonly refusal: ErrorBody } {
  return { refusal: wrongDocumentId(shorten(json)) }
}

const echoMax = 10_000

function shorten(json: string): string {
  return json.length > echoMax ? `${json.slice(0, echoMax)}...` : json
}
