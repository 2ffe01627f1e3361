/**
 * Failed authentications per address (P-19). Behind the limit, an address is held for a delay that doubles with each
 * further failure. While it is held its unknown credentials are refused unseen, so that guessing gains nothing; those that
 * worked before still do, since others may share the address. Loopback addresses are never held.
 */
import { LRUCache } from 'lru-cache'
import { ApiError } from '../api/errors.ts'
import type { Clock } from '../lib/clock.ts'
import { type Bucket, type BucketRate, fill, fullBucket } from '../lib/token-bucket.ts'

export interface AuthThrottle {
  /** @throws ApiError `auth_throttled` while the address is held. Cheap when no address has failed. */
  check(address: string | undefined): void
  /** A credential was wrong. @throws ApiError `auth_throttled` when it was one too many. */
  fail(address: string | undefined): void
}

const addressesMax = 10_000
const firstHoldMs = 1_000
const holdMsMax = 300_000
/** After a hold, so long without a failure and all is forgotten. */
const quietMs = 60_000

interface Failures {
  readonly bucket: Bucket
  /** Holds so far. */
  holdCount: number
  heldUntil: number
}

/** @param perMinute  0 = nothing is throttled: answers `undefined`. */
export function createAuthThrottle(
  perMinute: number,
  { clock, onHold = () => undefined }: { readonly clock: Pick<Clock, 'monotonic'>; readonly onHold?: () => void },
): AuthThrottle | undefined {
  if (perMinute <= 0) return undefined
  const rate: BucketRate = { perSecond: perMinute / 60, capacity: Math.max(1, perMinute) }
  const failing = new LRUCache<string, Failures>({ max: addressesMax })
  return {
    check(address) {
      if (failing.size === 0 || address === undefined) return
      const failures = failing.peek(addressGroup(address))
      const heldMs = failures === undefined ? 0 : failures.heldUntil - clock.monotonic()
      if (heldMs > 0) throw throttled(heldMs)
    },
    fail(address) {
      if (address === undefined || isLoopback(address)) return
      const group = addressGroup(address)
      const nowMs = clock.monotonic()
      let failures = failing.get(group)
      if (failures === undefined || (failures.holdCount > 0 && nowMs > failures.heldUntil + quietMs)) {
        failures = { bucket: fullBucket(rate, nowMs), holdCount: 0, heldUntil: 0 }
        failing.set(group, failures)
      }
      fill(failures.bucket, rate, nowMs)
      if (failures.holdCount === 0 && failures.bucket.tokens >= 1) {
        failures.bucket.tokens -= 1
        return
      }
      const holdMs = Math.min(holdMsMax, firstHoldMs * 2 ** failures.holdCount)
      failures.holdCount += 1
      failures.heldUntil = nowMs + holdMs
      onHold()
      throw throttled(holdMs)
    },
  }
}

function throttled(heldMs: number): ApiError {
  const seconds = Math.ceil(heldMs / 1000)
  return new ApiError(
    'auth_throttled',
    `Too many failed authentications came from this address. Retry after ${seconds}s.`,
    { headers: { 'retry-after': String(seconds) } },
  )
}

const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

export function isLoopback(address: string): boolean {
  return address === '::1' || (mapped.exec(address)?.[1] ?? address).startsWith('127.')
}

/** What counts as one address: an IPv4 address, or the 64 bits of an IPv6 one that name a network. */
export function addressGroup(address: string): string {
  const v4 = mapped.exec(address)?.[1]
  if (v4 !== undefined || !address.includes(':')) return v4 ?? address
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::')
  const front = head === '' ? [] : head.split(':')
  const back = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length)
  return [...front, ...Array.from({ length: zeros }, () => '0'), ...back].slice(0, 4).join(':')
}
