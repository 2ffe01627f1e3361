/** A search of the embedded engine outside of it: no flags, no metadata, no embedder. */
import { QueryEmbeddings } from '../../src/embedded/embedders/query-embeddings.ts'
import type { SearchContext } from '../../src/embedded/search/search-context.ts'
import { systemClock } from '../../src/lib/clock.ts'

export const newSearchContext = (): SearchContext => ({
  clock: systemClock,
  requestUid: 'r',
  features: {},
  newQueryUid: null,
  embeddings: new QueryEmbeddings(),
})
