/** Filters joined by OR. */
import { parseFilter, renderFilter } from '../api/filter.ts'
import type { Json } from '../lib/json.ts'

/** null = everything passes. @throws ApiError `invalid_search_filter`. */
export function legFilterAny(filters: readonly Json[]): string | null {
  const texts: string[] = []
  for (const filter of filters) {
    const parsed = parseFilter(filter, 'invalid_search_filter')
    if (parsed === null) return null
    texts.push(`(${renderFilter(parsed)})`)
  }
  return texts.join(' OR ')
}
