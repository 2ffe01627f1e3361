/** What a lane sends for a settings change. Pure. */
import { foldSettings } from '../api/settings.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'

/**
 * The change as sent by the client, with `embedders` whole: a node that batches two settings tasks loses embedders that are
 * not named in the last one (NF-02, NF-24). Embedders that this change removes stay as null.
 *
 * What the additions to settings of spread indexes depend on goes whole as well, also while the index is plain: it may be
 * spread later, and its nodes built anew from this journal.
 *
 * @param before  settings folded up to the change.
 */
export function deliveredSettings(before: JsonObject, change: JsonObject): JsonObject {
  const after = foldSettings(before, change)
  const told = wholes.some((name) => name in change) ? { ...change, ...wholeOf(after) } : change
  return withEmbedders(told, after)
}

/** Attributes that may be filtered by include the distinct one, and rules end with the order among equals. */
const wholes = ['filterableAttributes', 'rankingRules', 'distinctAttribute'] as const

function wholeOf(after: JsonObject): JsonObject {
  return Object.fromEntries(wholes.map((name) => [name, after[name] ?? null]))
}

function withEmbedders(change: JsonObject, { embedders }: JsonObject): JsonObject {
  if (change.embedders === null) return change
  const whole: Record<string, Json> = isObject(embedders) ? { ...embedders } : {}
  if (isObject(change.embedders)) {
    for (const [name, value] of Object.entries(change.embedders)) if (value === null) whole[name] = null
  }
  return Object.keys(whole).length === 0 && change.embedders === undefined ? change : { ...change, embedders: whole }
}
