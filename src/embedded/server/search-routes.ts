/** Search routes (M-A5). A tenant token's filter is put before the request's, as arrays side by side. */
import { ApiError } from '../../api/errors.ts'
import { decodeFacetSearch } from '../../api/facet-search-query.ts'
import { featureNotEnabled } from '../../api/features.ts'
import { andFilters, parseFilter } from '../../api/filter.ts'
import {
  checkFederatedIndexes,
  decodeMultiSearch,
  type MultiSearchQuery,
  rethrowInside,
} from '../../api/multi-search-query.ts'
import { headerNames } from '../../api/names.ts'
import { decodeRuledSearch } from '../../api/ruled-search.ts'
import { decodeSearchParameters, decodeSearchQuery, type SearchQuery } from '../../api/search-query.ts'
import type { SearchRule } from '../../api/search-rule.ts'
import { decodeSimilar, decodeSimilarParameters, type SimilarQuery } from '../../api/similar-query.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { ReadOptions } from '../core.ts'
import { type Answer, type Call, pathUid, type Route, readJson, readOptions } from './call.ts'
import { checkIndex, forcedFilter } from './key-ring.ts'
import { storedNetwork } from './network-routes.ts'

const rulesHeader = headerNames.searchRules.toLowerCase()

export const searchRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/indexes/{uid}/search',
    action: 'search',
    async handle(call) {
      const { sent, rules } = await readSearch(call)
      return search(call, sent === undefined ? decodeSearchParameters(call.search) : decodeSearchQuery(sent), rules)
    },
  },
  {
    method: 'GET',
    path: '/indexes/{uid}/search',
    action: 'search',
    handle: (call) => search(call, decodeSearchParameters(call.search)),
  },
  { method: 'POST', path: '/multi-search', action: 'search', handle: multiSearch },
  {
    method: 'POST',
    path: '/indexes/{uid}/facet-search',
    action: 'search',
    async handle(call) {
      const query = decodeFacetSearch(await readJson(call))
      checkFeatures(call, query)
      const uid = pathUid(call)
      return answer(await call.parts.core.facetSearch(uid, restrict(call, uid, query), readOptions(call)))
    },
  },
  {
    method: 'POST',
    path: '/indexes/{uid}/similar',
    action: 'search',
    handle: async (call) => similar(call, decodeSimilar(await readJson(call))),
  },
  {
    method: 'GET',
    path: '/indexes/{uid}/similar',
    action: 'search',
    handle: (call) => similar(call, decodeSimilarParameters(call.search)),
  },
]

interface SentSearch {
  /** undefined = in the query string. */
  readonly sent: Json | undefined
  readonly rules?: readonly SearchRule[]
}

/** The body, which a gateway sends with rules of its own. */
async function readSearch(call: Call): Promise<SentSearch> {
  const sent = await readJson(call)
  if (call.request.headers[rulesHeader] === undefined) return { sent }
  const { rules, search } = decodeRuledSearch(sent)
  return { sent: search, rules }
}

const withRules = (call: Call, rules: SentSearch['rules']): ReadOptions =>
  rules === undefined ? readOptions(call) : { ...readOptions(call), rules }

async function search(call: Call, query: SearchQuery, rules?: SentSearch['rules']): Promise<Answer> {
  checkFeatures(call, query)
  if (query.personalize !== null) {
    // The filter is read first, and its mistakes are told first.
    parseFilter(query.filter, 'invalid_search_filter')
    checkPersonalisation(query.personalize)
  }
  checkRemote(call, query)
  const uid = pathUid(call)
  return answer(await call.parts.core.search(uid, restrict(call, uid, query), withRules(call, rules)))
}

async function similar(call: Call, query: SimilarQuery): Promise<Answer> {
  const uid = pathUid(call)
  return answer(await call.parts.core.similar(uid, restrict(call, uid, query), readOptions(call)))
}

async function multiSearch(call: Call): Promise<Answer> {
  const { sent = null, rules } = await readSearch(call)
  const { queries, federation } = decodeMultiSearch(sent, (read) =>
    checkFederatedIndexes(read, call.parts.features(), (uid, position) => {
      rethrowInside(position, () => checkIndex(call.access, uid))
      return call.parts.core.index(uid) !== undefined
    }),
  )
  const allowed = queries.map((query, position) =>
    rethrowInside(position, (): MultiSearchQuery => {
      checkIndex(call.access, query.indexUid)
      checkFeatures(call, query)
      checkPersonalisation(query.personalize)
      const options = query.federationOptions
      if ((options?.queryPosition ?? null) !== null && !call.parts.features().network)
        throw featureNotEnabled('network', 'Using `federationOptions.queryPosition`')
      if ((options?.remote ?? null) !== null && !call.parts.features().network)
        throw featureNotEnabled('network', 'Performing a remote federated search')
      return restrict(call, query.indexUid, query)
    }),
  )
  checkPersonalisation(federation?.personalize ?? null)
  for (const [position, query] of queries.entries()) rethrowInside(position, () => checkRemote(call, query))
  return answer(await call.parts.core.multiSearch({ queries: allowed, federation }, withRules(call, rules)))
}

function restrict<T extends { readonly filter: Json }>(call: Call, uid: string, query: T): T {
  const forced = forcedFilter(call.access, uid)
  return forced === null ? query : { ...query, filter: andFilters(forced, query.filter) }
}

function checkFeatures(call: Call, query: { readonly media: Json; readonly useNetwork: boolean | null }): void {
  const features = call.parts.features()
  if (query.media !== null && !features.multimodal)
    throw featureNotEnabled('multimodal', 'passing `media` in a search query')
  if (query.useNetwork && !features.network)
    throw featureNotEnabled('network', 'passing `useNetwork` in a search query')
}

type RemoteQuery = Pick<SearchQuery, 'useNetwork'> & Partial<Pick<MultiSearchQuery, 'federationOptions'>>

/** Only the engine itself is asked: no search runs here that was meant for another server. */
function checkRemote({ parts }: Call, { useNetwork, federationOptions }: RemoteQuery): void {
  const remote = federationOptions?.remote ?? null
  const { remotes, self } = storedNetwork(parts.core.store)
  if (remote !== null && !Object.hasOwn(remotes, remote))
    throw new ApiError(
      'invalid_multi_search_remote',
      `Invalid \`.federation_options.remote\`: remote \`${remote}\` is not registered`,
    )
  const others = useNetwork ? Object.keys(remotes).filter((name) => name !== self) : []
  if ((remote !== null && remote !== self) || others.length > 0)
    throw new ApiError('feature_not_available', 'This engine does not send searches to other servers.')
}

/** M-F23: there is no reranker here. */
function checkPersonalisation(personalize: JsonObject | null): void {
  if (personalize !== null)
    throw new ApiError(
      'feature_not_enabled',
      'reranking search results requires enabling the `personalization` experimental feature. See https://github.com/orgs/meilisearch/discussions/866',
    )
}

function answer(body: Uint8Array): Answer {
  return { status: 200, body }
}
