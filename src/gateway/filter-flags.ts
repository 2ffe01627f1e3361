/**
 * Conditions of filters that need a flag of the project (M-H6). Nodes are shared: once any project has switched a flag on,
 * its node allows the condition to all, so that the project's own flag is judged here. Most requests hold none of the
 * words and are not parsed.
 */
import { queryPairs } from '../api/decode-query.ts'
import { ApiError } from '../api/errors.ts'
import { filterParameter } from '../api/filter-value.ts'
import { readFilter } from '../embedded/search/filter-request.ts'
import { isObject, type Json } from '../lib/json.ts'

type Features = Readonly<Record<string, boolean>>

/** What is searched as a text of one byte for each character: the words are ASCII, and finding them so is cheaper. */
const shortBytesMax = 4 * 1024

type Searchable = Pick<Buffer, 'includes'> | string

function mayNeedFlag(text: Searchable, features: Features): boolean {
  return (
    (features.containsFilter !== true && text.includes('CONTAINS')) ||
    (features.multimodal !== true && text.includes('_vectors')) ||
    (features.foreignKeys !== true && text.includes('_foreign'))
  )
}

/** @throws ApiError `feature_not_enabled`. All else that is wrong is for the engine to say. */
function checkFilter(filter: Json, features: Features): void {
  try {
    readFilter(filter, 'invalid_search_filter', features)
  } catch (error) {
    if (!(error instanceof ApiError) || error.code === 'feature_not_enabled') throw error
  }
}

/** The filters of a body: of the request itself, or of each of its queries. */
export function checkBodyFlags(body: Buffer, features: Features): void {
  // Words may be spelled with escapes.
  const text: Searchable = body.length <= shortBytesMax ? body.toString('latin1') : body
  if (!mayNeedFlag(text, features) && !text.includes('\\u')) return
  let sent: Json
  try {
    sent = JSON.parse(body.toString('utf8'))
  } catch {
    return
  }
  if (isObject(sent)) checkFilter(sent.filter ?? null, features)
}

export function checkQueryFlags(search: string, features: Features): void {
  if (!mayNeedFlag(search, features) && !search.includes('%')) return
  const filter = queryPairs(search).get('filter')
  if (filter === undefined) return
  checkFilter(filterParameter(filter, { name: 'filter', code: 'invalid_search_filter' }), features)
}

/** A filter that is parsed already, for example of one query of a multi-search. */
export function checkFilterFlags(filter: Json, features: Features): void {
  if (filter !== null && mayNeedFlag(JSON.stringify(filter), features)) checkFilter(filter, features)
}
