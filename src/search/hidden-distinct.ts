/**
 * Nodes may filter by the distinct attribute of the settings, since totals need it; clients only when they said so. Where
 * they did not, conditions on it are given to nodes under another name, which nodes refuse as they would that attribute.
 */
import { ApiError } from '../api/errors.ts'
import { parseFilterText } from '../api/filter-syntax.ts'
import type { Filter, Word } from '../api/filter-tree.ts'
import type { IndexSettings } from '../api/index-settings.ts'
import { isFilterable, ruleOf } from '../embedded/search/attribute-names.ts'
import type { Json } from '../lib/json.ts'

/** The distinct attribute, when only nodes may filter by it. */
export function hiddenDistinct(settings: IndexSettings): string | null {
  const { distinctAttribute } = settings
  return distinctAttribute !== null && !isFilterableField(settings, distinctAttribute) ? distinctAttribute : null
}

/** Whether the client's settings allow filters on the field. */
export function isFilterableField(settings: IndexSettings, field: string): boolean {
  const matched = ruleOf(settings, field)
  return matched !== undefined && isFilterable(matched.rule)
}

/** A name of the same length that differs in case, or in its last character. */
export function aliasOf(name: string): string {
  const at = name.search(/\p{L}[^\p{L}]*$/u)
  const letter = at < 0 ? '' : name.charAt(at)
  const other = letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase()
  if (other.length === 1 && other !== letter) return name.slice(0, at) + other + name.slice(at + 1)
  return `${name.slice(0, -1)}${name.endsWith('_') ? '-' : '_'}`
}

/** The filter with another name for the attribute wherever it is a field. */
export function withAlias(filter: Json, name: string): Json {
  if (typeof filter === 'string') return textWithAlias(filter, name)
  return Array.isArray(filter) ? filter.map((part: Json) => withAlias(part, name)) : filter
}

function textWithAlias(text: string, name: string): string {
  if (!text.includes(name)) return text
  let parsed: Filter
  try {
    parsed = parseFilterText(text, 'invalid_search_filter')
  } catch (error) {
    // A node says what is wrong with it.
    if (error instanceof ApiError) return text
    throw error
  }
  return fieldsIn(parsed)
    .filter((field) => field.text === name)
    .sort((a, b) => b.start - a.start)
    .reduce((changed, { start }) => changed.slice(0, start) + aliasOf(name) + changed.slice(start + name.length), text)
}

/** Every field that a filter names. */
export function fieldsIn(filter: Filter): readonly Word[] {
  if (filter.kind === 'and' || filter.kind === 'or') return filter.filters.flatMap(fieldsIn)
  if (filter.kind === 'not') return fieldsIn(filter.filter)
  return 'field' in filter ? [filter.field] : []
}
