/** Public names of headers and fields that are ours or the cluster layer's, so that nothing else spells them. */

/** Response and request headers, in the spelling we send; compare lower-cased. */
export const headerNames = {
  requestId: 'X-Request-Id',
  /** A write was accepted while some replica group falls short (design 2, rule 2). */
  degraded: 'X-Miroir-Degraded',
  partial: 'X-Miroir-Partial',
  merger: 'X-Miroir-Merger',
  overFetch: 'X-Miroir-Over-Fetch',
  session: 'X-Miroir-Session',
  tenant: 'X-Miroir-Tenant',
  settingsVersion: 'X-Miroir-Settings-Version',
  minSettingsVersion: 'X-Miroir-Min-Settings-Version',
  settingsPending: 'X-Miroir-Settings-Pending',
  settingsInconsistent: 'X-Miroir-Settings-Inconsistent',
  /** Further places where a credential may stand (P-04), after `Authorization`. */
  meiliApiKey: 'X-Meili-API-Key',
  flapjackApiKey: 'X-Flapjack-API-Key',
  /** `db`: the store is away for a while, and this answer comes from what was known before (P-17). */
  flapjackDegraded: 'Flapjack-Degraded',
  /** To nodes only: the body is `{rules, search}`, see `ruled-search.ts`. */
  searchRules: 'X-Miroir-Search-Rules',
  /** Asks for `metadata` in search answers (M-A1). */
  includeMetadata: 'Meili-Include-Metadata',
} as const

/** First words of our metric names. */
export const metricPrefixes = { flapjack: 'flapjack_', cluster: 'miroir_' } as const

/** The Meilisearch release whose API we speak; `pkgVersion` of `GET /version`. */
export const emulatedRelease = '1.50.0'
