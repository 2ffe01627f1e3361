import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import pino from 'pino'
import { systemClock } from '../lib/clock.ts'
import { ChildFailed, type ChildOptions, superviseChild } from './child-process.ts'
import { isRunning, parseIdentity } from './process-identity.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flapjack-child-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const waiting = 'console.log("here"); setInterval(() => {}, 1000)'

function options(script: string, onReady: () => void = () => {}): ChildOptions {
  return {
    name: 'child',
    prepare: async () => ({ command: process.execPath, args: ['-e', script], env: {} }),
    ready: async () => onReady(),
    logFile: join(folder, 'child.log'),
    recordFile: join(folder, 'process.json'),
    graceMs: 2000,
    logger: pino({ level: 'silent' }),
    clock: systemClock,
  }
}

function recorded() {
  const identity = parseIdentity(readFileSync(join(folder, 'process.json'), 'utf8'))
  assert(identity)
  return identity
}

test('a child that is killed is started again, and ends with us', async () => {
  let starts = 0
  let startedTwice = () => {}
  const again = new Promise<void>((resolve) => {
    startedTwice = resolve
  })
  const child = await superviseChild(
    options(waiting, () => {
      starts += 1
      if (starts === 2) startedTwice()
    }),
  )
  const first = recorded()
  process.kill(first.pid, 'SIGKILL')
  await again
  const second = recorded()
  assert.notEqual(second.pid, first.pid)
  await child.stop()
  assert(!isRunning(second))
})

test('a child that does not come up says why, with the end of its output', async () => {
  await assert.rejects(
    superviseChild({ ...options('console.error("no licence"); process.exit(3)'), ready: () => new Promise(() => {}) }),
    (error) => error instanceof ChildFailed && /\(3\)/.test(error.message) && /no licence/.test(error.message),
  )
})

test('a program that does not exist is an error, not a crash', async () => {
  const missing = async () => ({ command: join(folder, 'nothing'), args: [], env: {} })
  await assert.rejects(superviseChild({ ...options(''), prepare: missing }), ChildFailed)
})

// The supervisor was killed and its child lives on: two engines would share one folder.
test('what a killed parent left behind is ended before a new child starts', async () => {
  await superviseChild(options(waiting)).then(async (orphan) => {
    const left = recorded()
    const child = await superviseChild(options(waiting))
    assert(!isRunning(left))
    await Promise.all([orphan.stop(), child.stop()])
  })
})

test('a child that ignores SIGTERM is killed', async () => {
  const stubborn = 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000); console.log("up")'
  const isUp = async () => {
    while (!readFileSync(join(folder, 'child.log'), 'utf8').includes('up')) await new Promise(setImmediate)
  }
  const child = await superviseChild({ ...options(stubborn), ready: isUp, graceMs: 100 })
  const identity = recorded()
  await child.stop()
  assert(!isRunning(identity))
})
