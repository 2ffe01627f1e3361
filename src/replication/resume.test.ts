import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineTask } from '../engine/engine.ts'
import type { Operation } from '../journal/change.ts'
import type { LaneChange } from '../journal/ports.ts'
import type { JsonObject } from '../lib/json.ts'
import { planDelivery } from './delivery.ts'
import { isDisturbed, suspects } from './late-requests.ts'
import { markText, parseMark } from './mark.ts'
import { mayBeIdle, resumeFrom } from './resume.ts'

const tag = '0123456789ab'

function task(
  uid: number,
  position: number | null,
  type = 'documentAdditionOrUpdate',
  part = 1,
  parts = 1,
): EngineTask {
  const mark = position === null ? null : markText({ epoch: 3, position, from: position, tag, part, parts })
  return {
    uid,
    batchUid: uid,
    indexUid: 'a',
    status: 'succeeded',
    type,
    error: null,
    details: null,
    startedAt: null,
    finishedAt: null,
    customMetadata: mark,
  }
}

function change(position: number, operation?: Operation): LaneChange {
  return {
    change: {
      project: 'p',
      task: position,
      index: 'i',
      position,
      indexUid: 'a',
      operation: operation ?? {
        kind: 'documents-put',
        merge: false,
        skipCreation: false,
        primaryKey: null,
        received: 1,
        distinct: 1,
      },
      payload: { kind: 'inline', bytes: Buffer.from('{"id":1}\n') },
      refusal: null,
      resolution: null,
      customMetadata: null,
      status: 'processing',
      error: null,
      details: null,
      batch: null,
      canceledBy: null,
      enqueuedAt: 0,
      startedAt: 0,
      finishedAt: null,
    },
    settings: null,
    primaryKey: 'id',
    partials: [],
  }
}

const resume = (
  applied: number,
  tasks: readonly EngineTask[],
  changes: readonly LaneChange[],
  more: { readonly idle?: ReadonlySet<number> } = {},
) =>
  resumeFrom({
    ...more,
    tasks: [...tasks].sort((a, b) => b.uid - a.uid),
    changes,
    applied,
    tag,
    cut: { sliceBytes: 1000, view: null },
  })

test('a mark reads back as it was written, and other texts are none of ours', () => {
  const mark = { epoch: 12, position: 345, from: 345, tag, part: 2, parts: 7 }
  assert.deepEqual(parseMark(markText(mark)), mark)
  for (const text of [null, '', 'fj1:1:2:x.1.1', 'mine', `${markText(mark)} `]) assert.equal(parseMark(text), undefined)
})

test('what the node holds behind the applied position is not sent again', () => {
  const found = resume(1, [task(5, 1), task(6, 2), task(9, 3)], [change(2), change(3), change(4)])
  assert.equal(found.sent, 3)
  assert.deepEqual(
    found.open.map(({ position, parts }) => [position, parts]),
    [
      [2, [6]],
      [3, [9]],
    ],
  )
})

test('settings count only with the empty mark behind them', () => {
  const settings = change(2, { kind: 'settings', settings: {} })
  const marked = resume(1, [task(5, 1), task(6, null, 'settingsUpdate'), task(7, 2, 'documentDeletion')], [settings])
  assert.deepEqual(marked.open, [{ position: 2, parts: [6], emptyMark: 7, bundle: null }])
  const cut = resume(1, [task(5, 1), task(6, null, 'settingsUpdate')], [settings])
  assert.equal(cut.sent, 1)
  assert.equal(cut.endsUnmarked, true)
})

test('a change of several parts counts only when all of them are there', () => {
  const long = change(2)
  const payload = { kind: 'blob' as const, name: 'b', byteCount: 2500 }
  const cut = { ...long, change: { ...long.change, payload } }
  const parts = [task(6, 2, undefined, 1, 3), task(7, 2, undefined, 2, 3)]
  assert.equal(resume(1, [task(5, 1), ...parts], [cut]).sent, 1)
  assert.equal(resume(1, [task(5, 1), ...parts, task(8, 2, undefined, 3, 3)], [cut]).sent, 2)
})

// A request that timed out may be executed minutes later (NF-43).
test('behind a change that came late everything is sent again', () => {
  const found = resume(4, [task(5, 1), task(6, 2), task(7, 3), task(8, 4), task(9, 2)], [])
  assert.equal(found.sent, 2)
})

test('marks of another disk, and those before a deletion of the index, do not count', () => {
  const other = {
    ...task(6, 2),
    customMetadata: markText({ epoch: 1, position: 2, from: 2, tag: 'ffffffffffff', part: 1, parts: 1 }),
  }
  assert.equal(resume(1, [task(5, 1), other], [change(2)]).sent, 1)
  const dropped = resume(1, [task(5, 1), task(6, null, 'indexDeletion')], [change(2)])
  assert.equal(dropped.isBlank, true)
  assert.equal(dropped.sent, 0)
})

test('a late part of a change is repeated with its whole change, also when older tasks were deleted from the node', () => {
  const put = 'documentAdditionOrUpdate'
  const late = [task(30, 5, put, 1, 2), task(20, 6)]
  assert.equal(resume(6, [...late, task(11, 5, put, 2, 2), task(10, 5, put, 1, 2)], []).sent, 4)
  assert.equal(resume(6, late, []).sent, 4)
  assert.equal(resume(6, [task(30, 5, put, 2, 2), task(20, 6)], []).sent, 5)
})

function bundled(uid: number, from: number, position: number, part = 1, parts = 1): EngineTask {
  return { ...task(uid, position), customMetadata: markText({ epoch: 3, position, from, tag, part, parts }) }
}

test('the mark of a bundle stands for each of its changes', () => {
  const mark = { epoch: 12, position: 345, from: 340, tag, part: 2, parts: 3 }
  assert.deepEqual(parseMark(markText(mark)), mark)
  const changes = [change(2), change(3), change(4), change(5)]
  const found = resume(1, [task(5, 1), bundled(6, 2, 4, 1, 2), bundled(7, 2, 4, 2, 2)], changes)
  assert.equal(found.sent, 4)
  assert.deepEqual(
    found.open.map(({ position, parts, bundle }) => [position, parts, bundle]),
    [2, 3, 4].map((position) => [position, [6, 7], { from: 2, through: 4 }]),
  )
  assert.equal(resume(1, [task(5, 1), bundled(6, 2, 4, 1, 2)], changes).sent, 1)
})

test('behind a bundle that came late everything is sent again, and from its first change when a part of it is missing', () => {
  const tasks = [task(5, 1), bundled(6, 2, 4), task(7, 5), task(8, 6)]
  assert.equal(resume(6, [...tasks, bundled(9, 2, 4)], []).sent, 4)
  assert.equal(resume(6, [...tasks, bundled(9, 2, 4, 1, 2)], []).sent, 1)
  assert.equal(resume(4, [task(5, 1), bundled(6, 2, 4), bundled(9, 2, 3)], []).sent, 3)
  assert.equal(resume(4, [task(5, 1), task(6, 2), task(7, 3), task(8, 4), bundled(9, 2, 4)], []).sent, 4)
  assert.deepEqual(suspects([bundled(9, 2, 4), { ...bundled(10, 3, 4), status: 'failed' }], 4, tag), [3, 4])
})

// A successor would deliver changes of long ago again, and show them to readers (simulator, spread seed 21372).
test('behind a bundle that failed and went out one by one, its changes without anything for the replica are none that came late', () => {
  const failed = { ...bundled(6, 2, 4), status: 'failed' as const }
  assert.equal(resume(5, [task(5, 1), failed, task(7, 2), task(8, 5)], []).sent, 5)
  assert.equal(resume(5, [task(5, 1), task(7, 2), task(8, 5), failed, task(10, 3)], []).sent, 3)
})

// A node that lied about its number of documents makes a lane send a good bundle again, too (simulator, parts seed 537).
test('the changes of a bundle that were not sent again by themselves are none that came late when they had nothing for the replica', () => {
  const tasks = [task(5, 1), bundled(6, 2, 4), task(7, 2), task(8, 4), task(9, 5)]
  assert.deepEqual(mayBeIdle({ tasks, applied: 5, tag }), [3])
  assert.equal(resume(5, tasks, []).sent, 2)
  assert.equal(resume(5, tasks, [], { idle: new Set([3]) }).sent, 5)
})

// Delivered again from there, changes of long ago stood before readers (simulator, seed 2200654).
test('a change that failed elsewhere and did not go out again with those in front of it is none that came late', () => {
  const failed = { ...task(7, 3), status: 'failed' as const }
  const tasks = [task(5, 1), task(6, 2), failed, task(8, 2), task(9, 4)]
  assert.deepEqual(mayBeIdle({ tasks, applied: 4, tag }), [3])
  assert.equal(resume(4, tasks, []).sent, 2)
  assert.equal(resume(4, tasks, [], { idle: new Set([3]) }).sent, 4)
  const inOrder = [task(5, 1), task(6, 2), failed, task(9, 4)]
  assert.deepEqual(mayBeIdle({ tasks: inOrder, applied: 4, tag }), [], 'the journal is not asked where all is in order')
})

// A lane that looked again delivered from there once more, before readers (simulator, parts seed 201059).
test('settings whose empty mark failed the last time are none that failed', () => {
  const mark = { ...task(7, 2), type: 'documentDeletion', status: 'failed' as const }
  const tasks = [task(3, 2), task(6, null, 'settingsUpdate'), mark]
  assert.deepEqual(suspects(tasks, 2, tag), [])
  assert.deepEqual(suspects([task(3, 2), mark], 2, tag), [2])
})

// The node's own settings stood in front of it, and the change passed as having succeeded (simulator, seed 301103).
test('a mark that came late behind other settings does not stand for them', () => {
  const item = change(2, { kind: 'settings', settings: { rankingRules: ['words'] } })
  const settings = (uid: number, names: JsonObject) => ({ ...task(uid, null, 'settingsUpdate'), details: names })
  const mark = { ...task(8, 2), type: 'documentDeletion' }
  const own = settings(6, { rankingRules: ['words'] })
  assert.equal(resume(1, [task(5, 1), own, mark], [item]).sent, 2)
  assert.equal(resume(1, [task(5, 1), own, settings(7, { filterableAttributes: ['a'] }), mark], [item]).sent, 1)
})

// Its settings failed, and the lane had gone back behind them (simulator, parts seed 50011).
test('an unmarked task that failed is none that came late', () => {
  const refused = { ...task(6, null, 'settingsUpdate'), status: 'failed' as const }
  assert.deepEqual(resume(1, [task(5, 1), refused], []).unmarked, [])
  assert.equal(resume(1, [task(5, 1), task(6, null, 'settingsUpdate')], []).unmarked.length, 1)
})

// A move would copy it, and a lane that takes the replica on would not notice (simulator, parts seed 201926).
test('what came late, also of another life, is seen by those who read beside the lane until it was delivered again', () => {
  const foreign = (uid: number, position: number, part = 1, parts = 1) => {
    const mark = markText({ epoch: 1, position, from: position, tag: 'ffffffffffff', part, parts })
    return { ...task(uid, position), customMetadata: mark }
  }
  const tasks = [foreign(1, 1), foreign(2, 2), task(5, 3), bundled(6, 4, 6), task(7, 7)]
  assert.equal(isDisturbed(tasks, 7), false)
  assert.equal(isDisturbed([...tasks, foreign(8, 2)], 7), true)
  assert.equal(isDisturbed([...tasks, { ...foreign(8, 2), status: 'failed' as const }], 7), false)
  assert.equal(isDisturbed([...tasks, foreign(8, 7, 1, 3)], 7), true)
  assert.equal(isDisturbed([...tasks, task(8, 9), task(9, 8)], 7), false)
  assert.equal(isDisturbed([...tasks.slice(0, -1), { ...task(7, 7), status: 'enqueued' as const }], 7), true)
  const settings = task(8, null, 'settingsUpdate')
  assert.equal(isDisturbed([...tasks, settings], 7), true)
  assert.equal(isDisturbed([...tasks, settings, task(9, 8)], 7), false)
  assert.equal(isDisturbed([settings], 0), false)
  const again = [2, 3, 4, 5, 6, 7].map((position) => task(8 + position, position))
  assert.equal(isDisturbed([...tasks, foreign(8, 2), ...again], 7), false)
  // Of these, the second one had nothing for the replica.
  assert.equal(isDisturbed([...tasks, task(8, 4), task(9, 6), task(10, 7)], 7), false)
})

test('a change that came late within a bundle that is not applied makes the bundle go out again', () => {
  const changes = [change(2), change(3), change(4), change(5)]
  const tasks = [task(5, 1), bundled(6, 2, 4), task(7, 5)]
  assert.equal(resume(1, tasks, changes).sent, 5)
  assert.equal(resume(1, [...tasks, task(9, 3)], changes).sent, 1)
  assert.equal(resume(5, [...tasks, task(9, 3)], []).sent, 3)
})

// What stands in front of an empty mark may have come late by itself, and then it lies over the mark's own change.
test('behind an empty mark that came late its own change is sent again, too', () => {
  const settings = { ...task(9, 3), type: 'documentDeletion' }
  assert.equal(resume(5, [task(5, 1), task(6, 3), task(7, 4), task(8, 5), settings], []).sent, 2)
  const deletions = { ...bundled(9, 2, 3), type: 'documentDeletion' }
  assert.equal(resume(5, [task(5, 1), task(6, 3), task(7, 4), task(8, 5), deletions], []).sent, 3)
})

// An import that had the node to itself sent larger slices; who comes after it plans smaller ones.
test('a change that was sent in wide slices is found again by the number of its parts', () => {
  const line = `{"id":1,"text":"${'x'.repeat(80)}"}\n`
  const long = { kind: 'inline' as const, bytes: Buffer.from(line.repeat(100)) }
  const item = change(5)
  const changes = [{ ...item, change: { ...item.change, payload: long } }]
  const delivery = planDelivery(changes[0]!, { sliceBytes: 1000, view: null, isWide: true })
  assert.equal(delivery.kind === 'send' && delivery.parts.length, 2)
  const wide = [1, 2].map((part) => task(part, 5, 'documentAdditionOrUpdate', part, 2))
  assert.deepEqual(resume(4, wide, changes).open[0]?.parts, [1, 2])
  assert.deepEqual(resume(4, wide.slice(0, 1), changes).open, [])
  const parts = Math.ceil(long.bytes.length / 1000)
  const narrow = Array.from({ length: parts }, (_, at) => task(at, 5, 'documentAdditionOrUpdate', at + 1, parts))
  assert.equal(resume(4, narrow, changes).open[0]?.parts.length, parts)
  // Too long for wide slices: a neighbour would wait for all that is left of it.
  const longer = { kind: 'inline' as const, bytes: Buffer.from(line.repeat(1000)) }
  const whole = planDelivery(
    { ...item, change: { ...item.change, payload: longer } },
    { sliceBytes: 1000, view: null, isWide: true },
  )
  assert.equal(whole.kind === 'send' && whole.parts.length, Math.ceil(longer.bytes.length / 1000))
})
