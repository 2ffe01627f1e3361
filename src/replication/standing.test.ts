import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineTask } from '../engine/engine.ts'
import type { Operation } from '../journal/change.ts'
import type { LaneChange } from '../journal/ports.ts'
import type { JsonObject } from '../lib/json.ts'
import { isStrange } from './standing.ts'

const applied = 4

function settingsTask(settings: JsonObject): EngineTask {
  return {
    uid: 9,
    batchUid: 1,
    indexUid: 'a',
    status: 'succeeded',
    type: 'settingsUpdate',
    error: null,
    details: settings,
    startedAt: 0,
    finishedAt: 1,
    customMetadata: null,
  }
}

/** Whether the unmarked task came late, where these settings are the first change that is not applied. */
function isLate(task: EngineTask, settings: JsonObject, mayBeSent = true): Promise<boolean> {
  return isLateBefore(task, { kind: 'settings', settings }, mayBeSent)
}

function isLateBefore(task: EngineTask, operation: Operation, mayBeSent = true): Promise<boolean> {
  const payload =
    operation.kind === 'documents-put' ? { kind: 'inline' as const, bytes: Buffer.from('{"id":1}\n') } : null
  const open = { status: 'processing', refusal: null, resolution: null, payload, operation } as const
  const change = { position: applied + 1, ...open } as LaneChange['change']
  const item: LaneChange = { change, settings: null, primaryKey: null, partials: [] }
  const view = {
    journal: { read: async (_: string, after: number) => (after === applied ? [item] : []) },
    ...{ index: 'a', tag: 't', applied, head: applied + 1, tasks: [task], seenThrough: -1 },
    cut: { sliceBytes: 1_000, view: null },
    mayBeSent: () => mayBeSent,
  }
  return isStrange(view, [task])
}

// A worker died with settings on the way; its successor took them for the ones that it had to send (simulator, spread seed 241).
test('an unmarked change of settings is what was sent last only when it sets the same', async () => {
  const task = settingsTask({ filterableAttributes: ['b', 'a'], faceting: { maxValuesPerFacet: 7 } })
  assert.equal(await isLate(task, { faceting: { maxValuesPerFacet: 7 }, filterableAttributes: ['a', 'b'] }), false)
  assert.equal(await isLate(task, { faceting: { maxValuesPerFacet: 7 } }), true)
  assert.equal(await isLate(task, { filterableAttributes: null, faceting: { maxValuesPerFacet: 7 } }), true)
  assert.equal(await isLate(task, { filterableAttributes: ['a'], faceting: { maxValuesPerFacet: 7 } }, false), true)
})

// A put of a copy came twice, and its successor took it for the change that it had to send (simulator, moves seed 401550).
test('an unmarked put came late, since lanes mark theirs', async () => {
  const put = {
    kind: 'documents-put',
    merge: false,
    skipCreation: false,
    primaryKey: null,
    received: 1,
    distinct: 1,
  } as const
  const task = { ...settingsTask({}), type: 'documentAdditionOrUpdate', details: null }
  assert.equal(await isLateBefore(task, put), true)
})
