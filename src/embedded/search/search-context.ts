/** What a search needs besides the index and the query. */
import { ApiError } from '../../api/errors.ts'
import type { SearchRule } from '../../api/search-rule.ts'
import type { Clock } from '../../lib/clock.ts'
import type { QueryEmbeddings } from '../embedders/query-embeddings.ts'

export interface SearchContext {
  readonly clock: Clock
  /** UUID v7 of the request. */
  readonly requestUid: string
  /** Experimental flags that are on (M-H6). */
  readonly features: Readonly<Record<string, boolean>>
  /** Answers carry `metadata` (M-A1); makes the uid of one query. */
  readonly newQueryUid: (() => string) | null
  readonly embeddings: QueryEmbeddings
  /** Dynamic search rules that are active, by precedence. Default: none. */
  readonly rules?: readonly SearchRule[]
}

/** What `searchCutoffMs` is when not set. */
const defaultCutoffMs = 1500

/** Milliseconds that the index gives to a search. */
export const cutoffOf = (cutoffMs: number | null): number => cutoffMs ?? defaultCutoffMs

/** A test for "time is up", for a search that starts now. */
export function cutoff(clock: Clock, cutoffMs: number | null): () => boolean {
  const end = clock.monotonic() + cutoffOf(cutoffMs)
  return () => clock.monotonic() >= end
}

/** Runs `search`; its refusals get the index's name before their message (M-B3). */
export function insideIndex<T>(uid: string, search: () => T): T {
  try {
    return search()
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    throw new ApiError(error.code, `Index \`${uid}\`: ${error.message}`, { cause: error })
  }
}
