import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ApiError } from '../api/errors.ts'
import { type AuthThrottle, addressGroup, createAuthThrottle, isLoopback } from './auth-throttle.ts'

function throttle(perMinute = 20) {
  const clock = { ms: 1_000, monotonic: () => clock.ms }
  const made = createAuthThrottle(perMinute, { clock })
  assert(made !== undefined)
  return { made, clock }
}

/** Seconds to wait; 0 = not throttled. */
function waitOf(run: () => void): number {
  try {
    run()
    return 0
  } catch (error) {
    assert(error instanceof ApiError && error.code === 'auth_throttled')
    assert.equal(error.status, 429)
    return Number(error.headers['retry-after'])
  }
}

function failTimes(made: AuthThrottle, address: string, count: number): readonly number[] {
  return Array.from({ length: count }, () => waitOf(() => made.fail(address)))
}

test('behind the limit, each further failure holds the address twice as long', () => {
  const { made, clock } = throttle()
  assert.deepEqual(failTimes(made, '192.0.2.1', 20), Array(20).fill(0))
  assert.equal(
    waitOf(() => made.fail('192.0.2.1')),
    1,
  )
  assert.equal(
    waitOf(() => made.check('192.0.2.1')),
    1,
  )
  assert.equal(
    waitOf(() => made.check('192.0.2.2')),
    0,
    'others are not held',
  )
  for (const [heldMs, next] of [
    [1_000, 2],
    [2_000, 4],
    [4_000, 8],
  ] as const) {
    clock.ms += heldMs
    assert.equal(
      waitOf(() => made.check('192.0.2.1')),
      0,
    )
    assert.equal(
      waitOf(() => made.fail('192.0.2.1')),
      next,
    )
  }
  for (let round = 0; round < 12; round += 1) {
    clock.ms += 300_000
    assert(waitOf(() => made.fail('192.0.2.1')) <= 300)
  }
})

test('an address that was quiet for a minute starts anew', () => {
  const { made, clock } = throttle()
  failTimes(made, '192.0.2.1', 21)
  clock.ms += 61_001
  assert.deepEqual(failTimes(made, '192.0.2.1', 20), Array(20).fill(0))
})

test('twenty failures a minute, well spread, are not held', () => {
  const { made, clock } = throttle()
  for (let count = 0; count < 200; count += 1) {
    clock.ms += 3_000
    assert.equal(
      waitOf(() => made.fail('192.0.2.1')),
      0,
    )
  }
})

test('loopback addresses are never held, and zero turns it off', () => {
  const { made } = throttle(1)
  for (const address of ['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1']) {
    assert(isLoopback(address))
    assert.deepEqual(failTimes(made, address, 50), Array(50).fill(0))
  }
  assert.equal(createAuthThrottle(0, { clock: { monotonic: () => 0 } }), undefined)
})

test('one network of IPv6 counts as one address', () => {
  assert.equal(addressGroup('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2')
  assert.equal(addressGroup('2001:db8:1:2::9'), '2001:db8:1:2')
  assert.equal(addressGroup('2001:db8::9'), '2001:db8:0:0')
  assert.equal(addressGroup('fe80::1%eth0'), 'fe80:0:0:0')
  assert.equal(addressGroup('::ffff:192.0.2.1'), '192.0.2.1')
  const { made } = throttle()
  failTimes(made, '2001:db8:1:2::1', 20)
  assert.equal(
    waitOf(() => made.fail('2001:db8:1:2::ffff')),
    1,
  )
})
