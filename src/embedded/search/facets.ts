/** Facet distribution and statistics over the documents found (M-F12). */
import { ApiError } from '../../api/errors.ts'
import type { Bitmap } from '../../lib/bitmap.ts'
import { isCovered, matchesPattern } from '../field-rules.ts'
import type { FieldId, IndexReader } from '../index-reader.ts'
import type { FilterableRule } from '../index-settings.ts'
import { isFilterable, patternsWhere, ruleMatches, ruleOf } from './attribute-names.ts'
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

/** @throws ApiError message 54 for a pattern that no filterable attribute fits. */
export function computeFacets(reader: IndexReader, patterns: readonly string[], candidates: Bitmap): Facets {
  checkFacets(reader, patterns)
  const distribution = new Map<string, Distribution>()
  const stats = new Map<string, { min: number; max: number }>()
  for (const name of facetNames(reader, patterns)) {
    const field = reader.fieldId(name)
    if (field === undefined) continue
    distribution.set(name, distributionOf(reader, field, facetOrder(reader, name), candidates))
    const range = numberRange(reader, field, candidates)
    if (range !== null) stats.set(name, range)
  }
  return { distribution, stats }
}

/** Names of the filterable fields that the patterns mean, sorted. */
export function facetNames(reader: IndexReader, patterns: readonly string[]): readonly string[] {
  return reader.fieldNames
    .filter((name) => patterns.some((pattern) => matchesPattern(name, pattern)))
    .filter((name) => {
      const matched = ruleOf(reader.settings, name)
      return matched !== undefined && isFilterable(matched.rule)
    })
    .sort()
}

export function facetOrder(reader: IndexReader, name: string): FacetOrder {
  const { sortFacetValuesBy } = reader.settings.faceting
  return sortFacetValuesBy[name] ?? sortFacetValuesBy['*'] ?? 'alpha'
}

export function checkFacets(reader: IndexReader, patterns: readonly string[]): void {
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

function notFilterable(reader: IndexReader, pattern: string): ApiError {
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

function distributionOf(reader: IndexReader, field: FieldId, order: FacetOrder, candidates: Bitmap): Distribution {
  const max = reader.settings.faceting.maxValuesPerFacet
  if (order === 'alpha' && candidates.size <= documentsReadMax) return countByDocument(reader, field, candidates, max)
  const numbers: { key: string; count: number }[] = []
  for (const { value, docids } of reader.facetNumbers(field, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY)) {
    if (order === 'alpha' && numbers.length >= max) break
    const count = docids.andSize(candidates)
    if (count > 0) numbers.push({ key: numberKey(value), count })
  }
  const strings: { key: string; count: number }[] = []
  for (const { original, docids, value } of reader.facetStrings(field, '')) {
    if (order === 'alpha' && numbers.length + strings.length >= max) break
    const found = docids.and(candidates)
    if (found.isEmpty()) continue
    const shown = found.size === docids.size ? original : spellingIn(reader, field, value, found)
    strings.push({ key: shown ?? original, count: found.size })
  }
  if (order === 'count') {
    // Equal counts: the greater value first, as the reference's heap gives them.
    numbers.reverse().sort((left, right) => right.count - left.count)
    strings.reverse().sort((left, right) => right.count - left.count)
  }
  return new Map([...numbers, ...strings].slice(0, max).map(({ key, count }) => [key, count]))
}

function spellingIn(reader: IndexReader, field: FieldId, value: string, docids: Bitmap): string | undefined {
  const first = docids.min()
  if (first === undefined) return undefined
  return reader.facetStringsOf(first, field).find((string) => string.value === value)?.original
}

function countByDocument(reader: IndexReader, field: FieldId, candidates: Bitmap, max: number): Distribution {
  const numbers = new Map<string, number>()
  const strings = new Map<string, { original: string; count: number }>()
  for (const docid of candidates) {
    for (const number of reader.facetNumbersOf(docid, field)) {
      const key = numberKey(number)
      numbers.set(key, (numbers.get(key) ?? 0) + 1)
    }
    for (const { value, original } of reader.facetStringsOf(docid, field)) {
      const known = strings.get(value)
      if (known === undefined) strings.set(value, { original, count: 1 })
      else known.count += 1
    }
  }
  const counted = new Map<string, number>()
  const byKey = <T>(entries: Map<string, T>) => [...entries].sort(([left], [right]) => (left < right ? -1 : 1))
  for (const [key, count] of byKey(numbers)) if (counted.size < max) counted.set(key, count)
  for (const [, { original, count }] of byKey(strings)) if (counted.size < max) counted.set(original, count)
  return counted
}

/** The shortest decimal without exponent. */
export function numberKey(value: number): string {
  const text = String(value)
  if (!text.includes('e')) return text
  return Number.isInteger(value) ? BigInt(value).toString() : value.toFixed(20).replace(/\.?0+$/, '')
}

function numberRange(reader: IndexReader, field: FieldId, candidates: Bitmap): { min: number; max: number } | null {
  if (candidates.size <= documentsReadMax) {
    let min = Number.POSITIVE_INFINITY
    let max = Number.NEGATIVE_INFINITY
    for (const docid of candidates) {
      for (const number of reader.facetNumbersOf(docid, field)) {
        if (number < min) min = number
        if (number > max) max = number
      }
    }
    return min > max ? null : { min, max }
  }
  const found: number[] = []
  for (const { value, docids } of reader.facetNumbers(field, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY))
    if (docids.intersects(candidates)) found.push(value)
  const [min] = found
  return min === undefined ? null : { min, max: found.at(-1) ?? min }
}

/** For an answer: fields and values in order. */
export function orderedFacets({ distribution, stats }: Facets): {
  readonly distribution: OrderedObject
  readonly stats: OrderedObject
} {
  return { distribution, stats: new Map([...stats].map(([name, { min, max }]) => [name, { min, max }])) }
}
