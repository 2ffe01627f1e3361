/** `POST /indexes/{uid}/facet-search`: string values of one facet, by a typed prefix (M-F13). */
import { ApiError } from '../../api/errors.ts'
import type { FacetSearchQuery } from '../../api/facet-search-query.ts'
import { defaultSearchQuery } from '../../api/search-query.ts'
import type { Bitmap } from '../../lib/bitmap.ts'
import type { Json } from '../../lib/json.ts'
import { isExactField } from '../field-rules.ts'
import type { FieldId, IndexReader } from '../index-reader.ts'
import { normalise } from '../text/normalise.ts'
import { patternsWhere, ruleOf, shownNames } from './attribute-names.ts'
import { facetOrder } from './facets.ts'
import { readFilter } from './filter-request.ts'
import type { OrderedObject } from './ordered-json.ts'
import { type PreparedQuery, runQuery } from './query-search.ts'
import { strictWords } from './query-term.ts'
import { planSearch } from './ranked-search.ts'
import { cutoff, type SearchContext } from './search-context.ts'
import { walk } from './vocabulary.ts'

interface FacetHit {
  readonly value: string
  readonly count: number
}

/** @throws ApiError messages 56 and 57, and what the query may throw. */
export function runFacetSearch(reader: IndexReader, query: FacetSearchQuery, context: SearchContext): OrderedObject {
  const startedAt = context.clock.monotonic()
  if (!reader.settings.facetSearch)
    throw new ApiError('facet_search_disabled', 'The facet search is disabled for this index')
  const filterCode = 'invalid_search_filter'
  const filter = readFilter(query.filter, filterCode, context.features)
  const candidates = candidatesOf(reader, query, { filter, filterCode, sort: [] }, context)
  checkFacetName(reader, query.facetName)
  const field = reader.fieldId(query.facetName)
  const hits = field === undefined ? [] : findValues(reader, field, query, candidates)
  return new Map<string, Json>([
    ['facetHits', hits.map(({ value, count }) => ({ value, count }))],
    ['facetQuery', query.facetQuery],
    ['processingTimeMs', Math.round(context.clock.monotonic() - startedAt)],
  ])
}

function candidatesOf(
  reader: IndexReader,
  query: FacetSearchQuery,
  prepared: PreparedQuery,
  context: SearchContext,
): Bitmap {
  const search = { ...defaultSearchQuery, ...query }
  const plan = planSearch(reader, search, context.embeddings)
  const options = {
    from: 0,
    length: query.exhaustiveFacetCount ? reader.settings.pagination.maxTotalHits : 20,
    needsScores: query.rankingScoreThreshold !== null,
    isExhaustive: query.exhaustiveFacetCount,
    vector: null,
    isLate: cutoff(context.clock, reader.settings.searchCutoffMs),
  }
  // A semantic part makes every filtered document a candidate.
  return runQuery(reader, plan.kind === 'keyword' ? search : { ...search, q: null }, prepared, options).candidates
}

function checkFacetName(reader: IndexReader, name: string): void {
  const matched = ruleOf(reader.settings, name)
  if (matched?.rule.features.facetSearch === true) return
  const subject = `Attribute \`${name}\` is not facet-searchable.`
  if (matched !== undefined)
    throw new ApiError(
      'invalid_facet_search_facet_name',
      `${subject} Note: this attribute matches rule #${matched.index} in filterableAttributes, but this rule does not enable facetSearch.\nHint: enable facetSearch in rule #${matched.index} by adding \`"facetSearch": true\` to the rule.\nHint: prepend another rule matching ${name} with facetSearch: true before rule #${matched.index}`,
    )
  const shown = shownNames(
    reader,
    patternsWhere(reader.settings, (rule) => rule.features.facetSearch),
  )
  const advice = 'To make it facet-searchable add it to the `filterableAttributes` index settings.'
  const tail = shown.isEmpty
    ? `This index does not have configured facet-searchable attributes. ${advice}`
    : `Available facet-searchable attributes patterns are: ${shown.list}. ${advice}`
  throw new ApiError('invalid_facet_search_facet_name', `${subject} ${tail}`)
}

function findValues(
  reader: IndexReader,
  field: FieldId,
  query: FacetSearchQuery,
  candidates: Bitmap,
): readonly FacetHit[] {
  const { maxValuesPerFacet } = reader.settings.faceting
  const order = facetOrder(reader, query.facetName)
  const hits: FacetHit[] = []
  const add = (original: string, docids: Bitmap): boolean => {
    const count = docids.andSize(candidates)
    if (count > 0) hits.push({ value: original, count })
    return order === 'count' || hits.length < maxValuesPerFacet
  }
  if (query.facetQuery === null) {
    for (const { original, docids } of reader.facetStrings(field, '')) if (!add(original, docids)) break
  } else {
    const byForm = new Map<string, { readonly original: string; readonly docids: Bitmap }[]>()
    for (const { value, original, docids } of reader.facetStrings(field, '')) {
      const form = normalise(value)
      const listed = byForm.get(form)
      if (listed === undefined) byForm.set(form, [{ original, docids }])
      else listed.push({ original, docids })
    }
    const forms = [...byForm.keys()].sort()
    for (const form of matchingForms(reader, query.facetName, normalise(query.facetQuery), forms)) {
      const isFull = (byForm.get(form) ?? []).some(({ original, docids }) => !add(original, docids))
      if (isFull) break
    }
  }
  if (order === 'count')
    hits.sort(
      (left, right) => right.count - left.count || (left.value < right.value ? 1 : left.value > right.value ? -1 : 0),
    )
  return hits.slice(0, maxValuesPerFacet)
}

/** Normal forms that begin with `typed`, typos allowed by its length. */
function matchingForms(reader: IndexReader, name: string, typed: string, forms: readonly string[]): readonly string[] {
  const { enabled, minWordSizeForTypos } = reader.settings.typoTolerance
  if (!enabled || isExactField(reader.settings, name)) return forms.filter((form) => form.startsWith(typed))
  if (strictWords(reader.settings).has(typed)) return forms.filter((form) => form === typed)
  const length = Buffer.byteLength(typed)
  const typos = length < minWordSizeForTypos.oneTypo ? 0 : length < minWordSizeForTypos.twoTypos ? 1 : 2
  const found: string[] = []
  walk(forms, typed, typos, true, (form) => {
    found.push(form)
    return true
  })
  return found
}
