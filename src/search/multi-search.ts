/** `POST /multi-search` over spread and plain indexes: every query as a search of its own, or federated. */
import { ApiError } from '../api/errors.ts'
import type { MultiSearch, MultiSearchQuery } from '../api/multi-search-query.ts'
import { encodeSearchQuery } from '../api/search-query.ts'
import { type FindIndex, searchFederated } from './federated-search.ts'
import { indexPath, type Leg, type ReadOptions, type SearchedIndex } from './leg.ts'
import { insideEach } from './query-place.ts'
import { isRefusal, refusal } from './refusals.ts'
import { searchIndex } from './search-index.ts'

/** Queries of one request that are under way at once. */
const atOnceMax = 16

/** @returns JSON text of the whole answer. @throws of the first query that fails, with its place. */
export async function multiSearch(find: FindIndex, search: MultiSearch, options: ReadOptions): Promise<string> {
  const { queries, federation } = search
  if (federation !== null) return searchFederated(find, search, federation, options)
  const results: string[] = []
  for (let from = 0; from < queries.length; from += atOnceMax) {
    const some = queries.slice(from, from + atOnceMax)
    const asked = some.map((query, at) => ({ position: from + at, answer: oneResult(find, query, options) }))
    results.push(...(await insideEach(asked)))
  }
  return `{"results":[${results.join(',')}]}`
}

async function oneResult(find: FindIndex, query: MultiSearchQuery, options: ReadOptions): Promise<string> {
  const { indexUid, federationOptions: _federationOptions, ...search } = query
  const index = find(indexUid)
  if (index === undefined) throw new ApiError('index_not_found', `Index \`${indexUid}\` not found.`, { status: 400 })
  const isPlain = index.spread === null
  const text = await (isPlain ? plainSearch(index, search, options) : searchIndex(index, search, options))
  return `{"indexUid":${JSON.stringify(indexUid)},${text.slice(1)}`
}

/** Nothing to merge: the node's own answer. */
async function plainSearch(
  index: SearchedIndex,
  query: Parameters<typeof encodeSearchQuery>[0],
  options: ReadOptions,
): Promise<string> {
  const leg: Leg = {
    target: index.coverage[0]!.id,
    method: 'POST',
    path: indexPath(index, '/search'),
    body: encodeSearchQuery(query),
    rules: index.rules,
  }
  const reply = await options.ask(leg, options.signal)
  if (isRefusal(reply)) throw await refusal(index, [reply], leg, options)
  return reply.body
}
