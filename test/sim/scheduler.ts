/**
 * Simulated time. Everything in the simulator waits for this queue and for nothing else, so that one seed gives one run:
 * events run one by one in order of time and of being queued, each to the end of what it set going.
 */
import type { Clock } from '../../src/lib/clock.ts'

interface Event {
  readonly at: number
  readonly order: number
  readonly run: () => void
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
    let isOn = true
    this.#order += 1
    push(this.#heap, { at: this.#now + Math.max(0, ms), order: this.#order, run: () => isOn && run() })
    return () => {
      isOn = false
    }
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve)
    })
  }

  /** Runs events until the queue is empty, `until` says so, or the time is over. Answers whether `until` was met. */
  async run(untilMs: number, until: () => boolean = () => false): Promise<boolean> {
    for (;;) {
      // A macrotask turn: every promise that the last event settled has run its reactions by then.
      await new Promise((resolve) => setImmediate(resolve))
      if (until()) return true
      const next = this.#heap[0]
      if (next === undefined || next.at > untilMs) {
        this.#now = untilMs
        return false
      }
      pop(this.#heap)
      this.#now = next.at
      next.run()
    }
  }

  /** A clock of one simulated process; once `isDead`, its sleeps never end. */
  clock(isDead: () => boolean): Clock {
    return {
      now: () => startOfTime + Math.floor(this.#now),
      monotonic: () => this.#now,
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
