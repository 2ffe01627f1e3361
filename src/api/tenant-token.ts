/** Tenant tokens: JWT signed with a key's value, HS256, HS384 or HS512 (M-G5, P-06). */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { isObject, type Json } from '../lib/json.ts'
import { matchesIndexPattern } from './index-uid.ts'
import { JsonSyntaxError, parseJsonText } from './json-text.ts'
import { uuidMistake } from './key-body.ts'

/** What a token allows: index patterns, each with a filter to force or null. */
export type SearchRules = ReadonlyMap<string, Json>

/** A bearer value of the shape of a token, read but not verified. */
export interface UnverifiedToken {
  readonly kind: 'token'
  /** Lower case, hyphenated. */
  readonly keyUid: string
  readonly rules: SearchRules
  /** Seconds since 1970; null = as long as its key. */
  readonly expiresAt: number | null
  readonly algorithm: Algorithm | undefined
  readonly signed: string
  readonly signature: Buffer
}

/** Why a token cannot be used, in the reference's words (message 7). */
export interface TokenFault {
  readonly kind: 'undecodable'
  readonly reason: string
}

type Algorithm = 'sha256' | 'sha384' | 'sha512'

const algorithms: Readonly<Record<string, Algorithm>> = { HS256: 'sha256', HS384: 'sha384', HS512: 'sha512' }
const otherAlgorithms = ['ES256', 'ES384', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA']
const knownAlgorithms = [...Object.keys(algorithms), ...otherAlgorithms]

class Undecodable extends Error {}

/** `undefined`: not the shape of a token, so that it can only be a key. */
export function readToken(text: string): UnverifiedToken | TokenFault | undefined {
  const parts = text.split('.')
  if (parts.length !== 3) return undefined
  try {
    const algorithm = readHeader(decodePart(parts[0]!))
    const claims = readClaims(decodePart(parts[1]!))
    const signature = Buffer.from(parts[2]!, 'base64url')
    return { kind: 'token', ...claims, algorithm, signed: `${parts[0]}.${parts[1]}`, signature }
  } catch (error) {
    if (error instanceof Undecodable) return { kind: 'undecodable', reason: error.message }
    throw error
  }
}

/** `undefined`: signed with one of the key's `secrets`. Expiry is for the caller, who owns the clock. */
export function verifyToken(token: UnverifiedToken, secrets: readonly string[]): TokenFault | undefined {
  const { algorithm, signed, signature } = token
  if (algorithm === undefined) return { kind: 'undecodable', reason: 'InvalidAlgorithm' }
  const isSigned = secrets.some((secret) => {
    const expected = createHmac(algorithm, secret).update(signed).digest()
    return expected.length === signature.length && timingSafeEqual(expected, signature)
  })
  return isSigned ? undefined : { kind: 'undecodable', reason: 'InvalidSignature' }
}

function decodePart(part: string): string {
  if (part.length % 4 === 1) throw new Undecodable(`Base64 error: Invalid input length: ${part.length}`)
  const wrong = part.search(/[^A-Za-z0-9_-]/)
  if (wrong >= 0) throw new Undecodable(`Base64 error: Invalid symbol ${part.charCodeAt(wrong)}, offset ${wrong}`)
  return Buffer.from(part, 'base64url').toString('utf8')
}

function parsePart(text: string): Json {
  try {
    return parseJsonText(text)
  } catch (error) {
    throw error instanceof JsonSyntaxError ? new Undecodable(`JSON error: ${error.message}`) : error
  }
}

/** `undefined`: an algorithm that exists and is not for tenant tokens. */
function readHeader(text: string): Algorithm | undefined {
  const header = parsePart(text)
  const alg = isObject(header) ? header.alg : undefined
  if (alg === undefined) throw misread('missing field `alg`', text.length)
  if (typeof alg !== 'string' || !knownAlgorithms.includes(alg)) {
    const expected = knownAlgorithms.map((name) => `\`${name}\``).join(', ')
    throw misread(`unknown variant \`${alg}\`, expected one of ${expected}`, endOf(text, 'alg'))
  }
  return algorithms[alg]
}

function readClaims(text: string): Pick<UnverifiedToken, 'keyUid' | 'rules' | 'expiresAt'> {
  const claims = parsePart(text)
  if (!isObject(claims)) throw misread(noRules, text.length)
  let rules: SearchRules | undefined
  let keyUid: string | undefined
  let expiresAt: number | null = null
  for (const [name, value] of Object.entries(claims)) {
    if (name === 'searchRules') rules = readRules(value, text.length)
    else if (name === 'apiKeyUid') keyUid = readUid(value, endOf(text, name))
    else if (name === 'exp') expiresAt = readExpiry(value, text)
  }
  if (rules === undefined) throw misread('missing field `searchRules`', text.length)
  if (keyUid === undefined) throw misread('missing field `apiKeyUid`', text.length)
  return { keyUid, rules, expiresAt }
}

const noRules = 'data did not match any variant of untagged enum SearchRules'

function misread(message: string, column: number): Undecodable {
  return new Undecodable(`JSON error: ${message} at line 1 column ${column}`)
}

/** Column behind the scalar value of a field, where the reference's parser stands when it refuses it. */
function endOf(text: string, field: string): number {
  const match = new RegExp(`"${field}"\\s*:\\s*(?:"(?:[^"\\\\]|\\\\.)*"|[^,}\\s]+)`).exec(text)
  return match === null ? text.length : match.index + match[0].length
}

function describe(value: Json, text: string): string {
  if (typeof value === 'string') return `string ${JSON.stringify(value)}`
  if (typeof value === 'boolean') return `boolean \`${value}\``
  if (typeof value !== 'number') return value === null ? 'null' : Array.isArray(value) ? 'sequence' : 'map'
  const isInteger = Number.isInteger(value) && !/"exp"\s*:\s*[-\d]*[.eE]/.test(text)
  return isInteger ? `integer \`${value}\`` : `floating point \`${Number.isInteger(value) ? `${value}.0` : value}\``
}

function readExpiry(value: Json, text: string): number | null {
  if (value === null) return null
  const described = describe(value, text)
  if (typeof value === 'number' && described.startsWith('integer')) return value
  throw misread(`invalid type: ${described}, expected i64`, endOf(text, 'exp'))
}

function readUid(value: Json, column: number): string {
  if (typeof value !== 'string') {
    throw misread(`invalid type: ${describe(value, '')}, expected a formatted UUID string`, column)
  }
  const mistake = uuidMistake(value)
  if (mistake !== undefined) throw misread(`UUID parsing failed: ${mistake}`, column)
  const digits = value.toLowerCase().replaceAll(/urn:uuid:|[{}-]/g, '')
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function readRules(value: Json, column: number): SearchRules {
  const rules = decodeRules(value)
  if (rules === undefined) throw misread(noRules, column)
  return rules
}

/** `undefined`: neither a list of patterns nor an object of rules. */
export function decodeRules(value: Json): SearchRules | undefined {
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
