import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import { systemClock } from '../lib/clock.ts'
import { createSupervisor } from './supervisor.ts'

const logger = pino({ level: 'silent' })

function recorded(log: string[], name: string) {
  return [name, async () => void log.push(`start ${name}`), async () => void log.push(`stop ${name}`)] as const
}

test('parts stop in the opposite order of their start', async () => {
  const log: string[] = []
  const supervisor = createSupervisor({ logger, clock: systemClock, stopMsMax: 1000 })
  await supervisor.start(...recorded(log, 'database'))
  await supervisor.start(...recorded(log, 'gateway'))
  await supervisor.stop()
  assert.deepEqual(log, ['start database', 'start gateway', 'stop gateway', 'stop database'])
})

test('a part that fails to start leaves the others to be stopped, and one that fails to stop does not keep them', async () => {
  const log: string[] = []
  const supervisor = createSupervisor({ logger, clock: systemClock, stopMsMax: 1000 })
  await supervisor.start(...recorded(log, 'database'))
  const sulk = () => Promise.reject(new Error('no'))
  await supervisor.start('lanes', async () => undefined, sulk)
  await assert.rejects(supervisor.start('gateway', sulk, sulk), /no/)
  await supervisor.stop()
  assert.deepEqual(log, ['start database', 'stop database'])
})

test('a part that hangs is given up after a bounded time', async () => {
  const log: string[] = []
  const supervisor = createSupervisor({ logger, clock: systemClock, stopMsMax: 20 })
  await supervisor.start(...recorded(log, 'database'))
  await supervisor.start(
    'lanes',
    async () => undefined,
    () => new Promise(() => {}),
  )
  await supervisor.stop()
  assert(log.includes('stop database'))
})

test('nothing starts once stopping began', async () => {
  const supervisor = createSupervisor({ logger, clock: systemClock, stopMsMax: 20 })
  await supervisor.stop()
  await assert.rejects(supervisor.start(...recorded([], 'late')), /stopping/)
})
