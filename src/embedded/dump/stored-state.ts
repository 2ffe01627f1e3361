/**
 * What the HTTP surface keeps in the engine's store, as a dump holds it and back: flags, keys, webhooks, chat settings and
 * the network object. The names of the entries are those of the routes in `server/`.
 */
import { completeFeatures } from '../../api/features.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import type { EngineStore } from '../core.ts'
import type { UnpackedDump } from './dump-reader.ts'
import type { DumpContents, DumpedKey, DumpedWebhook } from './dump-writer.ts'

const entries = {
  features: 'features',
  keys: 'key:',
  keysMade: 'keys-made',
  webhooks: 'webhook/',
  chats: 'chat:',
  network: 'network',
} as const

const chatFolder = 'chat-completions-settings'

export function dumpedState(
  store: EngineStore,
): Pick<DumpContents, 'features' | 'keys' | 'webhooks' | 'chats' | 'network'> {
  const network = objectOf(store.get(entries.network))
  const chats = store.list(entries.chats).map(({ key, value }) => [key.slice(entries.chats.length), value] as const)
  return {
    features: completeFeatures(switchedOn(objectOf(store.get(entries.features)))),
    keys: store.list(entries.keys).flatMap(({ value }) => dumpedKey(objectOf(value))),
    webhooks: store.list(entries.webhooks).flatMap(({ key, value }) => dumpedWebhook(key, objectOf(value))),
    chats: Object.fromEntries(chats),
    ...(Object.keys(network).length === 0 ? {} : { network: dumpedNetwork(network) }),
  }
}

function dumpedKey(key: JsonObject): DumpedKey[] {
  const { uid, name, description, actions, indexes, expiresAt, createdAt, updatedAt } = key
  if (typeof uid !== 'string') return []
  const text = (field: Json | undefined) => (typeof field === 'string' ? field : null)
  const texts = (field: Json | undefined) => (Array.isArray(field) ? field.map(String) : [])
  return [
    {
      uid,
      name: text(name),
      description: text(description),
      actions: texts(actions),
      indexes: texts(indexes),
      expiresAt: typeof expiresAt === 'number' ? expiresAt : null,
      createdAt: Number(createdAt),
      updatedAt: Number(updatedAt),
    },
  ]
}

function dumpedWebhook(key: string, { url, headers }: JsonObject): DumpedWebhook[] {
  if (typeof url !== 'string') return []
  const named = Object.entries(objectOf(headers)).map(([name, value]) => [name, String(value)])
  return [{ uuid: key.slice(entries.webhooks.length), url, headers: Object.fromEntries(named) }]
}

const dumpedNetwork = (network: JsonObject): JsonObject => ({
  ...network,
  shards: Object.fromEntries(Object.entries(objectOf(network.shards)).map(([name, remotes]) => [name, { remotes }])),
})

export async function importState(dump: UnpackedDump, store: EngineStore): Promise<void> {
  await store.put(entries.features, switchedOn(await dump.object('experimental-features.json')))
  for await (const key of dump.lines('keys.jsonl')) {
    const { uid, name, description, actions, indexes, expires_at, created_at, updated_at } = key
    await store.put(entries.keys + String(uid), {
      uid: uid ?? null,
      name: name ?? null,
      description: description ?? null,
      actions: actions ?? [],
      indexes: indexes ?? [],
      expiresAt: readTime(expires_at),
      createdAt: readTime(created_at) ?? 0,
      updatedAt: readTime(updated_at) ?? 0,
    })
  }
  await store.put(entries.keysMade, true)
  const { webhooks } = await dump.object('webhooks.json')
  for (const [uuid, webhook] of Object.entries(objectOf(webhooks))) {
    const { url, headers } = objectOf(webhook)
    await store.put(entries.webhooks + uuid, { url: url ?? '', headers: objectOf(headers) })
  }
  for (const [name, settings] of Object.entries(await dump.objects(chatFolder)))
    await store.put(entries.chats + name, settings)
  const network = await dump.object('network.json')
  if (Object.keys(objectOf(network.remotes)).length === 0 && (network.self ?? null) === null) return
  const { leader: _leader, ...kept } = network
  const shards = Object.entries(objectOf(network.shards)).map(([name, shard]): [string, Json] => [
    name,
    objectOf(shard).remotes ?? [],
  ])
  await store.put(entries.network, { ...kept, shards: Object.fromEntries(shards) })
}

const switchedOn = (features: JsonObject): Record<string, boolean> =>
  Object.fromEntries(Object.entries(features).flatMap(([name, value]) => (value === true ? [[name, true]] : [])))

const objectOf = (value: Json | undefined): JsonObject =>
  value !== undefined && value !== null && isObject(value) ? value : {}

export function readTime(value: Json | undefined): number | null {
  const at = typeof value === 'string' ? Date.parse(value) : Number.NaN
  return Number.isNaN(at) ? null : at
}
