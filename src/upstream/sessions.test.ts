import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Scheduler } from '../../test/sim/scheduler.ts'
import { type SessionOptions, Sessions, type SessionWait, sessionId } from './sessions.ts'

const options: SessionOptions = {
  enabled: true,
  ttlSeconds: 900,
  maxSessions: 100,
  waitStrategy: 'block',
  maxWaitMs: 5_000,
}

function kept(more: Partial<SessionOptions> = {}) {
  const time = new Scheduler()
  const waits: string[] = []
  const sessions = new Sessions({
    options: { ...options, ...more },
    clock: time.clock(() => false),
    onPinned: (strategy) => waits.push(strategy),
    onWait: (tookMs, isInTime) => waits.push(`${Math.round(tookMs)} ${isInTime ? 'in time' : 'too late'}`),
  })
  const pass = (ms: number) => time.run(time.now + ms)
  /** What a read met, and when it went on. */
  const settle = (id: string, completed: () => number | undefined, signal = new AbortController().signal) => {
    const read: { end: SessionWait | undefined; at: number } = { end: undefined, at: 0 }
    const done = sessions.settle(id, 'books', completed, signal).then((end) => {
      read.end = end
      read.at = time.now
    })
    return { read, done }
  }
  return { sessions, time, pass, settle, waits }
}

const id = sessionId('p1', 'mine')!

test('a read waits until the write of its session is applied, and later reads do not wait', async () => {
  const { sessions, time, pass, settle, waits } = kept()
  let completed = 6
  sessions.wrote(id, 'books', 7)
  time.after(300, () => {
    completed = 7
  })
  const { read } = settle(id, () => completed)
  await pass(250)
  assert.equal(read.end, undefined)
  await pass(200)
  assert.equal(read.end, 'waited')
  assert.ok(read.at >= 300 && read.at <= 400, `${read.at}`)
  const later = settle(id, () => completed)
  await pass(1)
  assert.equal(later.read.end, 'clear')
  assert.equal(waits.length, 2)
})

test('reads of other sessions, other indexes and unknown sessions do not wait', async () => {
  const { sessions, pass, settle } = kept()
  sessions.wrote(id, 'films', 7)
  sessions.wrote(sessionId('p2', 'mine')!, 'books', 7)
  for (const session of [id, sessionId('p1', 'other')!]) {
    const { read } = settle(session, () => 0)
    await pass(1)
    assert.equal(read.end, 'clear')
  }
})

test('a read waits no longer than it may, and no longer than its client or the index is there', async () => {
  const { sessions, pass, settle, waits } = kept({ maxWaitMs: 1_000 })
  sessions.wrote(id, 'books', 7)
  const { read } = settle(id, () => 6)
  await pass(2_000)
  assert.deepEqual([read.end, read.at], ['timed-out', 1_000])
  assert.deepEqual(waits, ['block', '1000 too late'])
  const client = new AbortController()
  const { done } = settle(id, () => 6, client.signal)
  client.abort(new Error('gone'))
  await assert.rejects(done, /gone/)
  const deleted = settle(id, () => undefined)
  await pass(1)
  assert.equal(deleted.read.end, 'clear')
})

test('a write that comes while a read waits is waited for by the next read', async () => {
  const { sessions, pass, settle } = kept()
  let completed = 6
  sessions.wrote(id, 'books', 7)
  const { read } = settle(id, () => completed)
  sessions.wrote(id, 'books', 9)
  sessions.wrote(id, 'books', 8)
  completed = 8
  await pass(500)
  assert.equal(read.end, 'waited')
  const next = settle(id, () => completed)
  await pass(500)
  assert.equal(next.read.end, undefined)
  completed = 9
  await pass(500)
  assert.equal(next.read.end, 'waited')
})

test('with route_pin a read goes on at once', async () => {
  const { sessions, pass, settle } = kept({ waitStrategy: 'route_pin' })
  sessions.wrote(id, 'books', 7)
  const { read } = settle(id, () => 0)
  await pass(1)
  assert.equal(read.end, 'pinned')
})

test('sessions are forgotten after their time, and the least used ones when there are too many', async () => {
  const { sessions, pass, settle } = kept({ maxSessions: 2, ttlSeconds: 60 })
  const [a, b, c] = ['a', 'b', 'c'].map((name) => sessionId('p1', name)!) as [string, string, string]
  sessions.wrote(a, 'books', 1)
  sessions.wrote(b, 'books', 1)
  const { done } = settle(a, () => 1)
  await done
  sessions.wrote(c, 'books', 1)
  assert.equal(sessions.size, 2)
  const forgotten = settle(b, () => 0)
  await pass(1)
  assert.equal(forgotten.read.end, 'clear')
  await pass(61_000)
  const old = settle(c, () => 0)
  await pass(1)
  assert.equal(old.read.end, 'clear')
  assert.equal(sessions.size, 0)
})

test('a header that is empty or far too long is no session', () => {
  for (const header of [undefined, '', 'x'.repeat(256)]) assert.equal(sessionId('p1', header), undefined)
  const { sessions } = kept({ enabled: false })
  sessions.wrote(id, 'books', 1)
  assert.equal(sessions.size, 0)
})
