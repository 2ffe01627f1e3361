/** An index's settings, complete: defaults filled in, values normalised (M-D2). */
import type { JsonObject } from '../lib/json.ts'

export interface FilterableRule {
  /** `*`, `prefix*`, `*suffix`, `*contains*` or exact; a plain string setting is a rule with every feature. */
  readonly attributePatterns: readonly string[]
  readonly features: {
    readonly facetSearch: boolean
    readonly filter: { readonly equality: boolean; readonly comparison: boolean }
  }
  /** true = given as a plain string: shown as a string by `GET /settings`, and covers nested children. */
  readonly plain: boolean
}

export interface IndexSettings {
  /** `['*']` = all. */
  readonly displayedAttributes: readonly string[]
  readonly searchableAttributes: readonly string[]
  readonly filterableAttributes: readonly FilterableRule[]
  readonly sortableAttributes: readonly string[]
  readonly rankingRules: readonly string[]
  readonly stopWords: readonly string[]
  readonly nonSeparatorTokens: readonly string[]
  readonly separatorTokens: readonly string[]
  readonly dictionary: readonly string[]
  readonly synonyms: Readonly<Record<string, readonly string[]>>
  readonly distinctAttribute: string | null
  readonly proximityPrecision: 'byWord' | 'byAttribute'
  readonly typoTolerance: {
    readonly enabled: boolean
    readonly minWordSizeForTypos: { readonly oneTypo: number; readonly twoTypos: number }
    readonly disableOnWords: readonly string[]
    readonly disableOnAttributes: readonly string[]
    readonly disableOnNumbers: boolean
  }
  readonly faceting: {
    readonly maxValuesPerFacet: number
    readonly sortFacetValuesBy: Readonly<Record<string, 'alpha' | 'count'>>
  }
  readonly pagination: { readonly maxTotalHits: number }
  readonly embedders: Readonly<Record<string, JsonObject>>
  readonly searchCutoffMs: number | null
  readonly localizedAttributes:
    | readonly { readonly attributePatterns: readonly string[]; readonly locales: readonly string[] }[]
    | null
  readonly facetSearch: boolean
  readonly prefixSearch: 'indexingTime' | 'disabled'
}
