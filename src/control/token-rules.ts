/** Edits of a project's token rules (P-05). Pure. */
import { clockSkewSecondsMax, platformIssuer, tokenSecondsMax } from '../api/access-token.ts'
import type { TokenIssuer, TokenRules } from '../store/catalogue.ts'

/** Every gateway holds them in memory; whoever takes back more takes back all. */
const revokedMax = 1_000
const issuersMax = 20

/** One token, until no token that was valid at `nowMs` can be valid any more. */
export function revokeToken(rules: TokenRules, jti: string, nowMs: number): TokenRules | 'too-many' {
  const now = Math.floor(nowMs / 1000)
  const others = rules.revoked.filter((revoked) => revoked.until > now && revoked.jti !== jti)
  if (others.length >= revokedMax) return 'too-many'
  return { ...rules, revoked: [...others, { jti, until: now + tokenSecondsMax + clockSkewSecondsMax }] }
}

/** Every token issued up to and with the second of `nowMs`. */
export function revokeAll(rules: TokenRules, nowMs: number): TokenRules {
  const now = Math.floor(nowMs / 1000)
  // Tokens that were named a moment ago may say that they were issued a moment later.
  const revoked = rules.revoked.filter(({ until }) => until >= now + tokenSecondsMax)
  return { ...rules, issuedFrom: Math.max(rules.issuedFrom, now + 1), revoked }
}

/** In the place of an earlier one of that name. */
export function addIssuer(rules: TokenRules, issuer: TokenIssuer): TokenRules | 'refused' {
  const others = rules.issuers.filter((known) => known.issuer !== issuer.issuer)
  if (issuer.issuer === platformIssuer || others.length >= issuersMax) return 'refused'
  return { ...rules, issuers: [...others, issuer] }
}

export function removeIssuer(rules: TokenRules, issuer: string): TokenRules | 'unknown' {
  const others = rules.issuers.filter((known) => known.issuer !== issuer)
  return others.length === rules.issuers.length ? 'unknown' : { ...rules, issuers: others }
}
