/** `POST /multi-search` (M-F20). */
import { ApiError } from '../../api/errors.ts'
import { type MultiSearch, missingIndexStatus, rethrowInside } from '../../api/multi-search-query.ts'
import { type FindIndex, runFederated } from './federation.ts'
import type { OrderedJson, OrderedObject } from './ordered-json.ts'
import { runSearch } from './run-search.ts'
import type { SearchContext } from './search-context.ts'

/** @throws ApiError of the first query that fails, with its place. */
export function runMultiSearch(
  find: FindIndex,
  { queries, federation }: MultiSearch,
  context: SearchContext,
): OrderedObject {
  if (federation !== null) return runFederated(find, queries, federation, context)
  const missingStatus = missingIndexStatus(context.features)
  const results = queries.map((query, position) =>
    rethrowInside(
      position,
      () => {
        const reader = find(query.indexUid)
        if (reader === undefined) throw new ApiError('index_not_found', `Index \`${query.indexUid}\` not found.`)
        const found = runSearch(reader, query.indexUid, query, context)
        return new Map<string, OrderedJson>([['indexUid', query.indexUid], ...found])
      },
      missingStatus,
    ),
  )
  return new Map<string, OrderedJson>([['results', results]])
}
