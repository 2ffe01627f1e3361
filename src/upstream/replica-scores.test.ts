import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReplicaScores } from './replica-scores.ts'

const options = {
  latencyWeight: 1,
  inflightWeight: 2,
  errorWeight: 10,
  ewmaHalfLifeMs: 5_000,
  exclusionFactor: 5,
}

function measured() {
  let now = 0
  const scores = new ReplicaScores(options, { monotonic: () => now })
  const ask = (node: string, tookMs: number, isError = false) => {
    scores.begin(node)
    if (isError) scores.failed(node, tookMs)
    else scores.answered(node, tookMs)
  }
  /** Requests every 20 ms for a while. */
  const run = (forMs: number, latencies: Readonly<Record<string, number>>) => {
    for (const end = now + forMs; now < end; now += 20) {
      for (const [node, tookMs] of Object.entries(latencies)) ask(node, tookMs)
    }
  }
  const pass = (ms: number) => {
    now += ms
  }
  return { scores, ask, run, pass }
}

test('a node that nothing is known of counts as one of 50 milliseconds', () => {
  const { scores } = measured()
  assert.equal(scores.score('new'), 50)
  assert.equal(scores.p95Ms('new'), undefined)
  assert.equal(scores.isExcluded('new'), false)
})

test('the points of a node follow its latency, its requests in flight and its errors', () => {
  const { scores, ask, run } = measured()
  run(10_000, { a: 10, b: 20 })
  assert.ok(Math.abs(scores.score('a') - 10) < 2, `${scores.score('a')}`)
  assert.ok(Math.abs(scores.score('b') - 20) < 4, `${scores.score('b')}`)
  const before = scores.score('a')
  scores.begin('a')
  scores.begin('a')
  assert.equal(scores.score('a'), before + 4)
  scores.abandoned('a', 1)
  scores.abandoned('a', 1)
  assert.equal(scores.score('a'), before, 'what was given up early makes no node faster')
  ask('a', 1, true)
  assert.ok(scores.score('a') > before + 10, `${scores.score('a')}`)
})

test('a node far above the middle is left out until it does better, or nothing was heard of it for a while', () => {
  const { scores, run } = measured()
  run(10_000, { a: 10, b: 11 })
  run(5_000, { a: 10, b: 300 })
  assert.equal(scores.isExcluded('b'), true)
  assert.equal(scores.isExcluded('a'), false)
  run(45_000, { a: 10 })
  assert.equal(scores.isExcluded('b'), false)
  assert.ok(scores.score('b') < 20, `${scores.score('b')}`)
})

test('a single slow node does not put off its own hedges', () => {
  const { scores, run } = measured()
  run(10_000, { a: 10, b: 10, c: 500 })
  assert.ok(scores.usualMs('a') < 13)
  assert.ok(scores.usualMs('c') < 26)
  assert.ok(scores.p95Ms('c')! > 400)
})

test('a request that we gave up counts as one that took longer than anything so far', () => {
  const { scores, run, pass } = measured()
  run(10_000, { a: 10, b: 10 })
  for (let turn = 0; turn < 200; turn += 1) {
    scores.begin('b')
    pass(20)
    scores.abandoned('b', 60)
  }
  assert.ok(scores.score('b') > 25, `${scores.score('b')}`)
})

test('nodes that are gone are forgotten', () => {
  const { scores, run } = measured()
  run(1_000, { a: 10, b: 10 })
  scores.keep(new Set(['b']))
  assert.deepEqual(
    [...scores.scores()].map(([id]) => id),
    ['b'],
  )
})
