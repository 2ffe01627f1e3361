/** Filters of requests (M-F14): from what clients send to a tree, and back to text. */
import type { Json } from '../lib/json.ts'
import { ApiError, type ErrorCode } from './errors.ts'
import { parseFilterText } from './filter-syntax.ts'
import type { Filter, Word } from './filter-tree.ts'

export type { Comparison, Filter, Presence, Span, TextMatch, Word } from './filter-tree.ts'
export { spanTail } from './filter-tree.ts'

/** Whether a filter, as sent, restricts nothing: null, blank, or empty arrays. */
export function isEmptyFilter(filter: Json): boolean {
  if (filter === null) return true
  if (typeof filter === 'string') return filter.trim() === ''
  if (!Array.isArray(filter)) return false
  return filter.every((part: Json) => isEmptyFilter(part) || (Array.isArray(part) && part.every(isBlank)))
}

function isBlank(part: Json): boolean {
  return typeof part === 'string' && part.trim() === ''
}

/**
 * Parses a filter as sent: a string, or an array (AND) of strings and of arrays (OR) of strings.
 * @returns null when it restricts nothing.
 * @throws ApiError with `code` (for example `invalid_search_filter`) and messages 41 and 43 to 49.
 */
export function parseFilter(filter: Json, code: ErrorCode): Filter | null {
  if (filter === null) return null
  if (typeof filter === 'string') return parseText(filter, code)
  if (!Array.isArray(filter)) throw wrongFilterShape(filter, 'String, Array', code)
  const parts = filter.map((part: Json) => {
    if (typeof part === 'string') return parseText(part, code)
    if (!Array.isArray(part)) throw wrongFilterShape(part, 'String, [String]', code)
    return join(
      'or',
      part.map((choice: Json) => {
        if (typeof choice !== 'string') throw wrongFilterShape(choice, 'String', code)
        return parseText(choice, code)
      }),
    )
  })
  return join('and', parts)
}

function parseText(text: string, code: ErrorCode): Filter | null {
  return text.trim() === '' ? null : parseFilterText(text, code)
}

function join(kind: 'and' | 'or', parts: readonly (Filter | null)[]): Filter | null {
  const filters = parts.filter((part) => part !== null)
  return filters.length <= 1 ? (filters[0] ?? null) : { kind, filters }
}

/** Message 41. */
export function wrongFilterShape(value: Json, expected: string, code: ErrorCode): ApiError {
  return new ApiError(
    code,
    `Invalid syntax for the filter parameter: \`expected ${expected}, found: ${JSON.stringify(value)}\`.`,
  )
}

/**
 * The filter as one string, in the reference's way: every name and value in double quotes, every part of a list of
 * conditions in parentheses: `("a" = "1") AND (NOT ("b" EXISTS))`. Errors of meaning show this text (M-B5).
 */
export function renderFilter(filter: Filter): string {
  switch (filter.kind) {
    case 'and':
    case 'or':
      return filter.filters.map((part) => `(${renderFilter(part)})`).join(filter.kind === 'and' ? ' AND ' : ' OR ')
    case 'not':
      return filter.filter.kind === 'not' ? renderFilter(filter.filter.filter) : `NOT (${renderFilter(filter.filter)})`
    case 'compare':
      return `${quote(filter.field)} ${filter.operator} ${quote(filter.value)}`
    case 'between':
      return `${quote(filter.field)} ${quote(filter.from)} TO ${quote(filter.to)}`
    case 'in':
      return negate(filter.negated, `${quote(filter.field)} IN [${filter.values.map(quote).join(', ')}]`)
    case 'presence':
      return negate(filter.negated, `${quote(filter.field)} ${filter.test}`)
    case 'text':
      return negate(filter.negated, `${quote(filter.field)} ${filter.test} ${quote(filter.value)}`)
    case 'geo-radius': {
      const { lat, lng, metres, resolution } = filter
      const words = resolution === null ? [lat, lng, metres] : [lat, lng, metres, resolution]
      return `_geoRadius(${words.map((word) => word.text).join(', ')})`
    }
    case 'geo-box':
      return `_geoBoundingBox(${point(filter.topRight)}, ${point(filter.bottomLeft)})`
    case 'geo-polygon':
      return `_geoPolygon(${filter.points.map(point).join(', ')})`
    case 'vectors':
      return negate(filter.negated, `${vectorsName(filter)} EXISTS`)
    case 'foreign':
      return `_foreign(${quote(filter.field)}, ${renderFilter(filter.filter)})`
  }
}

function negate(negated: boolean, text: string): string {
  return negated ? `NOT (${text})` : text
}

function vectorsName({ embedder, part, fragment }: Filter & { kind: 'vectors' }): string {
  const names = ['_vectors', embedder && quote(embedder), part === 'fragment' ? 'fragments' : part]
  return [...names, fragment && quote(fragment)].filter((name) => name !== null).join('.')
}

function quote(word: Word): string {
  return `"${word.text.replaceAll('"', '\\"')}"`
}

function point([lat, lng]: readonly [Word, Word]): string {
  return `[${lat.text}, ${lng.text}]`
}

/**
 * Both must hold (M-G5): arrays side by side, never joined text, so that one cannot break out of the other. Either may be
 * null or empty.
 */
export function andFilters(first: Json, second: Json): Json {
  if (isEmptyFilter(first)) return isEmptyFilter(second) ? null : second
  if (isEmptyFilter(second)) return first
  return [...outer(first), ...outer(second)]
}

function outer(filter: Json): readonly Json[] {
  return Array.isArray(filter) ? filter : [filter]
}
