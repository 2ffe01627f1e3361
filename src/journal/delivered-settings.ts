/** What a lane sends for a settings change. Pure. */
import { foldSettings } from '../api/settings.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'

/**
 * The change as sent by the client, with `embedders` whole: a node that batches two settings tasks loses embedders that are
 * not named in the last one (NF-02, NF-24). Embedders that this change removes stay as null.
 *
 * @param before  settings folded up to the change.
 */
export function deliveredSettings(before: JsonObject, change: JsonObject): JsonObject {
  if (change.embedders === null) return change
  const { embedders } = foldSettings(before, change)
  const whole: Record<string, Json> = isObject(embedders) ? { ...embedders } : {}
  if (isObject(change.embedders)) {
    for (const [name, value] of Object.entries(change.embedders)) if (value === null) whole[name] = null
  }
  return Object.keys(whole).length === 0 && change.embedders === undefined ? change : { ...change, embedders: whole }
}
