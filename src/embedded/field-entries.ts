/** What lists show of fields (M-A3): what an index's settings say about each. */
import type { FieldsQuery } from '../api/index-body.ts'
import { renderPage } from '../api/page-query.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { isCovered, localesOf, matchesPattern, searchWeight } from './field-rules.ts'
import type { IndexSettings } from './index-settings.ts'
import { matchesAttribute } from './server/attribute-pattern.ts'

export interface FieldSource {
  readonly settings: IndexSettings
  readonly fieldNames: readonly string[]
}

/** One page of entries, as `POST /indexes/{uid}/fields` asks for them. */
export function fieldsPage(entries: readonly JsonObject[], { offset, limit, filter }: FieldsQuery) {
  const wanted = entries.filter((field) => {
    if (filter === null) return true
    const patterns = filter.attributePatterns
    if (patterns !== null && !patterns.some((pattern) => matchesAttribute(pattern, String(field.name)))) return false
    const aspects = ['displayed', 'searchable', 'sortable', 'distinct', 'rankingRule', 'filterable'] as const
    return aspects.every((aspect) => filter[aspect] === null || filter[aspect] === isEnabled(field[aspect]))
  })
  return renderPage(wanted, { offset, limit })
}

function isEnabled(aspect: Json | undefined): boolean {
  return aspect !== undefined && isObject(aspect) && aspect.enabled === true
}

/** Sorted by name. */
export function fieldEntries({ settings, fieldNames }: FieldSource): JsonObject[] {
  return [...fieldNames].sort().map((name) => {
    // As in the reference, a star in a plain string counts here as a part of the name.
    const rule = settings.filterableAttributes.find((entry) =>
      entry.attributePatterns.some((pattern) =>
        entry.plain ? isCovered(name, pattern) : matchesPattern(name, pattern),
      ),
    )
    const order = settings.rankingRules.find((entry) => entry === `${name}:asc` || entry === `${name}:desc`)
    const features = rule?.features
    return {
      name,
      displayed: { enabled: settings.displayedAttributes.some((entry) => entry === '*' || isCovered(name, entry)) },
      searchable: { enabled: searchWeight(settings, name) !== undefined },
      sortable: { enabled: settings.sortableAttributes.some((entry) => isCovered(name, entry)) },
      distinct: { enabled: settings.distinctAttribute === name },
      rankingRule: {
        enabled: order !== undefined,
        ...(order === undefined ? {} : { order: order.endsWith(':asc') ? 'asc' : 'desc' }),
      },
      filterable: {
        enabled: rule !== undefined,
        sortBy: settings.faceting.sortFacetValuesBy[name] ?? settings.faceting.sortFacetValuesBy['*'] ?? 'alpha',
        facetSearch: features?.facetSearch === true,
        equality: features?.filter.equality === true,
        comparison: features?.filter.comparison === true,
      },
      localized: { locales: [...(localesOf(settings, name) ?? [])] },
    }
  })
}
