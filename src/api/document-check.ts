/** What an engine refuses in a document when it indexes it (M-E7, NF-21), found before anything is stored. */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { ApiError, type ErrorBody, type ErrorCode, errorBody } from './errors.ts'
import { readShape } from './geojson.ts'

export const documentFieldsMax = 65_535

export interface CheckedIndex {
  readonly uid: string
  /** `_geo` is filterable or sortable; otherwise it is a field like any other. */
  readonly geo: boolean
  /** `_geojson` is filterable by its very name. */
  readonly shapes: boolean
  /** Dimensions by embedder; null = not known. */
  readonly embedders: Readonly<Record<string, number | null>>
}

/** `doubtful`: it may hold numbers beyond a double or lone surrogates. `large`: it may have too many fields. */
export function checkDocument(
  document: JsonObject,
  id: string,
  index: CheckedIndex,
  { doubtful, large }: { readonly doubtful: boolean; readonly large: boolean },
): ErrorBody | null {
  const refuse = (code: ErrorCode, message: string) => errorBody(code, `Index \`${index.uid}\`: ${message}`)
  if (doubtful) {
    const mistake = badLeaf(document)
    if (mistake !== undefined) return refuse('internal', `internal: ${mistake}.`)
  }
  if (large && countFields(document) > documentFieldsMax)
    return refuse('max_fields_limit_exceeded', 'A document cannot contain more than 65,535 fields.')
  if (index.geo && document._geo !== undefined && document._geo !== null) {
    const mistake = geoMistake(document._geo, id)
    if (mistake !== undefined) return refuse('invalid_document_geo_field', mistake)
  }
  if (index.shapes && document._geojson !== undefined) {
    const mistake = shapeMistake(document._geojson)
    if (mistake !== undefined) return refuse(mistake.code, mistake.message)
  }
  if (document._vectors !== undefined) {
    const mistake = vectorsMistake(document._vectors, id, index.embedders)
    if (mistake !== undefined) return refuse(mistake.code, mistake.message)
  }
  return null
}

function shapeMistake(value: Json): ApiError | undefined {
  try {
    readShape(value)
    return undefined
  } catch (error) {
    if (error instanceof ApiError) return error
    throw error
  }
}

const loneSurrogate = /[\ud800-\udfff]/u

function badLeaf(value: Json): string | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : 'number out of range'
  if (typeof value === 'string') return loneSurrogate.test(value) ? 'unexpected end of hex escape' : undefined
  if (value === null || typeof value === 'boolean') return undefined
  const inner: readonly Json[] = isObject(value) ? [...Object.keys(value), ...Object.values(value)] : value
  for (const item of inner) {
    const mistake = badLeaf(item)
    if (mistake !== undefined) return mistake
  }
  return undefined
}

/** Different flattened names; a parent counts too. */
function countFields(document: JsonObject): number {
  const names = new Set<string>()
  const walk = (value: Json, name: string): void => {
    if (names.size > documentFieldsMax) return
    if (Array.isArray(value)) for (const item of value) walk(item, name)
    else if (isObject(value))
      for (const [part, inner] of Object.entries(value)) {
        const path = name === '' ? part : `${name}.${part}`
        names.add(path)
        walk(inner, path)
      }
  }
  walk(document, '')
  return names.size
}

/** Messages 30 to 32. */
function geoMistake(geo: Json, id: string): string | undefined {
  const shown = `\`"${id}"\``
  if (!isObject(geo))
    return `The \`_geo\` field in the document with the id: ${shown} is not an object. Was expecting an object with the \`_geo.lat\` and \`_geo.lng\` fields but instead got \`${JSON.stringify(geo)}\`.`
  const { lat, lng, ...others } = geo
  const where = `in the document with the id: ${shown}.`
  if (lat === undefined && lng === undefined)
    return `Could not find latitude nor longitude ${where} Was expecting \`_geo.lat\` and \`_geo.lng\` fields.`
  if (lat === undefined) return `Could not find latitude ${where} Was expecting a \`_geo.lat\` field.`
  if (lng === undefined) return `Could not find longitude ${where} Was expecting a \`_geo.lng\` field.`
  const badLat = !isCoordinate(lat)
  const badLng = !isCoordinate(lng)
  if (badLat && badLng)
    return `Could not parse latitude nor longitude ${where} Was expecting finite numbers but instead got \`${JSON.stringify(lat)}\` and \`${JSON.stringify(lng)}\`.`
  if (badLat || badLng)
    return `Could not parse ${badLat ? 'latitude' : 'longitude'} ${where} Was expecting a finite number but instead got \`${JSON.stringify(badLat ? lat : lng)}\`.`
  if (Object.keys(others).length > 0)
    return `The \`_geo\` field in the document with the id: ${shown} contains the following unexpected fields: \`${JSON.stringify(others)}\`.`
  return undefined
}

/** A finite number, or one in a string without blanks. */
function isCoordinate(value: Json): boolean {
  if (typeof value === 'number') return true
  return typeof value === 'string' && /^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/.test(value)
}

type Mistake = { readonly code: ErrorCode; readonly message: string }

function vectorsMistake(
  vectors: Json,
  id: string,
  embedders: Readonly<Record<string, number | null>>,
): Mistake | undefined {
  // Message 35.
  if (!isObject(vectors))
    return {
      code: 'invalid_vectors_type',
      message: `The \`_vectors\` field in the document with id: \`${id}\` is not an object. Was expecting an object with a key for each embedder with manually provided vectors, but instead got \`${JSON.stringify(vectors)}\``,
    }
  for (const [name, given] of Object.entries(vectors)) {
    const mistake = embeddingsMistake(name, given)
    if (typeof mistake === 'string')
      return {
        code: 'invalid_vectors_type',
        message: `Bad embedder configuration in the document with id: \`${id}\`. ${mistake}`,
      }
    const dimensions = Object.hasOwn(embedders, name) ? embedders[name] : null
    if (dimensions === null || dimensions === undefined) continue
    const wrong = mistake.findIndex((vector) => vector.length !== dimensions)
    // Message 34.
    if (wrong >= 0)
      return {
        code: 'invalid_vector_dimensions',
        message: `Invalid vector dimensions in document with id \`${id}\` in \`._vectors.${name}\`.\n  - note: embedding #${wrong} has dimensions ${mistake[wrong]!.length}\n  - note: embedder \`${name}\` requires ${dimensions}`,
      }
  }
  return undefined
}

/** The vectors of one embedder, or what is wrong with them. */
function embeddingsMistake(name: string, given: Json): string | readonly (readonly Json[])[] {
  const path = `._vectors.${name}`
  if (given === null) return []
  if (Array.isArray(given)) return vectorList(given, path)
  if (!isObject(given))
    return `Expected \`${path}\` to be an array of floats, an array of arrays of floats, or an object with at least the field \`regenerate\`, but got the ${describeScalar(given)}`
  const { embeddings, regenerate, ...others } = given
  if (Object.keys(others).length > 0) return `Could not parse \`${path}\`: trailing characters`
  if (regenerate === undefined)
    return `Missing field \`${path}.regenerate\`\n  - note: \`${path}\` must be an array of floats, an array of arrays of floats, or an object with field \`regenerate\``
  if (typeof regenerate !== 'boolean')
    return `Could not parse \`${path}.regenerate\`: invalid type: ${describeScalar(regenerate)}, expected a boolean`
  if (embeddings === undefined || embeddings === null) return []
  if (!Array.isArray(embeddings))
    return `Invalid value type at \`${path}.embeddings\`: expected null or an array, but found ${describeFound(embeddings)}`
  return vectorList(embeddings, `${path}.embeddings`)
}

function vectorList(items: readonly Json[], path: string): string | readonly (readonly Json[])[] {
  if (items.length === 0) return []
  if (!Array.isArray(items[0])) {
    const wrong = items.findIndex((item) => typeof item !== 'number')
    return wrong < 0 ? [items] : wrongItem(items[wrong]!, `${path}[${wrong}]`, 'a number')
  }
  const vectors: (readonly Json[])[] = []
  for (const [index, item] of items.entries()) {
    if (!Array.isArray(item)) return wrongItem(item, `${path}[${index}]`, 'an array')
    const wrong = item.findIndex((part: Json) => typeof part !== 'number')
    if (wrong >= 0) return wrongItem(item[wrong] as Json, `${path}[${index}][${wrong}]`, 'a number')
    vectors.push(item)
  }
  return vectors
}

function wrongItem(item: Json, path: string, expected: string): string {
  return `Invalid value type at \`${path}\`: expected ${expected}, but found ${describeFound(item)}`
}

function describeFound(value: Json): string {
  if (value === null) return 'null'
  const kind = Array.isArray(value)
    ? 'an array'
    : typeof value === 'object'
      ? 'an object'
      : typeof value === 'number'
        ? 'a number'
        : `a ${typeof value}`
  return `${kind}: \`${JSON.stringify(value)}\``
}

function describeScalar(value: Json): string {
  if (typeof value === 'string') return `string \`${value}\``
  if (typeof value === 'number') return `${Number.isInteger(value) ? 'integer' : 'float'} \`${value}\``
  if (typeof value === 'boolean') return `boolean \`${value}\``
  return value === null ? 'null' : Array.isArray(value) ? 'sequence' : 'map'
}
