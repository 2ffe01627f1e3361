/** The order of listed documents: by the values that `sort` names, then by their place in the index. */
import { facetValuesOf } from '../embedded/search/federated-facets.ts'
import { haversineMetres, type Point } from '../embedded/search/geo.ts'
import { parseSort, type SortCriterion } from '../embedded/search/sort-criteria.ts'
import type { JsonObject } from '../lib/json.ts'
import { sequenceOf } from './hit.ts'
import { placeOf } from './place-buckets.ts'
import { compareBytes, compareKeys, geoKey, type ScoreKey } from './score-keys.ts'

export interface Row {
  /** JSON of the document, or of the fields that were asked for. */
  readonly text: string
  readonly keys: readonly ScoreKey[]
  readonly sequence: string
}

export interface RowOrder {
  readonly criteria: readonly SortCriterion[]
  /** That legs must give, so that rows can be compared. */
  readonly fields: readonly string[]
}

/** @throws ApiError `invalid_document_sort`. */
export function rowOrder(sort: readonly string[] | null): RowOrder {
  const criteria = parseSort(sort, 'invalid_document_sort')
  return { criteria, fields: criteria.map((criterion) => (criterion.kind === 'geo' ? '_geo' : criterion.field)) }
}

export function readRow(text: string, { criteria }: RowOrder): Row {
  if (criteria.length === 0) return { text, keys: [], sequence: sequenceOf(text) }
  const document = JSON.parse(text) as JsonObject
  return {
    text,
    keys: criteria.map((criterion) => keyOf(document, text, criterion)),
    sequence: sequenceOf(text),
  }
}

function keyOf(document: JsonObject, text: string, criterion: SortCriterion): ScoreKey {
  const { ascending } = criterion
  if (criterion.kind === 'geo') return placeKey(placeOf(text), criterion.point, ascending)
  const values = facetValuesOf(document, criterion.field)
  const numbers = values.filter((value) => typeof value === 'number')
  const strings = values.filter((value) => typeof value === 'string')
  const ordered = numbers.length > 0 ? numbers.sort((a, b) => a - b) : strings.sort(compareBytes)
  return { value: (ascending ? ordered[0] : ordered.at(-1)) ?? null, ascending }
}

const placeKey = (place: Point | null, target: Point, ascending: boolean): number =>
  geoKey(place === null ? null : haversineMetres(target, place), ascending)

export const compareRows = (a: Row, b: Row): number =>
  compareKeys(a.keys, b.keys) || (a.sequence < b.sequence ? -1 : a.sequence > b.sequence ? 1 : 0)
