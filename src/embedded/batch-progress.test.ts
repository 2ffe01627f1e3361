import assert from 'node:assert/strict'
import { test } from 'node:test'
import { progressOf, SharedProgress } from './batch-progress.ts'
import type { BatchRecord } from './batch-record.ts'

const batch = (types: Record<string, number>, details: BatchRecord['details'] = {}): BatchRecord => ({
  uid: 1,
  tasks: [1],
  startedAt: 0,
  finishedAt: null,
  details,
  statuses: { processing: 1 },
  types,
  indexUids: {},
  strategy: '',
})

// The percentages are those of Meilisearch 1.50 for the same steps.
test('the progress of a batch is told in the steps and percentages of the reference', () => {
  const shared = new SharedProgress()
  const puts = batch({ documentAdditionOrUpdate: 1 }, { receivedDocuments: 30_000 })
  shared.begin('payload')
  shared.advance('payload')
  assert.deepEqual(progressOf(puts, new SharedProgress(shared.buffer).place), {
    steps: [
      { currentStep: 'processing tasks', finished: 0, total: 2 },
      { currentStep: 'computing document changes', finished: 1, total: 4 },
      { currentStep: 'preparing payloads', finished: 0, total: 24 },
      { currentStep: 'payload', finished: 1, total: 1 },
    ],
    percentage: 13.020833,
  })
  shared.begin('documents')
  shared.advance('documents', 24_300)
  assert.deepEqual(progressOf(puts, shared.place), {
    steps: [
      { currentStep: 'processing tasks', finished: 0, total: 2 },
      { currentStep: 'indexing', finished: 3, total: 4 },
      { currentStep: 'extracting documents', finished: 3, total: 24 },
      { currentStep: 'document', finished: 24_300, total: 30_000 },
    ],
    percentage: 39.484375,
  })
})

test('what is inside no index, and the storing of results, have steps of their own', () => {
  const { place } = new SharedProgress()
  assert.deepEqual(progressOf(batch({ indexSwap: 1 }), place), {
    steps: [
      { currentStep: 'processing tasks', finished: 0, total: 2 },
      { currentStep: 'swapping the indexes', finished: 1, total: 2 },
    ],
    percentage: 25,
  })
  assert.equal(progressOf(batch({ settingsUpdate: 2 }), null).percentage, 50)
})
