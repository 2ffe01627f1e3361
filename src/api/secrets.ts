/** Masking of secrets in answers (M-G6). */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'

/** `XXX...` of short secrets; the first few characters of longer ones. A `Bearer ` prefix is kept. */
export function maskSecret(secret: string): string {
  const prefix = secret.startsWith('Bearer ') ? 'Bearer ' : ''
  const characters = [...secret.slice(prefix.length)]
  const shown = (count: number) => characters.slice(0, count).join('')
  if (characters.length < 10) return `${prefix}XXX...`
  if (characters.length < 20) return `${prefix}${shown(2)}XXXX...`
  if (characters.length < 30) return `${prefix}${shown(3)}XXXXX...`
  return `${prefix}${shown(5)}XXXXXX...`
}

/** Webhook headers as answers show them: `Authorization` masked. */
export function maskHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      name.toLowerCase() === 'authorization' ? maskSecret(value) : value,
    ]),
  )
}

/** Settings, or a change of settings, with the `apiKey` of every embedder masked. */
export function maskSettings(settings: JsonObject): JsonObject {
  const embedders = settings.embedders
  if (embedders === undefined || !isObject(embedders)) return settings
  return {
    ...settings,
    embedders: Object.fromEntries(Object.entries(embedders).map(([name, embedder]) => [name, maskEmbedder(embedder)])),
  }
}

function maskEmbedder(embedder: Json): Json {
  if (!isObject(embedder)) return embedder
  return Object.fromEntries(
    Object.entries(embedder).map(([name, value]) => {
      if (name === 'apiKey' && typeof value === 'string') return [name, maskSecret(value)]
      if (name === 'searchEmbedder' || name === 'indexingEmbedder') return [name, maskEmbedder(value)]
      return [name, value]
    }),
  )
}
