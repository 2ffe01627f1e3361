import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TaskFacts } from '../api/task-view.ts'
import { batchView } from './batch-view.ts'

function task(uid: number, type: TaskFacts['type'], more: Partial<TaskFacts> = {}): TaskFacts {
  return {
    uid,
    batchUid: 7,
    indexUid: 'books',
    status: 'succeeded',
    type,
    canceledBy: null,
    details: null,
    error: null,
    enqueuedAt: 1_000,
    startedAt: 2_000,
    finishedAt: 2_031,
    customMetadata: null,
    ...more,
  }
}

test('a finished batch says how long it took, a running one does not', () => {
  const done = batchView(7, [task(1, 'documentAdditionOrUpdate'), task(2, 'documentDeletion')])
  assert.deepEqual(done.stats.progressTrace, { 'processing tasks': '31.00ms' })
  assert.deepEqual(done.stats.types, { documentAdditionOrUpdate: 1, documentDeletion: 1 })
  const running = batchView(7, [task(1, 'documentAdditionOrUpdate', { status: 'processing', finishedAt: null })])
  assert.equal('progressTrace' in running.stats, false)
})

test('a batch says why it holds these tasks', () => {
  const strategies: readonly (readonly [readonly TaskFacts[], string])[] = [
    [[task(1, 'documentAdditionOrUpdate'), task(2, 'settingsUpdate')], 'batched all enqueued tasks for index `books`'],
    [[task(3, 'taskDeletion', { indexUid: null })], 'batched all enqueued tasks'],
    [
      [task(4, 'documentAdditionOrUpdate'), task(5, 'indexDeletion')],
      'stopped after task with id 5 because it deletes the index',
    ],
    [
      [task(6, 'dumpCreation', { status: 'canceled' }), task(7, 'taskCancelation', { indexUid: null })],
      'created batch containing only task with id 7 of type `taskCancelation` that cannot be batched with any other task.',
    ],
  ]
  for (const [tasks, strategy] of strategies) assert.equal(batchView(7, tasks).batchStrategy, strategy)
})
