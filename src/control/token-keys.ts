/**
 * Public keys that verify access tokens (P-05). Which algorithm a key is for follows from the key alone, never from a token,
 * so that no token can have a key read as another kind of key.
 */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import type { TokenAlgorithm } from '../api/access-token.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'

/** What the seeds of our own keys are derived for. */
export const tokenPurpose = 'access tokens'

export interface TokenKey {
  /** `kid` of the key; undefined = it has none. */
  readonly id: string | undefined
  readonly algorithm: TokenAlgorithm
  readonly key: KeyObject
}

/** Keys of one issuer; further ones are not looked at. */
const keysMax = 50
const modulusBitsMin = 2048

/** The keys of a JWKS that verify what we accept; others are left out. `undefined`: not a JWKS. */
export function readJwks(jwks: Json): readonly JsonObject[] | undefined {
  if (!isObject(jwks) || !Array.isArray(jwks.keys)) return undefined
  const keys: readonly Json[] = jwks.keys.slice(0, keysMax)
  return keys.filter(isObject).filter((jwk) => importKey(jwk) !== undefined)
}

/** `undefined`: no key that verifies an algorithm of ours. */
export function importKey(jwk: JsonObject): TokenKey | undefined {
  if (jwk.use !== undefined && jwk.use !== 'sig') return undefined
  const algorithm = algorithmOf(jwk)
  if (algorithm === undefined || (jwk.alg !== undefined && jwk.alg !== algorithm)) return undefined
  try {
    const key = createPublicKey({ key: publicPart(jwk), format: 'jwk' })
    const { modulusLength = modulusBitsMin } = key.asymmetricKeyDetails ?? {}
    if (modulusLength < modulusBitsMin) return undefined
    return { id: typeof jwk.kid === 'string' ? jwk.kid : undefined, algorithm, key }
  } catch {
    return undefined
  }
}

/** Without anything private that somebody may have pasted with it. */
function publicPart({ kty, crv, x, y, n, e }: JsonObject): Record<string, Json> {
  const parts = Object.entries({ kty, crv, x, y, n, e }).flatMap(([name, value]): [string, Json][] =>
    value === undefined ? [] : [[name, value]],
  )
  return Object.fromEntries(parts)
}

function algorithmOf({ kty, crv }: JsonObject): TokenAlgorithm | undefined {
  if (kty === 'OKP' && crv === 'Ed25519') return 'EdDSA'
  if (kty === 'EC' && crv === 'P-256') return 'ES256'
  return kty === 'RSA' ? 'RS256' : undefined
}

/** Some key that the token could mean verifies it. */
export function isSigned(
  keys: readonly TokenKey[],
  token: {
    readonly algorithm: TokenAlgorithm | undefined
    readonly keyId: string | undefined
    readonly signed: string
    readonly signature: Buffer
  },
): boolean {
  const data = Buffer.from(token.signed)
  return keys.some(({ id, algorithm, key }) => {
    if (algorithm !== token.algorithm) return false
    if (id !== undefined && token.keyId !== undefined && id !== token.keyId) return false
    // RFC 7518 3.4: the two numbers of an ES256 signature one after the other.
    const verifier = algorithm === 'ES256' ? ({ key, dsaEncoding: 'ieee-p1363' } as const) : key
    return verify(algorithm === 'EdDSA' ? null : 'sha256', data, verifier, token.signature)
  })
}

/** A key of this installation, as everybody may have it. */
export interface PublishedKey extends TokenKey {
  readonly jwk: JsonObject
}

/** A key of this installation: it signs its own tokens and verifies them. */
export interface PlatformKey extends PublishedKey {
  readonly id: string
  /** @returns the signature, for `data` in ASCII. */
  sign(data: string): Buffer
}

/** What stands before an Ed25519 seed in PKCS #8 (RFC 8410 7). */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex')

/** @param seed  32 secret bytes. */
export function platformKey(seed: Uint8Array): PlatformKey {
  const secret = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' })
  const key = createPublicKey(secret)
  const { x = '' } = key.export({ format: 'jwk' })
  const id = createHash('sha256').update(x).digest('base64url').slice(0, 16)
  return {
    id,
    algorithm: 'EdDSA',
    key,
    jwk: { kty: 'OKP', crv: 'Ed25519', x, kid: id, alg: 'EdDSA', use: 'sig' },
    sign: (data) => sign(null, Buffer.from(data), secret),
  }
}

/** Keys made from seeds, each once. `seeds` answers the newest first, and may answer more later. */
export function platformKeys(seeds: () => readonly Uint8Array[]): () => readonly PlatformKey[] {
  const known = new Map<string, PlatformKey>()
  return () =>
    seeds().map((seed) => {
      const name = Buffer.from(seed).toString('hex')
      const key = known.get(name) ?? platformKey(seed)
      known.set(name, key)
      return key
    })
}

/** Keys that were published before. */
export function publishedKeys(jwks: Json): readonly PublishedKey[] {
  return (readJwks(jwks) ?? []).flatMap((jwk) => {
    const key = importKey(jwk)
    return key === undefined ? [] : [{ ...key, jwk }]
  })
}
