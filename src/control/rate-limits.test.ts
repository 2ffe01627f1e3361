import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testProject } from '../../test/support/project.ts'
import { ApiError } from '../api/errors.ts'
import { seededRandom } from '../lib/random.ts'
import { masterPrincipal, type Principal } from './principal.ts'
import { type ClassLimits, createRateLimits, type RateLimitOptions, type RateLimits } from './rate-limits.ts'

const none: ClassLimits = { search: null, write: null, admin: null }

function principal(project: string, keyUid: string | null): Principal {
  return { ...masterPrincipal(testProject(project)), keyUid }
}

function limits(options: Partial<RateLimitOptions>, clock = movedClock()): RateLimits {
  const all = { key: none, project: none, burstSeconds: 1, shareCount: 1, ...options }
  const made = createRateLimits(all, { clock })
  assert(made !== undefined)
  return made
}

function movedClock() {
  const clock = { ms: 5_000, monotonic: () => clock.ms }
  return clock
}

function isTaken(made: RateLimits, who: Principal, limitClass: 'search' | 'write' = 'search'): boolean {
  try {
    made.take(who, limitClass)
    return true
  } catch (error) {
    assert(error instanceof ApiError && error.code === 'too_many_requests')
    return false
  }
}

test('without any limit there is nothing to ask', () => {
  const options = { key: none, project: none, burstSeconds: 1, shareCount: 1 }
  assert.equal(createRateLimits(options, { clock: movedClock() }), undefined)
})

test('a key may use its limit at once, then as fast as the limit says', () => {
  const clock = movedClock()
  const made = limits({ key: { ...none, search: 5 } }, clock)
  const who = principal('a', 'k1')
  assert.deepEqual(made.take(who, 'search'), { limit: 5, remaining: 4, resetSeconds: 1 })
  for (let count = 1; count < 5; count += 1) assert(isTaken(made, who))
  assert(!isTaken(made, who))
  assert(isTaken(made, principal('a', 'k2')), 'other keys are not touched')
  assert(isTaken(made, principal('b', 'k1')), 'nor the same uid of another project')
  assert.equal(made.take(who, 'write'), undefined, 'nor other classes')
  clock.ms += 200
  assert(isTaken(made, who))
  assert(!isTaken(made, who))
})

test('a refusal names the limit, its scope and when to come again', () => {
  const made = limits({ key: { ...none, search: 2 }, project: { ...none, search: 1 } })
  const who = principal('a', 'k1')
  assert(isTaken(made, who))
  assert.throws(
    () => made.take(who, 'search'),
    (error) => {
      assert(error instanceof ApiError)
      assert.equal(error.status, 429)
      assert.equal(
        error.message,
        'Too many requests: the limit of 1 `search` requests per second of this project is reached. Retry after 1s.',
      )
      assert.equal(error.headers['retry-after'], '1')
      assert.equal(error.headers['ratelimit-limit'], '1')
      assert.equal(error.headers['x-ratelimit-remaining'], '0')
      return true
    },
  )
})

test('what one limit refuses is not counted by the other', () => {
  const clock = movedClock()
  const made = limits({ key: { ...none, search: 10 }, project: { ...none, search: 1 } }, clock)
  const who = principal('a', 'k1')
  assert(isTaken(made, who))
  for (let count = 0; count < 50; count += 1) assert(!isTaken(made, who))
  clock.ms += 1_000
  assert(isTaken(made, who))
})

test('when a gateway comes or goes, the others change their share and keep what was used', () => {
  const clock = movedClock()
  const made = limits({ project: { ...none, search: 10 } }, clock)
  const who = principal('a', 'k1')
  for (let count = 0; count < 4; count += 1) assert(isTaken(made, who))
  made.share(2)
  assert.deepEqual(made.take(who, 'search'), { limit: 10, remaining: 8, resetSeconds: 1 })
  for (let count = 0; count < 4; count += 1) assert(isTaken(made, who))
  assert(!isTaken(made, who))
  clock.ms += 1_000
  for (let count = 0; count < 5; count += 1) assert(isTaken(made, who))
  assert(!isTaken(made, who))
  made.share(1)
  clock.ms += 1_000
  for (let count = 0; count < 10; count += 1) assert(isTaken(made, who))
  assert(!isTaken(made, who))
})

test('four gateways with their shares accept the limit together', () => {
  const seed = 19
  const random = seededRandom(seed)
  const clock = movedClock()
  const gateways = Array.from({ length: 4 }, () => limits({ project: { ...none, search: 100 }, shareCount: 4 }, clock))
  const who = principal('a', 'k1')
  let accepted = 0
  const seconds = 20
  for (let ms = 0; ms < seconds * 1000; ms += 4) {
    clock.ms += 4
    const gateway = gateways[random.integer(4)]
    // The first second is the burst.
    if (gateway !== undefined && isTaken(gateway, who) && ms >= 1000) accepted += 1
  }
  const perSecond = accepted / (seconds - 1)
  assert(perSecond >= 90 && perSecond <= 120, `${perSecond} a second, seed ${seed}`)
})
