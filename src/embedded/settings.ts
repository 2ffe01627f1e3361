/**
 * Settings of an index (M-D): kept as the object that `GET /settings` shows, changed by patches with three states per key
 * (absent = unchanged, null = default, value), and read by the engine as `IndexSettings`.
 */

import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { FilterableRule, IndexSettings } from './index-settings.ts'
import { normalise } from './text/normalise.ts'

/** In the order of M-D2. */
export const defaultSettings = {
  displayedAttributes: ['*'],
  searchableAttributes: ['*'],
  filterableAttributes: [],
  sortableAttributes: [],
  foreignKeys: [],
  rankingRules: ['words', 'typo', 'proximity', 'attributeRank', 'sort', 'wordPosition', 'exactness'],
  stopWords: [],
  nonSeparatorTokens: [],
  separatorTokens: [],
  dictionary: [],
  synonyms: {},
  distinctAttribute: null,
  proximityPrecision: 'byWord',
  typoTolerance: {
    enabled: true,
    minWordSizeForTypos: { oneTypo: 5, twoTypos: 9 },
    disableOnWords: [],
    disableOnAttributes: [],
    disableOnNumbers: false,
  },
  faceting: { maxValuesPerFacet: 100, sortFacetValuesBy: { '*': 'alpha' } },
  pagination: { maxTotalHits: 1000 },
  embedders: {},
  searchCutoffMs: null,
  localizedAttributes: null,
  facetSearch: true,
  prefixSearch: 'indexingTime',
  chat: {
    description: '',
    documentTemplate: '',
    documentTemplateMaxBytes: 400,
    searchParameters: {},
  },
} satisfies JsonObject

type SettingName = keyof typeof defaultSettings

const sets: ReadonlySet<string> = new Set([
  'sortableAttributes',
  'stopWords',
  'separatorTokens',
  'nonSeparatorTokens',
  'dictionary',
])
const innerSets: ReadonlySet<string> = new Set(['disableOnWords', 'disableOnAttributes'])
const merged: ReadonlySet<string> = new Set(['typoTolerance', 'faceting', 'pagination', 'embedders', 'chat'])

/** The settings after a patch. Keys that no setting has are left out: the edge has refused them. */
export function patchSettings(current: JsonObject, patch: JsonObject): JsonObject {
  const next: Record<string, Json> = {}
  for (const name of Object.keys(defaultSettings) as SettingName[]) {
    const value = patch[name]
    const before = current[name] ?? defaultSettings[name]
    if (value === undefined) next[name] = before
    else if (value === null) next[name] = defaultSettings[name]
    else if (merged.has(name)) next[name] = mergeObject(before, value, defaultSettings[name])
    else if (sets.has(name)) next[name] = sortedSet(value)
    else if (name === 'displayedAttributes' || name === 'searchableAttributes') next[name] = attributeList(value)
    else next[name] = value
  }
  return next
}

/** A null takes the default of its place, or removes the key where there is none. */
function mergeObject(current: Json, patch: Json, defaults: Json): Json {
  if (!isObject(patch)) return patch
  const next: Record<string, Json> = isObject(current) ? { ...current } : {}
  for (const [key, value] of Object.entries(patch)) {
    const byDefault = isObject(defaults) ? defaults[key] : undefined
    if (value === null) {
      if (byDefault === undefined) delete next[key]
      else next[key] = byDefault
    } else if (innerSets.has(key)) next[key] = sortedSet(value)
    else if (isObject(value) && isObject(next[key])) next[key] = mergeObject(next[key], value, byDefault ?? null)
    else next[key] = isObject(value) ? withoutNulls(value) : value
  }
  if (isObject(defaults)) {
    // Keys keep the order in which the reference shows them, whatever order they were sent in.
    const ordered: Record<string, Json> = {}
    for (const key of Object.keys(defaults)) if (next[key] !== undefined) ordered[key] = next[key]
    return { ...ordered, ...next }
  }
  return next
}

function withoutNulls(value: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== null))
}

function sortedSet(value: Json): Json {
  if (!Array.isArray(value)) return value
  const strings = value.filter((item): item is string => typeof item === 'string')
  return [...new Set(strings)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

/** A star anywhere means everything (M-D2); repeats are dropped. */
function attributeList(value: Json): Json {
  if (!Array.isArray(value)) return value
  return value.includes('*') ? ['*'] : [...new Set(value)]
}

const strings = (value: Json | undefined): readonly string[] =>
  Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : []

const text = (value: Json | undefined): string | null => (typeof value === 'string' ? value : null)
const count = (value: Json | undefined, otherwise: number): number => (typeof value === 'number' ? value : otherwise)

/** Settings as the engine reads them. `settings` is complete: it came out of `patchSettings`. */
export function readSettings(settings: JsonObject): IndexSettings {
  const typo = isObject(settings.typoTolerance) ? settings.typoTolerance : defaultSettings.typoTolerance
  const sizes = isObject(typo.minWordSizeForTypos) ? typo.minWordSizeForTypos : {}
  const faceting = isObject(settings.faceting) ? settings.faceting : defaultSettings.faceting
  const pagination = isObject(settings.pagination) ? settings.pagination : {}
  const synonyms = isObject(settings.synonyms) ? settings.synonyms : {}
  const localized = settings.localizedAttributes
  return {
    displayedAttributes: strings(settings.displayedAttributes),
    searchableAttributes: strings(settings.searchableAttributes),
    filterableAttributes: readRules(settings.filterableAttributes),
    sortableAttributes: strings(settings.sortableAttributes),
    rankingRules: strings(settings.rankingRules),
    stopWords: [...new Set(strings(settings.stopWords).flatMap((word) => [word, normalise(word)]))],
    nonSeparatorTokens: strings(settings.nonSeparatorTokens),
    separatorTokens: strings(settings.separatorTokens),
    dictionary: strings(settings.dictionary),
    synonyms: Object.fromEntries(Object.entries(synonyms).map(([word, list]) => [word, strings(list)])),
    distinctAttribute: text(settings.distinctAttribute),
    proximityPrecision: settings.proximityPrecision === 'byAttribute' ? 'byAttribute' : 'byWord',
    typoTolerance: {
      enabled: typo.enabled !== false,
      minWordSizeForTypos: { oneTypo: count(sizes.oneTypo, 5), twoTypos: count(sizes.twoTypos, 9) },
      disableOnWords: strings(typo.disableOnWords),
      disableOnAttributes: strings(typo.disableOnAttributes),
      disableOnNumbers: typo.disableOnNumbers === true,
    },
    faceting: {
      maxValuesPerFacet: count(faceting.maxValuesPerFacet, 100),
      sortFacetValuesBy: Object.fromEntries(
        Object.entries(isObject(faceting.sortFacetValuesBy) ? faceting.sortFacetValuesBy : {}).map(([name, order]) => [
          name,
          order === 'count' ? 'count' : 'alpha',
        ]),
      ),
    },
    pagination: { maxTotalHits: count(pagination.maxTotalHits, 1000) },
    embedders: Object.fromEntries(
      Object.entries(isObject(settings.embedders) ? settings.embedders : {}).flatMap(([name, value]) =>
        isObject(value) ? [[name, value]] : [],
      ),
    ),
    searchCutoffMs: typeof settings.searchCutoffMs === 'number' ? settings.searchCutoffMs : null,
    localizedAttributes: Array.isArray(localized)
      ? localized.filter(isObject).map((rule) => ({
          attributePatterns: strings(rule.attributePatterns),
          locales: strings(rule.locales),
        }))
      : null,
    facetSearch: settings.facetSearch !== false,
    prefixSearch: settings.prefixSearch === 'disabled' ? 'disabled' : 'indexingTime',
  }
}

const plainFeatures = { facetSearch: true, filter: { equality: true, comparison: true } }

function readRules(value: Json | undefined): readonly FilterableRule[] {
  if (!Array.isArray(value)) return []
  return value.flatMap((entry: Json): FilterableRule[] => {
    if (typeof entry === 'string') return [{ attributePatterns: [entry], features: plainFeatures, plain: true }]
    if (!isObject(entry)) return []
    const features = isObject(entry.features) ? entry.features : {}
    const filter = isObject(features.filter) ? features.filter : {}
    return [
      {
        attributePatterns: strings(entry.attributePatterns),
        features: {
          facetSearch: features.facetSearch === true,
          filter: { equality: filter.equality !== false, comparison: filter.comparison === true },
        },
        plain: false,
      },
    ]
  })
}
