/**
 * A search together with the dynamic search rules that hold for it: what a gateway sends to an engine whose own rules are not
 * those of the project. Named by the header `X-Miroir-Search-Rules`, which no client's request carries on.
 */
import type { Json, JsonObject } from '../lib/json.ts'
import { array, bodyRoot, jsonObject, object, optional, required } from './decode.ts'
import { decodeRuleChange, type SearchRule } from './search-rule.ts'

/** `POST` with JSON. `search`: text of the search's own body; null = its parameters stand in the query string. */
export function encodeRuledSearch(rules: readonly SearchRule[], search: string | null): Buffer {
  return Buffer.from(`{"rules":${JSON.stringify(rules)}${search === null ? '' : `,"search":${search}`}}`)
}

const envelope = object<{ rules: readonly JsonObject[]; search: Json | undefined }>({
  rules: required(array(jsonObject)),
  search: optional<Json | undefined>((value) => value, undefined),
})

/** @returns `search` undefined = in the query string. */
export function decodeRuledSearch(sent: Json): {
  readonly rules: readonly SearchRule[]
  readonly search: Json | undefined
} {
  const { rules, search } = envelope(sent, bodyRoot)
  return { rules: rules.map((rule) => decodeRuleChange(rule) as SearchRule), search }
}
