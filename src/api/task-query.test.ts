import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeTaskPage, decodeTaskSelection } from './task-query.ts'
import { renderDuration } from './task-view.ts'

test('a bare day after `after` means the next midnight, and before `before` its own', () => {
  assert.deepEqual(decodeTaskPage('?afterEnqueuedAt=2024-01-01&beforeStartedAt=2024-01-01').filter, {
    afterEnqueuedAt: Date.parse('2024-01-02T00:00:00Z'),
    beforeStartedAt: Date.parse('2024-01-01T00:00:00Z'),
  })
})

test('moments may carry an offset and a fraction', () => {
  const { filter } = decodeTaskPage('afterFinishedAt=2024-01-01T02:30:00.25%2B02:00')
  assert.deepEqual(filter, { afterFinishedAt: Date.parse('2024-01-01T00:30:00.250Z') })
})

test('a star lifts a restriction, and words are read in any case', () => {
  assert.deepEqual(decodeTaskPage('uids=*&statuses=SUCCEEDED,failed&types=indexcreation&indexUids=a,*'), {
    filter: { statuses: ['succeeded', 'failed'], types: ['indexCreation'] },
    limit: 20,
    reverse: false,
  })
  assert.deepEqual(decodeTaskSelection('?uids=*', 'cancel'), {})
})

test('an empty list restricts to nothing', () => {
  assert.deepEqual(decodeTaskPage('uids=').filter, { uids: [] })
  assert.deepEqual(decodeTaskPage('uids=1,').filter, { uids: [1] })
})

test('durations are ISO 8601 with three, six or nine digits of fraction', () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, 'PT0S'],
    [33, 'PT0.033S'],
    [0.033, 'PT0.000033S'],
    [0.000001, 'PT0.000000001S'],
    [2000, 'PT2S'],
    [61_500, 'PT61.500S'],
    [86_400_000, 'P1D'],
    [86_403_000, 'P1DT3S'],
    [90_000_001, 'P1DT3600.001S'],
  ]
  for (const [ms, text] of cases) assert.equal(renderDuration(ms), text)
})
