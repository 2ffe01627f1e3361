/**
 * Rate limits per key and per project (P-19): token buckets in this process, each with the process's share of the limit.
 * A tenant token counts for its key. Only how many processes there are is shared between them, so that a limit holds as
 * closely as requests are spread over them; `shared-rate-limits.ts` is closer.
 */
import { LRUCache } from 'lru-cache'
import { ApiError } from '../api/errors.ts'
import type { Clock } from '../lib/clock.ts'
import { type Bucket, type BucketRate, fill, fullBucket, secondsUntil } from '../lib/token-bucket.ts'
import type { Principal } from './principal.ts'

export const limitClasses = ['search', 'write', 'admin'] as const
export type LimitClass = (typeof limitClasses)[number]

/** Requests per second; null = no limit. */
export type ClassLimits = Readonly<Record<LimitClass, number | null>>

export interface RateLimitOptions {
  readonly key: ClassLimits
  readonly project: ClassLimits
  /** How many seconds' worth may come at once. */
  readonly burstSeconds: number
  /** Processes among which each limit is divided, until `share` says otherwise. */
  readonly shareCount: number
}

export type LimitScope = 'key' | 'project'

/** What the headers of an answer tell: of the limit that is nearest to being reached. */
export interface LimitState {
  /** Requests per second, of all processes together. */
  readonly limit: number
  /** Requests that may come at once now, as far as this process knows. */
  readonly remaining: number
  /** Seconds until nothing of the limit is used. */
  readonly resetSeconds: number
}

export interface RateLimits {
  /**
   * Counts a request, unless it is over a limit. `undefined` = no limit is set for the class.
   * @throws ApiError `too_many_requests`, which is not counted.
   */
  take(principal: Principal, limitClass: LimitClass): LimitState | undefined | Promise<LimitState | undefined>
  /** Among how many processes each limit is divided from now on. */
  share(count: number): void
}

/** Of this process alone: they never wait. */
export interface LocalRateLimits extends RateLimits {
  take(principal: Principal, limitClass: LimitClass): LimitState | undefined
}

/** Buckets that are kept; one that was not used for longest is forgotten, which is to say full. */
export const bucketsMax = 50_000

export interface Rule {
  readonly scope: LimitScope
  readonly limit: number
  readonly rate: BucketRate
}

/** `undefined` = no limit is set at all. */
export function createRateLimits(
  options: RateLimitOptions,
  {
    clock,
    onRefusal = () => undefined,
  }: {
    readonly clock: Pick<Clock, 'monotonic'>
    readonly onRefusal?: (scope: LimitScope, limitClass: LimitClass) => void
  },
): LocalRateLimits | undefined {
  let { shareCount } = options
  let rules = allRules(options)
  if (limitClasses.every((name) => rules[name].length === 0)) return undefined
  const buckets = new LRUCache<string, Bucket>({ max: bucketsMax })

  function bucketOf(id: string, { rate }: Rule, nowMs: number): Bucket {
    const known = buckets.get(id)
    if (known !== undefined) {
      fill(known, rate, nowMs)
      return known
    }
    const fresh = fullBucket(rate, nowMs)
    buckets.set(id, fresh)
    return fresh
  }

  return {
    share(count) {
      if (count === shareCount) return
      shareCount = count
      rules = allRules({ ...options, shareCount })
    },
    take(principal, limitClass) {
      const applied = rules[limitClass]
      if (applied.length === 0) return undefined
      const nowMs = clock.monotonic()
      const used = applied.map((rule) => ({
        rule,
        bucket: bucketOf(bucketId(principal, limitClass, rule), rule, nowMs),
      }))
      const empty = used.find(({ bucket }) => bucket.tokens < 1)
      if (empty !== undefined) {
        onRefusal(empty.rule.scope, limitClass)
        throw refusal(empty.rule, empty.bucket, limitClass, shareCount)
      }
      for (const { bucket } of used) bucket.tokens -= 1
      const nearest = used.reduce((a, b) => (left(b) < left(a) ? b : a))
      return stateOf(nearest.rule, nearest.bucket, shareCount)
    },
  }
}

export function allRules(options: RateLimitOptions): Readonly<Record<LimitClass, readonly Rule[]>> {
  return {
    search: rulesOf(options, 'search'),
    write: rulesOf(options, 'write'),
    admin: rulesOf(options, 'admin'),
  }
}

function rulesOf({ key, project, burstSeconds, shareCount }: RateLimitOptions, name: LimitClass): readonly Rule[] {
  const scopes = [
    { scope: 'key', limit: key[name] },
    { scope: 'project', limit: project[name] },
  ] as const
  return scopes.flatMap(({ scope, limit }) => {
    if (limit === null) return []
    const perSecond = limit / shareCount
    return [{ scope, limit, rate: { perSecond, capacity: Math.max(1, perSecond * burstSeconds) } }]
  })
}

export function bucketId({ project, keyUid }: Principal, limitClass: LimitClass, { scope }: Rule): string {
  return scope === 'key' ? `${limitClass} ${project.id} ${keyUid ?? 'master'}` : `${limitClass} ${project.id}`
}

/** The part of the limit that is not used yet. */
function left({ rule, bucket }: { readonly rule: Rule; readonly bucket: Bucket }): number {
  return bucket.tokens / rule.rate.capacity
}

export function stateOf({ limit, rate }: Rule, bucket: Bucket, shareCount: number): LimitState {
  return {
    limit,
    remaining: Math.floor(bucket.tokens * shareCount),
    resetSeconds: Math.ceil(secondsUntil(bucket, rate, rate.capacity)),
  }
}

export function refusal(rule: Rule, bucket: Bucket, limitClass: LimitClass, shareCount: number): ApiError {
  const seconds = Math.max(1, Math.ceil(secondsUntil(bucket, rule.rate, 1)))
  const whose = rule.scope === 'key' ? 'this API key' : 'this project'
  return new ApiError(
    'too_many_requests',
    `Too many requests: the limit of ${rule.limit} \`${limitClass}\` requests per second of ${whose} is reached. Retry after ${seconds}s.`,
    { headers: { 'retry-after': String(seconds), ...limitHeaders(stateOf(rule, bucket, shareCount)) } },
  )
}

/** The draft standard's names and their older twins. */
export function limitHeaders({ limit, remaining, resetSeconds }: LimitState): Readonly<Record<string, string>> {
  return {
    'ratelimit-limit': String(limit),
    'ratelimit-remaining': String(remaining),
    'ratelimit-reset': String(resetSeconds),
    'x-ratelimit-limit': String(limit),
    'x-ratelimit-remaining': String(remaining),
    'x-ratelimit-reset': String(resetSeconds),
  }
}
