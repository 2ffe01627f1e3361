/** Shapes of documents: the field `_geojson` read and judged (M-E7). */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { ApiError } from './errors.ts'

/** Longitude and latitude in degrees. */
export type Position = readonly [lng: number, lat: number]

/** A part of a shape. Of a polygon the outline counts: what lies in a hole lies in the polygon, as in the reference. */
export type ShapePart =
  | { readonly kind: 'point'; readonly position: Position }
  | { readonly kind: 'line'; readonly path: readonly Position[] }
  | { readonly kind: 'polygon'; readonly path: readonly Position[] }

export type Shape = readonly ShapePart[]

/** @throws ApiError `invalid_document_geo_field`, in the words of the reference. */
export function readShape(value: Json): Shape {
  const object = objectOf(value)
  if (object.type === 'FeatureCollection') {
    readBox(object)
    return listOf(object, 'features').flatMap((feature) => featureParts(objectOf(feature)) ?? [])
  }
  if (object.type !== 'Feature') {
    if (typeof object.type === 'string' && !geometryTypes.has(object.type))
      throw refusal('Expected a Feature, FeatureCollection, or Geometry, but got an empty type')
    return geometryParts(object)
  }
  const parts = featureParts(object)
  if (parts !== null) return parts
  const { type, geometry, properties, bbox, id, ...rest } = object
  const shown = {
    type: type!,
    ...(bbox === undefined || bbox === null ? {} : { bbox }),
    geometry: geometry!,
    properties: properties ?? null,
    ...(id === undefined ? {} : { id }),
    ...rest,
  }
  throw refusal(
    `Attempted to a convert a feature without a geometry into a geo_types::Geometry: \`${JSON.stringify(shown)}\``,
  )
}

const geometryTypes: ReadonlySet<string> = new Set([
  'Point',
  'MultiPoint',
  'LineString',
  'MultiLineString',
  'Polygon',
  'MultiPolygon',
  'GeometryCollection',
])

/** Null = a feature without a geometry. */
function featureParts(object: JsonObject): Shape | null {
  const { type, geometry, properties, id } = object
  if (type === undefined) throw missing('type')
  if (typeof type !== 'string') throw refusal(`Expected a String value, but got a \`${JSON.stringify(type)}\``)
  if (type !== 'Feature') throw refusal(`Expected a Feature mapping, but got a \`${type}\``)
  if (geometry === undefined) throw missing('geometry')
  if (geometry !== null && !isObject(geometry))
    throw refusal(
      `Encountered neither object type nor null type for 'geometry' field on 'feature' object: \`${JSON.stringify(geometry)}\``,
    )
  const parts = geometry === null ? null : geometryParts(geometry)
  if (properties !== undefined && properties !== null && !isObject(properties))
    throw refusal(
      `Encountered neither object type nor null type for 'properties' object: \`${JSON.stringify(properties)}\``,
    )
  if (id !== undefined && typeof id !== 'string' && typeof id !== 'number')
    throw refusal(
      `Encountered neither number type nor string type for 'id' field on 'feature' object: \`${JSON.stringify(id)}\``,
    )
  readBox(object)
  return parts
}

function geometryParts(object: JsonObject): Shape {
  if (typeof object.type !== 'string') throw refusal("Encountered an unknown 'geometry' object type: `type`")
  readBox(object)
  switch (object.type) {
    case 'Point':
      return [{ kind: 'point', position: positionOf(coordinates(object)) }]
    case 'MultiPoint':
      return path(coordinates(object)).map((position): ShapePart => ({ kind: 'point', position }))
    case 'LineString':
      return [{ kind: 'line', path: path(coordinates(object)) }]
    case 'MultiLineString':
      return array(coordinates(object)).map((line): ShapePart => ({ kind: 'line', path: path(line) }))
    case 'Polygon':
      return [polygon(coordinates(object))]
    case 'MultiPolygon':
      return array(coordinates(object)).map(polygon)
    case 'GeometryCollection':
      return listOf(object, 'geometries').flatMap((geometry) => geometryParts(objectOf(geometry)))
    default:
      throw refusal(`Encountered an unknown 'geometry' object type: \`${object.type}\``)
  }
}

function polygon(value: Json): ShapePart {
  const [outline] = array(value).map(path)
  if (outline === undefined || outline.length === 0)
    throw new ApiError('internal', 'invalid ring (not enough coordinate)')
  return { kind: 'polygon', path: outline }
}

const path = (value: Json): readonly Position[] => array(value).map(positionOf)

/** What follows longitude and latitude must be numbers too, and is not used. */
function positionOf(value: Json): Position {
  const list = array(value)
  if (list.length < 2) throw refusal(`A position must contain two or more elements, but got \`${list.length}\``)
  const [lng, lat] = list.map((item) => {
    if (typeof item !== 'number') throw refusal('Expected a floating-point value, but got None')
    return item
  })
  return [lng!, lat!]
}

function array(value: Json): readonly Json[] {
  if (!Array.isArray(value)) throw refusal('Expected an Array value, but got `None`')
  return value as readonly Json[]
}

function coordinates(object: JsonObject): Json {
  if (object.coordinates === undefined) throw missing('coordinates')
  return object.coordinates
}

function listOf(object: JsonObject, name: string): readonly Json[] {
  const value = object[name]
  if (value === undefined) throw missing(name)
  if (Array.isArray(value)) return value as readonly Json[]
  const kind = value === null ? 'null' : typeof value === 'boolean' ? 'bool' : typeof value
  throw refusal(`Expected an Array value, but got \`${kind[0]!.toUpperCase()}${kind.slice(1)}\``)
}

function objectOf(value: Json): JsonObject {
  if (!isObject(value)) throw refusal(`Expected an owned Object, but got \`${JSON.stringify(value)}\``)
  return value
}

function readBox({ bbox }: JsonObject): void {
  if (bbox === undefined || bbox === null) return
  if (!Array.isArray(bbox))
    throw refusal(`Encountered non-array value for a 'bbox' object: \`${JSON.stringify(bbox)}\``)
  if (bbox.some((value: Json) => typeof value !== 'number'))
    throw refusal("Encountered non-numeric value within 'bbox' array")
}

const missing = (name: string): ApiError => refusal(`Expected a GeoJSON property for \`${name}\`, but got None`)

const refusal = (message: string): ApiError => new ApiError('invalid_document_geo_field', message)
