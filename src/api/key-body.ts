/** Bodies of the key routes (M-G1). */
import type { Json } from '../lib/json.ts'
import { type Action, actions, isGlobal } from './actions.ts'
import { parseBareTime, parseDay, parseTime } from './dates.ts'
import {
  array,
  bodyRoot,
  type Decoder,
  type Field,
  invalidValue,
  nullable,
  object,
  oneOf,
  orNull,
  required,
  string,
} from './decode.ts'
import { ApiError } from './errors.ts'
import { indexPattern } from './index-uid.ts'

export interface KeyCreation {
  readonly name: string | null
  readonly description: string | null
  /** Lower case, hyphenated; null = choose one. */
  readonly uid: string | null
  readonly actions: readonly Action[]
  readonly indexes: readonly string[]
  /** Milliseconds since 1970; null = never. */
  readonly expiresAt: number | null
}

/** Message 76. */
function wrongExpiry(text: string): string {
  return `\`${text}\` is not a valid date. It should follow the RFC 3339 format to represents a date or datetime in the future or specified as a null value. e.g. 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'.\n`
}

const expiry =
  (now: number): Decoder<number> =>
  (value, at) => {
    const text = string(value, at)
    const moment = parseTime(text) ?? parseBareTime(text) ?? parseDay(text)
    if (moment === undefined || moment <= now) throw invalidValue(wrongExpiry(text), at)
    return moment
  }

const uuid: Decoder<string> = (value, at) => {
  const text = string(value, at)
  const mistake = uuidMistake(text)
  if (mistake !== undefined) throw invalidValue(mistake, at)
  const hex = text
    .toLowerCase()
    .replace(/^urn:uuid:/, '')
    .replaceAll(/[{}-]/g, '')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** What is wrong with a UUID, in the words of the reference's parser; undefined = nothing. */
export function uuidMistake(text: string): string | undefined {
  if (/^(?:urn:uuid:)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return undefined
  if (/^[0-9a-f]{32}$/i.test(text) || /^\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}$/i.test(text)) return undefined
  const characters = [...text]
  const wrong = characters.findIndex((character) => !/[0-9a-f-]/i.test(character))
  if (wrong >= 0) return `invalid character: found \`${characters[wrong]}\` at ${wrong}`
  const groups = text.split('-')
  if (groups.length === 1) return `invalid length: found ${text.length}`
  if (groups.length !== 5) return `invalid group count: expected 5, found ${groups.length}`
  const lengths = [8, 4, 4, 4, 12]
  const bad = groups.findIndex((group, index) => group.length !== lengths[index])
  return `invalid group length in group ${bad}: expected ${lengths[bad]}, found ${groups[bad]?.length}`
}

/** @throws ApiError also of message 75. `now`: ms since 1970; an expiry must lie behind it. */
export function decodeKeyCreation(body: Json, now: number): KeyCreation {
  const decoded = object<KeyCreation>({
    description: orNull(string, 'invalid_api_key_description'),
    name: orNull(string, 'invalid_api_key_name'),
    uid: { decode: uuid, code: 'invalid_api_key_uid', fallback: () => null } satisfies Field<string | null>,
    actions: required(array(oneOf(...actions)), 'invalid_api_key_actions', 'missing_api_key_actions'),
    indexes: required(array(indexPattern), 'invalid_api_key_indexes', 'missing_api_key_indexes'),
    expiresAt: required(nullable(expiry(now)), 'invalid_api_key_expires_at', 'missing_api_key_expires_at'),
  })(body, bodyRoot)
  const scoped = !decoded.indexes.includes('*')
  const global = scoped ? decoded.actions.find(isGlobal) : undefined
  if (global !== undefined)
    throw new ApiError(
      'index_scoped_api_key_with_global_action',
      `cannot create index-scoped API key with global action \`${JSON.stringify(global)}\`\n  - Hint: remove action \`${JSON.stringify(global)}\` from the action list, or remove \`indexes\` to make the key global`,
    )
  return decoded
}

export interface KeyChange {
  /** Absent = unchanged. */
  readonly name?: string | null
  readonly description?: string | null
}

const change = object<{ description: string | null | undefined; name: string | null | undefined }>(
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
    },
  },
)

export function decodeKeyChange(body: Json): KeyChange {
  const { name, description } = change(body, bodyRoot)
  return { ...(name === undefined ? {} : { name }), ...(description === undefined ? {} : { description }) }
}

/** Message 73. */
export function keyNotFound(id: string): ApiError {
  return new ApiError('api_key_not_found', `API key \`${id}\` not found.`)
}

/** Message 74. */
export function keyAlreadyExists(uid: string): ApiError {
  return new ApiError('api_key_already_exists', `\`uid\` field value \`${uid}\` is already an existing API key.`)
}

/** A key as answers show it, in the key order of M-G1. Times in ms since 1970; `key` = its derived value. */
export function renderKey(key: {
  readonly name: string | null
  readonly description: string | null
  readonly key: string | null
  readonly uid: string
  readonly actions: readonly string[]
  readonly indexes: readonly string[]
  readonly expiresAt: number | null
  readonly createdAt: number
  readonly updatedAt: number
}) {
  return {
    name: key.name,
    description: key.description,
    key: key.key,
    uid: key.uid,
    actions: key.actions,
    indexes: key.indexes,
    expiresAt: key.expiresAt === null ? null : renderSecond(key.expiresAt),
    createdAt: renderSecond(key.createdAt),
    updatedAt: renderSecond(key.updatedAt),
  }
}

/** RFC 3339 without a fraction when there is none. */
function renderSecond(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z')
}

/** The four keys that exist from the start (M-G4), in the order in which they are listed. */
export const defaultKeys: readonly {
  readonly name: string
  readonly description: string
  readonly actions: readonly Action[]
}[] = [
  {
    name: 'Default Search API Key',
    description: 'Use it to search from the frontend',
    actions: ['search'],
  },
  {
    name: 'Default Admin API Key',
    description: 'Use it for anything that is not a search operation. Caution! Do not expose it on a public frontend',
    actions: ['*'],
  },
  {
    name: 'Default Read-Only Admin API Key',
    description:
      'Use it to read information across the whole database. Caution! Do not expose this key on a public frontend',
    actions: ['*.get', 'keys.get'],
  },
  {
    name: 'Default Chat API Key',
    description: 'Use it to chat and search from the frontend',
    actions: ['chatCompletions', 'search'],
  },
]
