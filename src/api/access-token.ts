/**
 * Stateless access tokens (P-05): JWT that an issuer signs with a key of its own, EdDSA, RS256 or ES256. What is read here is
 * not verified yet.
 */
import { isObject, type Json } from '../lib/json.ts'
import { type Action, actions as allActions } from './actions.ts'
import { isIndexPattern } from './index-uid.ts'
import { JsonSyntaxError, parseJsonText } from './json-text.ts'
import { decodeRules, type SearchRules } from './tenant-token.ts'

/** `iss` of the tokens that this installation signs itself. */
export const platformIssuer = 'flapjack'

export const tokenAlgorithms = ['EdDSA', 'RS256', 'ES256'] as const
export type TokenAlgorithm = (typeof tokenAlgorithms)[number]

/** No token is valid for longer. */
export const tokenSecondsMax = 24 * 3600
/** An issuer's clock may be ahead of ours by so much. */
export const clockSkewSecondsMax = 60

/** Which check failed: all that a refusal tells. */
export type TokenCheck = 'signature' | 'expiry' | 'audience' | 'scope'

export interface AccessClaims {
  readonly issuer: string
  /** Reference of a project. */
  readonly audience: string
  /** Seconds since 1970. */
  readonly issuedAt: number
  readonly notBefore: number
  readonly expiresAt: number
  readonly jti: string
  readonly actions: readonly Action[]
  readonly indexes: readonly string[]
  /** null = none: the token is not limited to searches. */
  readonly rules: SearchRules | null
}

export interface UnverifiedAccessToken {
  readonly algorithm: TokenAlgorithm | undefined
  readonly keyId: string | undefined
  readonly issuer: string
  /** What a token must say, or the check that it fails by not saying it. */
  readonly claims: AccessClaims | TokenCheck
  readonly signed: string
  readonly signature: Buffer
}

/** `undefined`: not a token of this kind, which names its issuer and no key. */
export function readAccessToken(text: string): UnverifiedAccessToken | undefined {
  const parts = text.split('.')
  if (parts.length !== 3 || parts.some((part) => !/^[A-Za-z0-9_-]*$/.test(part))) return undefined
  const [head, body, tail] = parts.map((part) => Buffer.from(part, 'base64url'))
  const header = parsed(head!)
  const claims = parsed(body!)
  if (!isObject(header) || !isObject(claims)) return undefined
  const { iss: issuer } = claims
  if (typeof issuer !== 'string' || claims.apiKeyUid !== undefined) return undefined
  return {
    algorithm: tokenAlgorithms.find((name) => name === header.alg),
    keyId: typeof header.kid === 'string' ? header.kid : undefined,
    issuer,
    // RFC 7515 4.1.11: whoever does not know what a header marks as critical must refuse the token.
    claims: header.crit === undefined ? readClaims(claims, issuer) : 'signature',
    signed: `${parts[0]}.${parts[1]}`,
    signature: tail!,
  }
}

function parsed(bytes: Buffer): Json | undefined {
  try {
    return parseJsonText(bytes.toString('utf8'))
  } catch (error) {
    if (error instanceof JsonSyntaxError) return undefined
    throw error
  }
}

function readClaims(claims: { readonly [name: string]: Json }, issuer: string): AccessClaims | TokenCheck {
  const { aud, exp, iat, nbf = iat, jti } = claims
  const audience = Array.isArray(aud) && aud.length === 1 ? aud[0] : aud
  if (typeof audience !== 'string') return 'audience'
  if (!isSeconds(exp) || !isSeconds(iat) || !isSeconds(nbf)) return 'expiry'
  if (typeof jti !== 'string' || jti.length === 0 || jti.length > 128) return 'scope'
  const actions = readList(claims.fj_actions, (name) => allActions.find((action) => action === name))
  const indexes = readList(claims.fj_indexes, (name) => (isIndexPattern(name) ? name : undefined))
  if (actions === undefined || indexes === undefined) return 'scope'
  const rules = claims.fj_rules === undefined || claims.fj_rules === null ? null : decodeRules(claims.fj_rules)
  if (rules === undefined) return 'scope'
  return { issuer, audience, issuedAt: iat, notBefore: nbf, expiresAt: exp, jti, actions, indexes, rules }
}

function isSeconds(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function readList<T>(value: Json | undefined, decode: (name: string) => T | undefined): readonly T[] | undefined {
  if (!Array.isArray(value)) return undefined
  const found: T[] = []
  for (const name of value as readonly Json[]) {
    const decoded = typeof name === 'string' ? decode(name) : undefined
    if (decoded === undefined) return undefined
    found.push(decoded)
  }
  return found
}
