import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineTask } from '../engine/engine.ts'
import type { LaneChange } from '../journal/ports.ts'
import type { Part } from './delivery.ts'
import { judge } from './judgement.ts'
import type { OpenChange } from './open-change.ts'

const refusal = (code: string, message = 'no') => ({ message, code, type: 'invalid_request' as const, link: '' })
const put: Part = {
  kind: 'put',
  merge: false,
  payload: { kind: 'inline', bytes: Buffer.from('') },
  slice: 0,
  slices: 1,
  byteCount: 0,
  firstLine: 0,
}

function task(uid: number, end: Partial<EngineTask> = {}): EngineTask {
  const type = 'documentAdditionOrUpdate'
  return {
    uid,
    batchUid: 1,
    indexUid: 'a',
    status: 'succeeded',
    type,
    error: null,
    details: { indexedDocuments: 1 },
    startedAt: 0,
    finishedAt: 1,
    customMetadata: null,
    ...end,
  }
}

function entry(parts: OpenChange['parts'] = [{ part: put, number: 1 }]): OpenChange {
  const numbers = parts.map(({ number }) => number)
  const item = { change: { position: 7, status: 'processing' } } as LaneChange
  return { item, parts, numbers, proof: null, ends: undefined, documents: 1, bundle: null, isSingle: false, sentAt: 0 }
}

function verdict(tasks: readonly EngineTask[], around?: readonly EngineTask[], goneBack = 0) {
  const taskOf = (number: number) => tasks.find(({ uid }) => uid === number)
  return judge(entry(), { taskOf, goneBack: () => goneBack, around, isApplied: false, isShared: false })
}

test('a refusal is final only when the change was alone in its batch, or others in it succeeded', () => {
  const failed = task(1, { status: 'failed', error: refusal('invalid_document_geo_field'), details: null })
  const neighbour = task(2, { status: 'failed', error: refusal('invalid_document_geo_field') })
  assert.equal(verdict([failed]).kind, 'unsure')
  assert.deepEqual(reasonOf(verdict([failed], [failed, neighbour])), 'failed-batch')
  assert.equal(verdict([failed], [failed]).kind, 'done')
  assert.equal(verdict([failed], [failed, task(2)]).kind, 'done')
  assert.equal(verdict([failed], [failed, { ...neighbour, batchUid: 2 }]).kind, 'done')
})

test('an ill node never fails a change', () => {
  for (const error of [
    refusal('io_error'),
    refusal('internal', 'No space left on device (os error 28)'),
    refusal('no_space_left_on_device'),
  ]) {
    assert.equal(reasonOf(verdict([task(1, { status: 'failed', error })], [])), 'node-trouble')
  }
})

test('internal is tried once more alone before it counts', () => {
  const failed = task(1, { status: 'failed', error: refusal('internal', 'number out of range') })
  assert.equal(reasonOf(verdict([failed], [failed])), 'internal')
  assert.equal(verdict([failed], [failed], 1).kind, 'done')
})

// After a power loss a payload may be empty, and its task succeeds all the same (NF-06).
test('a success that wrote fewer documents than were sent is delivered again', () => {
  assert.equal(reasonOf(verdict([task(1, { details: { indexedDocuments: 0 } })])), 'short-count')
  assert.equal(verdict([task(1)]).kind, 'done')
})

// Replicas of one index end a change together: until then the journal does not say what became of it on this one.
test('what a replica has told to be good and then fails on it makes the lane build the index anew', () => {
  const failed = task(1, { status: 'failed', error: refusal('invalid_document_geo_field'), details: null })
  const view = { taskOf: () => failed, goneBack: () => 0, around: [failed], isApplied: true, isShared: false }
  assert.equal(reasonOf(judge(entry(), view)), 'failed-replay')
})

// A node that for a while refuses what all others took would otherwise be read without it (simulator, spread seeds 5371, 6113).
test('what other replicas hold is tried again and again, however often a node refuses it; an only copy goes on without it', () => {
  const failed = task(1, { status: 'failed', error: refusal('invalid_document_geo_field'), details: null })
  const view = { taskOf: () => failed, goneBack: () => 99, around: [failed], isApplied: true }
  const found = judge(entry(), { ...view, isShared: true })
  assert.equal(reasonOf(found), 'refused-replay')
  assert.ok(found.kind === 'again' && found.isTrouble, 'with pauses')
  assert.equal(judge(entry(), { ...view, isShared: false }).kind, 'done')
})

test('a change waits while any of its tasks is open', () => {
  assert.equal(verdict([]).kind, 'open')
})

function reasonOf(found: ReturnType<typeof judge>): string {
  return found.kind === 'again' ? found.reason : found.kind
}
