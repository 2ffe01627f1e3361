/** Tenant tokens: JWT signed with a key's value, HS256, HS384 or HS512 (M-G5, P-06). */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { matchesIndexPattern } from './index-uid.ts'

/** What a token allows: index patterns, each with a filter to force or null. */
export type SearchRules = ReadonlyMap<string, Json>

export interface TenantToken {
  readonly rules: SearchRules
  /** Seconds since 1970; null = as long as its key. */
  readonly expiresAt: number | null
}

/** A bearer value that claims to be a token, not verified. */
export interface UnverifiedToken {
  readonly keyUid: string
  readonly algorithm: 'sha256' | 'sha384' | 'sha512' | undefined
  readonly signed: string
  readonly signature: Buffer
  readonly claims: JsonObject
}

export type TokenOutcome =
  | { readonly kind: 'valid'; readonly token: TenantToken }
  | { readonly kind: 'undecodable'; readonly reason: string }

const algorithms: Readonly<Record<string, 'sha256' | 'sha384' | 'sha512'>> = {
  HS256: 'sha256',
  HS384: 'sha384',
  HS512: 'sha512',
}

const keyUid = /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i

/** `undefined`: not the shape of a tenant token, so that it can only be a key. */
export function readToken(text: string): UnverifiedToken | undefined {
  const parts = text.split('.')
  if (parts.length !== 3) return undefined
  const header = decodePart(parts[0]!)
  const claims = decodePart(parts[1]!)
  if (header === undefined || claims === undefined) return undefined
  const uid = claims.apiKeyUid
  if (typeof uid !== 'string' || !keyUid.test(uid)) return undefined
  return {
    keyUid: uid.toLowerCase(),
    algorithm: typeof header.alg === 'string' ? algorithms[header.alg] : undefined,
    signed: `${parts[0]}.${parts[1]}`,
    signature: Buffer.from(parts[2]!, 'base64url'),
    claims,
  }
}

function decodePart(part: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Checks signature and claims against any of the key's `secrets`; expiry is for the caller, who owns the clock. */
export function verifyToken(token: UnverifiedToken, secrets: readonly string[]): TokenOutcome {
  const { algorithm, signed, signature, claims } = token
  if (algorithm === undefined) return { kind: 'undecodable', reason: 'InvalidAlgorithm' }
  const isSigned = secrets.some((secret) => {
    const expected = createHmac(algorithm, secret).update(signed).digest()
    return expected.length === signature.length && timingSafeEqual(expected, signature)
  })
  if (!isSigned) return { kind: 'undecodable', reason: 'InvalidSignature' }
  const { exp, searchRules } = claims
  if (exp !== undefined && exp !== null && (typeof exp !== 'number' || !Number.isInteger(exp))) {
    return { kind: 'undecodable', reason: 'JSON error: invalid type for `exp`, expected i64' }
  }
  if (searchRules === undefined) return { kind: 'undecodable', reason: 'JSON error: missing field `searchRules`' }
  const rules = readRules(searchRules)
  if (rules === undefined) {
    return {
      kind: 'undecodable',
      reason: 'JSON error: data did not match any variant of untagged enum SearchRules',
    }
  }
  return { kind: 'valid', token: { rules, expiresAt: typeof exp === 'number' ? exp : null } }
}

function readRules(value: Json): SearchRules | undefined {
  if (Array.isArray(value)) {
    const patterns: readonly Json[] = value
    if (!patterns.every((pattern) => typeof pattern === 'string')) return undefined
    return new Map(patterns.map((pattern) => [pattern, null]))
  }
  if (!isObject(value)) return undefined
  const rules = new Map<string, Json>()
  for (const [pattern, rule] of Object.entries(value)) {
    if (rule !== null && !isObject(rule)) return undefined
    rules.set(pattern, rule?.filter ?? null)
  }
  return rules
}

/**
 * The filter that a token forces on an index: the exact name's rule, else that of the longest matching pattern.
 * `undefined`: the index is outside the token; null: inside, without a filter.
 */
export function ruleFor(rules: SearchRules, uid: string): Json | undefined {
  const exact = rules.get(uid)
  if (exact !== undefined && !uid.endsWith('*')) return exact
  let best: string | undefined
  for (const pattern of rules.keys()) {
    if (pattern.endsWith('*') && matchesIndexPattern(pattern, uid) && pattern.length > (best?.length ?? -1))
      best = pattern
  }
  return best === undefined ? undefined : (rules.get(best) ?? null)
}

/** ANDs two filters as outer arrays, so that no text of one can reach into the other (M-G5). null = none. */
export function joinFilters(forced: Json, asked: Json): Json {
  if (forced === null) return asked
  if (asked === null) return forced
  return [...asList(forced), ...asList(asked)]
}

function asList(filter: Json): readonly Json[] {
  return Array.isArray(filter) ? filter : [filter]
}
