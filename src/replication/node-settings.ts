/** What nodes of spread indexes are told beside the client's settings. Pure. */
import { sequenceField, shardField } from '../api/reserved-fields.ts'
import { defaultRankingRules } from '../api/settings.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'

/** Facets are cut after the merge; nodes return what they have, up to this many values (merge findings, section 7). */
const facetValuesMin = 10_000

/** What a fresh index on a node starts with. */
export const freshNodeSettings: JsonObject = nodeSettings({
  filterableAttributes: null,
  sortableAttributes: null,
  rankingRules: null,
  faceting: null,
})

/**
 * A settings change as a node gets it. Where it touches filterable attributes, ranking rules or the distinct attribute, it
 * names all three as they hold from then on (`deliveredSettings`).
 *
 * Nodes show every attribute, since rules on hidden ones could not be compared: what the client hides, gateways leave out.
 */
export function nodeSettings(change: JsonObject): JsonObject {
  const { displayedAttributes: _hidden, ...told } = change
  const settings: Record<string, Json> = told
  const { filterableAttributes, sortableAttributes, rankingRules, distinctAttribute, faceting } = change
  if (filterableAttributes !== undefined) {
    const distinct = typeof distinctAttribute === 'string' ? [distinctAttribute] : []
    settings.filterableAttributes = [...listOf(filterableAttributes), shardField, ...distinct]
  }
  // Lists of documents are read in the order of the index, which nodes leave when others take the room of deleted ones.
  if (sortableAttributes !== undefined) settings.sortableAttributes = [...listOf(sortableAttributes), sequenceField]
  if (rankingRules !== undefined) {
    const rules = rankingRules === null ? defaultRankingRules : listOf(rankingRules)
    settings.rankingRules = [...rules, `${sequenceField}:asc`]
  }
  if (faceting !== undefined) {
    const asked = isObject(faceting) ? faceting : {}
    const { maxValuesPerFacet } = asked
    const count = typeof maxValuesPerFacet === 'number' ? maxValuesPerFacet : 0
    if (faceting === null || maxValuesPerFacet !== undefined) {
      settings.faceting = {
        ...(faceting === null ? { sortFacetValuesBy: null } : asked),
        maxValuesPerFacet: Math.max(facetValuesMin, count),
      }
    }
  }
  return settings
}

function listOf(value: Json): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : []
}
