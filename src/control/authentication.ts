/**
 * From a credential to a principal. Answers come from memory: the route table holds hashes of all keys, and a bounded cache
 * holds what was worked out for a credential. A cached principal is used only while its key and project are the very
 * objects that the table shows, so that a revocation works with the table that carries it.
 */
import { LRUCache } from 'lru-cache'
import { readAccessToken } from '../api/access-token.ts'
import type { Action } from '../api/actions.ts'
import { ApiError } from '../api/errors.ts'
import { readToken, type UnverifiedToken, verifyToken } from '../api/tenant-token.ts'
import type { Clock } from '../lib/clock.ts'
import type { ApiKey, Project } from '../store/catalogue.ts'
import { credentialHash, type RouteTable } from '../topology/route-table.ts'
import type { AccessTokens } from './access-tokens.ts'
import { tokenGrants } from './grants.ts'
import { keyValue, plainCredential, signingSecrets } from './key-value.ts'
import { invalidKey, keyPrincipal, masterPrincipal, type Principal, tokenPrincipal } from './principal.ts'

const cachedCredentialsMax = 20_000
/** No key or token is longer; a longer credential is refused before any work. */
const credentialLengthMax = 8 * 1024

interface Known {
  readonly principal: Principal
  /** What it was made from; for an access token the project alone. */
  readonly key: ApiKey | 'master' | 'access'
  /** Hash of the credential, or of nothing for a token. */
  readonly hash: string | undefined
  readonly table: RouteTable
}

export interface Authentication {
  /** @throws ApiError `invalid_api_key` with message 2, 6 or 7. */
  authenticate(table: RouteTable, credential: string, action: Action | null): Principal
  /** Whose credential it is, if that was worked out before and still holds. */
  recall(table: RouteTable, credential: string): Principal | undefined
  /** Credentials whose principal is kept. */
  rememberedCount(): number
  /** Resolves when keys of an issuer that are on their way, and that the credential needs, have come or not. */
  settled(table: RouteTable, credential: string): Promise<void>
}

export interface AuthenticationDeps {
  readonly clock: Pick<Clock, 'now'>
  readonly accessTokens: AccessTokens
}

export function createAuthentication({ clock, accessTokens }: AuthenticationDeps): Authentication {
  const cache = new LRUCache<string, Known>({ max: cachedCredentialsMax })

  function remember(credential: string, known: Known): Principal {
    cache.set(credential, known)
    return known.principal
  }

  function recall(table: RouteTable, credential: string): Principal | undefined {
    const cached = cache.get(credential)
    if (cached === undefined || !(cached.table === table || isCurrent(table, cached))) return undefined
    if (cached.table !== table) cache.set(credential, { ...cached, table })
    const { expiresAt } = cached.principal
    return expiresAt === null || clock.now() < expiresAt ? cached.principal : undefined
  }

  return {
    recall,
    rememberedCount: () => cache.size,
    async settled(table, credential) {
      const access = credential.length > credentialLengthMax ? undefined : readAccessToken(credential)
      if (access !== undefined) await accessTokens.settled(table, access)
    },
    authenticate(table, credential, action) {
      const known = recall(table, credential)
      if (known !== undefined) return known
      if (credential.length > credentialLengthMax) throw invalidKey()
      const token = readToken(credential)
      if (token !== undefined) {
        const access = token.kind === 'undecodable' ? readAccessToken(credential) : undefined
        if (access !== undefined) {
          const principal = accessTokens.open(table, access)
          return remember(credential, { principal, key: 'access', hash: undefined, table })
        }
        if (action === null || !tokenGrants.has(action)) throw invalidKey()
        if (token.kind === 'undecodable') throw undecodable(token.reason)
        return remember(credential, openToken(table, token, clock.now()))
      }
      const hash = credentialHash(plainCredential(credential))
      const found = table.keyByHash(hash)
      if (found === undefined) throw invalidKey()
      if (found.key === 'master' && !found.project.settings.allowMasterKey) throw invalidKey()
      const principal = principalOf(found.project, found.key)
      if (principal.expiresAt !== null && clock.now() >= principal.expiresAt) throw invalidKey()
      return remember(credential, { principal, key: found.key, hash, table })
    },
  }
}

function principalOf(project: Project, key: ApiKey | 'master'): Principal {
  return key === 'master' ? masterPrincipal(project) : keyPrincipal(project, key)
}

/** Whether the table still shows what the principal was made from. */
function isCurrent(table: RouteTable, { principal, key, hash }: Known): boolean {
  if (hash === undefined) {
    if (table.project(principal.project.id) !== principal.project) return false
    return typeof key === 'string' || table.keyByUid(principal.project.id, key.uid) === key
  }
  const found = table.keyByHash(hash)
  return found !== undefined && found.key === key && found.project === principal.project
}

function openToken(table: RouteTable, token: UnverifiedToken, nowMs: number): Known {
  const owners = table.keysWithUid(token.keyUid)
  if (owners.length === 0) throw invalidKey()
  let reason = ''
  for (const { project, key } of owners) {
    // Uids are chosen by clients: two projects may have the same one, and the signature tells whose token it is.
    const fault = verifyToken(token, signingSecrets(keyValue(project.masterKey, key.uid)))
    if (fault !== undefined) {
      reason = fault.reason
      continue
    }
    const { rules, expiresAt } = token
    const now = Math.floor(nowMs / 1000)
    if (expiresAt !== null && now > expiresAt) {
      throw new ApiError(
        'invalid_api_key',
        `Tenant token expired. Was valid up to \`${expiresAt}\` and we're now \`${now}\`.`,
      )
    }
    if (key.expiresAt !== null && nowMs >= key.expiresAt) throw invalidKey()
    const endsAt = expiresAt === null ? null : (expiresAt + 1) * 1000
    const principal = tokenPrincipal(keyPrincipal(project, key), rules, endsAt)
    return { principal, key, hash: undefined, table }
  }
  throw undecodable(reason)
}

/** Message 7. */
function undecodable(reason: string): ApiError {
  return new ApiError('invalid_api_key', `Could not decode tenant token, ${reason}.`)
}
