/**
 * Simulated time. Everything in the simulator waits for this queue and for nothing else, so that one seed gives one run:
 * events run one by one in order of time and of being queued, each to the end of what it set going.
 */
import type { Clock } from '../../src/lib/clock.ts'

interface Event {
  readonly at: number
  readonly order: number
  /** `undefined` = it was taken back. */
  run: (() => void) | undefined
}

/** Wall clock at the start of every run. */
export const startOfTime = 1_700_000_000_000

export class Scheduler {
  readonly #heap: Event[] = []
  #order = 0
  #now = 0

  /** Milliseconds since the start. */
  get now(): number {
    return this.#now
  }

  /** Runs `run` after `ms`; answers a function that takes it back. */
  after(ms: number, run: () => void): () => void {
    this.#order += 1
    const event: Event = { at: this.#now + Math.max(0, ms), order: this.#order, run }
    push(this.#heap, event)
    return () => {
      event.run = undefined
    }
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve)
    })
  }

  /** Runs events until the queue is empty, `until` says so, or the time is over. Answers whether `until` was met. */
  run(untilMs: number, until: () => boolean = () => false): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const step = () => {
        try {
          const end = this.#step(untilMs, until)
          if (end === undefined) settle(step)
          else resolve(end)
        } catch (error) {
          reject(error)
        }
      }
      settle(step)
    })
  }

  /** One event. `undefined` = there may be more. */
  #step(untilMs: number, until: () => boolean): boolean | undefined {
    if (until()) return true
    while (this.#heap[0] !== undefined && this.#heap[0].run === undefined) pop(this.#heap)
    const next = this.#heap[0]
    if (next === undefined || next.at > untilMs) {
      this.#now = untilMs
      return false
    }
    pop(this.#heap)
    this.#now = next.at
    next.run?.()
    return undefined
  }

  /** A clock of one simulated process; once `isDead`, its sleeps never end. */
  clock(isDead: () => boolean): Clock {
    return {
      now: () => startOfTime + Math.floor(this.#now),
      monotonic: () => this.#now,
      after: (ms, run) => this.after(ms, () => void (isDead() || run())),
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted) return reject(signal.reason)
          const onAbort = () => {
            cancel()
            reject(signal?.reason)
          }
          const cancel = this.after(ms, () => {
            if (isDead()) return
            signal?.removeEventListener('abort', onAbort)
            resolve()
          })
          signal?.addEventListener('abort', onAbort, { once: true })
        }),
    }
  }
}

/**
 * Calls back when every promise that is settled by now has run its reactions, and those that they settle: ticks are taken only
 * when no reaction is left. A turn of the event loop would do, at ten times the cost.
 */
function settle(next: () => void): void {
  queueMicrotask(() => process.nextTick(next))
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

function push(heap: Event[], event: Event): void {
  let at = heap.push(event) - 1
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!before(event, heap[parent]!)) break
    heap[at] = heap[parent]!
    at = parent
  }
  heap[at] = event
}

function pop(heap: Event[]): void {
  const last = heap.pop()!
  if (heap.length === 0) return
  let at = 0
  for (;;) {
    let child = 2 * at + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1
    if (!before(heap[child]!, last)) break
    heap[at] = heap[child]!
    at = child
  }
  heap[at] = last
}
