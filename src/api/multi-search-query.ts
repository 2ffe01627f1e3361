/** `POST /multi-search` (M-F20). */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import {
  array,
  bodyRoot,
  boolean,
  type Decoder,
  type Fields,
  integer,
  invalidValue,
  nullable,
  number,
  object,
  optional,
  orNull,
  record,
  required,
  string,
} from './decode.ts'
import { ApiError } from './errors.ts'
import type { Features } from './features.ts'
import { parseFilter } from './filter.ts'
import { indexUid, isIndexUid } from './index-uid.ts'
import { checkVectors, encodeSearchQuery, type SearchQuery, searchFields } from './search-query.ts'

export interface FederationOptions {
  /** 0 or more. */
  readonly weight: number
  readonly remote: string | null
  readonly queryPosition: number | null
}

export interface MultiSearchQuery extends SearchQuery {
  readonly indexUid: string
  readonly federationOptions: FederationOptions | null
}

export interface Federation {
  readonly limit: number
  readonly offset: number
  readonly page: number | null
  readonly hitsPerPage: number | null
  readonly facetsByIndex: Readonly<Record<string, readonly string[] | null>>
  readonly mergeFacets: { readonly maxValuesPerFacet: number | null } | null
  readonly distinct: string | null
  readonly showPerformanceDetails: boolean
  readonly personalize: SearchQuery['personalize']
}

export interface MultiSearch {
  readonly queries: readonly MultiSearchQuery[]
  readonly federation: Federation | null
}

const nullIs =
  (fallback: number): Decoder<number> =>
  (value, at) =>
    value === null ? fallback : integer(value, at)

const weight: Decoder<number> = (value, at) => {
  const decoded = number(value, at)
  if (decoded < 0) throw invalidValue('the value of `weight` is invalid, expected a positive float (>= 0.0).', at)
  return decoded
}

const queryFields: Fields<MultiSearchQuery> = {
  indexUid: required(indexUid, 'invalid_index_uid', 'missing_index_uid'),
  ...searchFields,
  // Here, and here only, null is no value.
  offset: optional(nullIs(0), 0, 'invalid_search_offset'),
  limit: optional(nullIs(20), 20, 'invalid_search_limit'),
  federationOptions: orNull(
    object<FederationOptions>({
      weight: optional(weight, 1, 'invalid_multi_search_weight'),
      remote: orNull(string, 'invalid_multi_search_remote'),
      queryPosition: orNull(integer, 'invalid_multi_search_query_position'),
    }),
  ),
}

const facetsByIndex: Decoder<Federation['facetsByIndex']> = (value, at) => {
  const facets = record(nullable(array(string)))(value, at)
  const wrong = Object.keys(facets).find((uid) => !isIndexUid(uid))
  if (wrong !== undefined)
    throw invalidValue(
      `the key ${JSON.stringify(wrong)} could not be deserialized into the key type \`meilisearch_types::index_uid::IndexUid\``,
      at,
    )
  return facets
}

const federationFields = object<Federation>({
  limit: optional(integer, 20, 'invalid_search_limit'),
  offset: optional(integer, 0, 'invalid_search_offset'),
  page: orNull(integer, 'invalid_search_page'),
  hitsPerPage: orNull(integer, 'invalid_search_hits_per_page'),
  facetsByIndex: optional(facetsByIndex, {}, 'invalid_multi_search_facets_by_index'),
  mergeFacets: orNull(
    object<{ maxValuesPerFacet: number | null }>({
      maxValuesPerFacet: orNull(integer, 'invalid_multi_search_max_values_per_facet'),
    }),
    'invalid_multi_search_merge_facets',
  ),
  distinct: orNull(string, 'invalid_search_distinct'),
  showPerformanceDetails: optional(boolean, false, 'invalid_search_show_performance_details'),
  personalize: searchFields.personalize,
})

const body = object<MultiSearch>({
  queries: required(array(object<MultiSearchQuery>(queryFields))),
  federation: orNull(federationFields),
})

/** `Inside `.queries[0]`: `: what goes before the message of a query's error. */
export function insideQuery(position: number): string {
  return `Inside \`.queries[${position}]\`: `
}

/** @param onRead  runs before what the queries ask for is checked. */
export function decodeMultiSearch(sent: Json, onRead: (read: MultiSearch) => void = () => {}): MultiSearch {
  const decoded = body(sent, bodyRoot)
  onRead(decoded)
  const sentQueries = queriesOf(sent)
  // Of a federated search all filters are read before anything else is checked.
  if (decoded.federation !== null)
    decoded.queries.forEach(({ filter }, position) => {
      rethrowInside(position, () => parseFilter(filter, 'invalid_search_filter'))
    })
  decoded.queries.forEach((query, position) => {
    rethrowInside(position, () => {
      try {
        checkVectors(query)
      } catch (error) {
        // A filter that cannot be read is told first.
        parseFilter(query.filter, 'invalid_search_filter')
        throw error
      }
      checkFederated(query, sentQueries[position] ?? {}, decoded.federation)
    })
  })
  return decoded
}

/** The queries before defaults were filled in: only they tell which options were named. */
function queriesOf(sent: Json): readonly JsonObject[] {
  return isObject(sent) && Array.isArray(sent.queries) ? sent.queries.filter(isObject) : []
}

/** Of a search among several that names no index (M-B3): with foreign keys on it is the status of a single search. */
export const missingIndexStatus = ({ foreignKeys }: Partial<Features>): number => (foreignKeys === true ? 404 : 400)

/**
 * With foreign keys on, a federation looks up all indexes before anything else, and says of none which query named it.
 *
 * @param isKnown  of an index; may refuse.
 */
export function checkFederatedIndexes(
  { queries, federation }: MultiSearch,
  { foreignKeys }: Partial<Features>,
  isKnown: (uid: string, position: number) => boolean,
): void {
  if (federation === null || foreignKeys !== true) return
  for (const [position, { indexUid: uid }] of queries.entries())
    if (!isKnown(uid, position)) throw new ApiError('index_not_found', `Index \`${uid}\` not found.`)
}

/**
 * Runs `check`; its error gets the query's place before its message, and a missing index becomes 400 (M-B5).
 *
 * @param missingStatus  see `missingIndexStatus`.
 */
export function rethrowInside<T>(position: number, check: () => T, missingStatus = 400): T {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    throw new ApiError(error.code, `${insideQuery(position)}${error.message}`, {
      cause: error,
      ...(error.code === 'index_not_found' ? { status: missingStatus } : {}),
    })
  }
}

/** What a query may not hold beside `federation` (messages 81 to 83). */
function checkFederated(query: MultiSearchQuery, sent: JsonObject, federation: Federation | null): void {
  if (federation === null) {
    if (query.federationOptions !== null)
      throw new ApiError(
        'invalid_multi_search_federation_options',
        'Using `federationOptions` is not allowed in a non-federated search.\n - Hint: remove `federationOptions` from the query or add `federation` to the request.',
      )
    return
  }
  const paging = ['offset', 'limit', 'page', 'hitsPerPage'].find((name) => (sent[name] ?? null) !== null)
  if (paging !== undefined)
    throw new ApiError(
      'invalid_multi_search_query_pagination',
      `Using pagination options is not allowed in federated queries.\n - Hint: remove \`${paging}\` from the query or remove \`federation\` from the request\n - Hint: pass \`federation.limit\` and \`federation.offset\` for pagination in federated search`,
    )
  if (query.facets !== null)
    throw new ApiError(
      'invalid_multi_search_query_facets',
      `Using facet options is not allowed in federated queries.\n - Hint: remove \`facets\` from the query or remove \`federation\` from the request\n - Hint: pass \`federation.facetsByIndex.${query.indexUid}: [${query.facets.map((facet) => JSON.stringify(facet)).join(', ')}]\` for facets in federated search`,
    )
  if (query.personalize !== null)
    throw new ApiError(
      'invalid_multi_search_query_personalization',
      'Using `.personalize` is not allowed in federated queries.\n - Hint: remove `personalize` from the query or remove `federation` from the request\n - Hint: pass `federation.personalize` for personalization in federated search',
    )
  if (query.showPerformanceDetails)
    throw new ApiError(
      'invalid_multi_search_query_show_performance_details',
      'Using `.showPerformanceDetails` is not allowed in federated queries.\n - Hint: remove `showPerformanceDetails` from the query or remove `federation` from the request',
    )
  if (query.useNetwork && query.federationOptions !== null && query.federationOptions.remote !== null)
    throw new ApiError(
      'invalid_multi_search_federation_options',
      'Using `.useNetwork` is not allowed as the same time as `.federationOptions.remote`.\n  - Hint: to perform an explicit query against a remote, remove `.useNetwork`.\n  - Hint: to automatically perform queries against the entire network, remove `.federationOptions.remote`.',
    )
  if (query.distinct !== null && federation.distinct !== null)
    throw new ApiError(
      'invalid_multi_search_distinct',
      'Using `distinct` options is not allowed in federated queries when it also appears in `.federation.distinct`.\n - Hint: remove `distinct` from the query or remove `federation` from the request\n  - Note: `distinct` at the query level is discouraged in federated search.',
    )
}

/** The shortest body that asks for the same. */
export function encodeMultiSearchQuery(query: MultiSearchQuery): JsonObject {
  const { indexUid: uid, federationOptions, ...search } = query
  return {
    indexUid: uid,
    ...encodeSearchQuery(search),
    ...(federationOptions === null
      ? {}
      : {
          federationOptions: {
            weight: federationOptions.weight,
            ...(federationOptions.remote === null ? {} : { remote: federationOptions.remote }),
            ...(federationOptions.queryPosition === null ? {} : { queryPosition: federationOptions.queryPosition }),
          },
        }),
  }
}
