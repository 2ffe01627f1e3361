/** What settings say about one field: is it searched, with which weight, and is it indexed as a facet. Pure. */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { IndexSettings } from './index-settings.ts'

/** Fields that are never searched as text (M-E7). */
const reservedRoots: ReadonlySet<string> = new Set(['_vectors', '_geo', '_geojson'])

export const isReserved = (name: string): boolean => reservedRoots.has(rootOf(name))

function rootOf(name: string): string {
  const dot = name.indexOf('.')
  return dot < 0 ? name : name.slice(0, dot)
}

/** `name` is `parent` or stands below it. */
export const isCovered = (name: string, parent: string): boolean =>
  name === parent || (name.startsWith(parent) && name[parent.length] === '.')

/** Patterns of M-D3: `*`, `prefix*`, `*suffix`, `*contains*`, exact. */
export function matchesPattern(name: string, pattern: string): boolean {
  if (pattern === '*') return true
  const open = pattern.startsWith('*')
  const ends = pattern.endsWith('*')
  if (open && ends) return name.includes(pattern.slice(1, -1))
  if (open) return name.endsWith(pattern.slice(1))
  if (ends) return name.startsWith(pattern.slice(0, -1))
  return name === pattern
}

/** 0 = most important; undefined = not searched (M-D2). */
export function searchWeight(settings: IndexSettings, name: string): number | undefined {
  if (isReserved(name)) return undefined
  if (settings.searchableAttributes.includes('*')) return 0
  const weight = settings.searchableAttributes.findIndex((attribute) => isCovered(name, attribute))
  return weight < 0 ? undefined : weight
}

/** Occurrences in this field allow no typo (M-F4). */
export const isExactField = (settings: IndexSettings, name: string): boolean =>
  settings.typoTolerance.disableOnAttributes.some((attribute) => isCovered(name, attribute))

/** Fields whose values are kept for filters, sorts, facets, distinct and custom ranking rules. */
export function isFaceted(settings: IndexSettings, name: string): boolean {
  const root = rootOf(name)
  if (root === '_vectors' || root === '_geojson') return false
  return (
    settings.filterableAttributes.some((rule) =>
      rule.attributePatterns.some((pattern) => (rule.plain ? isCovered(name, pattern) : matchesPattern(name, pattern))),
    ) ||
    settings.sortableAttributes.some((attribute) => isCovered(name, attribute)) ||
    (settings.distinctAttribute !== null && isCovered(name, settings.distinctAttribute)) ||
    settings.rankingRules.some((rule) => {
      const field = customRuleField(rule)
      return field !== undefined && isCovered(name, field)
    })
  )
}

function customRuleField(rule: string): string | undefined {
  return /^(.+):(?:asc|desc)$/.exec(rule)?.[1]
}

/** `_geo` is filterable or sortable: positions must be valid and are kept. */
export const usesGeo = (settings: IndexSettings): boolean => isFaceted(settings, '_geo')

/** Shapes must be valid and are kept: `_geojson` is filterable by its very name, no pattern stands for it. */
export const usesShapes = (settings: IndexSettings): boolean =>
  settings.filterableAttributes.some((rule) => rule.plain && rule.attributePatterns.includes('_geojson'))

/** Locales of a field (M-F1 step 8); absent = found from the text. */
export function localesOf(settings: IndexSettings, name: string): readonly string[] | undefined {
  const rule = settings.localizedAttributes?.find((entry) =>
    entry.attributePatterns.some((pattern) => matchesPattern(name, pattern)),
  )
  return rule !== undefined && rule.locales.length > 0 ? rule.locales : undefined
}

/** What a change of settings makes necessary. */
export interface Reindexing {
  readonly words: boolean
  readonly facets: boolean
  readonly vectors: boolean
}

const wordSettings = [
  'searchableAttributes',
  'stopWords',
  'nonSeparatorTokens',
  'separatorTokens',
  'dictionary',
  'proximityPrecision',
  'localizedAttributes',
] as const
const facetSettings = ['filterableAttributes', 'sortableAttributes', 'distinctAttribute', 'rankingRules'] as const

const same = (left: unknown, right: unknown): boolean => JSON.stringify(left) === JSON.stringify(right)

/** Only what the new settings store differently for a known field is built again (column "Re-index" of M-D2). */
export function reindexingOf(before: IndexSettings, after: IndexSettings, fieldNames: readonly string[]): Reindexing {
  const typoBefore = before.typoTolerance
  const typoAfter = after.typoTolerance
  const words =
    typoBefore.disableOnNumbers !== typoAfter.disableOnNumbers ||
    wordSettings.some((name) => name !== 'searchableAttributes' && !same(before[name], after[name])) ||
    fieldNames.some(
      (name) =>
        (searchWeight(before, name) === undefined) !== (searchWeight(after, name) === undefined) ||
        isExactField(before, name) !== isExactField(after, name),
    )
  const facets =
    facetSettings.some((name) => !same(before[name], after[name])) &&
    (usesGeo(before) !== usesGeo(after) ||
      usesShapes(before) !== usesShapes(after) ||
      fieldNames.some((name) => isFaceted(before, name) !== isFaceted(after, name)))
  return { words, facets, vectors: isVectorChange(before, after) }
}

/** Prompts may tell which fields are searched. */
const isVectorChange = (before: IndexSettings, after: IndexSettings): boolean =>
  !same(embedderShapes(before.embedders), embedderShapes(after.embedders)) ||
  (Object.keys(after.embedders).length > 0 && !same(before.searchableAttributes, after.searchableAttributes))

/** What of the embedders decides which vectors exist: everything but secrets. */
function embedderShapes(embedders: IndexSettings['embedders']): JsonObject {
  return Object.fromEntries(
    Object.entries(embedders).map(([name, embedder]): [string, Json] => [
      name,
      isObject(embedder) ? Object.fromEntries(Object.entries(embedder).filter(([key]) => key !== 'apiKey')) : embedder,
    ]),
  )
}
