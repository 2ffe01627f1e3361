/**
 * What may differ between one node and many, by the rows of docs/merge.md: where a row applies to a question, what it may
 * change is left out of both answers. A difference that remains is a mistake.
 */
import { normaliseFacet } from '../../../src/embedded/text/normalise.ts'
import { isObject, type Json, type JsonObject } from '../../../src/lib/json.ts'
import type { Answer } from '../differential/comparison.ts'
import type { Question } from '../differential/questions.ts'
import type { World } from '../differential/worlds.ts'
import { isDistinct, isFaceted, isFormatted, isFrequency, isThreshold, isVector } from './kinds.ts'

export interface Allowance {
  /** Row of docs/merge.md. */
  readonly row: string
  applies(question: Question, world: World): boolean
  /** The body without what the row may change. */
  mask(body: Json): Json
  /** Of the questions to which it applies, which share it may explain. */
  readonly shareMax: number
}

/** Fields with numbers and texts in the generated documents. */
const mixedFields = ['price', 'code', 'note']
const totals = ['estimatedTotalHits', 'totalHits', 'totalPages']

export const allowances: readonly Allowance[] = [
  {
    row: 'T12',
    applies: () => true,
    mask: (body) =>
      mapMembers(
        isObject(body) && Array.isArray(body.results) ? mapMembers(body, 'results', inDocuments) : sortedDocument(body),
        'hits',
        sortedKeys,
      ),
    shareMax: 0.2,
  },
  { row: 'F8', applies: isFaceted, mask: oneSpelling, shareMax: 0.45 },
  {
    row: 'R3',
    applies: (question, { settings }) => isFaceted(question) && isObject(settings.faceting ?? null),
    mask: (body) =>
      mapDistributions(body, (values) =>
        Object.values(values)
          .map(Number)
          .sort((a, b) => b - a),
      ),
    shareMax: 0.5,
  },
  {
    row: 'R4',
    applies: isFaceted,
    mask: (body) => mapFacets(body, (facets) => without(facets, mixedFields)),
    shareMax: 0.1,
  },
  { row: 'R11', applies: isFormatted, mask: (body) => withoutFormats(body), shareMax: 0.05 },
  {
    row: 'R6',
    applies: isDistinct,
    mask: (body) => withoutMembers(body, [...totals, 'facetDistribution', 'facetStats', 'facetsByIndex', 'facetHits']),
    shareMax: 0.3,
  },
  {
    row: 'F4',
    applies: (question) =>
      isThreshold(question) && (isVector(question) || question.path.includes('multi-search') || isFaceted(question)),
    mask: (body) => withoutMembers(body, [...totals, 'facetDistribution', 'facetStats', 'facetsByIndex', 'facetHits']),
    shareMax: 0.6,
  },
  {
    row: 'R8',
    applies: ({ path }, { settings }) =>
      path.endsWith('/similar') && JSON.stringify(settings.embedders ?? null).includes('"binaryQuantized":true'),
    mask: () => null,
    shareMax: 0.7,
  },
  {
    row: 'F4',
    applies: isThreshold,
    mask: (body) => withoutMembers(body, totals),
    shareMax: 0.1,
  },
  { row: 'R7', applies: isFrequency, mask: () => null, shareMax: 0.4 },
]

/** Rows without which the answers would differ; null = they differ all the same. */
export function explain(
  question: Question,
  world: World,
  expected: Answer,
  actual: Answer,
  isSame: (a: Answer, b: Answer) => boolean,
): readonly string[] | null {
  let [left, right] = [expected, actual]
  const rows: string[] = []
  for (const { row, applies, mask } of allowances) {
    if (isSame(left, right)) return rows
    if (left.status !== 200 || !applies(question, world)) continue
    const [maskedLeft, maskedRight] = [mask(left.body), right.status === 200 ? mask(right.body) : right.body]
    left = { ...left, body: maskedLeft }
    right = { ...right, body: maskedRight }
    rows.push(row)
  }
  return isSame(left, right) ? rows : null
}

/** Maps the member of this name, wherever it stands above the hits. */
function mapMembers(value: Json, name: string, map: (value: Json) => Json): Json {
  if (Array.isArray(value)) return value.map((item: Json) => mapMembers(item, name, map))
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => {
      if (key === name) return [key, map(member)]
      return [key, key === 'hits' ? member : mapMembers(member, name, map)]
    }),
  )
}

/** Of a list of documents; results of a multi-search have hits of their own. */
function inDocuments(results: Json): Json {
  if (!Array.isArray(results)) return results
  return (results as readonly Json[]).map((item) => (isObject(item) && 'hits' in item ? item : sortedKeys(item)))
}

/** A single document is the whole answer. */
const sortedDocument = (body: Json): Json =>
  isObject(body) && !('hits' in body) && !('facetHits' in body) && !('code' in body) ? sortedKeys(body) : body

function sortedKeys(value: Json): Json {
  if (Array.isArray(value)) return value.map((item: Json) => sortedKeys(item))
  if (!isObject(value)) return value
  const sorted = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(sorted.map(([key, member]) => [key, sortedKeys(member)]))
}

/** Field → values, in a search's answer and in a federation's. */
function mapFacets(body: Json, map: (facets: JsonObject) => JsonObject): Json {
  const mapObject = (value: Json): Json => (isObject(value) ? map(value) : value)
  return ['facetDistribution', 'distribution', 'facetStats', 'stats'].reduce(
    (mapped, name) => mapMembers(mapped, name, mapObject),
    body,
  )
}

function mapDistributions(body: Json, map: (values: JsonObject) => Json): Json {
  const mapFields = (facets: Json): Json =>
    isObject(facets)
      ? Object.fromEntries(
          Object.entries(facets).map(([field, values]) => [field, isObject(values) ? map(values) : values]),
        )
      : facets
  return ['facetDistribution', 'distribution'].reduce((mapped, name) => mapMembers(mapped, name, mapFields), body)
}

function oneSpelling(body: Json): Json {
  const mapped = mapDistributions(body, (values) =>
    Object.fromEntries(Object.entries(values).map(([value, count]) => [normaliseFacet(value), count])),
  )
  return mapMembers(mapped, 'facetHits', (hits) =>
    (Array.isArray(hits) ? (hits as readonly Json[]) : [])
      .filter(isObject)
      .map(({ value, count }) => ({ value: normaliseFacet(String(value)), count: count ?? null })),
  )
}

const without = (object: JsonObject, names: readonly string[]): JsonObject =>
  Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)))

function withoutMembers(body: Json, names: readonly string[]): Json {
  if (Array.isArray(body)) return body.map((item: Json) => withoutMembers(item, names))
  if (!isObject(body)) return body
  return Object.fromEntries(
    Object.entries(body)
      .filter(([name]) => !names.includes(name))
      .map(([name, value]) => [name, name === 'hits' ? value : withoutMembers(value, names)]),
  )
}

function withoutFormats(body: Json): Json {
  const clean = (hits: Json): Json =>
    Array.isArray(hits)
      ? (hits as readonly Json[]).map((hit) => (isObject(hit) ? without(hit, ['_formatted', '_matchesPosition']) : hit))
      : hits
  return mapMembers(body, 'hits', clean)
}
