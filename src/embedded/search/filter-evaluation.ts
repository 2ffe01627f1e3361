/** From a parsed filter to the documents that pass it (M-F14). */
import { ApiError, type ErrorCode } from '../../api/errors.ts'
import { type Filter, type Span, spanTail, type Word } from '../../api/filter.ts'
import type { Position } from '../../api/geojson.ts'
import { assert } from '../../lib/assert.ts'
import { Bitmap } from '../../lib/bitmap.ts'
import type { Json } from '../../lib/json.ts'
import { usesShapes } from '../field-rules.ts'
import { destination } from '../geo-path.ts'
import type { FieldId, IndexReader } from '../index-reader.ts'
import { storedShape } from '../shape-box.ts'
import { normaliseFacet } from '../text/normalise.ts'
import { isFilterable, type MatchedRule, patternsWhere, ruleOf } from './attribute-names.ts'
import { badLatitude, badLongitude, haversineMetres, type Point } from './geo.ts'
import { GeoArea } from './geo-area.ts'
import { withVectors } from './vector-filter.ts'

/** @throws ApiError with `code`: attributes that are not filterable (40), operators not granted (42), bad places. */
export function evaluateFilter(reader: IndexReader, filter: Filter, code: ErrorCode): Bitmap {
  for (const field of fieldsOf(filter)) {
    const matched = ruleOf(reader.settings, field.text)
    if (matched === undefined || !isFilterable(matched.rule)) throw notFilterable(reader, field.text, field, code)
  }
  return evaluate({ reader, code }, filter, reader.documentIds)
}

interface Evaluation {
  readonly reader: IndexReader
  readonly code: ErrorCode
}

/** The part of `universe` that passes. */
function evaluate(at: Evaluation, filter: Filter, universe: Bitmap): Bitmap {
  if (universe.isEmpty()) return universe
  switch (filter.kind) {
    case 'and': {
      let left = universe
      for (const part of filter.filters) left = evaluate(at, part, left)
      return left
    }
    case 'or':
      return Bitmap.union(filter.filters.map((part) => evaluate(at, part, universe)))
    case 'not':
      return universe.andNot(evaluate(at, filter.filter, universe))
    case 'compare':
      return onField(at, filter.field, filter.operator, universe, (field) =>
        compare(at.reader, field, filter.operator, filter.value.text, universe),
      )
    case 'between':
      return onField(at, filter.field, 'TO', universe, (field) =>
        inRange(
          at.reader,
          field,
          { text: filter.from.text, isIncluded: true },
          { text: filter.to.text, isIncluded: true },
        ),
      )
    case 'in': {
      // Without values there is no equality that a rule could forbid.
      if (filter.values.length === 0) return filter.negated ? universe : Bitmap.of()
      const found = onField(at, filter.field, '=', universe, (field) =>
        Bitmap.union(filter.values.map((value) => equal(at.reader, field, value.text))),
      )
      return filter.negated ? universe.andNot(found) : found
    }
    case 'presence': {
      const found = onField(at, filter.field, filter.test, universe, (field) => {
        if (filter.test === 'EXISTS') return at.reader.facetExists(field)
        return filter.test === 'IS NULL' ? at.reader.facetNull(field) : at.reader.facetEmpty(field)
      })
      return filter.negated ? universe.andNot(found) : found
    }
    case 'text': {
      const found = onField(at, filter.field, filter.test, universe, (field) =>
        matchText(at.reader, field, filter.test, normaliseFacet(filter.value.text)),
      )
      return filter.negated ? universe.andNot(found) : found
    }
    case 'geo-radius':
      return inRadius(at, filter, universe)
    case 'geo-box':
      return inBox(at, filter, universe)
    case 'geo-polygon':
      return inPolygon(at, filter, universe)
    case 'vectors': {
      const found = withVectors(at.reader, filter, universe, at.code)
      return filter.negated ? universe.andNot(found) : found
    }
    case 'foreign':
      throw new ApiError(at.code, 'Filters on foreign indexes are not supported.')
  }
}

/** Every field name that must be filterable, the last one first: an error names the first that is not, as the reference. */
function* fieldsOf(filter: Filter): Iterable<Word> {
  if (filter.kind === 'and' || filter.kind === 'or')
    for (const part of filter.filters.toReversed()) yield* fieldsOf(part)
  else if (filter.kind === 'not') yield* fieldsOf(filter.filter)
  else if ('field' in filter && filter.kind !== 'foreign') yield filter.field
}

type Operator =
  | '='
  | '!='
  | '>'
  | '>='
  | '<'
  | '<='
  | 'TO'
  | 'EXISTS'
  | 'IS NULL'
  | 'IS EMPTY'
  | 'CONTAINS'
  | 'STARTS WITH'

/** Runs `find` when some document has the field; checks that its rule grants the operator. */
function onField(
  { reader, code }: Evaluation,
  name: Word,
  operator: Operator,
  universe: Bitmap,
  find: (field: FieldId) => Bitmap,
): Bitmap {
  const field = reader.fieldId(name.text)
  const matched = ruleOf(reader.settings, name.text)
  if (field === undefined || matched === undefined) return Bitmap.of()
  const { equality, comparison } = matched.rule.features.filter
  const isGranted =
    operator === '=' || operator === '!='
      ? equality
      : operator === 'TO' || operator === '>' || operator === '>=' || operator === '<' || operator === '<='
        ? comparison
        : true
  if (!isGranted) throw notGranted(name.text, operator, matched, code)
  return find(field).and(universe)
}

function compare(reader: IndexReader, field: FieldId, operator: string, text: string, universe: Bitmap): Bitmap {
  switch (operator) {
    case '=':
      return equal(reader, field, text)
    case '!=':
      return universe.andNot(equal(reader, field, text))
    case '>':
      return inRange(reader, field, { text, isIncluded: false }, null)
    case '>=':
      return inRange(reader, field, { text, isIncluded: true }, null)
    case '<':
      return inRange(reader, field, null, { text, isIncluded: false })
    default:
      return inRange(reader, field, null, { text, isIncluded: true })
  }
}

function equal(reader: IndexReader, field: FieldId, text: string): Bitmap {
  const strings = reader.facetString(field, normaliseFacet(text))
  const number = finiteNumber(text)
  return number === null ? strings : strings.or(reader.facetNumber(field, number))
}

interface Bound {
  readonly text: string
  readonly isIncluded: boolean
}

/** Numbers between the bounds, if they are numbers, and strings between them; null = unbounded. */
function inRange(reader: IndexReader, field: FieldId, from: Bound | null, to: Bound | null): Bitmap {
  const found: Bitmap[] = []
  const low = from === null ? Number.NEGATIVE_INFINITY : finiteNumber(from.text)
  const high = to === null ? Number.POSITIVE_INFINITY : finiteNumber(to.text)
  if (low !== null && high !== null && low <= high) {
    for (const { value, docids } of reader.facetNumbers(field, low, high)) {
      if ((value === low && from?.isIncluded === false) || (value === high && to?.isIncluded === false)) continue
      found.push(docids)
    }
  }
  const first = from === null ? '' : normaliseFacet(from.text)
  const last = to === null ? null : normaliseFacet(to.text)
  for (const { value, docids } of reader.facetStrings(field, first)) {
    if (last !== null && (value > last || (value === last && to?.isIncluded === false))) break
    if (from !== null && value === first && !from.isIncluded) continue
    found.push(docids)
  }
  return Bitmap.union(found)
}

function matchText(reader: IndexReader, field: FieldId, test: 'CONTAINS' | 'STARTS WITH', text: string): Bitmap {
  if (test === 'STARTS WITH' && text === '') return reader.facetExists(field)
  const found: Bitmap[] = []
  for (const { value, docids } of reader.facetStrings(field, test === 'STARTS WITH' ? text : '')) {
    if (test === 'CONTAINS') {
      if (value.includes(text)) found.push(docids)
    } else if (value.startsWith(text)) found.push(docids)
    else break
  }
  return Bitmap.union(found)
}

/** A decimal number, as the reference's filters read it; null for anything else. */
export function finiteNumber(text: string): number | null {
  if (!/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text)) return null
  const number = Number(text)
  return Number.isFinite(number) ? number : null
}

// ---- Places ----

type Of<K extends Filter['kind']> = Extract<Filter, { readonly kind: K }>

/** Corners of the circle that shapes are compared with, unless the filter says. */
const defaultResolution = 125

function inRadius(at: Evaluation, filter: Of<'geo-radius'>, universe: Bitmap): Bitmap {
  const centre = readPoint(at, filter.lat, filter.lng)
  const metres = readNumber(at, filter.metres)
  const resolution = filter.resolution === null ? defaultResolution : Math.trunc(readNumber(at, filter.resolution))
  if (filter.resolution !== null && (resolution < 3 || resolution > 1000))
    throw refusal(at, filter.resolution, `Invalid resolution \`${resolution}\`. Resolution must be between 3 and 1000.`)
  return placesWhere(
    at,
    filter.lat,
    universe,
    (point) => haversineMetres(centre, point) <= metres + Number.EPSILON,
    () =>
      Array.from({ length: resolution }, (_, corner) =>
        destination([centre.lng, centre.lat], (360 * corner) / resolution, metres),
      ),
  )
}

function inBox(at: Evaluation, filter: Of<'geo-box'>, universe: Bitmap): Bitmap {
  const top = readPoint(at, ...filter.topRight)
  const bottom = readPoint(at, ...filter.bottomLeft)
  if (top.lat < bottom.lat)
    throw refusal(
      at,
      filter.bottomLeft[1],
      `The top latitude \`${top.lat}\` is below the bottom latitude \`${bottom.lat}\`.`,
    )
  const crosses = top.lng < bottom.lng
  const isInside = ({ lat, lng }: Point): boolean => {
    const isWithinLng = crosses ? lng >= bottom.lng || lng <= top.lng : lng >= bottom.lng && lng <= top.lng
    return lat >= bottom.lat && lat <= top.lat && isWithinLng
  }
  return placesWhere(at, filter.topRight[0], universe, isInside, () => {
    const width = top.lng - bottom.lng + (crosses ? 360 : 0)
    // A side of more than half a turn would be taken the other way round the globe.
    const parts = width > 180 ? [0, 1 / 3, 2 / 3, 1] : [0, 1]
    const lngs = parts.map((part) => bottom.lng + width * part)
    return [
      ...lngs.toReversed().map((lng): Position => [lng, top.lat]),
      ...lngs.map((lng): Position => [lng, bottom.lat]),
    ]
  })
}

/** Shapes alone: documents with a position only are not looked at. */
function inPolygon(at: Evaluation, filter: Of<'geo-polygon'>, universe: Bitmap): Bitmap {
  const first = filter.points[0]
  assert(first !== undefined, 'the parser asks for three points')
  if (!usesShapes(at.reader.settings)) throw notFilterable(at.reader, '_geojson', first[0], at.code)
  return shapesIn(
    at.reader,
    universe,
    filter.points.map(([lat, lng]): Position => {
      const point = readPoint(at, lat, lng)
      return [point.lng, point.lat]
    }),
  )
}

/** Documents whose shape meets the area within `outline`: one shape in memory at a time, and only where boxes meet. */
function shapesIn(reader: IndexReader, universe: Bitmap, outline: readonly Position[]): Bitmap {
  const area = new GeoArea(outline)
  const found: number[] = []
  for (const docid of reader.shapeDocids.and(universe)) {
    const box = reader.shapeBoxOf(docid)
    if (box === undefined || !area.mayMeet(box)) continue
    const shape = storedShape(reader.document(docid)?._geojson as Json | undefined)
    if (shape !== undefined && area.meets(shape, box)) found.push(docid)
  }
  return Bitmap.from(found)
}

/** Geographic filters need the field by its very name: no pattern stands for it. */
function isListed({ settings }: IndexReader, name: string): boolean {
  return settings.filterableAttributes.some(({ plain, attributePatterns }) => plain && attributePatterns.includes(name))
}

/** Documents whose position passes `test`, and those whose shape meets the area within the outline. */
function placesWhere(
  at: Evaluation,
  word: Word,
  universe: Bitmap,
  test: (point: Point) => boolean,
  outline: () => readonly Position[],
): Bitmap {
  const { reader } = at
  const hasShapes = usesShapes(reader.settings)
  if (!isListed(reader, '_geo')) {
    if (!hasShapes) throw notFilterable(reader, '_geo/_geojson', word, at.code)
    return shapesIn(reader, universe, outline())
  }
  const found: number[] = []
  for (const docid of reader.geoDocids.and(universe)) {
    const point = reader.geoOf(docid)
    if (point !== undefined && test(point)) found.push(docid)
  }
  const placed = Bitmap.from(found)
  return hasShapes ? placed.or(shapesIn(reader, universe, outline())) : placed
}

function readPoint(at: Evaluation, lat: Word, lng: Word): Point {
  const point = { lat: readNumber(at, lat), lng: readNumber(at, lng) }
  if (point.lat < -90 || point.lat > 90) throw refusal(at, lat, badLatitude(point.lat))
  if (point.lng < -180 || point.lng > 180) throw refusal(at, lng, badLongitude(point.lng))
  return point
}

function readNumber(at: Evaluation, word: Word): number {
  const number = finiteNumber(word.text)
  if (number === null) throw refusal(at, word, 'invalid float literal')
  return number
}

// ---- Refusals ----

function refusal({ code }: Evaluation, span: Span, message: string): ApiError {
  return new ApiError(code, message + spanTail(span))
}

function notFilterable(reader: IndexReader, field: string, span: Span, code: ErrorCode): ApiError {
  const patterns = patternsWhere(reader.settings, isFilterable)
  const tail =
    patterns.length === 0
      ? 'This index does not have configured filterable attributes.'
      : `Available filterable attribute patterns are: ${patterns.map((pattern) => `\`${pattern}\``).join(', ')}.`
  return new ApiError(code, `Attribute \`${field}\` is not filterable. ${tail}${spanTail(span)}`)
}

function notGranted(field: string, operator: Operator, { index, rule }: MatchedRule, code: ErrorCode): ApiError {
  const { equality, comparison } = rule.features.filter
  const allowed = [
    'OR',
    'AND',
    'NOT',
    ...(equality ? ['=', '!=', 'IN'] : []),
    ...(comparison ? ['<', '>', '<=', '>=', 'TO'] : []),
    'IS EMPTY',
    'IS NULL',
    'EXISTS',
  ]
  const feature = operator === '=' || operator === '!=' ? 'equality' : 'comparison'
  return new ApiError(
    code,
    `Filter operator \`${operator}\` is not allowed for the attribute \`${field}\`.\n  - Note: allowed operators: ${allowed.join(', ')}.\n  - Note: field \`${field}\` matched rule #${index} in \`filterableAttributes\`\n  - Hint: enable ${feature} in rule #${index} by modifying the features.filter object\n  - Hint: prepend another rule matching \`${field}\` with appropriate filter features before rule #${index}`,
  )
}
