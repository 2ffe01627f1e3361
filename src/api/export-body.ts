/** `POST /export` (M-H3): what is sent where, and the details of its task. */
import type { Json, JsonObject } from '../lib/json.ts'
import { byteSize, byteSizeText } from './byte-size.ts'
import { bodyRoot, boolean, invalidValue, object, optional, orNull, record, string } from './decode.ts'
import { filterJson } from './filter-value.ts'
import { isIndexPattern } from './index-uid.ts'
import { maskSecret } from './secrets.ts'

export interface ExportRule {
  readonly filter: Json
  readonly overrideSettings: boolean
}

export interface ExportRequest {
  /** As sent; what is no address fails the task. */
  readonly url: string
  readonly apiKey: string | null
  /** Bytes of documents in one request; null = as the sender likes. */
  readonly payloadSize: number | null
  /** By pattern of index names. */
  readonly indexes: Readonly<Record<string, ExportRule>>
}

const body = object<Omit<ExportRequest, 'indexes'> & { readonly indexes: ExportRequest['indexes'] | null }>({
  url: optional(string, '', 'invalid_export_url'),
  apiKey: orNull(string, 'invalid_export_api_key'),
  payloadSize: orNull(byteSize, 'invalid_export_payload_size'),
  indexes: orNull(
    record(
      object<ExportRule>({
        filter: optional(filterJson, null, 'invalid_export_index_filter'),
        overrideSettings: optional(boolean, false, 'invalid_export_index_override_settings'),
      }),
    ),
  ),
})

/** Without `indexes`: all of them, settings of indexes that are there stay. */
export function decodeExport(sent: Json): ExportRequest {
  const request = body(sent, bodyRoot)
  const indexes = request.indexes ?? { '*': { filter: null, overrideSettings: false } }
  const wrong = Object.keys(indexes).find((pattern) => !isIndexPattern(pattern))
  if (wrong !== undefined)
    throw invalidValue(
      `the key ${JSON.stringify(wrong)} could not be deserialized into the key type \`meilisearch_types::index_uid_pattern::IndexUidPattern\``,
      { path: '.indexes', code: 'bad_request' },
    )
  return { ...request, indexes }
}

/** Patterns as tasks keep them, sorted: the first that matches an index rules it. */
export function exportRules({ indexes }: Pick<ExportRequest, 'indexes'>): JsonObject {
  return Object.fromEntries(
    Object.keys(indexes)
      .sort()
      .map((pattern): [string, JsonObject] => {
        const { filter = null, overrideSettings = false } = indexes[pattern] ?? {}
        return [pattern, { filter, overrideSettings }]
      }),
  )
}

/** What is kept of a request: a size in bytes, or as details show it. */
export interface KeptExport extends Omit<ExportRequest, 'indexes' | 'payloadSize'> {
  readonly payloadSize: number | string | null
  readonly indexes: JsonObject
}

/** Details while the task waits, and when it failed. */
export function exportDetails({ url, apiKey, payloadSize, indexes }: KeptExport): JsonObject {
  const size = typeof payloadSize === 'number' ? byteSizeText(payloadSize) : payloadSize
  return {
    url,
    ...(apiKey === null ? {} : { apiKey: maskSecret(apiKey) }),
    ...(size === null ? {} : { payloadSize: size }),
    indexes,
  }
}
