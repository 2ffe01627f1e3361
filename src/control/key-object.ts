/** The key object of `/keys` (M-G1): what a client may send, and what it sees. */
import { type Action, actions, isGlobal } from '../api/actions.ts'
import { parseBareTime, parseDay, parseTime } from '../api/dates.ts'
import {
  array,
  bodyRoot,
  type Decoder,
  invalidValue,
  nullable,
  object,
  oneOf,
  orNull,
  required,
  string,
  wrongType,
} from '../api/decode.ts'
import { ApiError } from '../api/errors.ts'
import { indexPattern } from '../api/index-uid.ts'
import { renderTime } from '../api/task-view.ts'
import type { Json } from '../lib/json.ts'
import type { ApiKey } from '../store/catalogue.ts'
import type { NewKey } from '../store/ports.ts'
import { keyValue } from './key-value.ts'

const uuid: Decoder<string> = (value, at) => {
  const text = string(value, at)
  const fault = uuidFault(text)
  if (fault !== undefined) throw invalidValue(fault, at)
  const digits = text.replace('urn:uuid:', '').replace(/[-{}]/g, '').toLowerCase()
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** What is wrong with a UUID, in the reference's words. */
export function uuidFault(text: string): string | undefined {
  if (/^(urn:uuid:)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return undefined
  if (/^[0-9a-f]{32}$/i.test(text)) return undefined
  const at = [...text].findIndex((letter) => !/[0-9a-f-]/i.test(letter))
  if (at >= 0) {
    const letter = [...text][at]
    return `invalid character: expected an optional prefix of \`urn:uuid:\` followed by [0-9a-fA-F-], found \`${letter}\` at ${at + 1}`
  }
  const groups = text.split('-')
  if (groups.length === 1) return `invalid length: expected length 32 for simple format, found ${text.length}`
  if (groups.length !== 5) return `invalid group count: expected 5, found ${groups.length}`
  const lengths = [8, 4, 4, 4, 12]
  const bad = groups.findIndex((group, index) => group.length !== lengths[index])
  return `invalid group length in group ${bad}: expected ${lengths[bad]}, found ${groups[bad]!.length}`
}

const expiry =
  (nowMs: number): Decoder<number | null> =>
  (value, at) => {
    if (value === null) return null
    if (typeof value !== 'string') throw wrongType(value, at, 'string')
    const time = parseTime(value) ?? parseBareTime(value) ?? parseDay(value)
    if (time !== undefined && time > nowMs) return time
    throw invalidValue(
      `\`${value}\` is not a valid date. It should follow the RFC 3339 format to represents a date or datetime in the future or specified as a null value. e.g. 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'.\n`,
      at,
    )
  }

interface NewKeyBody extends Omit<NewKey, 'uid' | 'actions'> {
  readonly actions: readonly Action[]
  readonly uid: string | null
}

/**
 * Decodes `POST /keys`.
 * @param newUid  makes the uid when the client chose none.
 * @throws ApiError with the field's own code, or message 75.
 */
export function decodeNewKey(body: Json, nowMs: number, newUid: () => string): NewKey {
  const key = object<NewKeyBody>({
    description: orNull(string, 'invalid_api_key_description'),
    name: orNull(string, 'invalid_api_key_name'),
    uid: orNull(uuid, 'invalid_api_key_uid'),
    actions: required(array(oneOf(...actions)), 'invalid_api_key_actions', 'missing_api_key_actions'),
    indexes: required(array(indexPattern), 'invalid_api_key_indexes', 'missing_api_key_indexes'),
    expiresAt: required(expiry(nowMs), 'invalid_api_key_expires_at', 'missing_api_key_expires_at'),
  })(body, bodyRoot)
  const global = key.indexes.includes('*') ? undefined : key.actions.find(isGlobal)
  if (global !== undefined) {
    const named = JSON.stringify(global)
    throw new ApiError(
      'index_scoped_api_key_with_global_action',
      `cannot create index-scoped API key with global action \`${named}\`\n  - Hint: remove action \`${named}\` from the action list, or remove \`indexes\` to make the key global`,
    )
  }
  return { ...key, uid: key.uid ?? newUid() }
}

export interface KeyChange {
  readonly name?: string | null
  readonly description?: string | null
}

const keyChange = object<{ description: string | null | undefined; name: string | null | undefined }>(
  {
    description: { decode: nullable(string), code: 'invalid_api_key_description', fallback: () => undefined },
    name: { decode: nullable(string), code: 'invalid_api_key_name', fallback: () => undefined },
  },
  {
    immutable: {
      uid: 'immutable_api_key_uid',
      actions: 'immutable_api_key_actions',
      indexes: 'immutable_api_key_indexes',
      expiresAt: 'immutable_api_key_expires_at',
      createdAt: 'immutable_api_key_created_at',
      updatedAt: 'immutable_api_key_updated_at',
      key: 'immutable_api_key_key',
    },
  },
)

/** Decodes `PATCH /keys/{uid}`: absent fields stay as they are. */
export function decodeKeyChange(body: Json): KeyChange {
  const { name, description } = keyChange(body, bodyRoot)
  return { ...(name === undefined ? {} : { name }), ...(description === undefined ? {} : { description }) }
}

/** The key as `/keys` shows it, in this order of fields. */
export function encodeKey(key: ApiKey, masterKey: string) {
  return {
    name: key.name,
    description: key.description,
    key: keyValue(masterKey, key.uid),
    uid: key.uid,
    actions: key.actions,
    indexes: key.indexes,
    expiresAt: key.expiresAt === null ? null : renderTime(key.expiresAt),
    createdAt: renderTime(key.createdAt),
    updatedAt: renderTime(key.updatedAt),
  }
}
