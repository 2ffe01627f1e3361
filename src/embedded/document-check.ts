/** What a document must be before anything of it is written (M-E2, M-E3, M-E7). The first mistake fails its whole task. */
import { ApiError } from '../api/errors.ts'
import { readShape } from '../api/geojson.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { Members } from '../lib/json-cut.ts'
import { usesGeo, usesShapes } from './field-rules.ts'
import type { IndexSettings } from './index-settings.ts'

export const documentIdBytesMax = 511
const vectorsMax = 256

/** @throws ApiError messages 26, 27. */
export function documentIdOf(primaryKey: string, document: JsonObject, members: Members, text: string): string {
  const raw = members.get(primaryKey)
  const value = raw === undefined ? nestedValue(document, primaryKey) : document[primaryKey]
  if (value === undefined)
    throw new ApiError('missing_document_id', `Document doesn't have a \`${primaryKey}\` attribute: \`${text}\`.`)
  if (typeof value === 'string' && /^[A-Za-z0-9_-]{1,511}$/.test(value)) return value
  if (typeof value === 'number') {
    // The text decides: a float is refused even when its value is whole, and 64-bit integers stay exact.
    const digits = raw ?? String(value)
    if (/^-?[0-9]+$/.test(digits) && isInteger64(digits)) return digits === '-0' ? '0' : digits
  }
  throw new ApiError(
    'invalid_document_id',
    `Document identifier \`${raw ?? JSON.stringify(value)}\` is invalid. A document identifier can be of type integer or string, only composed of alphanumeric characters (a-z A-Z 0-9), hyphens (-) and underscores (_), and can not be more than 511 bytes.`,
  )
}

const isInteger64 = (digits: string): boolean => {
  const value = BigInt(digits)
  return value >= -(2n ** 63n) && value < 2n ** 64n
}

function nestedValue(document: JsonObject, path: string): Json | undefined {
  let value: Json | undefined = document
  for (const part of path.split('.')) {
    if (value === undefined || !isObject(value)) return undefined
    value = value[part]
  }
  return value
}

/** The primary key that a first document suggests. @throws ApiError messages 23, 24. */
export function inferPrimaryKey(document: JsonObject): string {
  const candidates = Object.keys(document)
    .filter((name) => name.toLowerCase().endsWith('id'))
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  if (candidates.length === 1) return candidates[0]!
  if (candidates.length === 0)
    throw new ApiError(
      'index_primary_key_no_candidate_found',
      'The primary key inference failed as the engine did not find any field ending with `id` in its name. Please specify the primary key manually using the `primaryKey` query parameter.',
    )
  throw new ApiError(
    'index_primary_key_multiple_candidates_found',
    `The primary key inference failed as the engine found ${candidates.length} fields ending with \`id\` in their names: '${candidates[0]}' and '${candidates[1]}'. Please specify the primary key manually using the \`primaryKey\` query parameter.`,
  )
}

/** Positions are judged only where they are used. @throws ApiError messages 30 to 32. */
export function checkGeo(settings: IndexSettings, document: JsonObject, id: string): void {
  const geo = document._geo
  if (geo === undefined || geo === null || !usesGeo(settings)) return
  const fail = (message: string) => new ApiError('invalid_document_geo_field', message)
  const shown = JSON.stringify(id)
  if (!isObject(geo))
    throw fail(
      `The \`_geo\` field in the document with the id: \`${shown}\` is not an object. Was expecting an object with the \`_geo.lat\` and \`_geo.lng\` fields but instead got \`${JSON.stringify(geo)}\`.`,
    )
  const where = `in the document with the id: \`${shown}\``
  const [hasLat, hasLng] = [geo.lat !== undefined, geo.lng !== undefined]
  if (!hasLat && !hasLng)
    throw fail(`Could not find latitude nor longitude ${where}. Was expecting \`_geo.lat\` and \`_geo.lng\` fields.`)
  if (!hasLat) throw fail(`Could not find latitude ${where}. Was expecting a \`_geo.lat\` field.`)
  if (!hasLng) throw fail(`Could not find longitude ${where}. Was expecting a \`_geo.lng\` field.`)
  const extra = Object.fromEntries(Object.entries(geo).filter(([name]) => name !== 'lat' && name !== 'lng'))
  if (Object.keys(extra).length > 0)
    throw fail(`The \`_geo\` field ${where} contains the following unexpected fields: \`${JSON.stringify(extra)}\`.`)
  const [isLat, isLng] = [isCoordinate(geo.lat), isCoordinate(geo.lng)]
  const [lat, lng] = [JSON.stringify(geo.lat), JSON.stringify(geo.lng)]
  if (!isLat && !isLng)
    throw fail(
      `Could not parse latitude nor longitude ${where}. Was expecting finite numbers but instead got \`${lat}\` and \`${lng}\`.`,
    )
  if (!isLat) throw fail(`Could not parse latitude ${where}. Was expecting a finite number but instead got \`${lat}\`.`)
  if (!isLng)
    throw fail(`Could not parse longitude ${where}. Was expecting a finite number but instead got \`${lng}\`.`)
}

/** Shapes are judged only where they are used. @throws ApiError `invalid_document_geo_field` */
export function checkShape(settings: IndexSettings, { _geojson }: JsonObject): void {
  if (_geojson !== undefined && usesShapes(settings)) readShape(_geojson)
}

const isCoordinate = (value: Json | undefined): boolean =>
  (typeof value === 'number' || (typeof value === 'string' && value !== '' && !/\s/.test(value))) &&
  Number.isFinite(Number(value))

/** What a document says about one embedder. */
export interface GivenVectors {
  /** null = none are named. */
  readonly vectors: readonly (readonly number[])[] | null
  readonly regenerate: boolean
}

/**
 * Vectors of the document for the index's embedders; an embedder of which the document says nothing is left out. Vectors
 * of unknown embedders must have the right form, too.
 *
 * @throws ApiError message 34, and what is wrong with the form.
 */
export function givenVectors(
  settings: IndexSettings,
  document: JsonObject,
  id: string,
): ReadonlyMap<string, GivenVectors> {
  const found = new Map<string, GivenVectors>()
  const given = document._vectors
  if (given === undefined) return found
  if (!isObject(given))
    throw new ApiError(
      'internal',
      `invalid type: ${serdeWord(given)}, expected a map at line 1 column ${Array.isArray(given) ? 0 : JSON.stringify(given).length}`,
    )
  for (const name of Object.keys(given)) {
    const vectors = parseVectors(given[name]!, `._vectors.${name}`, id)
    const embedder = settings.embedders[name]
    if (embedder === undefined) continue
    if (typeof embedder.dimensions === 'number') checkDimensions(name, embedder.dimensions, vectors.vectors ?? [], id)
    found.set(name, vectors)
  }
  return found
}

/** @throws ApiError message 34. */
export function checkDimensions(
  embedder: string,
  dimensions: number,
  vectors: readonly ArrayLike<number>[],
  id: string,
): void {
  for (const [place, vector] of vectors.entries()) {
    if (vector.length === dimensions) continue
    throw new ApiError(
      'invalid_vector_dimensions',
      `Invalid vector dimensions in document with id \`${id}\` in \`._vectors.${embedder}\`.\n  - note: embedding #${place} has dimensions ${vector.length}\n  - note: embedder \`${embedder}\` requires ${dimensions}`,
    )
  }
}

/** Documents that an embedder needs vectors of and that give none. */
export class MissingVectors {
  readonly #missing = new Map<string, string[]>()
  /** What earlier documents of the payload gave. */
  readonly #given = new Set<string>()

  /** `hasOwn`: the stored document says what its vectors are. */
  note(
    settings: IndexSettings,
    id: string,
    vectors: ReadonlyMap<string, GivenVectors>,
    hasOwn: (embedder: string) => boolean,
  ): void {
    for (const [name, embedder] of Object.entries(settings.embedders)) {
      if (!needsGivenVectors(embedder)) continue
      const given = vectors.get(name)
      const key = `${name} ${id}`
      if (given === undefined ? this.#given.has(key) || hasOwn(name) : given.vectors !== null || !given.regenerate) {
        this.#given.add(key)
        continue
      }
      const ids = this.#missing.get(name) ?? []
      ids.push(id)
      this.#missing.set(name, ids)
    }
  }

  /** @throws ApiError `vector_embedding_error` when there are any. */
  check(): void {
    for (const [name, ids] of this.#missing)
      throw new ApiError('vector_embedding_error', missingVectorsMessage(name, ids))
  }
}

/** @param ids  of the documents, at least one. */
export function missingVectorsMessage(embedder: string, ids: readonly string[]): string {
  const more = ids.length < 2 ? '' : ` and at least ${ids.length - 1} other document(s)`
  return `While embedding documents for embedder \`${embedder}\`: no vectors provided for document \`${ids[0]}\`${more}\n- Note: \`${embedder}\` has \`source: userProvided\`, so documents must provide embeddings as an array in \`_vectors.${embedder}\`.\n- Hint: opt-out for a document with \`_vectors.${embedder}: null\``
}

/** The embedder makes no vectors of documents. */
export function needsGivenVectors({ source, indexingEmbedder }: JsonObject): boolean {
  if (source !== 'composite') return source === 'userProvided'
  return indexingEmbedder !== undefined && isObject(indexingEmbedder) && indexingEmbedder.source === 'userProvided'
}

/** Vectors in a stored document; undefined = it has none that can be read. */
export function storedVectors(value: Json | undefined): GivenVectors | undefined {
  if (value === undefined) return undefined
  try {
    return parseVectors(value, '', '')
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    return undefined
  }
}

function parseVectors(value: Json, path: string, id: string): GivenVectors {
  const fail = (why: string) =>
    new ApiError('invalid_vectors_type', `Bad embedder configuration in the document with id: \`${id}\`. ${why}`)
  const wrongType = (at: string, expected: string, found: Json) =>
    fail(
      `Invalid value type at \`${at}\`: expected ${expected}, but found ${kindOf(found)}: \`${JSON.stringify(found)}\``,
    )

  const vectorList = (list: readonly Json[], at: string): number[][] => {
    if (list.length === 0) return []
    const isNested = Array.isArray(list[0])
    if (!isNested && typeof list[0] !== 'number') throw wrongType(`${at}[0]`, 'a number or an array', list[0]!)
    if (!isNested) return [numbers(list, at)]
    if (list.length > vectorsMax) throw fail(`Too many embeddings in \`${at}\`: at most ${vectorsMax}`)
    return list.map((vector, place) => {
      if (!Array.isArray(vector)) throw wrongType(`${at}[${place}]`, 'an array', vector)
      return numbers(vector, `${at}[${place}]`)
    })
  }
  const numbers = (list: readonly Json[], at: string): number[] =>
    list.map((number, place) => {
      if (typeof number !== 'number') throw wrongType(`${at}[${place}]`, 'a number', number)
      return number
    })

  if (value === null) return { vectors: [], regenerate: false }
  if (Array.isArray(value)) return { vectors: vectorList(value, path), regenerate: false }
  if (!isObject(value))
    throw fail(
      `Expected \`${path}\` to be an array of floats, an array of arrays of floats, or an object with at least the field \`regenerate\`, but got the ${scalarWord(value)} \`${String(value)}\``,
    )
  const { regenerate, embeddings } = value
  if (regenerate === undefined)
    throw fail(
      `Missing field \`${path}.regenerate\`\n  - note: \`${path}\` must be an array of floats, an array of arrays of floats, or an object with field \`regenerate\``,
    )
  if (typeof regenerate !== 'boolean') throw wrongType(`${path}.regenerate`, 'a boolean', regenerate)
  const unknown = Object.keys(value).find((name) => name !== 'regenerate' && name !== 'embeddings')
  if (unknown !== undefined) throw fail(`Could not parse \`${path}\`: unknown field \`${unknown}\``)
  if (embeddings === undefined || embeddings === null) return { vectors: null, regenerate }
  if (!Array.isArray(embeddings)) throw wrongType(`${path}.embeddings`, 'null or an array', embeddings)
  return { vectors: vectorList(embeddings, `${path}.embeddings`), regenerate }
}

/** The words of M-B4. */
function kindOf(value: Json): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'number') {
    if (!Number.isInteger(value)) return 'a number'
    return value < 0 ? 'a negative integer' : 'a positive integer'
  }
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** As the reference's parser names a value. */
function serdeWord(value: Json): string {
  if (Array.isArray(value)) return 'sequence'
  if (value === null) return 'null'
  if (typeof value === 'string') return `string ${JSON.stringify(value)}`
  if (typeof value === 'boolean') return `boolean \`${value}\``
  return `${Number.isInteger(value) ? 'integer' : 'floating point'} \`${String(value)}\``
}

/** Vectors of unknown embedders as they are stored: checked, with members in one order. */
export function restOfVectors(given: JsonObject, embedders: readonly string[]): JsonObject {
  const rest: Record<string, Json> = {}
  for (const [name, value] of Object.entries(given)) {
    if (embedders.includes(name)) continue
    if (value === null) rest[name] = []
    else if (isObject(value)) rest[name] = { regenerate: value.regenerate ?? false, embeddings: value.embeddings ?? [] }
    else rest[name] = value
  }
  return rest
}

function scalarWord(value: Json): string {
  if (typeof value !== 'number') return typeof value
  return Number.isInteger(value) ? 'integer' : 'number'
}
