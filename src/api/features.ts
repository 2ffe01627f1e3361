/** The 15 experimental flags (M-H6). */
import type { Json } from '../lib/json.ts'
import { bodyRoot, boolean, type Field, object, orNull } from './decode.ts'
import { ApiError } from './errors.ts'

/** What `feature_not_enabled` says of each flag; null = a switch of behaviour that no message names. */
const flags = {
  metrics: { feature: 'metrics', discussion: 625 },
  logsRoute: { feature: 'logs route', discussion: 721 },
  editDocumentsByFunction: { feature: 'edit documents by function', discussion: 762 },
  containsFilter: { feature: 'contains filter', discussion: 763 },
  dynamicSearchRules: { feature: 'dynamic search rules', discussion: 884 },
  network: { feature: 'network', discussion: 805 },
  getTaskDocumentsRoute: { feature: 'get task documents route', discussion: 808 },
  taskQueueCompactionRoute: { feature: 'task queue compaction route', discussion: 883 },
  compositeEmbedders: { feature: 'composite embedders', discussion: 816 },
  chatCompletions: { feature: 'chat completions', discussion: 835 },
  multimodal: { feature: 'multimodal', discussion: 846 },
  foreignKeys: { feature: 'foreign_keys', discussion: 873 },
  disableDocumentsFetchQueue: null,
  legacySearch: null,
  renderRoute: { feature: 'render_route', discussion: 888 },
} as const

export type Feature = keyof typeof flags
export type Features = Readonly<Record<Feature, boolean>>

export const featureNames = Object.keys(flags) as readonly Feature[]

/** All 15 flags; those that `on` does not name are off. */
export function completeFeatures(on: Readonly<Record<string, boolean>>): Features {
  return Object.fromEntries(featureNames.map((name) => [name, on[name] === true])) as Features
}

type FeatureChange = { [K in Feature]: boolean | null }

const body = object<FeatureChange>(
  Object.fromEntries(featureNames.map((name) => [name, orNull(boolean)])) as Record<Feature, Field<boolean | null>>,
)

/** `PATCH /experimental-features`: the flags that are named. */
export function decodeFeatures(sent: Json): Partial<Record<Feature, boolean>> {
  const change = body(sent, bodyRoot)
  return Object.fromEntries(
    featureNames.flatMap((name): [Feature, boolean][] => {
      const value = change[name]
      return value === null ? [] : [[name, value]]
    }),
  )
}

/** Message 72. `action`: for example "Using `CONTAINS` in a filter"; `tail` follows the message (filters). */
export function featureNotEnabled(feature: Feature, action: string, tail = ''): ApiError {
  const words = flags[feature] ?? { feature, discussion: 0 }
  const link =
    feature === 'metrics'
      ? 'https://github.com/meilisearch/product/discussions/625'
      : `https://github.com/orgs/meilisearch/discussions/${words.discussion}`
  return new ApiError(
    'feature_not_enabled',
    `${action} requires enabling the \`${words.feature}\` experimental feature. See ${link}${tail}`,
  )
}
