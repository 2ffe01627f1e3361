/** Who calls: project, actions, index patterns, forced filters, expiry. */
import type { Action } from '../api/actions.ts'
import { ApiError } from '../api/errors.ts'
import { matchesSomeIndexPattern } from '../api/index-uid.ts'
import { ruleFor, type SearchRules } from '../api/tenant-token.ts'
import type { Json } from '../lib/json.ts'
import type { ApiKey, Project } from '../store/catalogue.ts'
import { allGrants, grantsOf, tokenGrants } from './grants.ts'

export interface Principal {
  readonly project: Project
  /** uid of the key; null for the master key. */
  readonly keyUid: string | null
  readonly actions: ReadonlySet<Action>
  /** Of the key. */
  readonly indexes: readonly string[]
  readonly seesAllIndexes: boolean
  /** Of a tenant token; null for keys. */
  readonly rules: SearchRules | null
  /** Milliseconds since 1970, of key or token, whichever ends first; null = never. */
  readonly expiresAt: number | null
}

export const invalidKeyMessage = 'The provided API key is invalid.'

export function invalidKey(cause?: unknown): ApiError {
  return new ApiError('invalid_api_key', invalidKeyMessage, cause === undefined ? {} : { cause })
}

export function masterPrincipal(project: Project): Principal {
  return {
    project,
    keyUid: null,
    actions: allGrants,
    indexes: ['*'],
    seesAllIndexes: true,
    rules: null,
    expiresAt: null,
  }
}

export function keyPrincipal(project: Project, key: ApiKey): Principal {
  const seesAllIndexes = key.indexes.includes('*')
  return {
    project,
    keyUid: key.uid,
    actions: grantsOf(key.actions, seesAllIndexes),
    indexes: key.indexes,
    seesAllIndexes,
    rules: null,
    expiresAt: key.expiresAt,
  }
}

/** A token can only narrow its key (M-G5). */
export function tokenPrincipal(parent: Principal, rules: SearchRules, expiresAtMs: number | null): Principal {
  const ends = [parent.expiresAt, expiresAtMs].filter((end) => end !== null)
  return {
    ...parent,
    actions: new Set([...parent.actions].filter((action) => tokenGrants.has(action))),
    rules,
    expiresAt: ends.length === 0 ? null : Math.min(...ends),
  }
}

/** Whether the key's patterns and the token's rules both include the index. */
export function seesIndex(principal: Principal, uid: string): boolean {
  return keySees(principal, uid) && (principal.rules === null || ruleFor(principal.rules, uid) !== undefined)
}

function keySees(principal: Principal, uid: string): boolean {
  return principal.seesAllIndexes || matchesSomeIndexPattern(principal.indexes, uid)
}

/** The filter that a token forces on searches of the index; null = none. The index was authorised before. */
export function forcedFilter(principal: Principal, uid: string): Json {
  return principal.rules === null ? null : (ruleFor(principal.rules, uid) ?? null)
}

/** @throws ApiError `invalid_api_key` with message 2, 3, 4 or 5. */
export function authorise(principal: Principal, action: Action | null, uid: string | null): void {
  if (action !== null && !principal.actions.has(action)) throw invalidKey()
  if (uid !== null) authoriseIndex(principal, uid)
}

export function authoriseIndex(principal: Principal, uid: string): void {
  const { rules } = principal
  if (rules !== null && ruleFor(rules, uid) === undefined) {
    throw new ApiError(
      'invalid_api_key',
      `The provided tenant token cannot acces the index \`${uid}\`, allowed indexes are ${debugList([...rules.keys()].sort())}.`,
    )
  }
  if (keySees(principal, uid)) return
  // The key's patterns are the key owner's to know, not a token bearer's.
  throw new ApiError(
    'invalid_api_key',
    rules !== null
      ? `The API key used to generate this tenant token cannot acces the index \`${uid}\`.`
      : `The API key cannot acces the index \`${uid}\`, authorized indexes are ${debugList([...principal.indexes].sort())}.`,
  )
}

/** A list in the reference's debug form: `["a", "b"]` (messages 3 and 4). */
function debugList(texts: readonly string[]): string {
  return `[${texts.map((text) => JSON.stringify(text)).join(', ')}]`
}
