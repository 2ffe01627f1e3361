/**
 * A token bucket as a value: it fills steadily up to its capacity and each request takes a token. Time comes from the
 * caller, in milliseconds of a clock that never goes back.
 */

export interface BucketRate {
  readonly perSecond: number
  /** 1 or more, so that a slow bucket lets something through at all. */
  readonly capacity: number
}

export interface Bucket {
  /** As of `at`; see `fill`. */
  tokens: number
  at: number
}

export function fullBucket({ capacity }: BucketRate, nowMs: number): Bucket {
  return { tokens: capacity, at: nowMs }
}

/** Brings the bucket to `nowMs`. */
export function fill(bucket: Bucket, { perSecond, capacity }: BucketRate, nowMs: number): void {
  bucket.tokens = Math.min(capacity, bucket.tokens + (Math.max(0, nowMs - bucket.at) * perSecond) / 1000)
  bucket.at = Math.max(bucket.at, nowMs)
}

/** Seconds until a filled bucket has `tokens` tokens. */
export function secondsUntil(bucket: Bucket, { perSecond }: BucketRate, tokens: number): number {
  return Math.max(0, (tokens - bucket.tokens) / perSecond)
}
