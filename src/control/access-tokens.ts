/**
 * Stateless access tokens (P-05): verified from what is in memory, never by asking the store. A token grants at most what its
 * issuer may grant; it ends by itself, by its `jti`, with its issuer, or with all tokens of the project issued so far.
 */
import {
  type AccessClaims,
  clockSkewSecondsMax,
  platformIssuer,
  type TokenCheck,
  tokenSecondsMax,
  type UnverifiedAccessToken,
} from '../api/access-token.ts'
import { ApiError } from '../api/errors.ts'
import { intersectIndexPatterns } from '../api/index-uid.ts'
import type { Clock } from '../lib/clock.ts'
import type { Project, TokenIssuer } from '../store/catalogue.ts'
import type { RouteTable } from '../topology/route-table.ts'
import { grantsOf, tokenGrants } from './grants.ts'
import type { IssuerKeys } from './issuer-keys.ts'
import { invalidKey, type Principal } from './principal.ts'
import { isSigned, type PublishedKey } from './token-keys.ts'

/** A verified token is looked at again after so long, since its issuer may have withdrawn the key that signed it. */
const recheckMs = 3_600_000

export interface AccessTokens {
  /** @throws ApiError `invalid_api_key`; it tells which check failed and nothing else. */
  open(table: RouteTable, token: UnverifiedAccessToken): Principal
  /** Keys that verify what this installation signs: the newest first. */
  platformKeys(): readonly PublishedKey[]
  /** Resolves when keys of the token's issuer that are being fetched have come, or not. Never rejects. */
  settled(table: RouteTable, token: UnverifiedAccessToken): Promise<void>
}

export interface AccessTokensDeps {
  readonly platformKeys: () => readonly PublishedKey[]
  readonly issuerKeys: IssuerKeys
  readonly clock: Pick<Clock, 'now'>
}

export function createAccessTokens({ platformKeys, issuerKeys, clock }: AccessTokensDeps): AccessTokens {
  function projectOf(table: RouteTable, { claims }: UnverifiedAccessToken): Project | undefined {
    return typeof claims === 'string' ? undefined : table.projectByRef(claims.audience)
  }
  const issuerOf = (project: Project | undefined, name: string) =>
    project?.tokens.issuers.find(({ issuer }) => issuer === name)

  return {
    platformKeys,
    async settled(table, token) {
      const issuer = issuerOf(projectOf(table, token), token.issuer)
      if (issuer !== undefined) await issuerKeys.settled(issuer)
    },
    open(table, token) {
      const project = projectOf(table, token)
      const isOurs = token.issuer === platformIssuer
      const issuer = isOurs ? undefined : issuerOf(project, token.issuer)
      const keys = isOurs ? platformKeys() : issuer === undefined ? [] : issuerKeys.of(issuer, token.keyId)
      // Before anything else: who did not sign it learns nothing, not even whether the project exists.
      if (!isSigned(keys, token)) throw failed('signature')
      const { claims } = token
      if (typeof claims === 'string') throw failed(claims)
      if (project === undefined) throw failed('audience')
      const nowMs = clock.now()
      checkTimes(claims, nowMs / 1000)
      if (isRevoked(project, claims)) throw invalidKey()
      const principal = principalOf(project, claims, issuer)
      if (principal.actions.size === 0 || principal.indexes.length === 0) throw failed('scope')
      return { ...principal, expiresAt: Math.min(claims.expiresAt * 1000, nowMs + recheckMs) }
    },
  }
}

function failed(check: TokenCheck): ApiError {
  const told = { signature: 'signature', expiry: 'time of validity', audience: 'audience', scope: 'scope' }[check]
  return new ApiError('invalid_api_key', `The provided access token is invalid: its ${told} is not accepted.`)
}

function checkTimes({ issuedAt, notBefore, expiresAt }: AccessClaims, now: number): void {
  const latest = now + clockSkewSecondsMax
  if (now >= expiresAt || issuedAt > latest || notBefore > latest || expiresAt > latest + tokenSecondsMax) {
    throw failed('expiry')
  }
}

function isRevoked({ tokens }: Project, { issuedAt, jti }: AccessClaims): boolean {
  return issuedAt < tokens.issuedFrom || tokens.revoked.some((revoked) => revoked.jti === jti)
}

function principalOf(project: Project, claims: AccessClaims, issuer: TokenIssuer | undefined): Principal {
  const indexes = issuer === undefined ? claims.indexes : intersectIndexPatterns(claims.indexes, issuer.indexes)
  const seesAllIndexes = indexes.includes('*')
  const granted = grantsOf(claims.actions, seesAllIndexes)
  const ceiling = issuer === undefined ? granted : grantsOf(issuer.actions, seesAllIndexes)
  const actions = [...granted].filter(
    // Rules are filters of searches: what does not search would read past them.
    (action) => ceiling.has(action) && (claims.rules === null || tokenGrants.has(action)),
  )
  return {
    project,
    keyUid: claims.issuer,
    actions: new Set(actions),
    indexes,
    seesAllIndexes,
    rules: claims.rules,
    expiresAt: claims.expiresAt * 1000,
  }
}
