/**
 * `/network` (M-A9, M-J3): kept as it was written, and without any effect. A network that a leader rules is a feature of
 * Meilisearch's Enterprise Edition, and refused as its community edition does.
 */
import type { Json, JsonObject } from '../lib/json.ts'
import { type At, array, bodyRoot, type Decoder, type Field, json, nullable, object, record, string } from './decode.ts'
import { ApiError, type ErrorCode } from './errors.ts'

export interface NetworkRemote {
  readonly url: string
  readonly searchApiKey: string | null
  readonly writeApiKey: string | null
}

export interface Network {
  readonly self: string | null
  readonly remotes: Readonly<Record<string, NetworkRemote>>
  readonly shards: Readonly<Record<string, readonly string[]>>
  /** A UUID that every change renews. */
  readonly version: string
}

export const emptyNetwork: Network = {
  self: null,
  remotes: {},
  shards: {},
  version: '00000000-0000-0000-0000-000000000000',
}

/** undefined = unchanged, null = removed. */
export interface NetworkChange {
  readonly self: string | null | undefined
  readonly remotes: Readonly<Record<string, RemoteChange | null>> | null | undefined
  readonly shards: Readonly<Record<string, ShardChange | null>> | null | undefined
  readonly leader: string | null | undefined
  readonly previousRemotes: Json | undefined
  readonly previousShards: Json | undefined
}

interface RemoteChange {
  readonly url: string | null | undefined
  readonly searchApiKey: string | null | undefined
  readonly writeApiKey: string | null | undefined
}

interface ShardChange {
  readonly remotes: readonly string[] | null | undefined
  readonly addRemotes: readonly string[] | null | undefined
  readonly removeRemotes: readonly string[] | null | undefined
}

function unchanged<T>(decode: Decoder<T>, code?: ErrorCode): Field<T | null | undefined> {
  return { decode: nullable(decode), fallback: () => undefined, ...(code === undefined ? {} : { code }) }
}

const url: Decoder<string> = (value, at) => {
  const text = string(value, at)
  if (URL.canParse(text)) return text
  const reason = /^[a-zA-Z][a-zA-Z0-9+.-]*:/.test(text) ? 'empty host' : 'relative URL without a base'
  throw new ApiError(at.code, `Invalid \`${at.path}\` (\`${text}\`): ${reason}`)
}

const names = array(string)

const change = object<NetworkChange>({
  remotes: unchanged(
    record(
      nullable(
        object<RemoteChange>({
          url: unchanged(url, 'invalid_network_url'),
          searchApiKey: unchanged(string, 'invalid_network_search_api_key'),
          writeApiKey: unchanged(string, 'invalid_network_write_api_key'),
        }),
      ),
    ),
    'invalid_network_remotes',
  ),
  shards: unchanged(
    record(
      nullable(
        object<ShardChange>({
          remotes: unchanged(names),
          addRemotes: unchanged(names),
          removeRemotes: unchanged(names),
        }),
      ),
    ),
    'invalid_network_shards',
  ),
  previousShards: unchanged(json),
  self: unchanged(string, 'invalid_network_self'),
  leader: unchanged(string, 'invalid_network_leader'),
  previousRemotes: unchanged(json),
})

/** @throws ApiError as the reference: 85 for a leader, `missing_network_url` is told by `applyNetwork`. */
export function decodeNetwork(body: Json): NetworkChange {
  const sent = change(body, bodyRoot)
  if (typeof sent.leader === 'string') {
    throw new ApiError(
      'requires_enterprise_edition',
      'Meilisearch Enterprise Edition is required to set `network.leader`',
    )
  }
  return sent
}

/** @param version  of what comes out. */
export function applyNetwork(before: Network, sent: NetworkChange, version: string): Network {
  return {
    self: sent.self === undefined ? before.self : sent.self,
    remotes: merged(before.remotes, sent.remotes, (name, remote, change) => {
      const at: At = { path: `.remotes.${name}`, code: 'missing_network_url' }
      const url = change.url === undefined ? remote?.url : change.url
      if (typeof url !== 'string') throw new ApiError(at.code, `Missing field \`${at.path}.url\``)
      return {
        url,
        searchApiKey: change.searchApiKey === undefined ? (remote?.searchApiKey ?? null) : change.searchApiKey,
        writeApiKey: change.writeApiKey === undefined ? (remote?.writeApiKey ?? null) : change.writeApiKey,
      }
    }),
    shards: merged(before.shards, sent.shards, (_, remotes, change) => {
      const kept = new Set(change.remotes === undefined ? remotes : change.remotes)
      for (const name of change.addRemotes ?? []) kept.add(name)
      for (const name of change.removeRemotes ?? []) kept.delete(name)
      return [...kept].sort()
    }),
    version,
  }
}

function merged<T, C>(
  before: Readonly<Record<string, T>>,
  sent: Readonly<Record<string, C | null>> | null | undefined,
  change: (name: string, before: T | undefined, sent: C) => T,
): Readonly<Record<string, T>> {
  if (sent === undefined) return before
  const after = new Map(sent === null ? [] : Object.entries(before))
  for (const [name, value] of Object.entries(sent ?? {})) {
    if (value === null) after.delete(name)
    else after.set(name, change(name, after.get(name), value))
  }
  return Object.fromEntries([...after].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** As answers show it. */
export function renderNetwork({ self, remotes, shards, version }: Network): JsonObject {
  const shown = Object.entries(remotes).map(([name, remote]) => [name, { ...remote, status: 'available' }])
  const placed = Object.entries(shards).map(([name, of]) => [name, { remotes: [...of] }])
  return { self, remotes: Object.fromEntries(shown), shards: Object.fromEntries(placed), leader: null, version }
}
