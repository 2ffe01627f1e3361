/** The engine's own keys (M-G): derived from the master key, kept in the core's store, and what a caller may do with one. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { type Action, allows, isGlobal } from '../../api/actions.ts'
import { ApiError } from '../../api/errors.ts'
import { matchesSomeIndexPattern } from '../../api/index-uid.ts'
import {
  defaultKeys,
  type KeyChange,
  type KeyCreation,
  keyAlreadyExists,
  keyNotFound,
  renderKey,
} from '../../api/key-body.ts'
import { readToken, ruleFor, type SearchRules, verifyToken } from '../../api/tenant-token.ts'
import type { Clock } from '../../lib/clock.ts'
import { isObject, type Json } from '../../lib/json.ts'
import type { Random } from '../../lib/random.ts'
import type { EngineStore } from '../core.ts'

export interface StoredKey {
  readonly uid: string
  readonly name: string | null
  readonly description: string | null
  readonly actions: readonly string[]
  readonly indexes: readonly string[]
  readonly expiresAt: number | null
  readonly createdAt: number
  readonly updatedAt: number
}

/** What a request may do. */
export interface Access {
  readonly actions: readonly string[]
  readonly indexes: readonly string[]
  /** Of a tenant token; null = a key. */
  readonly rules: SearchRules | null
}

const everything: Access = { actions: ['*'], indexes: ['*'], rules: null }
const tokenActions: ReadonlySet<Action> = new Set<Action>(['search', 'chatCompletions'])

const storePrefix = 'key:'
const madeMark = 'keys-made'

export interface KeyRing {
  /** @throws ApiError messages 1, 2, 6 to 8. `action` null = any caller. */
  authorise(authorization: string | undefined, action: Action | null): Access
  /** Newest first. */
  list(): readonly StoredKey[]
  /** By uid or by value. @throws ApiError `api_key_not_found`. */
  find(uidOrValue: string): StoredKey
  create(key: KeyCreation): Promise<StoredKey>
  update(uidOrValue: string, change: KeyChange): Promise<StoredKey>
  delete(uidOrValue: string): Promise<void>
  render(key: StoredKey): Json
}

interface KeyRingParts {
  readonly store: EngineStore
  /** null = every route but those of keys is open. */
  readonly masterKey: string | null
  readonly clock: Clock
  readonly random: Random
}

/** Makes the four default keys at the first start with a master key (M-G4). */
export async function openKeyRing({ store, masterKey, clock, random }: KeyRingParts): Promise<KeyRing> {
  const keys = new Map<string, StoredKey>()
  for (const { value } of store.list(storePrefix)) {
    const key = readKey(value)
    if (key !== undefined) keys.set(key.uid, key)
  }
  const keyValueOf = (uid: string) =>
    createHmac('sha256', masterKey ?? '')
      .update(uid)
      .digest('hex')
  /** Uids by digest of the value: a gateway may have a key here for each of thousands of projects. */
  const uids = new Map([...keys.keys()].map((uid) => [digestOf(keyValueOf(uid)), uid]))
  const keyByValue = (value: string) => keys.get(uids.get(digestOf(value)) ?? '')
  const keep = async (key: StoredKey) => {
    await store.put(storePrefix + key.uid, { ...key })
    keys.set(key.uid, key)
    uids.set(digestOf(keyValueOf(key.uid)), key.uid)
    return key
  }
  if (masterKey !== null && store.get(madeMark) === undefined) {
    const now = clock.now()
    for (const [position, key] of defaultKeys.entries()) {
      // One millisecond apart, so that the list keeps their order.
      const at = now - position
      await keep({ ...key, uid: random.uuid(), indexes: ['*'], expiresAt: null, createdAt: at, updatedAt: at })
    }
    await store.put(madeMark, true)
  }

  function accessOf(credential: string): Access | undefined {
    if (masterKey !== null && isSame(credential, masterKey)) return everything
    const key = keyByValue(credential)
    return key !== undefined && isLive(key) ? { actions: key.actions, indexes: key.indexes, rules: null } : undefined
  }

  function isLive(key: StoredKey): boolean {
    return key.expiresAt === null || clock.now() < key.expiresAt
  }

  /** undefined = not the shape of a token. */
  function tokenAccess(credential: string, action: Action | null): Access | undefined {
    const token = readToken(credential)
    if (token === undefined) return undefined
    if (action === null || !tokenActions.has(action)) throw invalidKey()
    if (token.kind === 'undecodable') throw undecodable(token.reason)
    const key = keys.get(token.keyUid)
    if (key === undefined || !isLive(key)) throw invalidKey()
    const fault = verifyToken(token, [keyValueOf(key.uid)])
    if (fault !== undefined) throw undecodable(fault.reason)
    const { rules, expiresAt } = token
    const now = Math.floor(clock.now() / 1000)
    if (expiresAt !== null && now > expiresAt)
      throw new ApiError(
        'invalid_api_key',
        `Tenant token expired. Was valid up to \`${expiresAt}\` and we're now \`${now}\`.`,
      )
    return { actions: key.actions, indexes: key.indexes, rules }
  }

  function find(uidOrValue: string): StoredKey {
    const found = keys.get(uidOrValue.toLowerCase()) ?? keyByValue(uidOrValue)
    if (found === undefined) throw keyNotFound(uidOrValue)
    return found
  }

  return {
    authorise(authorization, action) {
      if (masterKey === null) {
        if (action?.startsWith('keys.'))
          throw new ApiError(
            'missing_master_key',
            'Meilisearch is running without a master key. To access this API endpoint, you must have set a master key at launch.',
          )
        return everything
      }
      if (action === null) return everything
      const credential = /^Bearer (.+)$/.exec(authorization ?? '')?.[1]
      if (credential === undefined)
        throw new ApiError(
          'missing_authorization_header',
          'The Authorization header is missing. It must use the bearer authorization method.',
        )
      const access = tokenAccess(credential, action) ?? accessOf(credential)
      const isScoped = access !== undefined && !access.indexes.includes('*')
      if (access === undefined || !allows(access.actions, action) || (isScoped && isGlobal(action))) throw invalidKey()
      return access
    },
    list: () => [...keys.values()].sort((a, b) => b.createdAt - a.createdAt),
    find,
    async create(key) {
      const uid = key.uid ?? random.uuid()
      if (keys.has(uid)) throw keyAlreadyExists(uid)
      const now = clock.now()
      return keep({ ...key, uid, createdAt: now, updatedAt: now })
    },
    async update(uidOrValue, change) {
      return keep({ ...find(uidOrValue), ...change, updatedAt: clock.now() })
    },
    async delete(uidOrValue) {
      const { uid } = find(uidOrValue)
      await store.delete(storePrefix + uid)
      keys.delete(uid)
      uids.delete(digestOf(keyValueOf(uid)))
    },
    render: (key) => renderKey({ ...key, key: keyValueOf(key.uid) }),
  }
}

/** Messages 3 to 5. */
export function checkIndex(access: Access, uid: string): void {
  const inKey = matchesSomeIndexPattern(access.indexes, uid)
  if (access.rules === null) {
    if (!inKey)
      throw new ApiError(
        'invalid_api_key',
        `The API key cannot acces the index \`${uid}\`, authorized indexes are ${listOf(access.indexes)}.`,
      )
    return
  }
  if (ruleFor(access.rules, uid) === undefined)
    throw new ApiError(
      'invalid_api_key',
      `The provided tenant token cannot acces the index \`${uid}\`, allowed indexes are ${listOf([...access.rules.keys()])}.`,
    )
  if (!inKey)
    throw new ApiError(
      'invalid_api_key',
      `The API key used to generate this tenant token cannot acces the index \`${uid}\`.`,
    )
}

export function isForAllIndexes(access: Access): boolean {
  return access.indexes.includes('*')
}

/** The filter that a token forces; null = none. */
export function forcedFilter(access: Access, uid: string): Json {
  return access.rules === null ? null : (ruleFor(access.rules, uid) ?? null)
}

function listOf(names: readonly string[]): string {
  return `[${names.map((name) => JSON.stringify(name)).join(', ')}]`
}

/** Message 2. */
export function invalidKey(): ApiError {
  return new ApiError('invalid_api_key', 'The provided API key is invalid.')
}

function digestOf(value: string): string {
  return createHash('sha256').update(value).digest('base64')
}

/** In constant time: digests have one length. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}

function readKey(value: Json): StoredKey | undefined {
  if (!isObject(value) || typeof value.uid !== 'string') return undefined
  const textOrNull = (field: Json | undefined) => (typeof field === 'string' ? field : null)
  const texts = (field: Json | undefined) =>
    Array.isArray(field) ? field.filter((item): item is string => typeof item === 'string') : []
  const time = (field: Json | undefined) => (typeof field === 'number' ? field : 0)
  return {
    uid: value.uid,
    name: textOrNull(value.name),
    description: textOrNull(value.description),
    actions: texts(value.actions),
    indexes: texts(value.indexes),
    expiresAt: typeof value.expiresAt === 'number' ? value.expiresAt : null,
    createdAt: time(value.createdAt),
    updatedAt: time(value.updatedAt),
  }
}

/** Message 7. */
function undecodable(reason: string): ApiError {
  return new ApiError('invalid_api_key', `Could not decode tenant token, ${reason}.`)
}
