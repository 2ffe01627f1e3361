/**
 * The 22 settings (M-D): decoding and checking of what clients send, folding of changes, defaults, and rendering.
 *
 * A *change* is the object as sent: an absent key is unchanged, null is reset. The *folded* settings are what all changes
 * so far came to: only keys that were set, none of them null.
 */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { bodyRoot, type Decoder, type Field, object } from './decode.ts'
import { defaultDocumentTemplate } from './document-template.ts'
import { checkEmbedders, checkWholeEmbedder, completeEmbedder } from './embedder-settings.ts'
import { ApiError, type ErrorCode } from './errors.ts'
import { completeFeatures, type Feature, type Features, featureNotEnabled } from './features.ts'
import type { FilterableRule, IndexSettings } from './index-settings.ts'
import { longLocale } from './locales.ts'
import { maskSettings } from './secrets.ts'
import { type SettingName, settingDecoders } from './setting-decoders.ts'

export type { SettingName } from './setting-decoders.ts'

export interface SettingRoute {
  readonly name: SettingName
  /** Last part of the path: `displayed-attributes`. */
  readonly path: string
  /** PUT replaces, PATCH merges. */
  readonly method: 'PUT' | 'PATCH'
  readonly code: ErrorCode
  /** The flag without which the setting does not exist. */
  readonly feature: Feature | null
}

const row = (name: SettingName, path: string, code: ErrorCode, more: Partial<SettingRoute> = {}): SettingRoute => ({
  name,
  path,
  method: 'PUT',
  code,
  feature: null,
  ...more,
})

/** In the order of `GET /settings` (M-D2). */
export const settingRoutes: readonly SettingRoute[] = [
  row('displayedAttributes', 'displayed-attributes', 'invalid_settings_displayed_attributes'),
  row('searchableAttributes', 'searchable-attributes', 'invalid_settings_searchable_attributes'),
  row('filterableAttributes', 'filterable-attributes', 'invalid_settings_filterable_attributes'),
  row('sortableAttributes', 'sortable-attributes', 'invalid_settings_sortable_attributes'),
  row('foreignKeys', 'foreign-keys', 'invalid_settings_foreign_keys', { feature: 'foreignKeys' }),
  row('rankingRules', 'ranking-rules', 'invalid_settings_ranking_rules'),
  row('stopWords', 'stop-words', 'invalid_settings_stop_words'),
  row('nonSeparatorTokens', 'non-separator-tokens', 'invalid_settings_non_separator_tokens'),
  row('separatorTokens', 'separator-tokens', 'invalid_settings_separator_tokens'),
  row('dictionary', 'dictionary', 'invalid_settings_dictionary'),
  row('synonyms', 'synonyms', 'invalid_settings_synonyms'),
  row('distinctAttribute', 'distinct-attribute', 'invalid_settings_distinct_attribute'),
  row('proximityPrecision', 'proximity-precision', 'invalid_settings_proximity_precision'),
  row('typoTolerance', 'typo-tolerance', 'invalid_settings_typo_tolerance', { method: 'PATCH' }),
  row('faceting', 'faceting', 'invalid_settings_faceting', { method: 'PATCH' }),
  row('pagination', 'pagination', 'invalid_settings_pagination', { method: 'PATCH' }),
  row('embedders', 'embedders', 'invalid_settings_embedders', { method: 'PATCH' }),
  row('searchCutoffMs', 'search-cutoff-ms', 'invalid_settings_search_cutoff_ms'),
  row('localizedAttributes', 'localized-attributes', 'invalid_settings_localized_attributes'),
  row('facetSearch', 'facet-search', 'invalid_settings_facet_search'),
  row('prefixSearch', 'prefix-search', 'invalid_settings_prefix_search'),
  row('chat', 'chat', 'invalid_settings_index_chat', { method: 'PATCH', feature: 'chatCompletions' }),
]

/** Settings whose change merges into what was there, key by key. */
const merging: ReadonlySet<string> = new Set(['typoTolerance', 'faceting', 'pagination', 'embedders', 'chat'])

type Change = Record<SettingName, Json | undefined>

const fields = Object.fromEntries(
  settingRoutes.map(({ name, code }): [string, Field<Json | undefined>] => [
    name,
    { decode: orReset(settingDecoders[name]), code, fallback: () => undefined },
  ]),
) as Record<SettingName, Field<Json | undefined>>

const wholeChange = object<Change>(fields)

function orReset(decode: Decoder<Json>): Decoder<Json> {
  return (value, at) => (value === null ? null : decode(value, at))
}

/** `PATCH /settings`. @returns the change, keys in the order of M-D2, sets sorted. */
export function decodeSettings(body: Json, features: Features): JsonObject {
  const decoded = wholeChange(body, bodyRoot)
  return checkChange(
    Object.fromEntries(Object.entries(decoded).filter((entry): entry is [string, Json] => entry[1] !== undefined)),
    features,
  )
}

/** A write of one sub-route. @returns the change `{[name]: value}`. */
export function decodeSetting(name: SettingName, body: Json, features: Features): JsonObject {
  const route = routeOf(name)
  return checkChange({ [name]: orReset(settingDecoders[name])(body, { path: '', code: route.code }) }, features)
}

/** `DELETE /settings` without `name`, or of a sub-route. */
export function resetSettings(name: SettingName | undefined, features: Features): JsonObject {
  const routes = name === undefined ? settingRoutes : [routeOf(name)]
  return Object.fromEntries(
    routes
      .filter(({ feature }) => name !== undefined || feature === null || features[feature])
      .map((route) => [route.name, null]),
  )
}

export function routeOf(name: SettingName): SettingRoute {
  const found = settingRoutes.find((route) => route.name === name)
  if (found === undefined) throw new Error(`no route of setting ${name}`)
  return found
}

/** @throws ApiError `feature_not_enabled`, or what is wrong with an embedder. */
function checkChange(change: JsonObject, features: Features): JsonObject {
  for (const { name, feature } of settingRoutes)
    if (feature !== null && change[name] !== undefined && !features[feature])
      throw featureNotEnabled(feature, `setting \`${name}\` in the index settings`)
  if (isObject(change.embedders)) checkEmbedders(change.embedders, features)
  return change
}

/** What the settings are after `change`. Pure; repeating a change changes nothing. */
export function foldSettings(before: JsonObject, change: JsonObject): JsonObject {
  const folded = new Map<string, Json>(Object.entries(before))
  for (const [name, value] of Object.entries(change)) {
    if (value === null) folded.delete(name)
    else if (merging.has(name) && isObject(value)) {
      const old = folded.get(name)
      const merged = name === 'embedders' ? mergeEmbedders(old ?? {}, value) : merge(old ?? {}, value)
      if (Object.keys(merged).length === 0) folded.delete(name)
      else folded.set(name, merged)
    } else folded.set(name, value)
  }
  return Object.fromEntries(folded)
}

/** Values that are replaced whole although their setting merges. */
const replaced: ReadonlySet<string> = new Set([
  'sortFacetValuesBy',
  'request',
  'response',
  'headers',
  'distribution',
  'searchEmbedder',
])

function merge(before: Json, change: JsonObject): JsonObject {
  const merged = new Map<string, Json>(isObject(before) ? Object.entries(before) : [])
  for (const [name, value] of Object.entries(change)) {
    if (value === null) merged.delete(name)
    else if (isObject(value) && !replaced.has(name)) {
      const inner = merge(merged.get(name) ?? {}, value)
      if (Object.keys(inner).length === 0) merged.delete(name)
      else merged.set(name, inner)
    } else merged.set(name, value)
  }
  return Object.fromEntries(merged)
}

/** An embedder stays although every field of it was reset; another source starts from nothing. */
function mergeEmbedders(before: Json, change: JsonObject): JsonObject {
  const merged = new Map<string, Json>(isObject(before) ? Object.entries(before) : [])
  for (const [name, value] of Object.entries(change)) {
    if (value === null) merged.delete(name)
    else if (isObject(value)) {
      const old = merged.get(name) ?? {}
      const moved = typeof value.source === 'string' && isObject(old) && (old.source ?? 'openAi') !== value.source
      merged.set(name, merge(moved ? {} : old, value))
    }
  }
  return Object.fromEntries(merged)
}

/**
 * What shows only after folding (M-D1), the error with which the task fails; null = all is well.
 * @param uid     index that the message names first; null = none.
 * @param before  folded settings without the change.
 */
export function foldedMistake(uid: string | null, before: JsonObject, change: JsonObject): ApiError | null {
  if (change.typoTolerance === undefined && change.embedders === undefined) return null
  const index = uid === null ? '' : `Index \`${uid}\`: `
  const { minWordSizeForTypos } = completeSettings(foldSettings(before, change)).typoTolerance
  const { oneTypo, twoTypos } = minWordSizeForTypos
  if (oneTypo > twoTypos)
    return new ApiError(
      'invalid_settings_typo_tolerance',
      `${index}\`minWordSizeForTypos\` setting is invalid. \`oneTypo\` and \`twoTypos\` fields should be between \`0\` and \`255\`, and \`twoTypos\` should be greater or equals to \`oneTypo\` but found \`oneTypo: ${oneTypo}\` and twoTypos: ${twoTypos}\`.`,
    )
  for (const [name, embedder] of Object.entries(objectOf(change.embedders))) {
    const old = objectOf(objectOf(before.embedders)[name])
    if (old.binaryQuantized === true && isObject(embedder) && embedder.binaryQuantized === false)
      return new ApiError(
        'invalid_settings_embedders',
        `${index}\`.embedders.${name}.binaryQuantized\`: Cannot disable the binary quantization.\n - Note: Binary quantization is a lossy operation that cannot be reverted.\n - Hint: Add a new embedder that is non-quantized and regenerate the vectors.`,
      )
    const mistake = isObject(embedder) ? embedderMistake(name, before, change) : null
    if (mistake !== null) return new ApiError(mistake.code, `${index}${mistake.message}`, { cause: mistake })
  }
  return null
}

/** An embedder that makes no sense as a whole after the change. */
function embedderMistake(name: string, before: JsonObject, change: JsonObject): ApiError | null {
  const folded = objectOf(objectOf(foldSettings(before, change).embedders)[name])
  try {
    checkWholeEmbedder(name, folded)
    return null
  } catch (error) {
    if (error instanceof ApiError) return error
    throw error
  }
}

export const defaultRankingRules: readonly string[] = [
  'words',
  'typo',
  'proximity',
  'attributeRank',
  'sort',
  'wordPosition',
  'exactness',
]

/** Fills in every default. `folded` must come from decoded changes. */
export function completeSettings(folded: JsonObject): IndexSettings {
  const typo = objectOf(folded.typoTolerance)
  const sizes = objectOf(typo.minWordSizeForTypos)
  const faceting = objectOf(folded.faceting)
  const localized = folded.localizedAttributes
  return {
    displayedAttributes: allOr(folded.displayedAttributes),
    searchableAttributes: allOr(folded.searchableAttributes),
    filterableAttributes: listOf(folded.filterableAttributes).map(filterableRule),
    sortableAttributes: setOf(folded.sortableAttributes),
    rankingRules: folded.rankingRules === undefined ? defaultRankingRules : stringsOf(folded.rankingRules),
    stopWords: setOf(folded.stopWords),
    nonSeparatorTokens: setOf(folded.nonSeparatorTokens),
    separatorTokens: setOf(folded.separatorTokens),
    dictionary: setOf(folded.dictionary),
    synonyms: Object.fromEntries(
      Object.entries(objectOf(folded.synonyms)).map(([word, others]) => [word, stringsOf(others)]),
    ),
    distinctAttribute: typeof folded.distinctAttribute === 'string' ? folded.distinctAttribute : null,
    proximityPrecision: folded.proximityPrecision === 'byAttribute' ? 'byAttribute' : 'byWord',
    typoTolerance: {
      enabled: typo.enabled !== false,
      minWordSizeForTypos: { oneTypo: numberOr(sizes.oneTypo, 5), twoTypos: numberOr(sizes.twoTypos, 9) },
      disableOnWords: setOf(typo.disableOnWords),
      disableOnAttributes: setOf(typo.disableOnAttributes),
      disableOnNumbers: typo.disableOnNumbers === true,
    },
    faceting: {
      maxValuesPerFacet: numberOr(faceting.maxValuesPerFacet, 100),
      sortFacetValuesBy: sorted({ '*': 'alpha', ...facetOrders(faceting.sortFacetValuesBy) }),
    },
    pagination: { maxTotalHits: numberOr(objectOf(folded.pagination).maxTotalHits, 1000) },
    embedders: Object.fromEntries(
      Object.entries(objectOf(folded.embedders)).map(([name, embedder]) => [name, objectOf(embedder)]),
    ),
    searchCutoffMs: typeof folded.searchCutoffMs === 'number' ? folded.searchCutoffMs : null,
    localizedAttributes:
      localized === undefined || localized === null
        ? null
        : listOf(localized).map((rule) => ({
            attributePatterns: stringsOf(objectOf(rule).attributePatterns),
            locales: stringsOf(objectOf(rule).locales).map(longLocale),
          })),
    facetSearch: folded.facetSearch !== false,
    prefixSearch: folded.prefixSearch === 'disabled' ? 'disabled' : 'indexingTime',
  }
}

/** The answer of `GET /settings`: keys in the order of M-D2, secrets masked (M-G6). */
export function renderSettings(folded: JsonObject, features: Features): JsonObject {
  return maskSettings(revealSettings(folded, features))
}

/** The same with secrets in clear. */
export function revealSettings(folded: JsonObject, features: Features): JsonObject {
  const settings = completeSettings(folded)
  const rendered: Record<SettingName, Json> = {
    displayedAttributes: settings.displayedAttributes,
    searchableAttributes: settings.searchableAttributes,
    filterableAttributes: settings.filterableAttributes.map((rule) =>
      rule.plain ? rule.attributePatterns[0]! : { attributePatterns: rule.attributePatterns, features: rule.features },
    ),
    sortableAttributes: settings.sortableAttributes,
    foreignKeys: folded.foreignKeys ?? [],
    rankingRules: settings.rankingRules,
    stopWords: settings.stopWords,
    nonSeparatorTokens: settings.nonSeparatorTokens,
    separatorTokens: settings.separatorTokens,
    dictionary: settings.dictionary,
    synonyms: settings.synonyms,
    distinctAttribute: settings.distinctAttribute,
    proximityPrecision: settings.proximityPrecision,
    typoTolerance: settings.typoTolerance,
    faceting: settings.faceting,
    pagination: settings.pagination,
    embedders: Object.fromEntries(
      Object.entries(settings.embedders).map(([name, embedder]) => [name, completeEmbedder(embedder)]),
    ),
    searchCutoffMs: settings.searchCutoffMs,
    localizedAttributes: settings.localizedAttributes,
    facetSearch: settings.facetSearch,
    prefixSearch: settings.prefixSearch,
    chat: completeChat(folded.chat),
  }
  return Object.fromEntries(
    settingRoutes
      .filter(({ feature }) => feature === null || features[feature])
      .map(({ name }) => [name, rendered[name]]),
  )
}

/** The answer of a sub-route's GET, whether its flag is on or not. */
export function renderSetting(folded: JsonObject, name: SettingName): Json {
  const { feature } = routeOf(name)
  return renderSettings(folded, completeFeatures(feature === null ? {} : { [feature]: true }))[name] ?? null
}

function completeChat(folded: Json | undefined): JsonObject {
  const chat = objectOf(folded)
  return {
    description: chat.description ?? '',
    documentTemplate: chat.documentTemplate ?? defaultDocumentTemplate,
    documentTemplateMaxBytes: chat.documentTemplateMaxBytes ?? 400,
    searchParameters: chat.searchParameters ?? {},
  }
}

function filterableRule(value: Json): FilterableRule {
  if (!isObject(value))
    return {
      attributePatterns: [String(value)],
      features: { facetSearch: true, filter: { equality: true, comparison: true } },
      plain: true,
    }
  const features = objectOf(value.features)
  const filter = objectOf(features.filter)
  return {
    attributePatterns: stringsOf(value.attributePatterns),
    features: {
      facetSearch: features.facetSearch === true,
      filter: { equality: filter.equality !== false, comparison: filter.comparison === true },
    },
    plain: false,
  }
}

function facetOrders(value: Json | undefined): Record<string, 'alpha' | 'count'> {
  return Object.fromEntries(
    Object.entries(objectOf(value)).map(([name, order]) => [name, order === 'count' ? 'count' : 'alpha']),
  )
}

function sorted<T>(record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function allOr(value: Json | undefined): readonly string[] {
  if (value === undefined) return ['*']
  const names = [...new Set(stringsOf(value))]
  return names.includes('*') ? ['*'] : names
}

function objectOf(value: Json | undefined): JsonObject {
  return value !== undefined && isObject(value) ? value : {}
}

function listOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : []
}

function stringsOf(value: Json | undefined): readonly string[] {
  return listOf(value).filter((item): item is string => typeof item === 'string')
}

function setOf(value: Json | undefined): readonly string[] {
  return [...new Set(stringsOf(value))].sort(byBytes)
}

/** Order of UTF-8 bytes, which is that of code points. */
export function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

function numberOr(value: Json | undefined, fallback: number): number {
  return typeof value === 'number' ? value : fallback
}
