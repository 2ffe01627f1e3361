import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  freshHealth,
  type Health,
  healthRules,
  healthStates,
  observe,
  type Sight,
  stateAfter,
  verdicts,
} from './health-states.ts'

const good: Sight = { probe: 'good', lanes: 'speak', isFilling: false }
const bad: Sight = { probe: 'bad', lanes: 'none', isFilling: false }

/** States after each of a row of looks, 5 s apart. */
function course(sights: readonly Sight[], from: Health = { state: 'up', since: 0, failures: 0, successes: 9 }) {
  let health = from
  return sights.map((sight, place) => {
    health = observe(health, sight, healthRules, (place + 1) * 5_000)
    return health.state
  })
}

test('every verdict has its place in every state', () => {
  for (const state of healthStates) {
    for (const verdict of verdicts) assert.ok(healthStates.includes(stateAfter(state, verdict)), `${state} ${verdict}`)
  }
})

test('a node that stops answering is suspect after two probes, down after five and lost five minutes later', () => {
  assert.deepEqual(course(Array(5).fill(bad)), ['up', 'suspect', 'suspect', 'suspect', 'down'])
  const long = course(Array(70).fill(bad))
  assert.equal(long.indexOf('lost'), 64)
})

test('what lanes see makes the way to suspect shorter', () => {
  assert.deepEqual(course([{ ...bad, lanes: 'silent' }]), ['suspect'])
  assert.deepEqual(course([{ ...good, lanes: 'silent' }]), ['up'], 'one probe that was answered is not enough to tell')
})

test('a node that answers a worker is not down because we do not reach it', () => {
  assert.equal(course(Array(100).fill({ ...bad, lanes: 'speak' })).at(-1), 'suspect')
})

test('one answer between failures does not make a node well', () => {
  assert.deepEqual(course([bad, bad, good, bad, good, good]), ['up', 'suspect', 'suspect', 'suspect', 'suspect', 'up'])
})

test('a clock that is off makes a node suspect and never more', () => {
  assert.deepEqual(new Set(course(Array(100).fill({ ...good, probe: 'skewed' }))), new Set(['suspect']))
})

test('a node with a new disk is well again when everything on it was built', () => {
  const filling = { ...good, isFilling: true }
  assert.deepEqual(course([filling, filling, good]), ['wiped', 'wiped', 'up'])
})

test('a machine that starts has its time', () => {
  assert.equal(course(Array(23).fill(bad), freshHealth(0)).at(-1), 'starting')
  assert.equal(course(Array(24).fill(bad), freshHealth(0)).at(-1), 'down')
  assert.deepEqual(course([good, good], freshHealth(0)), ['starting', 'up'])
})
