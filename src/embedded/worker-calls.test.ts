import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { WorkerCalls } from './worker-calls.ts'

const code = `const { parentPort, threadId } = require('node:worker_threads')
parentPort.on('message', ({ call }) => parentPort.postMessage({ call, kind: 'done', value: threadId }))`

test('a thread ends when it is told to rest and has nothing to do, and the next call starts another', async () => {
  const calls = new WorkerCalls<number>(() => new Worker(code, { eval: true }))
  const first = calls.call((call) => ({ call }))
  calls.rest()
  assert.ok(calls.isStarted, 'a call is open')
  await first
  calls.rest()
  assert.ok(!calls.isStarted)
  assert.notEqual(await calls.call((call) => ({ call })), await first)
  await calls.close()
})
