/**
 * Public keys of token issuers (P-05): pinned ones as they were stored, others fetched from the issuer's address. They are
 * fetched when a token first asks for them and again an hour later, beside the requests that use them; while the address
 * does not answer, the last ones hold for a day.
 */
import { LRUCache } from 'lru-cache'
import { Agent, request } from 'undici'
import type { Clock } from '../lib/clock.ts'
import type { EgressPolicy } from '../lib/egress-policy.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import type { TokenIssuer } from '../store/catalogue.ts'
import { importKey, readJwks, type TokenKey } from './token-keys.ts'

const issuersMax = 1_000
const freshMs = 3_600_000
const usableMs = 24 * 3_600_000
/** Whatever tokens say, an address is asked once in so long. */
const againAfterMs = 60_000
const fetchTimeoutMs = 5_000
const answerBytesMax = 256 * 1024

interface Fetched {
  keys: readonly TokenKey[]
  /** Of the last answer; -Infinity = there was none. Monotonic milliseconds, as all times here. */
  fetchedAt: number
  triedAt: number
  pending: Promise<void> | undefined
}

export interface IssuerKeys {
  /** Keys that hold now. Begins to fetch them when they are old, or when `keyId` is not among them. */
  of(issuer: TokenIssuer, keyId: string | undefined): readonly TokenKey[]
  /** Resolves when what is being fetched for the issuer has come, or not. Never rejects. */
  settled(issuer: TokenIssuer): Promise<void>
  close(): Promise<void>
}

export interface IssuerKeysDeps {
  readonly egress: EgressPolicy
  readonly clock: Pick<Clock, 'monotonic'>
  readonly log: { warn(fields: object, message: string): void }
}

export function createIssuerKeys({ egress, clock, log }: IssuerKeysDeps): IssuerKeys {
  const fetched = new LRUCache<string, Fetched>({ max: issuersMax })
  const pinned = new WeakMap<TokenIssuer, readonly TokenKey[]>()
  const closing = new AbortController()
  const agent = new Agent({ connect: { lookup: egress.lookup }, connections: 2 })

  async function fetchKeys(url: string, known: Fetched): Promise<void> {
    try {
      known.keys = await download(url)
      known.fetchedAt = clock.monotonic()
    } catch (error) {
      if (!closing.signal.aborted) {
        const reason = error instanceof Error ? error.message : String(error)
        log.warn({ jwks: url, reason }, 'the keys of a token issuer could not be fetched')
      }
    } finally {
      known.pending = undefined
    }
  }

  async function download(url: string): Promise<readonly TokenKey[]> {
    const fault = egress.fault(new URL(url))
    if (fault !== undefined) throw new Error(fault)
    const answer = await request(url, {
      dispatcher: agent,
      headers: { accept: 'application/json' },
      signal: AbortSignal.any([closing.signal, AbortSignal.timeout(fetchTimeoutMs)]),
    })
    const chunks: Buffer[] = []
    let byteCount = 0
    for await (const chunk of answer.body) {
      byteCount += chunk.length
      if (byteCount > answerBytesMax) throw new Error(`the answer has more than ${answerBytesMax} bytes`)
      chunks.push(chunk)
    }
    if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}`)
    const jwks = readJwks(JSON.parse(Buffer.concat(chunks).toString()) as Json)
    if (jwks === undefined) throw new Error('the answer is not a JWKS')
    return imported(jwks)
  }

  function remote(url: string, keyId: string | undefined): readonly TokenKey[] {
    const nowMs = clock.monotonic()
    let known = fetched.get(url)
    if (known === undefined) {
      known = { keys: [], fetchedAt: Number.NEGATIVE_INFINITY, triedAt: Number.NEGATIVE_INFINITY, pending: undefined }
      fetched.set(url, known)
    }
    const isUnknown = keyId !== undefined && !known.keys.some(({ id }) => id === undefined || id === keyId)
    const isDue = isUnknown || nowMs - known.fetchedAt > freshMs
    if (isDue && known.pending === undefined && nowMs - known.triedAt >= againAfterMs) {
      known.triedAt = nowMs
      known.pending = fetchKeys(url, known)
    }
    return nowMs - known.fetchedAt <= usableMs ? known.keys : []
  }

  return {
    of(issuer, keyId) {
      if (issuer.keys.kind === 'url') return remote(issuer.keys.url, keyId)
      const known = pinned.get(issuer) ?? imported(issuer.keys.jwks)
      pinned.set(issuer, known)
      return known
    },
    async settled(issuer) {
      if (issuer.keys.kind === 'url') await fetched.get(issuer.keys.url)?.pending
    },
    async close() {
      closing.abort(new Error('closed'))
      await Promise.all([...fetched.values()].map(({ pending }) => pending))
      await agent.destroy()
    },
  }
}

function imported(jwks: readonly JsonObject[]): readonly TokenKey[] {
  return jwks.flatMap((jwk) => importKey(jwk) ?? [])
}
