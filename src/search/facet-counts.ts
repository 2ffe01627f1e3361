/** Facets of several nodes as one: counts summed by value, put in order and cut as one node does (merge findings, 6 and 7). */
import type { IndexSettings } from '../api/index-settings.ts'
import { normaliseFacet } from '../embedded/text/normalise.ts'
import { forEachMember, type Members, splitMembers } from '../lib/json-cut.ts'
import { hiddenDistinct } from './hidden-distinct.ts'
import { isReservedName } from './reserved-names.ts'
import { compareBytes } from './score-keys.ts'

/** Up to this many candidates, one node lists numbers in the order of their texts. */
const textOrderMax = 3000

/** What a leg says of facets. */
export interface FacetLeg {
  /** Documents that it found. */
  readonly total: number
  /** Members of its answer, with `facetDistribution` and `facetStats`. */
  readonly members?: Members
  /** The texts of these, where they stand elsewhere. */
  readonly facets?: { readonly distribution: string; readonly stats: string }
  /** -1: documents that other legs have counted twice. Default 1. */
  readonly sign?: 1 | -1
}

export interface FacetCounts {
  /** Field → value → count, both in the order in which clients see them. */
  readonly distribution: ReadonlyMap<string, ReadonlyMap<string, number>>
  /** Numbers as nodes wrote them. */
  readonly stats: ReadonlyMap<string, { readonly min: string; readonly max: string }>
}

type Order = 'alpha' | 'count'

interface Value {
  shown: string
  isNumber: boolean
  /** By which values are the same, and are put in order. */
  readonly form: string
  count: number
}

/** @param candidates  documents found in all. */
export function mergeFacetCounts(legs: readonly FacetLeg[], settings: IndexSettings, candidates: number): FacetCounts {
  const { sortFacetValuesBy, maxValuesPerFacet } = settings.faceting
  const hidden = hiddenDistinct(settings)
  const isClients = (field: string) => !isReservedName(field) && field !== hidden
  const orderOf = (field: string): Order => sortFacetValuesBy[field] ?? sortFacetValuesBy['*'] ?? 'alpha'
  const fields = new Map<string, Map<string, Value>>()
  const stats = new Map<string, { min: string; max: string }>()
  for (const { total, members, facets, sign = 1 } of legs) {
    const ranges = readRanges(facets?.stats ?? members?.get('facetStats') ?? '{}')
    for (const [field, text] of splitMembers(facets?.distribution ?? members?.get('facetDistribution') ?? '{}')) {
      if (!isClients(field)) continue
      const values = fields.get(field) ?? new Map<string, Value>()
      fields.set(field, values)
      addValues(values, text, { range: ranges.get(field), order: orderOf(field), candidates: total, sign })
    }
    for (const [field, range] of ranges) if (isClients(field)) stats.set(field, join(stats.get(field), range))
  }
  const distribution = sortedFields(fields).map(([field, values]) => {
    const shown =
      orderOf(field) === 'count' ? byCount(values, maxValuesPerFacet) : byValue(values, maxValuesPerFacet, candidates)
    return [field, new Map(shown.map((value) => [value.shown, value.count]))] as const
  })
  return { distribution: new Map(distribution), stats: new Map(sortedFields(stats)) }
}

const sortedFields = <T>(fields: ReadonlyMap<string, T>): (readonly [string, T])[] =>
  [...fields].sort(([a], [b]) => compareBytes(a, b))

interface Range {
  readonly min: string
  readonly max: string
}

function readRanges(stats: string): Map<string, Range> {
  const ranges = new Map<string, Range>()
  for (const [field, text] of splitMembers(stats)) {
    const range = splitMembers(text)
    ranges.set(field, { min: range.get('min') ?? '0', max: range.get('max') ?? '0' })
  }
  return ranges
}

function join(known: Range | undefined, { min, max }: Range): Range {
  if (known === undefined) return { min, max }
  return {
    min: Number(min) < Number(known.min) ? min : known.min,
    max: Number(max) > Number(known.max) ? max : known.max,
  }
}

const numeric = /^-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/

interface LegValues {
  readonly range: Range | undefined
  readonly order: Order
  readonly candidates: number
  readonly sign: 1 | -1
}

/**
 * Adds one leg's values of a field. Numbers come before strings, and a string may read like a number: one that lies outside
 * the range of the numbers, or breaks their order, is the first of the strings. Equal counts come in any order (R3).
 *
 * @param text  value → count, as the node wrote it.
 */
function addValues(values: Map<string, Value>, text: string, { range, order, candidates, sign }: LegValues): void {
  let before: Value | undefined
  let isNumber = range !== undefined
  forEachMember(text, (key, countText) => {
    const found = Number(countText)
    if (isNumber && range !== undefined) {
      const number = Number(key)
      const value = { shown: key, isNumber, form: key, count: found }
      isNumber = numeric.test(key) && number >= Number(range.min) && number <= Number(range.max)
      if (isNumber && before !== undefined)
        isNumber = order === 'count' ? before.count >= found : compareNumbers(before, value, candidates) <= 0
      before = value
    }
    const count = sign * found
    const form = isNumber ? key : normaliseFacet(key)
    const known = values.get(form)
    if (known === undefined) {
      values.set(form, { shown: key, isNumber, form, count })
      return
    }
    known.count += count
    known.isNumber &&= isNumber
    // Of several spellings, the same one whichever leg answers first (F8).
    if (key !== known.shown && compareBytes(key, known.shown) < 0) known.shown = key
  })
}

const compareNumbers = (a: Value, b: Value, candidates: number): number =>
  candidates > textOrderMax ? Number(a.form) - Number(b.form) : compareBytes(a.form, b.form)

const compareCounts = (a: Value, b: Value): number => b.count - a.count || Number(b.form) - Number(a.form)

type Values = ReadonlyMap<string, Value>

function byValue(values: Values, valuesMax: number, candidates: number): readonly Value[] {
  const { numbers, strings } = byKind(values)
  const first = firstInOrder(numbers, valuesMax, (a, b) => compareNumbers(a, b, candidates))
  return [...first, ...firstInOrder(strings, valuesMax - first.length, (a, b) => compareBytes(a.form, b.form))]
}

/** As in the engine, numbers that fill the list exactly leave no end to the strings (R5). */
function byCount(values: Values, valuesMax: number): readonly Value[] {
  const { numbers, strings } = byKind(values)
  const first = firstInOrder(numbers, valuesMax, compareCounts)
  const stringsMax = numbers.length >= valuesMax ? Number.POSITIVE_INFINITY : valuesMax - first.length
  return [...first, ...firstInOrder(strings, stringsMax, (a, b) => b.count - a.count || compareBytes(b.form, a.form))]
}

function byKind(values: Values): { readonly numbers: readonly Value[]; readonly strings: readonly Value[] } {
  const numbers: Value[] = []
  const strings: Value[] = []
  for (const value of values.values()) {
    if (value.count <= 0) continue
    if (value.isNumber) numbers.push(value)
    else strings.push(value)
  }
  return { numbers, strings }
}

/** The first ones, without putting what is far behind them in order. */
function firstInOrder(
  values: readonly Value[],
  countMax: number,
  compare: (a: Value, b: Value) => number,
): readonly Value[] {
  if (countMax === 0) return []
  let first: Value[] = []
  let last: Value | undefined
  const cut = () => {
    first = first.sort(compare).slice(0, countMax)
    last = first[countMax - 1]
  }
  for (const value of values) {
    if (last !== undefined && compare(value, last) >= 0) continue
    first.push(value)
    if (first.length >= 2 * countMax) cut()
  }
  cut()
  return first
}

/** `{"genre":{"Fantasy":2}}`. */
export function distributionText({ distribution }: FacetCounts): string {
  const fields = [...distribution].map(([field, values]) => {
    const counts = [...values].map(([value, count]) => `${JSON.stringify(value)}:${count}`)
    return `${JSON.stringify(field)}:{${counts.join(',')}}`
  })
  return `{${fields.join(',')}}`
}

/** `{"price":{"min":1.0,"max":20.0}}`. */
export function statsText({ stats }: FacetCounts): string {
  const fields = [...stats].map(([field, { min, max }]) => `${JSON.stringify(field)}:{"min":${min},"max":${max}}`)
  return `{${fields.join(',')}}`
}
