import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testProject } from '../../test/support/project.ts'
import { startRedis } from '../../test/support/redis-server.ts'
import { ApiError } from '../api/errors.ts'
import { systemClock } from '../lib/clock.ts'
import { seededRandom } from '../lib/random.ts'
import { type Bucket, fill, fullBucket } from '../lib/token-bucket.ts'
import { masterPrincipal, type Principal } from './principal.ts'
import { type ClassLimits, createRateLimits, type RateLimitOptions, type RateLimits } from './rate-limits.ts'
import { openRedisTokens } from './redis-tokens.ts'
import { createSharedRateLimits, type TokenStore } from './shared-rate-limits.ts'

const none: ClassLimits = { search: null, write: null, admin: null }
const everyone: Principal = { ...masterPrincipal(testProject('a')), keyUid: 'k' }
const log = { info: () => undefined, warn: () => undefined }

function sharedLimits(
  store: TokenStore,
  options: Partial<RateLimitOptions>,
  clock = systemClock as { monotonic(): number },
) {
  const all = { key: none, project: none, burstSeconds: 1, shareCount: 4, ...options }
  const local = createRateLimits(all, { clock })
  assert(local !== undefined)
  return createSharedRateLimits(all, { store, local, clock })
}

async function isTaken(limits: RateLimits, who = everyone): Promise<boolean> {
  try {
    await limits.take(who, 'search')
    return true
  } catch (error) {
    assert(error instanceof ApiError && error.code === 'too_many_requests', String(error))
    return false
  }
}

/** Buckets in this process, and how often they were asked. */
function bucketsIn(clock: { monotonic(): number }) {
  const buckets = new Map<string, Bucket>()
  const store = {
    isUp: true,
    asked: 0,
    async take(id: string, rate: { perSecond: number; capacity: number }, wanted: number) {
      if (!store.isUp) throw new Error('away')
      store.asked += 1
      const bucket = buckets.get(id) ?? fullBucket(rate, clock.monotonic())
      buckets.set(id, bucket)
      fill(bucket, rate, clock.monotonic())
      const granted = Math.min(wanted, Math.floor(bucket.tokens))
      bucket.tokens -= granted
      return { granted, left: bucket.tokens }
    },
  }
  return store
}

test('four gateways that share a limit accept it exactly, however clients are spread over them', async () => {
  const seed = 23
  const random = seededRandom(seed)
  for (const spread of [
    [1, 1, 1, 1],
    [97, 1, 1, 1],
    [1, 0, 0, 0],
  ]) {
    const clock = { ms: 5_000, monotonic: () => clock.ms }
    const store = bucketsIn(clock)
    const gateways = spread.map(() => sharedLimits(store, { project: { ...none, search: 100 } }, clock))
    const lots = gateways.flatMap((gateway, at) => Array.from({ length: spread[at] ?? 0 }, () => gateway))
    let accepted = 0
    const seconds = 10
    for (let ms = 0; ms < seconds * 1000; ms += 2) {
      clock.ms += 2
      const gateway = lots[random.integer(lots.length)]
      // The first second is the burst.
      if (gateway !== undefined && (await isTaken(gateway)) && ms >= 1000) accepted += 1
    }
    const perSecond = accepted / (seconds - 1)
    assert(perSecond >= 95 && perSecond <= 110, `${perSecond} a second over ${spread}, seed ${seed}`)
  }
})

test('most requests of a busy key wait for nobody', async () => {
  const clock = { ms: 5_000, monotonic: () => clock.ms }
  const store = bucketsIn(clock)
  const limits = sharedLimits(store, { key: { ...none, search: 10_000 } }, clock)
  for (let count = 0; count < 4_000; count += 1) {
    if (count % 4 === 0) clock.ms += 1
    assert(await isTaken(limits))
  }
  assert(store.asked < 200, `${store.asked} of 4,000`)
})

test('what one limit refuses is not counted by the other, and an idle gateway keeps nothing back', async () => {
  const clock = { ms: 5_000, monotonic: () => clock.ms }
  const store = bucketsIn(clock)
  const both = { key: { ...none, search: 3 }, project: { ...none, search: 2 } }
  const [one, two] = [sharedLimits(store, both, clock), sharedLimits(store, both, clock)]
  assert.deepEqual([await isTaken(one), await isTaken(one), await isTaken(one)], [true, true, false])
  const other = { ...everyone, project: testProject('b') }
  assert(await isTaken(two, other))
  clock.ms += 2_000
  assert.deepEqual([await isTaken(two), await isTaken(two), await isTaken(two)], [true, true, false])
})

test('while the store is away each gateway allows its share', async () => {
  const clock = { ms: 5_000, monotonic: () => clock.ms }
  const store = bucketsIn(clock)
  const limits = sharedLimits(store, { project: { ...none, search: 8 } }, clock)
  store.take = () => Promise.reject(new Error('no answer'))
  assert.deepEqual([await isTaken(limits), await isTaken(limits), await isTaken(limits)], [true, true, false])
  store.isUp = false
  assert.equal(await isTaken(limits), false)
  clock.ms += 500
  assert.equal(await isTaken(limits), true)
})

test('limits are kept together by a server, and go on in shares when it dies and comes back', async () => {
  let redis = await startRedis()
  const stores = Array.from({ length: 4 }, () => openRedisTokens({ url: redis.url, clock: systemClock, log }))
  const up = async (isUp: boolean) => {
    while (stores.some((store) => store.isUp !== isUp)) await systemClock.sleep(5)
  }
  try {
    await up(true)
    const gateways = stores.map((store) => sharedLimits(store, { project: { ...none, search: 100 } }))
    const accept = async (seconds: number) => {
      let accepted = 0
      const startedAt = systemClock.monotonic()
      while (systemClock.monotonic() - startedAt < seconds * 1000) {
        const taken = await Promise.all(gateways.map((gateway) => isTaken(gateway)))
        accepted += taken.filter(Boolean).length
        await systemClock.sleep(1)
      }
      return accepted / ((systemClock.monotonic() - startedAt) / 1000)
    }
    // The burst.
    await accept(0.3)
    const together = await accept(1.5)
    assert(together >= 80 && together <= 110, `${together} a second with the server`)

    await redis.close()
    await up(false)
    await accept(0.3)
    const apart = await accept(1.5)
    assert(apart >= 80 && apart <= 120, `${apart} a second without it`)

    redis = await startRedis(redis.port)
    await up(true)
    // What the server knew is gone with it: once more a burst.
    await accept(0.3)
    const again = await accept(1)
    assert(again >= 80 && again <= 110, `${again} a second when it is back`)
  } finally {
    for (const store of stores) await store.close()
    await redis.close().catch(() => undefined)
  }
})
