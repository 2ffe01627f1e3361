/** `POST /indexes/{uid}/facet-search` (M-F13). Unknown fields, and search parameters that mean nothing here, are ignored. */
import type { Json, JsonObject } from '../lib/json.ts'
import { bodyRoot, boolean, object, optional, orNull, required, string } from './decode.ts'
import { checkVectors, defaultSearchQuery, type SearchQuery, searchFields } from './search-query.ts'

type Searching = Pick<
  SearchQuery,
  | 'q'
  | 'vector'
  | 'media'
  | 'hybrid'
  | 'filter'
  | 'matchingStrategy'
  | 'attributesToSearchOn'
  | 'rankingScoreThreshold'
  | 'locales'
  | 'useNetwork'
>

export interface FacetSearchQuery extends Searching {
  readonly facetName: string
  readonly facetQuery: string | null
  readonly exhaustiveFacetCount: boolean
}

const body = object<FacetSearchQuery>(
  {
    facetQuery: orNull(string, 'invalid_facet_search_query'),
    facetName: required(string, 'invalid_facet_search_facet_name', 'missing_facet_search_facet_name'),
    q: searchFields.q,
    vector: searchFields.vector,
    media: searchFields.media,
    hybrid: searchFields.hybrid,
    filter: searchFields.filter,
    matchingStrategy: searchFields.matchingStrategy,
    attributesToSearchOn: searchFields.attributesToSearchOn,
    rankingScoreThreshold: searchFields.rankingScoreThreshold,
    locales: searchFields.locales,
    exhaustiveFacetCount: optional(boolean, false, 'invalid_facet_search_exhaustive_facet_count'),
    useNetwork: searchFields.useNetwork,
  },
  { strict: false },
)

export function decodeFacetSearch(sent: Json): FacetSearchQuery {
  const query = body(sent, bodyRoot)
  checkVectors(query)
  return query
}

/** The shortest body that asks for the same. */
export function encodeFacetSearch(query: FacetSearchQuery): JsonObject {
  const defaults: JsonObject = { ...defaultSearchQuery, hybrid: null, facetQuery: null, exhaustiveFacetCount: false }
  const wanted = Object.entries(query) as [string, Json][]
  return Object.fromEntries(wanted.filter(([name, value]) => value !== defaults[name]))
}
