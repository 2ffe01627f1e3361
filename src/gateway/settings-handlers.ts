/** Writes of settings: decoded, checked, and appended as changes (M-A6, M-D). */

import { ApiError } from '../api/errors.ts'
import { completeFeatures } from '../api/features.ts'
import { decodeSetting, decodeSettings, resetSettings as resetOf } from '../api/settings.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { append } from './append.ts'
import { type Call, type Handler, pathUid } from './exchange.ts'
import { readJson } from './request-body.ts'

/** `PATCH …/settings`, and `PUT` or `PATCH` of one of them. */
export const writeSettings: Handler = async (call) => {
  const body = await readJson(call.exchange.request, call.headers, call.parts.limits.bodyBytesMax)
  const features = completeFeatures(call.principal.project.features)
  const { setting } = call.policy
  const settings = setting === undefined ? decodeSettings(body, features) : decodeSetting(setting, body, features)
  checkEmbedderUrls(call, settings.embedders)
  return append(call, { uid: pathUid(call), operation: { kind: 'settings', settings } })
}

/** `DELETE …/settings`, and of one of them. */
export const resetSettings: Handler = (call) => {
  const settings = resetOf(call.policy.setting, completeFeatures(call.principal.project.features))
  return append(call, { uid: pathUid(call), operation: { kind: 'settings', settings }, mayCreateIndex: false })
}

/** An embedder's address is called by the engine, inside our network: it must lead out of it (P-08). */
function checkEmbedderUrls(call: Call, embedders: Json | undefined): void {
  if (embedders === undefined || !isObject(embedders)) return
  for (const [name, embedder] of Object.entries(embedders)) {
    if (isObject(embedder)) checkEmbedderUrl(call, `.embedders.${name}`, embedder)
  }
}

function checkEmbedderUrl(call: Call, path: string, embedder: JsonObject): void {
  const { url } = embedder
  if (typeof url === 'string') {
    const fault = URL.canParse(url) ? call.parts.egress.fault(new URL(url)) : 'not a URL'
    if (fault !== undefined) {
      throw new ApiError('outbound_url_refused', `\`${path}.url\`: the address \`${url}\` may not be called: ${fault}.`)
    }
  }
  for (const inner of ['searchEmbedder', 'indexingEmbedder']) {
    const nested = embedder[inner]
    if (nested !== undefined && isObject(nested)) checkEmbedderUrl(call, `${path}.${inner}`, nested)
  }
}
