/** Facet distribution and statistics over the documents found (M-F12). */
import { ApiError } from '../../api/errors.ts'
import type { Bitmap } from '../../lib/bitmap.ts'
import { isCovered, matchesPattern } from '../field-rules.ts'
import type { FieldId, IndexReader } from '../index-reader.ts'
import type { FilterableRule } from '../index-settings.ts'
import { isFilterable, patternsWhere, ruleMatches, ruleOf } from './attribute-names.ts'
import { byCount, type PlacedCount } from './facet-ties.ts'
import type { OrderedObject } from './ordered-json.ts'

/** Values with their counts, in the order in which clients see them. */
export type Distribution = ReadonlyMap<string, number>

export interface Facets {
  readonly distribution: ReadonlyMap<string, Distribution>
  readonly stats: ReadonlyMap<string, { readonly min: number; readonly max: number }>
}

export type FacetOrder = 'alpha' | 'count'

/** Up to this many candidates, values are counted document by document. */
const documentsReadMax = 3000
/** As long as the reading of a document takes, about two values are counted. */
const documentsPerValue = 2

/** @throws ApiError message 54 for a pattern that no filterable attribute fits. */
export function computeFacets(reader: IndexReader, patterns: readonly string[], candidates: Bitmap): Facets {
  checkFacets(reader, patterns)
  const distribution = new Map<string, Distribution>()
  const stats = new Map<string, { min: number; max: number }>()
  for (const name of facetNames(reader, patterns)) {
    const field = reader.fieldId(name)
    if (field === undefined) continue
    const facet = facetOf(reader, field, facetOrder(reader, name), candidates)
    distribution.set(name, facet.distribution)
    if (facet.range !== null) stats.set(name, facet.range)
  }
  return { distribution, stats }
}

type FieldNames = Pick<IndexReader, 'settings' | 'fieldNames'>

/** Names of the filterable fields that the patterns mean, sorted. What a shape is made of are no fields of their own. */
export function facetNames(reader: FieldNames, patterns: readonly string[]): readonly string[] {
  return reader.fieldNames
    .filter((name) => !name.startsWith('_geojson.'))
    .filter((name) => patterns.some((pattern) => matchesPattern(name, pattern) || isCovered(name, pattern)))
    .filter((name) => {
      const matched = ruleOf(reader.settings, name)
      return matched !== undefined && isFilterable(matched.rule)
    })
    .sort()
}

export function facetOrder(reader: Pick<IndexReader, 'settings'>, name: string): FacetOrder {
  const { sortFacetValuesBy } = reader.settings.faceting
  return sortFacetValuesBy[name] ?? sortFacetValuesBy['*'] ?? 'alpha'
}

export function checkFacets(reader: Pick<IndexReader, 'settings'>, patterns: readonly string[]): void {
  const rules = reader.settings.filterableAttributes
  for (const pattern of patterns) {
    const index = rules.findIndex((rule) =>
      isFilterable(rule) ? intersects(rule, pattern) : ruleMatches(rule, pattern),
    )
    const rule = rules[index]
    if (rule === undefined) throw notFilterable(reader, pattern)
    if (!isFilterable(rule)) throw notEnabled(pattern, index)
  }
}

/** Whether some field may fit both the rule and the pattern. */
function intersects(rule: FilterableRule, pattern: string): boolean {
  const fits = (wanted: string, name: string) => matchesPattern(name, wanted) || isCovered(wanted, name)
  return rule.attributePatterns.some((listed) =>
    rule.plain
      ? isCovered(listed, pattern) || isCovered(pattern, listed)
      : fits(pattern, listed) || fits(listed, pattern),
  )
}

function notFilterable(reader: Pick<IndexReader, 'settings'>, pattern: string): ApiError {
  const patterns = patternsWhere(reader.settings, isFilterable)
  const tail =
    patterns.length === 0
      ? 'This index does not have configured filterable attributes.'
      : `Available filterable attributes patterns are: \`${patterns.join(', ')}\`.`
  return new ApiError(
    'invalid_search_facets',
    `Invalid facet distribution: Pattern \`${pattern}\` is not filterable. ${tail}`,
  )
}

function notEnabled(pattern: string, index: number): ApiError {
  return new ApiError(
    'invalid_search_facets',
    `Invalid facet distribution: Attribute \`${pattern}\` matched rule #${index} in filterableAttributes, but this rule does not enable filtering.\nHint: enable filtering in rule #${index} by modifying the features.filter object\nHint: prepend another rule matching \`${pattern}\` with appropriate filter features before rule #${index}`,
  )
}

interface Facet {
  readonly distribution: Distribution
  /** Of the numbers; null when there are none. */
  readonly range: { readonly min: number; readonly max: number } | null
}

interface Counted {
  /** A string's normalised form, by which it is put in order; a number's text. */
  readonly value: string
  readonly shown: string
  readonly count: number
}

interface PlacedValue extends Counted, PlacedCount {
  readonly count: number
}

/** Found value by value. */
interface PlacedValues {
  readonly numbers: PlacedValue[]
  readonly strings: PlacedValue[]
  readonly range: Facet['range']
  /** Values of the field, whether candidates have them or not; of a count that was cut short, fewer. */
  readonly totals: { readonly numbers: number; readonly strings: number }
}

interface CountedValues {
  readonly numbers: Counted[]
  readonly strings: Counted[]
  readonly range: Facet['range']
}

function facetOf(reader: IndexReader, field: FieldId, order: FacetOrder, candidates: Bitmap): Facet {
  const max = reader.settings.faceting.maxValuesPerFacet
  if (order === 'count') {
    const { numbers, strings, range, totals } = countByValue(reader, field, candidates)
    const first = byCount(numbers, totals.numbers, candidates, max)
    // Numbers that fill the list leave no end to the strings: see `shownByCount`.
    const rest = byCount(strings, totals.strings, candidates, first.length < max ? max : strings.length)
    return { distribution: shownByCount(first, rest, max), range }
  }
  if (candidates.size > documentsReadMax) {
    const { numbers, strings, range } = countByValue(reader, field, candidates, { shownMax: max })
    return { distribution: shown(numbers, strings, max), range }
  }
  // A field of few values is counted value by value, one of many document by document: the counts are the same.
  const { numbers, strings, range } =
    countFewValues(reader, field, candidates, Math.ceil(candidates.size / documentsPerValue)) ??
    countByDocument(reader, field, candidates)
  numbers.sort(byValue)
  strings.sort(byValue)
  return { distribution: shown(numbers, strings, max), range }
}

const byValue = (left: Counted, right: Counted): number => (left.value < right.value ? -1 : 1)

const shown = (numbers: readonly Counted[], strings: readonly Counted[], max: number): Distribution =>
  new Map([...numbers, ...strings].slice(0, max).map(({ shown: key, count }) => [key, count]))

/** The reference stops at exactly `max` values: numbers that fill the list leave no end to the strings. */
function shownByCount(numbers: readonly Counted[], strings: readonly Counted[], max: number): Distribution {
  const distribution = new Map<string, number>()
  for (const values of [numbers, strings])
    for (const { shown: key, count } of values) {
      distribution.set(key, count)
      if (distribution.size === max) break
    }
  return distribution
}

/** Undefined when the field has more than `valuesMax` values. */
function countFewValues(
  reader: IndexReader,
  field: FieldId,
  candidates: Bitmap,
  valuesMax: number,
): CountedValues | undefined {
  let count = 0
  for (const _ of reader.facetNumbers(field, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY)) {
    count += 1
    if (count > valuesMax) return undefined
  }
  for (const _ of reader.facetStrings(field, '')) {
    count += 1
    if (count > valuesMax) return undefined
  }
  return countByValue(reader, field, candidates)
}

/** In the index's order; values after the first `shownMax` are not counted. */
function countByValue(
  reader: IndexReader,
  field: FieldId,
  candidates: Bitmap,
  { shownMax = Number.POSITIVE_INFINITY }: { readonly shownMax?: number } = {},
): PlacedValues {
  const numbers: PlacedValue[] = []
  const strings: PlacedValue[] = []
  const totals = { numbers: 0, strings: 0 }
  let min: number | undefined
  let max: number | undefined
  for (const { value, docids } of reader.facetNumbers(field, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY)) {
    const place = totals.numbers++
    if (numbers.length < shownMax) {
      const count = docids.andSize(candidates)
      if (count === 0) continue
      const text = numberKey(value)
      numbers.push({ value: text, shown: text, count, place, docids })
    } else if (!docids.intersects(candidates)) continue
    min ??= value
    max = value
  }
  for (const string of reader.facetStrings(field, '')) {
    const { docids, value } = string
    const place = totals.strings++
    if (numbers.length + strings.length >= shownMax) break
    const count = docids.andSize(candidates)
    if (count === 0) continue
    const spelling = count === docids.size ? undefined : spellingIn(reader, field, value, docids.minCommon(candidates))
    strings.push({ value, shown: spelling ?? string.original, count, place, docids })
  }
  return { numbers, strings, range: min === undefined || max === undefined ? null : { min, max }, totals }
}

function spellingIn(reader: IndexReader, field: FieldId, value: string, docid: number | undefined): string | undefined {
  if (docid === undefined) return undefined
  return reader.facetStringsOf(docid, field).find((string) => string.value === value)?.original
}

function countByDocument(reader: IndexReader, field: FieldId, candidates: Bitmap): CountedValues {
  const numbers = new Map<number, number>()
  const strings = new Map<string, { original: string; count: number }>()
  for (const docid of candidates) {
    // A document counts once for a value that it has twice.
    for (const number of once(reader.facetNumbersOf(docid, field))) numbers.set(number, (numbers.get(number) ?? 0) + 1)
    const found = reader.facetStringsOf(docid, field)
    const seen = found.length < 2 ? undefined : new Set<string>()
    for (const { value, original } of found) {
      if (seen?.has(value)) continue
      seen?.add(value)
      const known = strings.get(value)
      if (known === undefined) strings.set(value, { original, count: 1 })
      else known.count += 1
    }
  }
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const number of numbers.keys()) {
    if (number < min) min = number
    if (number > max) max = number
  }
  return {
    numbers: [...numbers].map(([number, count]) => ({ value: numberKey(number), shown: numberKey(number), count })),
    strings: [...strings].map(([value, { original, count }]) => ({ value, shown: original, count })),
    range: min > max ? null : { min, max },
  }
}

const once = (numbers: readonly number[]): Iterable<number> => (numbers.length < 2 ? numbers : new Set(numbers))

/** The shortest decimal without exponent. */
export function numberKey(value: number): string {
  const text = String(value)
  if (!text.includes('e')) return text
  return Number.isInteger(value) ? BigInt(value).toString() : value.toFixed(20).replace(/\.?0+$/, '')
}

/** For an answer: fields and values in order. */
export function orderedFacets({ distribution, stats }: Facets): {
  readonly distribution: OrderedObject
  readonly stats: OrderedObject
} {
  return { distribution, stats: new Map([...stats].map(([name, { min, max }]) => [name, { min, max }])) }
}
