/** Facets of several nodes as one: counts summed by value, put in order and cut as one node does (merge findings, 6 and 7). */
import type { IndexSettings } from '../api/index-settings.ts'
import { normaliseFacet } from '../embedded/text/normalise.ts'
import { type Members, splitMembers } from '../lib/json-cut.ts'
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
      addValues(values, numbersFirst(splitMembers(text), ranges.get(field), orderOf(field), total), sign)
    }
    for (const [field, range] of ranges) if (isClients(field)) stats.set(field, join(stats.get(field), range))
  }
  const distribution = sortedFields(fields).map(([field, values]) => {
    const all = [...values.values()].filter(({ count }) => count > 0)
    const shown =
      orderOf(field) === 'count' ? byCount(all, maxValuesPerFacet) : byValue(all, maxValuesPerFacet, candidates)
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

interface Listed {
  readonly key: string
  readonly count: number
  readonly isNumber: boolean
}

/**
 * One leg's values of a field. Numbers come before strings, and a string may read like a number: one that lies outside the
 * range of the numbers, or breaks their order, is the first of the strings.
 */
function* numbersFirst(
  listed: ReadonlyMap<string, string>,
  range: Range | undefined,
  order: Order,
  candidates: number,
): Generator<Listed> {
  let before: Listed | undefined
  let isAmongNumbers = range !== undefined
  for (const [key, text] of listed) {
    const number = Number(key)
    const count = Number(text)
    isAmongNumbers &&=
      range !== undefined && numeric.test(key) && number >= Number(range.min) && number <= Number(range.max)
    if (isAmongNumbers && before !== undefined) {
      const value = { form: key, count, shown: key, isNumber: true }
      const last = { form: before.key, count: before.count, shown: before.key, isNumber: true }
      isAmongNumbers = (order === 'count' ? compareCounts(last, value) : compareNumbers(last, value, candidates)) <= 0
    }
    before = { key, count, isNumber: isAmongNumbers }
    yield before
  }
}

function addValues(values: Map<string, Value>, listed: Iterable<Listed>, sign: 1 | -1): void {
  for (const { key, count: found, isNumber } of listed) {
    const count = sign * found
    const form = isNumber ? key : normaliseFacet(key)
    const known = values.get(form)
    if (known === undefined) values.set(form, { shown: key, isNumber, form, count })
    else {
      known.count += count
      known.isNumber &&= isNumber
      // Of several spellings, the same one whichever leg answers first (F8).
      if (compareBytes(key, known.shown) < 0) known.shown = key
    }
  }
}

const compareNumbers = (a: Value, b: Value, candidates: number): number =>
  candidates > textOrderMax ? Number(a.form) - Number(b.form) : compareBytes(a.form, b.form)

const compareCounts = (a: Value, b: Value): number => b.count - a.count || Number(b.form) - Number(a.form)

function byValue(values: readonly Value[], valuesMax: number, candidates: number): readonly Value[] {
  const numbers = values.filter(({ isNumber }) => isNumber)
  const strings = values.filter(({ isNumber }) => !isNumber)
  numbers.sort((a, b) => compareNumbers(a, b, candidates))
  strings.sort((a, b) => compareBytes(a.form, b.form))
  return [...numbers, ...strings].slice(0, valuesMax)
}

/** As in the engine, numbers that fill the list exactly leave no end to the strings (R5). */
function byCount(values: readonly Value[], valuesMax: number): readonly Value[] {
  const numbers = values.filter(({ isNumber }) => isNumber)
  const strings = values.filter(({ isNumber }) => !isNumber)
  numbers.sort(compareCounts)
  strings.sort((a, b) => b.count - a.count || compareBytes(b.form, a.form))
  if (numbers.length >= valuesMax) return [...numbers.slice(0, valuesMax), ...strings]
  return [...numbers, ...strings.slice(0, valuesMax - numbers.length)]
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
