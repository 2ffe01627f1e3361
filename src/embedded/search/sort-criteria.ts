/** The `sort` parameter: parsed, and checked against the settings (messages 50 to 52). */
import { ApiError, type ErrorCode } from '../../api/errors.ts'
import { isCovered } from '../field-rules.ts'
import type { IndexReader } from '../index-reader.ts'
import { shownNames, sorted } from './attribute-names.ts'
import { badLatitude, badLongitude, type Point } from './geo.ts'

export type SortCriterion =
  | { readonly kind: 'field'; readonly field: string; readonly ascending: boolean }
  | { readonly kind: 'geo'; readonly point: Point; readonly ascending: boolean }

/** `invalid_document_sort` is for the listing of documents, where no ranking rule is needed. */
export type SortErrorCode = 'invalid_search_sort' | 'invalid_document_sort'

const reservedNames = ['_geo', '_geoDistance', '_geoPoint', '_geoRadius', '_geoBoundingBox', '_geojson', '_vectors']
const reservedCalls = ['_geoRadius(', '_geoBoundingBox(', '_geo(', '_geoDistance(']

export function parseSort(sort: readonly string[] | null, code: SortErrorCode): readonly SortCriterion[] {
  return (sort ?? []).map((text) => parseCriterion(text, code))
}

function parseCriterion(text: string, code: SortErrorCode): SortCriterion {
  const colon = text.lastIndexOf(':')
  const direction = text.slice(colon + 1)
  if (colon < 0 || (direction !== 'asc' && direction !== 'desc'))
    throw new ApiError(
      code,
      `Invalid syntax for the sort parameter: expected expression ending by \`:asc\` or \`:desc\`, found \`${text}\`.`,
    )
  const ascending = direction === 'asc'
  const member = text.slice(0, colon)
  if (member.startsWith('_geoPoint(') && member.endsWith(')'))
    return { kind: 'geo', point: parsePoint(member, code), ascending }
  if (reservedNames.includes(member) || reservedCalls.some((call) => member.startsWith(call)))
    throw new ApiError(code, reservedMessage(member))
  return { kind: 'field', field: member, ascending }
}

function parsePoint(member: string, code: ErrorCode): Point {
  const inner = member.slice('_geoPoint('.length, -1)
  const comma = inner.indexOf(',')
  const [lat, lng] = [inner.slice(0, comma), inner.slice(comma + 1)].map((part) =>
    /^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$/.test(part) ? Number(part) : Number.NaN,
  )
  if (comma < 0 || lat === undefined || lng === undefined || Number.isNaN(lat) || Number.isNaN(lng))
    throw new ApiError(code, reservedMessage(member))
  if (lat < -90 || lat > 90) throw new ApiError(code, badLatitude(lat))
  if (lng < -180 || lng > 180) throw new ApiError(code, badLongitude(lng))
  return { lat, lng }
}

function reservedMessage(name: string): string {
  if (name.startsWith('_geoPoint'))
    return `Invalid syntax for the geo parameter: expected expression formated like \`_geoPoint(latitude, longitude)\` and ending by \`:asc\` or \`:desc\`, found \`${name}\`.`
  const call = ['_geoRadius', '_geoBoundingBox'].find((reserved) => name.startsWith(reserved))
  const subject = `\`${call ?? name}\` is a reserved keyword and thus can't be used as a sort expression.`
  const hint = ' Use the _geoPoint(latitude, longitude) built-in rule to sort on _geo field coordinates.'
  return name === '_geo' || call !== undefined ? subject + hint : subject
}

/** Refuses what cannot be sorted by. */
export function checkSort(reader: IndexReader, criteria: readonly SortCriterion[], code: SortErrorCode): void {
  if (criteria.length === 0) return
  const { rankingRules, sortableAttributes } = reader.settings
  if (code === 'invalid_search_sort' && !rankingRules.includes('sort'))
    throw new ApiError(
      code,
      'You must specify where `sort` is listed in the rankingRules setting to use the sort parameter at search time.',
    )
  for (const criterion of criteria) {
    const field = criterion.kind === 'geo' ? '_geo' : criterion.field
    const isSortable =
      criterion.kind === 'geo'
        ? sortableAttributes.includes('_geo')
        : sortableAttributes.some((attribute) => isCovered(field, attribute))
    if (isSortable) continue
    const shown =
      code === 'invalid_search_sort'
        ? shownNames(reader, sortableAttributes)
        : { list: `\`${sorted(sortableAttributes).join(', ')}\``, isEmpty: sortableAttributes.length === 0 }
    const tail = shown.isEmpty
      ? 'This index does not have configured sortable attributes.'
      : `Available sortable attributes are: ${shown.list}.`
    throw new ApiError(code, `Attribute \`${field}\` is not sortable. ${tail}`)
  }
}
