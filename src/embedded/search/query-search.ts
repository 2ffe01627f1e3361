/** One query over one index, up to ranked document numbers: the part that all kinds of search share. */
import { ApiError, type ErrorCode } from '../../api/errors.ts'
import type { Filter } from '../../api/filter.ts'
import type { SearchQuery } from '../../api/search-query.ts'
import { Bitmap } from '../../lib/bitmap.ts'
import { isExactField, localesOf, matchesPattern } from '../field-rules.ts'
import type { FieldId, IndexReader } from '../index-reader.ts'
import { createTokenizer, type Tokenizer } from '../text/tokenize.ts'
import { isFilterable, patternsWhere, ruleOf, shownNames } from './attribute-names.ts'
import { Bits } from './bits.ts'
import { bucketSort, type Sorted } from './bucket-sort.ts'
import { keepDistinct } from './distinct.ts'
import { evaluateFilter } from './filter-evaluation.ts'
import { type FeaturesOn, readSearchFilter } from './filter-request.ts'
import { MatchingWords } from './matching-words.ts'
import { type Pin, type PinRules, pinsOf, shownPins } from './pinned-hits.ts'
import { type FieldRestriction, Postings } from './postings.ts'
import { QueryGraph } from './query-graph.ts'
import { type LocatedTerm, parseQuery, TermFactory } from './query-parser.ts'
import { rankingRules } from './ranking-rules.ts'
import type { ScoreDetail } from './score.ts'
import { checkSort, parseSort, type SortCriterion } from './sort-criteria.ts'
import { TermDocids } from './term-docids.ts'
import { type Embedder, VectorRule } from './vectors.ts'
import { removalOrder } from './word-rules.ts'

export type QueryPart = Pick<
  SearchQuery,
  | 'q'
  | 'filter'
  | 'sort'
  | 'distinct'
  | 'matchingStrategy'
  | 'attributesToSearchOn'
  | 'rankingScoreThreshold'
  | 'locales'
>

export interface QueryOptions {
  readonly from: number
  readonly length: number
  readonly needsScores: boolean
  /** Counts must be exact (page mode). */
  readonly isExhaustive: boolean
  /** Rank by likeness to this vector instead of by words. */
  readonly vector: { readonly embedder: Embedder; readonly target: readonly number[] } | null
  readonly isLate: () => boolean
  /** Default: no rules. */
  readonly pinRules?: PinRules
}

export interface QueryResult {
  readonly docids: readonly number[]
  readonly scores: readonly (readonly ScoreDetail[])[]
  readonly candidates: Bitmap
  readonly words: MatchingWords
  /** When there are any, `docids` is the list from its beginning, without them. */
  readonly pins: readonly Pin[]
}

/** What of a query is read without its index; errors name no index. */
export interface PreparedQuery {
  readonly filter: Filter | null
  readonly filterCode: ErrorCode
  readonly sort: readonly SortCriterion[]
}

export function prepareQuery(query: Pick<QueryPart, 'filter' | 'sort'>, features: FeaturesOn): PreparedQuery {
  const filterCode = 'invalid_search_filter'
  const filter = readSearchFilter(query.filter, filterCode, features)
  return { filter, filterCode, sort: parseSort(query.sort, 'invalid_search_sort') }
}

/** @throws ApiError without the index's name before its message: the caller adds it. */
export function runQuery(
  reader: IndexReader,
  query: QueryPart,
  prepared: PreparedQuery,
  options: QueryOptions,
): QueryResult {
  const { filter, filterCode, sort } = prepared
  const restriction = restrictionOf(reader, query.attributesToSearchOn)
  checkDistinct(reader, query.distinct)
  let universe = filter === null ? reader.documentIds : evaluateFilter(reader, filter, filterCode)
  const docids = new TermDocids(new Postings(reader, restriction))

  const { graph, terms, ignored } = readQuery(reader, query, docids, restriction)
  const pins = options.pinRules === undefined ? [] : pinsOf(options.pinRules, terms, universe, reader)
  const pinned = Bitmap.from(pins.map(({ docid }) => docid))
  if (pins.length > 0) universe = universe.andNot(pinned)
  if (!ignored.isEmpty()) universe = universe.andNot(ignored)
  checkSort(reader, sort, 'invalid_search_sort')
  const page = pins.length === 0 ? options : { ...options, from: 0, length: options.from + options.length }
  const sorted = sortDocids(reader, query, page, {
    universe,
    docids,
    sort,
    graph: options.vector === null ? graph : null,
  })
  const distinct = query.distinct ?? reader.settings.distinctAttribute
  const distinctField = distinct === null ? undefined : reader.fieldId(distinct)
  const all = pins.length === 0 ? sorted.candidates : sorted.candidates.or(pinned)
  const candidates =
    options.isExhaustive && options.vector === null && distinctField !== undefined
      ? keepDistinct(reader, distinctField, all).kept
      : all
  const shown = shownPins(pins, sorted.docids.length, options.from + options.length)
  // A list that pins are put into is whole; where none of them shows it is the page, as without pins.
  const dropped = pins.length > 0 && shown.length === 0 ? options.from : 0
  return {
    docids: sorted.docids.slice(dropped),
    scores: sorted.scores.slice(dropped),
    candidates,
    words: new MatchingWords(terms),
    pins: shown,
  }
}

interface Reading {
  /** Null when no word is asked for. */
  readonly graph: QueryGraph | null
  readonly terms: readonly LocatedTerm[]
  /** Documents with a word or phrase that must not occur. */
  readonly ignored: Bitmap
}

function readQuery(
  reader: IndexReader,
  query: QueryPart,
  docids: TermDocids,
  restriction: FieldRestriction | undefined,
): Reading {
  if (query.q === null) return { graph: null, terms: [], ignored: Bitmap.of() }
  const { settings } = reader
  const tokenizer = tokenizerOf(reader)
  const factory = new TermFactory(docids.postings, settings, tokenizer)
  const tokens = tokenizer.tokenize(query.q, query.locales ?? queryLocales(reader, restriction))
  const parsed = parseQuery(tokens, factory, settings.prefixSearch !== 'disabled')
  const ignored = Bitmap.union([
    ...parsed.negativeWords.map((word) => docids.postings.original(word)),
    ...parsed.negativePhrases.map((phrase) => docids.ofPhrase(phrase)),
  ])
  if (parsed.terms.length === 0) return { graph: null, terms: [], ignored }
  return { ...QueryGraph.ofTerms(parsed.terms, factory), ignored }
}

interface SortInput {
  readonly universe: Bitmap
  readonly docids: TermDocids
  readonly sort: readonly SortCriterion[]
  readonly graph: QueryGraph | null
}

function sortDocids(reader: IndexReader, query: QueryPart, options: QueryOptions, input: SortInput): Sorted {
  const { docids, sort, graph } = input
  let { universe } = input
  const strategy = query.matchingStrategy
  const { vector } = options
  const rules =
    vector !== null
      ? rankingRules(reader, { kind: 'vector', rule: new VectorRule(reader, vector.embedder, vector.target) }, sort)
      : graph !== null
        ? rankingRules(reader, { kind: 'words', docids, strategy }, sort)
        : rankingRules(reader, { kind: 'placeholder' }, sort)
  if (graph !== null) {
    const removed = new Bits()
    for (const group of removalOrder(graph, strategy, docids)) removed.addAll(group)
    universe = docids.ofGraph(graph.without(removed), universe)
  }
  return bucketSort({
    reader,
    rules,
    graph,
    universe,
    distinct: query.distinct ?? reader.settings.distinctAttribute,
    from: options.from,
    length: options.length,
    needsScores: options.needsScores || query.rankingScoreThreshold !== null,
    threshold: query.rankingScoreThreshold,
    countedMax: options.isExhaustive ? reader.settings.pagination.maxTotalHits : null,
    isLate: options.isLate,
  })
}

const tokenizers = new WeakMap<object, Tokenizer>()

/** The tokeniser of the index's words, kept as long as its settings. */
export function tokenizerOf(reader: IndexReader): Tokenizer {
  const known = tokenizers.get(reader.settings)
  if (known !== undefined) return known
  const made = createTokenizer(reader.settings)
  tokenizers.set(reader.settings, made)
  return made
}

/** Locales of the searched attributes, together (M-F25). */
function queryLocales(reader: IndexReader, restriction: FieldRestriction | undefined): readonly string[] | undefined {
  if (reader.settings.localizedAttributes === null) return undefined
  const searched = restriction === undefined ? null : [...restriction.tolerant, ...restriction.exact]
  const locales = new Set<string>()
  for (const { id, name } of reader.searchableFields)
    if (searched?.includes(id) ?? true) for (const locale of localesOf(reader.settings, name) ?? []) locales.add(locale)
  return locales.size === 0 ? undefined : [...locales]
}

/** The fields of `attributesToSearchOn`; undefined = no restriction. Message 55. */
function restrictionOf(reader: IndexReader, names: readonly string[] | null): FieldRestriction | undefined {
  if (names === null) return undefined
  const { searchableAttributes } = reader.settings
  const tolerant: FieldId[] = []
  const exact: FieldId[] = []
  const add = (field: { readonly id: FieldId; readonly name: string }) => {
    ;(isExactField(reader.settings, field.name) ? exact : tolerant).push(field.id)
  }
  for (const name of names) {
    if (name === '*') continue
    const field = reader.searchableFields.find((known) => known.name === name)
    if (field !== undefined) {
      add(field)
      continue
    }
    const matching = name.includes('*')
      ? reader.searchableFields.filter((known) => matchesPattern(known.name, name))
      : []
    for (const known of matching) add(known)
    const isAllowed = matching.length > 0 || searchableAttributes.includes('*') || searchableAttributes.includes(name)
    if (isAllowed) continue
    const { list } = shownNames(
      reader,
      reader.searchableFields.map((known) => known.name),
    )
    throw new ApiError(
      'invalid_search_attributes_to_search_on',
      `Attribute \`${name}\` is not searchable. Available searchable attributes are: ${list}.`,
    )
  }
  return names.includes('*') ? undefined : { tolerant, exact }
}

/** Message 53. */
function checkDistinct(reader: IndexReader, distinct: string | null): void {
  if (distinct === null) return
  const matched = ruleOf(reader.settings, distinct)
  if (matched !== undefined && isFilterable(matched.rule)) return
  const subject = `Attribute \`${distinct}\` is not filterable and thus, cannot be used as distinct attribute.`
  if (matched !== undefined)
    throw new ApiError(
      'invalid_search_distinct',
      `${subject} Note: this attribute matches rule #${matched.index} in filterableAttributes, but this rule does not enable filtering.\nHint: enable filtering in rule #${matched.index} by adding appropriate filter features.\nHint: prepend another rule matching ${distinct} with filter features before rule #${matched.index}`,
    )
  const shown = shownNames(reader, patternsWhere(reader.settings, isFilterable))
  const tail = shown.isEmpty
    ? 'This index does not have configured filterable attributes.'
    : `Available filterable attributes patterns are: ${shown.list}.`
  throw new ApiError('invalid_search_distinct', `${subject} ${tail}`)
}
