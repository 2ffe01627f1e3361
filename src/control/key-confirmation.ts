/**
 * Whether an unknown credential is worth a look at the store before it is refused (P-04): a key that another process made a
 * moment ago works at once, and guessing cannot load the store: once per credential in 5 seconds, 50 times a second in all.
 */
import { LRUCache } from 'lru-cache'
import type { Clock } from '../lib/clock.ts'
import { type BucketRate, fill, fullBucket } from '../lib/token-bucket.ts'
import { credentialHash } from '../topology/route-table.ts'

const againAfterMs = 5_000
const credentialsMax = 10_000
const rate: BucketRate = { perSecond: 50, capacity: 50 }

export interface KeyConfirmation {
  /** true at most once per credential and 5 seconds; the caller then looks. */
  take(credential: string): boolean
}

export function createKeyConfirmation({ clock }: { readonly clock: Pick<Clock, 'monotonic'> }): KeyConfirmation {
  const bucket = fullBucket(rate, clock.monotonic())
  const looked = new LRUCache<string, number>({ max: credentialsMax })
  return {
    take(credential) {
      const nowMs = clock.monotonic()
      const hash = credentialHash(credential)
      const at = looked.get(hash)
      if (at !== undefined && nowMs - at < againAfterMs) return false
      fill(bucket, rate, nowMs)
      if (bucket.tokens < 1) return false
      bucket.tokens -= 1
      looked.set(hash, nowMs)
      return true
    },
  }
}
