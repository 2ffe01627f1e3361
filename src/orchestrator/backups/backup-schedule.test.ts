import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BackupMark, BackupPolicy } from '../../store/backups.ts'
import { dueIndexes, failedPauseMs, outlived } from './backup-schedule.ts'

const hour = 3_600_000
const now = 1_000 * hour
const policy = (change: Partial<BackupPolicy> = {}): BackupPolicy => ({
  ...{ project: 'p', uid: null, everyMs: 24 * hour, keepCount: 2, keepMs: null },
  ...change,
})
const mark = (id: string, hoursAgo: number, change: Partial<BackupMark> = {}): BackupMark => ({
  ...{ id, index: 'i', state: 'done', isScheduled: true },
  ...{ createdAt: now - hoursAgo * hour, takenAt: now - hoursAgo * hour },
  ...change,
})
const indexes = [
  { id: 'i', uid: 'books' },
  { id: 'j', uid: 'films' },
]

test('an index is due when its last backup is old enough, and one that never had any comes first', () => {
  assert.deepEqual(dueIndexes([policy()], indexes, [mark('a', 23)], now), ['j'])
  assert.deepEqual(dueIndexes([policy()], indexes, [mark('a', 25)], now), ['j', 'i'])
  assert.deepEqual(dueIndexes([], indexes, [], now), [])
})

test('what the index has of its own goes before what the project has', () => {
  const own = policy({ uid: 'films', everyMs: hour })
  assert.deepEqual(dueIndexes([policy(), own], indexes, [mark('a', 2), mark('b', 2, { index: 'j' })], now), ['j'])
})

test('a backup that failed is tried again after a pause', () => {
  const failed = { state: 'failed', createdAt: now - failedPauseMs / 2 } as const
  assert.deepEqual(dueIndexes([policy()], indexes.slice(0, 1), [mark('a', 30), mark('b', 0, failed)], now), [])
  const earlier = { ...failed, createdAt: now - 2 * failedPauseMs }
  assert.deepEqual(dueIndexes([policy()], indexes.slice(0, 1), [mark('a', 30), mark('b', 0, earlier)], now), ['i'])
})

test('number and age each keep backups; the newest stays, and so does what people made', () => {
  const marks = [mark('a', 100), mark('b', 70), mark('c', 40), mark('d', 10)]
  const names = () => 'books'
  assert.deepEqual(outlived([policy()], names, marks, now, null), ['b', 'a'])
  assert.deepEqual(outlived([policy({ keepMs: 80 * hour })], names, marks, now, null), ['a'])
  assert.deepEqual(outlived([policy({ keepCount: 1 })], names, [mark('a', 9_000)], now, null), [])
  assert.deepEqual(
    outlived([policy({ keepCount: 1 })], names, [...marks.slice(2), mark('e', 90, { isScheduled: false })], now, null),
    ['c'],
  )
  assert.deepEqual(outlived([], names, marks, now, null), [])
})

test('failed backups are forgotten once a later one is whole', () => {
  const failed = (id: string, hoursAgo: number) => mark(id, hoursAgo, { state: 'failed' })
  assert.deepEqual(
    outlived([policy()], () => 'books', [failed('a', 50), mark('b', 40), failed('c', 3)], now, null),
    ['a'],
  )
})

test('where payloads are dropped after a time, there is always a backup from which the oldest moments are restored', () => {
  for (const [everyHours, keepCount] of [
    [1, 7],
    [168, 1],
    [24, 1],
  ] as const) {
    const policies = [policy({ everyMs: everyHours * hour, keepCount })]
    let marks: readonly BackupMark[] = []
    for (let time = now; time < now + 2_000 * hour; time += everyHours * hour) {
      marks = [...marks, mark(String(time), (now - time) / hour)]
      const gone = outlived(policies, () => 'books', marks, time, 24 * hour)
      marks = marks.filter(({ id }) => !gone.includes(id))
      const base = marks.findLast(({ createdAt }) => createdAt < time - 24 * hour)
      if (time - now <= 2 * Math.max(24, everyHours) * hour) continue
      assert.ok(base !== undefined && time - base.createdAt <= (48 + everyHours) * hour, `every ${everyHours} hours`)
      assert.ok(marks.length <= keepCount + 2)
    }
  }
})
