import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineTask, TasksRead } from '../engine/engine.ts'
import { TaskWatch } from './task-watch.ts'

const succeeded = (uid: number): EngineTask => ({
  uid,
  batchUid: 0,
  indexUid: 'books',
  status: 'succeeded',
  type: 'documentAdditionOrUpdate',
  error: null,
  details: null,
  startedAt: 0,
  finishedAt: 1,
  customMetadata: null,
})

/** Follows task 7, which ends before the fourth read. Answers the reads and how often the watch paused. */
async function follow(waits: boolean) {
  const reads: (TasksRead | undefined)[] = []
  let pauseCount = 0
  const stop = new AbortController()
  const watch = new TaskWatch({
    engine: {
      capabilities: { isRemote: false, waits },
      tasks: async (_uids, _signal, options) => {
        reads.push(options)
        return { kind: 'answered', value: reads.length < 4 ? [] : [succeeded(7)] }
      },
    },
    clock: {
      now: () => 0,
      monotonic: () => 0,
      // The deadline of a read never comes.
      after: () => () => {},
      sleep: () => {
        pauseCount += 1
        return Promise.resolve()
      },
    },
    onAnswer: () => {},
    onLost: () => {},
  })
  const running = watch.run(stop.signal)
  await watch.settled([7], stop.signal)
  stop.abort()
  await running
  assert.equal(watch.ended(7)?.status, 'succeeded')
  return { reads, pauseCount }
}

test('an engine that holds its answers is asked again at once, any other after a pause', async () => {
  const held = await follow(true)
  assert.deepEqual(held.reads.slice(1), Array(3).fill({ endedOnly: true, waitSeconds: 2 }))
  assert.equal(held.pauseCount, 1)
  assert.equal((await follow(false)).pauseCount, 4)
})
