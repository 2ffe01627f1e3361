/** Access tokens that this installation signs itself (P-05). */
import { platformIssuer } from '../api/access-token.ts'
import type { JsonObject } from '../lib/json.ts'
import type { PlatformKey } from './token-keys.ts'

export interface AccessGrant {
  /** Reference of the project. */
  readonly project: string
  readonly jti: string
  /** Seconds since 1970. */
  readonly issuedAt: number
  /** How long it is valid: 1 to 86,400. */
  readonly seconds: number
  readonly actions: readonly string[]
  readonly indexes: readonly string[]
  readonly rules: JsonObject | undefined
  /** The end user, for analytics. */
  readonly subject: string | undefined
}

/** @returns a compact JWS (RFC 7515). */
export function signAccessToken(key: PlatformKey, grant: AccessGrant): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const header = encode({ alg: key.algorithm, typ: 'JWT', kid: key.id })
  const claims = encode({
    iss: platformIssuer,
    aud: grant.project,
    iat: grant.issuedAt,
    exp: grant.issuedAt + grant.seconds,
    jti: grant.jti,
    fj_actions: grant.actions,
    fj_indexes: grant.indexes,
    fj_rules: grant.rules,
    fj_sub: grant.subject,
  })
  return `${header}.${claims}.${key.sign(`${header}.${claims}`).toString('base64url')}`
}
