/** The search request (M-A5a), decoded from a POST body or a GET query string, with every default filled in. */
import type { Json, JsonObject } from '../lib/json.ts'
import {
  type At,
  array,
  bodyRoot,
  boolean,
  type Decoder,
  type Fields,
  integer,
  invalidValue,
  json,
  number,
  object,
  oneOf,
  optional,
  orNull,
  required,
  string,
} from './decode.ts'
import {
  booleanParameter,
  decodeParameters,
  integerParameter,
  invalidParameter,
  listParameter,
  numberParameter,
  oneOfParameter,
  type ParameterDecoder,
  parameter,
  parameterOrNull,
  textParameter,
} from './decode-query.ts'
import { ApiError } from './errors.ts'
import { filterJson, filterParameter } from './filter-value.ts'
import { isLocale, localeCodes, sortedLocaleCodes } from './locales.ts'

export const matchingStrategies = ['last', 'all', 'frequency'] as const
export type MatchingStrategy = (typeof matchingStrategies)[number]

export interface Hybrid {
  readonly embedder: string
  /** 0 to 1. */
  readonly semanticRatio: number
}

/** `null` = not asked for. */
export interface SearchQuery {
  readonly q: string | null
  readonly vector: readonly number[] | null
  readonly media: Json
  readonly hybrid: Hybrid | null
  readonly offset: number
  readonly limit: number
  readonly page: number | null
  readonly hitsPerPage: number | null
  readonly attributesToRetrieve: readonly string[] | null
  readonly retrieveVectors: boolean
  readonly attributesToCrop: readonly string[] | null
  readonly cropLength: number
  readonly attributesToHighlight: readonly string[] | null
  readonly showMatchesPosition: boolean
  readonly showRankingScore: boolean
  readonly showRankingScoreDetails: boolean
  readonly showPerformanceDetails: boolean
  readonly useNetwork: boolean | null
  /** As sent: a string or (nested) arrays of strings. */
  readonly filter: Json
  readonly sort: readonly string[] | null
  readonly distinct: string | null
  readonly facets: readonly string[] | null
  readonly highlightPreTag: string
  readonly highlightPostTag: string
  readonly cropMarker: string
  readonly matchingStrategy: MatchingStrategy
  readonly attributesToSearchOn: readonly string[] | null
  readonly rankingScoreThreshold: number | null
  readonly locales: readonly string[] | null
  readonly personalize: { readonly userContext: string } | null
}

export const defaultSearchQuery: SearchQuery = {
  q: null,
  vector: null,
  media: null,
  hybrid: null,
  offset: 0,
  limit: 20,
  page: null,
  hitsPerPage: null,
  attributesToRetrieve: null,
  retrieveVectors: false,
  attributesToCrop: null,
  cropLength: 10,
  attributesToHighlight: null,
  showMatchesPosition: false,
  showRankingScore: false,
  showRankingScoreDetails: false,
  showPerformanceDetails: false,
  useNetwork: null,
  filter: null,
  sort: null,
  distinct: null,
  facets: null,
  highlightPreTag: '<em>',
  highlightPostTag: '</em>',
  cropMarker: '…',
  matchingStrategy: 'last',
  attributesToSearchOn: null,
  rankingScoreThreshold: null,
  locales: null,
  personalize: null,
}

const unitMessage = (field: string) =>
  `the value of \`${field}\` is invalid, expected a float between \`0.0\` and \`1.0\`.`

export const unitNumber =
  (field: string): Decoder<number> =>
  (value, at) => {
    const decoded = number(value, at)
    if (decoded < 0 || decoded > 1) throw invalidValue(unitMessage(field), at)
    return decoded
  }

export const unitParameter =
  (field: string): ParameterDecoder<number> =>
  (text, at) => {
    const decoded = text.trim() === '' ? Number.NaN : Number(text)
    if (!(decoded >= 0 && decoded <= 1)) throw invalidParameter(unitMessage(field), at)
    return decoded
  }

const locale = oneOf(...localeCodes)

const localesParameter: ParameterDecoder<readonly string[]> = (text, at) =>
  words(text, at).map((code) => {
    if (!isLocale(code))
      throw invalidParameter(`Unsupported locale \`${code}\`, expected one of ${sortedLocaleCodes.join(', ')}`, at)
    return code
  })

/** The elements of a vector are not told apart in messages. */
const vectorParameter: ParameterDecoder<readonly number[]> = (text, at) =>
  words(text, at).map((part) => numberParameter(part, at))

export const hybrid: Decoder<Hybrid> = (value, at) =>
  object<Hybrid>({
    semanticRatio: optional(unitNumber('semanticRatio'), 0.5, 'invalid_search_semantic_ratio'),
    embedder: required(string, 'invalid_search_embedder'),
  })(value, { path: at.path, code: 'invalid_search_hybrid_query' })

const vector = array(number)

/** Every field of the search body; facet search, multi-search and similar pick from it. */
export const searchFields: Fields<SearchQuery> = {
  q: orNull(string, 'invalid_search_q'),
  offset: optional(integer, 0, 'invalid_search_offset'),
  limit: optional(integer, 20, 'invalid_search_limit'),
  page: orNull(integer, 'invalid_search_page'),
  hitsPerPage: orNull(integer, 'invalid_search_hits_per_page'),
  attributesToRetrieve: orNull(array(string), 'invalid_search_attributes_to_retrieve'),
  attributesToCrop: orNull(array(string), 'invalid_search_attributes_to_crop'),
  cropLength: optional(integer, 10, 'invalid_search_crop_length'),
  cropMarker: optional(string, '…', 'invalid_search_crop_marker'),
  attributesToHighlight: orNull(array(string), 'invalid_search_attributes_to_highlight'),
  highlightPreTag: optional(string, '<em>', 'invalid_search_highlight_pre_tag'),
  highlightPostTag: optional(string, '</em>', 'invalid_search_highlight_post_tag'),
  showMatchesPosition: optional(boolean, false, 'invalid_search_show_matches_position'),
  filter: orNull(filterJson, 'invalid_search_filter'),
  sort: orNull(array(string), 'invalid_search_sort'),
  distinct: orNull(string, 'invalid_search_distinct'),
  facets: orNull(array(string), 'invalid_search_facets'),
  matchingStrategy: optional(oneOf(...matchingStrategies), 'last', 'invalid_search_matching_strategy'),
  attributesToSearchOn: orNull(array(string), 'invalid_search_attributes_to_search_on'),
  rankingScoreThreshold: orNull(unitNumber('rankingScoreThreshold'), 'invalid_search_ranking_score_threshold'),
  locales: orNull(array(locale), 'invalid_search_locales'),
  hybrid: orNull(hybrid, 'invalid_search_hybrid_query'),
  vector: orNull(vector, 'invalid_search_vector'),
  retrieveVectors: optional(boolean, false, 'invalid_search_retrieve_vectors'),
  media: orNull(json, 'invalid_search_media'),
  personalize: orNull(
    object<{ userContext: string }>({
      userContext: required(string, 'invalid_search_personalize_user_context'),
    }),
    'invalid_search_personalize',
  ),
  useNetwork: orNull(boolean, 'invalid_search_use_network'),
  showRankingScore: optional(boolean, false, 'invalid_search_show_ranking_score'),
  showRankingScoreDetails: optional(boolean, false, 'invalid_search_show_ranking_score_details'),
  showPerformanceDetails: optional(boolean, false, 'invalid_search_show_performance_details'),
}

const searchBody = object<SearchQuery>(searchFields)

/** `POST /indexes/{uid}/search`. */
export function decodeSearchQuery(body: Json, at: At = bodyRoot): SearchQuery {
  const query = searchBody(body, at)
  checkVectors(query)
  return query
}

/** Messages 37 and 39. */
export function checkVectors(query: Pick<SearchQuery, 'vector' | 'media' | 'hybrid'>): void {
  if (query.vector !== null && query.media !== null)
    throw new ApiError(
      'invalid_search_media_and_vector',
      'Invalid request: both `media` and `vector` parameters are present.',
    )
  if ((query.vector !== null || query.media !== null) && query.hybrid === null)
    throw new ApiError(
      'missing_search_hybrid',
      'Invalid request: missing `hybrid` parameter when `vector` or `media` are present.',
    )
}

interface SearchParameters extends Omit<SearchQuery, 'hybrid' | 'media' | 'personalize'> {
  readonly hybridEmbedder: string | null
  readonly hybridSemanticRatio: number | null
  readonly personalizeUserContext: string | null
}

const words = listParameter(textParameter)

/** `GET /indexes/{uid}/search`; `search` is the query string. */
export function decodeSearchParameters(search: string): SearchQuery {
  const { hybridEmbedder, hybridSemanticRatio, personalizeUserContext, ...query } = decodeParameters<SearchParameters>(
    search,
    {
      q: parameterOrNull(textParameter, 'invalid_search_q'),
      offset: parameter(integerParameter, 0, 'invalid_search_offset'),
      limit: parameter(integerParameter, 20, 'invalid_search_limit'),
      page: parameterOrNull(integerParameter, 'invalid_search_page'),
      hitsPerPage: parameterOrNull(integerParameter, 'invalid_search_hits_per_page'),
      attributesToRetrieve: parameterOrNull(words, 'invalid_search_attributes_to_retrieve'),
      attributesToCrop: parameterOrNull(words, 'invalid_search_attributes_to_crop'),
      cropLength: parameter(integerParameter, 10, 'invalid_search_crop_length'),
      cropMarker: parameter(textParameter, '…', 'invalid_search_crop_marker'),
      attributesToHighlight: parameterOrNull(words, 'invalid_search_attributes_to_highlight'),
      highlightPreTag: parameter(textParameter, '<em>', 'invalid_search_highlight_pre_tag'),
      highlightPostTag: parameter(textParameter, '</em>', 'invalid_search_highlight_post_tag'),
      showMatchesPosition: parameter(booleanParameter, false, 'invalid_search_show_matches_position'),
      filter: parameterOrNull(filterParameter, 'invalid_search_filter'),
      sort: parameterOrNull(sortParameter, 'invalid_search_sort'),
      distinct: parameterOrNull(textParameter, 'invalid_search_distinct'),
      facets: parameterOrNull(words, 'invalid_search_facets'),
      matchingStrategy: parameter(oneOfParameter(...matchingStrategies), 'last', 'invalid_search_matching_strategy'),
      attributesToSearchOn: parameterOrNull(words, 'invalid_search_attributes_to_search_on'),
      rankingScoreThreshold: parameterOrNull(
        unitParameter('rankingScoreThreshold'),
        'invalid_search_ranking_score_threshold',
      ),
      locales: parameterOrNull(localesParameter, 'invalid_search_locales'),
      hybridEmbedder: parameterOrNull(textParameter, 'invalid_search_embedder'),
      hybridSemanticRatio: parameterOrNull(unitParameter('semanticRatio'), 'invalid_search_semantic_ratio'),
      vector: parameterOrNull(vectorParameter, 'invalid_search_vector'),
      retrieveVectors: parameter(booleanParameter, false, 'invalid_search_retrieve_vectors'),
      personalizeUserContext: parameterOrNull(textParameter, 'invalid_search_personalize_user_context'),
      useNetwork: parameterOrNull(booleanParameter, 'invalid_search_use_network'),
      showRankingScore: parameter(booleanParameter, false, 'invalid_search_show_ranking_score'),
      showRankingScoreDetails: parameter(booleanParameter, false, 'invalid_search_show_ranking_score_details'),
      showPerformanceDetails: parameter(booleanParameter, false, 'invalid_search_show_performance_details'),
    },
  )
  if (hybridEmbedder === null && query.vector !== null)
    throw new ApiError('missing_search_hybrid', '`hybridEmbedder` is mandatory when `vector` is present')
  if (hybridEmbedder === null && hybridSemanticRatio !== null)
    throw new ApiError(
      'invalid_search_hybrid_query',
      '`hybridEmbedder` is mandatory when `hybridSemanticRatio` is present',
    )
  return {
    ...query,
    media: null,
    hybrid: hybridEmbedder === null ? null : { embedder: hybridEmbedder, semanticRatio: hybridSemanticRatio ?? 0.5 },
    personalize: personalizeUserContext === null ? null : { userContext: personalizeUserContext },
  }
}

/** Comma separated sort rules; the pieces of a `_geoPoint(lat,lng)` are glued back. */
export const sortParameter: ParameterDecoder<readonly string[]> = (text) => {
  const rules: string[] = []
  let open = ''
  for (const piece of text.split(',')) {
    if (open !== '') {
      open += `,${piece}`
      if (piece.includes(')')) {
        rules.push(open)
        open = ''
      }
    } else if (piece.trimStart().startsWith('_geoPoint(') && !piece.includes(')')) open = piece
    else rules.push(piece)
  }
  if (open !== '') rules.push(open)
  return rules
}

const fieldNames = Object.keys(searchFields) as (keyof SearchQuery)[]

/** The shortest body that asks for the same. */
export function encodeSearchQuery(query: SearchQuery): JsonObject {
  const wanted: Record<string, Json> = {}
  for (const name of fieldNames) {
    const value = query[name] as Json
    if (value !== defaultSearchQuery[name]) wanted[name] = value
  }
  return wanted
}
