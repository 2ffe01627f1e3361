import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NumberLedger } from './number-ledger.ts'

test('a number that nobody was answered with is told of, once every request that may own it has ended', async () => {
  const strangers: number[] = []
  const ledger = new NumberLedger(10, (numbers) => strangers.push(...numbers))
  const { signal } = new AbortController()
  const [first, second] = [ledger.begin(), ledger.begin()]
  ledger.observe(12)
  let isClaimed = false
  const claimed = ledger.claimed(12, signal).then(() => {
    isClaimed = true
  })
  ledger.end(first, 12)
  await Promise.resolve()
  assert.deepEqual([strangers, isClaimed], [[], false])
  ledger.end(second, undefined)
  await claimed
  assert.deepEqual(strangers, [11])
  await ledger.claimed(12, signal)
})

test('waiting for a number ends with the session', async () => {
  const over = new AbortController()
  const ledger = new NumberLedger(0, () => {})
  ledger.begin()
  ledger.observe(3)
  const claimed = ledger.claimed(3, over.signal)
  over.abort()
  await claimed
})
