/**
 * Rate limits whose tokens all gateways take from one place (P-19), so that a limit holds however clients are spread. Tokens
 * are fetched a few ahead, as many as were used lately: most requests wait for nobody, and little lies unused elsewhere.
 * While that place is away each gateway goes on with its share.
 */
import { LRUCache } from 'lru-cache'
import type { ApiError } from '../api/errors.ts'
import type { Clock } from '../lib/clock.ts'
import { type BucketRate, secondsUntil } from '../lib/token-bucket.ts'
import type { Principal } from './principal.ts'
import {
  allRules,
  bucketId,
  bucketsMax,
  type LimitClass,
  type LimitScope,
  type LimitState,
  type LocalRateLimits,
  type RateLimitOptions,
  type RateLimits,
  type Rule,
  refusal,
  stateOf,
} from './rate-limits.ts'

/** Buckets that all gateways take tokens from. */
export interface TokenStore {
  /** False: it did not answer lately, and is not to be waited for. */
  readonly isUp: boolean
  /** Takes up to `wanted` tokens. Rejects when it does not answer in time: they may have been taken. */
  take(bucket: string, rate: BucketRate, wanted: number): Promise<TokenGrant>
}

export interface TokenGrant {
  readonly granted: number
  /** Tokens that are left in the bucket; the next one may be there in part. */
  readonly left: number
}

/** Tokens of one bucket that this process has fetched and not used. */
interface Purse {
  readonly rule: Rule
  readonly bucket: string
  tokens: number
  left: number
  fetchedAtMs: number
  /** Until then the bucket cannot have a token. */
  emptyUntilMs: number
  /** Since `fetchedAtMs`. */
  used: number
  waiting: number
  fetching: Promise<void> | undefined
}

/** Tokens are fetched for so long ahead. */
const aheadMs = 20
/** Tokens that nobody used for so long are given up: they may be fewer than somebody else needs. */
const keptMs = 1_000
const fetchesMax = 4

export function createSharedRateLimits(
  options: RateLimitOptions,
  {
    store,
    local,
    clock,
    onRefusal = () => undefined,
  }: {
    readonly store: TokenStore
    /** Limits of this process alone, for while the store is away. */
    readonly local: LocalRateLimits
    readonly clock: Pick<Clock, 'monotonic'>
    readonly onRefusal?: (scope: LimitScope, limitClass: LimitClass) => void
  },
): RateLimits {
  const rules = allRules({ ...options, shareCount: 1 })
  const purses = new LRUCache<string, Purse>({ max: bucketsMax })

  function purseOf(bucket: string, rule: Rule): Purse {
    const known = purses.get(bucket)
    if (known !== undefined) return known
    const fresh = { rule, bucket, tokens: 0, left: 0, fetchedAtMs: 0, emptyUntilMs: 0, used: 0, waiting: 0 }
    const purse: Purse = { ...fresh, fetching: undefined }
    purses.set(bucket, purse)
    return purse
  }

  /**
   * `undefined`: a purse has nothing, and its bucket may have something.
   * @throws ApiError `too_many_requests`
   */
  function spend(used: readonly Purse[], limitClass: LimitClass): LimitState | undefined {
    const nowMs = clock.monotonic()
    for (const purse of used) {
      if (nowMs - purse.fetchedAtMs > keptMs) purse.tokens = 0
      if (purse.tokens < 1 && nowMs < purse.emptyUntilMs) throw refuse(purse, limitClass)
    }
    if (used.some(({ tokens }) => tokens < 1)) return undefined
    for (const purse of used) {
      purse.tokens -= 1
      purse.used += 1
    }
    const nearest = used.reduce((a, b) => (remainder(b) < remainder(a) ? b : a))
    return stateOf(nearest.rule, { tokens: nearest.tokens + nearest.left, at: nowMs }, 1)
  }

  function refuse({ rule, left }: Purse, limitClass: LimitClass): ApiError {
    onRefusal(rule.scope, limitClass)
    return refusal(rule, { tokens: left, at: 0 }, limitClass, 1)
  }

  function fetchInto(purse: Purse): Promise<void> {
    purse.waiting += 1
    purse.fetching ??= fetchTokens(purse).finally(() => {
      purse.fetching = undefined
    })
    return purse.fetching.finally(() => {
      purse.waiting -= 1
    })
  }

  async function fetchTokens(purse: Purse): Promise<void> {
    const { rate } = purse.rule
    const sinceMs = Math.max(1, clock.monotonic() - purse.fetchedAtMs)
    const lately = purse.fetchedAtMs === 0 ? 0 : (purse.used / sinceMs) * aheadMs
    const wanted = purse.waiting + Math.floor(Math.min(lately, (rate.perSecond / 1000) * aheadMs))
    const { granted, left } = await store.take(purse.bucket, rate, wanted)
    const nowMs = clock.monotonic()
    purse.tokens += granted
    purse.left = left
    purse.fetchedAtMs = nowMs
    purse.used = 0
    // Others wait for the same token: who comes first gets it, and asking before it can be there is in vain.
    purse.emptyUntilMs = granted < wanted ? nowMs + 1000 * secondsUntil({ tokens: left, at: 0 }, rate, 1) : 0
  }

  async function spendFetched(
    principal: Principal,
    used: readonly Purse[],
    limitClass: LimitClass,
  ): Promise<LimitState | undefined> {
    for (let fetches = 0; fetches < fetchesMax; fetches += 1) {
      try {
        await Promise.all(used.filter(({ tokens }) => tokens < 1).map(fetchInto))
      } catch {
        return local.take(principal, limitClass)
      }
      const state = spend(used, limitClass)
      if (state !== undefined) return state
    }
    // Others took what was fetched each time.
    throw refuse(used.find(({ tokens }) => tokens < 1) ?? used[0]!, limitClass)
  }

  return {
    share: (count) => local.share(count),
    take(principal, limitClass) {
      const applied = rules[limitClass]
      if (applied.length === 0) return undefined
      if (!store.isUp) return local.take(principal, limitClass)
      const used = applied.map((rule) => purseOf(bucketId(principal, limitClass, rule), rule))
      return spend(used, limitClass) ?? spendFetched(principal, used, limitClass)
    },
  }
}

/** The part of the limit that is not used yet. */
function remainder({ rule, tokens, left }: Purse): number {
  return (tokens + left) / rule.rate.capacity
}
