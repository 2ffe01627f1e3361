import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineTask } from '../engine/engine.ts'
import type { Clock } from '../lib/clock.ts'
import { SendWindow, type Ticket, windowTasksMax } from './send-window.ts'

const megabyte = 1024 * 1024
const still = { now: () => 0, monotonic: () => 0, after: () => () => {}, sleep: () => new Promise<void>(() => {}) }
const never = new AbortController().signal

const endedTask: Omit<EngineTask, 'batchUid' | 'startedAt' | 'finishedAt'> = {
  uid: 0,
  indexUid: null,
  status: 'succeeded',
  type: '',
  error: null,
  details: null,
  customMetadata: null,
}

class ManualClock implements Clock {
  #now = 0
  #sleeping: { readonly until: number; readonly wake: () => void }[] = []

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#now
  }

  sleep(ms: number): Promise<void> {
    return new Promise((wake) => this.#sleeping.push({ until: this.#now + ms, wake }))
  }

  /** Nothing here needs one. */
  after(): () => void {
    return () => {}
  }

  pass(ms: number): void {
    this.#now += ms
    for (const { wake } of this.#sleeping.filter(({ until }) => until <= this.#now)) wake()
    this.#sleeping = this.#sleeping.filter(({ until }) => until > this.#now)
  }
}

/** What was granted so far, in order. */
function collect(window: SendWindow) {
  const granted: { readonly lane: string; readonly ticket: Ticket }[] = []
  return {
    granted,
    ask: (lane: string, byteCount: number) =>
      void window.acquire(lane, byteCount, never).then((ticket) => {
        if (ticket !== undefined) granted.push({ lane, ticket })
      }),
    settle: () => new Promise((resolve) => setImmediate(resolve)),
  }
}

test('nothing is held back while the node is idle, however long it is', async () => {
  const { granted, ask, settle } = collect(new SendWindow(still, 'meilisearch', never))
  ask('a', 100 * megabyte)
  await settle()
  assert.equal(granted.length, 1)
})

test('a lane with a backlog fills the window and no more', async () => {
  const { granted, ask, settle } = collect(new SendWindow(still, 'meilisearch', never))
  for (let at = 0; at < 100; at += 1) ask('a', megabyte)
  await settle()
  assert.ok(granted.length > 2 && granted.length <= 16, `${granted.length}`)
  for (const { ticket } of granted.splice(0)) ticket.release(undefined)
  await settle()
  assert.ok(granted.length > 0)
})

test('very many small changes are bounded by their count', async () => {
  const { granted, ask, settle } = collect(new SendWindow(still, 'meilisearch', never))
  for (let at = 0; at < 1000; at += 1) ask('a', 10)
  await settle()
  assert.equal(granted.length, windowTasksMax)
})

// Behind the window a small index would wait for the whole backlog of another.
test('a small change of another index goes out at once although the window is full', async () => {
  const { granted, ask, settle } = collect(new SendWindow(still, 'meilisearch', never))
  for (let at = 0; at < 100; at += 1) ask('big', megabyte)
  await settle()
  granted.splice(0)
  ask('small', 300)
  await settle()
  assert.deepEqual(
    granted.map(({ lane }) => lane),
    ['small'],
  )
})

// There it runs beside the large batch; smaller batches would only make the neighbour slower.
test('on the embedded engine a small change leaves its neighbour the whole window, a long one shares it', async () => {
  const window = new SendWindow(still, 'embedded', never)
  const { granted, ask, settle } = collect(window)
  const alone = window.windowBytes
  for (let at = 0; at < 100; at += 1) ask('big', megabyte)
  for (let at = 0; at < 5; at += 1) {
    ask(`small${at}`, 300)
    await settle()
    assert.equal(granted.at(-1)!.lane, `small${at}`)
  }
  for (const { ticket } of granted.splice(0)) ticket.release(undefined)
  assert.equal(window.windowBytes, alone)
  ask('other', megabyte)
  assert.ok(window.windowBytes < alone / 4, `${window.windowBytes} of ${alone}`)
})

// Filling one index after the other is the usual import: each deserves large batches.
test('lanes that follow each other have the whole window, lanes that wait for each other share a small one', async () => {
  const window = new SendWindow(still, 'meilisearch', never)
  const { granted, ask, settle } = collect(window)
  const alone = window.windowBytes
  for (const lane of ['a', 'b']) {
    ask(lane, megabyte)
    await settle()
    for (const { ticket } of granted.splice(0)) ticket.release(undefined)
  }
  assert.equal(window.windowBytes, alone)
  for (const lane of ['a', 'b']) ask(lane, megabyte)
  assert.ok(window.windowBytes < alone / 8, `${window.windowBytes} of ${alone}`)
})

// Who writes now and then waits for what an import has there: less of it where this is known.
test('where a neighbour wrote in the last half minute, an import keeps less open', async () => {
  const clock = new ManualClock()
  const window = new SendWindow(clock, 'meilisearch', never)
  const { granted, ask, settle } = collect(window)
  const alone = window.windowBytes
  const send = async (lane: string) => {
    ask(lane, 1_000)
    await settle()
    for (const { ticket } of granted.splice(0)) ticket.release(undefined)
    clock.pass(1_000)
  }
  for (const lane of ['import', 'now and then', 'import']) await send(lane)
  assert.ok(window.windowBytes < alone / 2, `${window.windowBytes} of ${alone}`)
  clock.pass(30_000)
  assert.equal(window.windowBytes, alone)
  for (const lane of ['import', 'another']) await send(lane)
  assert.equal(window.windowBytes, alone)
})

// What the engine finds waiting when a batch ends is the next batch: a long one and what little fitted beside it would alternate.
test('a lane alone sends the next batch whole, when the one that runs nears its end', async () => {
  const clock = new ManualClock()
  const window = new SendWindow(clock, 'meilisearch', never)
  const { granted, ask, settle } = collect(window)
  for (let at = 0; at < 200; at += 1) ask('import', megabyte)
  await settle()
  let running = granted.splice(0, 1)
  /** It took 10 seconds; what waits is the next one. */
  const endBatch = async (batchUid: number) => {
    const ended = running
    running = granted.splice(0)
    for (const { ticket } of ended) ticket.release({ ...endedTask, batchUid, startedAt: 0, finishedAt: 10_000 })
    await settle()
  }
  for (let batch = 0; batch < 5; batch += 1) {
    clock.pass(3_000)
    await settle()
    // Who comes now stands right behind the batch that runs.
    if (batch > 3) assert.equal(granted.length, 0, `batch ${batch}`)
    clock.pass(7_000)
    await settle()
    const [next, now] = [granted.length, running.length]
    if (batch > 1) assert.ok(next > 3 && next > now / 2, `${next} follow ${now}`)
    await endBatch(batch)
  }
})

test('two lanes with a backlog take turns', async () => {
  const { granted, ask, settle } = collect(new SendWindow(still, 'meilisearch', never))
  for (let at = 0; at < 40; at += 1) for (const lane of ['a', 'b']) ask(lane, 200 * 1024)
  await settle()
  const count = { a: 0, b: 0 }
  for (let round = 0; round < 100; round += 1) {
    for (const { lane, ticket } of granted.splice(0)) {
      count[lane as 'a' | 'b'] += 1
      ticket.release(undefined)
    }
    await settle()
    assert.ok(Math.abs(count.a - count.b) <= 10, JSON.stringify(count))
  }
  assert.deepEqual(count, { a: 40, b: 40 })
})

test('who stops waiting takes nothing', async () => {
  const window = new SendWindow(still, 'meilisearch', never)
  const { ask, granted, settle } = collect(window)
  ask('a', 50 * megabyte)
  await settle()
  const stop = new AbortController()
  const waiting = window.acquire('a', megabyte, stop.signal)
  stop.abort()
  assert.equal(await waiting, undefined)
  granted[0]!.ticket.release(undefined)
  assert.equal(window.openBytes, 0)
})

// The next one comes only when the last is seen: it would find a long batch that has just begun, every time.
test('between small changes that follow each other no long one begins, for about as long as a long one takes', async () => {
  const clock = new ManualClock()
  const window = new SendWindow(clock, 'meilisearch', never)
  const { granted, ask, settle } = collect(window)
  const end = (lane: string, batchUid: number, tookMs: number) => {
    const at = granted.findIndex((one) => one.lane === lane)
    const [{ ticket }] = granted.splice(at, 1) as [(typeof granted)[0]]
    ticket.release({ ...endedTask, batchUid, startedAt: 0, finishedAt: tookMs })
  }
  const step = async (ms: number) => {
    clock.pass(ms)
    await settle()
  }
  ask('big', 100 * 1024)
  ask('small', 300)
  for (let at = 0; at < 20; at += 1) ask('big', 100 * 1024)
  await settle()
  for (const { lane } of [...granted]) if (lane === 'big') end('big', 1, 400)
  await settle()
  let longCount = 0
  let shortCount = 0
  for (let batch = 2; batch < 42; batch += 1) {
    const isLong = granted.some(({ lane }) => lane === 'big')
    if (isLong) {
      longCount += 1
      await step(400)
      end('big', batch, 400)
    }
    await step(40)
    if (granted.some(({ lane }) => lane === 'small')) end('small', batch + 100, 10)
    await step(30)
    ask('small', 300)
    await settle()
    assert.ok(granted.some(({ lane }) => lane === 'small'))
    shortCount += 1
  }
  assert.ok(longCount >= 3, `the long lane stands still: ${longCount}`)
  assert.ok(shortCount > 3 * longCount, `${longCount} of ${shortCount} small changes meet a long one`)
})
