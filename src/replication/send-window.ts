/**
 * What a node has been sent and not finished, shared fairly among its lanes (NF-09, NF-18, NF-19).
 *
 * The node runs the oldest task first, whoever sent it: what is already there delays every later change. So the window is
 * the node's, in bytes that it finishes within a time, and lanes take turns for it (deficit round robin). A lone lane may
 * fill two seconds, which makes large batches; as soon as others write too, a quarter of a second.
 */
import type { EngineTask } from '../engine/engine.ts'
import type { Clock } from '../lib/clock.ts'

/** Seconds of the node's measured speed that may be open: one lane alone, and several. */
const aloneSeconds = 2
const sharedSeconds = 0.25
const windowBytesMax = 16 * 1024 * 1024
const aloneBytesMin = 1024 * 1024
const sharedBytesMin = 128 * 1024
export const windowTasksMax = 128
/** A lane without anything open may always send this much: behind the window it would wait longer. */
const reserveBytes = 64 * 1024
/** Reserves end here, so that very many lanes together cannot flood the node. */
const reserveTasksMax = 4 * windowTasksMax
/** What a lane may send per turn. */
const quantumBytes = 256 * 1024
/** A change without payload costs the node about as much as this. */
const costBytesMin = 512
/** Another lane counts as active for this long after it sent. */
const sharedForMs = 2_000
/** Speed assumed before it was measured, bytes per second. */
const firstBytesPerSecond = 4 * 1024 * 1024

/** Smaller batches say nothing about bytes per second. */
const measuredBytesMin = 128 * 1024

export interface Ticket {
  /** Once; `task` as it ended, `undefined` when that is not known. */
  release(task: EngineTask | undefined): void
}

interface Waiter {
  readonly lane: string
  readonly cost: number
  readonly grant: () => void
  deficit: number
}

export class SendWindow {
  readonly #clock: Clock
  #bytesPerSecond = firstBytesPerSecond
  #openBytes = 0
  #openTasks = 0
  readonly #openOfLane = new Map<string, number>()
  #newestLane: string | undefined
  #batch = { uid: -1, byteCount: 0, tookMs: 0 }
  #sharedUntil = 0
  #turns: Waiter[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get openBytes(): number {
    return this.#openBytes
  }

  get windowBytes(): number {
    const isShared = this.#clock.monotonic() < this.#sharedUntil
    const bytes = this.#bytesPerSecond * (isShared ? sharedSeconds : aloneSeconds)
    return Math.min(windowBytesMax, Math.max(isShared ? sharedBytesMin : aloneBytesMin, bytes))
  }

  /** Waits for room; `undefined` when the signal aborted first. The ticket is given back once its task has ended. */
  acquire(lane: string, byteCount: number, signal: AbortSignal): Promise<Ticket | undefined> {
    if (signal.aborted) return Promise.resolve(undefined)
    if (lane !== this.#newestLane) {
      if (this.#newestLane !== undefined) this.#sharedUntil = this.#clock.monotonic() + sharedForMs
      this.#newestLane = lane
    }
    return new Promise((resolve) => {
      const end = (isGranted: boolean) => {
        signal.removeEventListener('abort', onAbort)
        resolve(isGranted ? this.#ticket(lane, byteCount) : undefined)
      }
      const waiter: Waiter = { lane, cost: Math.max(costBytesMin, byteCount), deficit: 0, grant: () => end(true) }
      const onAbort = () => {
        this.#turns = this.#turns.filter((other) => other !== waiter)
        end(false)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#turns.push(waiter)
      this.#share()
    })
  }

  #ticket(lane: string, byteCount: number): Ticket {
    let isOpen = true
    return {
      release: (task) => {
        if (!isOpen) return
        isOpen = false
        if (task !== undefined) this.#note(task, byteCount)
        this.#release(lane, byteCount)
      },
    }
  }

  #release(lane: string, byteCount: number): void {
    const cost = Math.max(costBytesMin, byteCount)
    this.#openBytes -= cost
    this.#openTasks -= 1
    const left = (this.#openOfLane.get(lane) ?? 1) - 1
    if (left > 0) this.#openOfLane.set(lane, left)
    else this.#openOfLane.delete(lane)
    this.#share()
  }

  /** The node's speed is that of whole batches: their payload bytes over the time that they ran. */
  #note({ batchUid, startedAt, finishedAt }: EngineTask, byteCount: number): void {
    if (batchUid === null || startedAt === null || finishedAt === null) return
    if (batchUid !== this.#batch.uid) {
      const { byteCount: bytes, tookMs } = this.#batch
      if (tookMs >= 1 && bytes >= measuredBytesMin) {
        this.#bytesPerSecond += ((bytes * 1000) / tookMs - this.#bytesPerSecond) / 4
      }
      this.#batch = { uid: batchUid, byteCount: 0, tookMs: finishedAt - startedAt }
    }
    this.#batch = { ...this.#batch, byteCount: this.#batch.byteCount + byteCount }
  }

  #share(): void {
    // Each pass gives every waiting lane a quantum; a pass that grants nothing while there is room goes on, since the
    // deficits grow until the cheapest fits. Bounded: a cost is at most some hundred quanta.
    for (;;) {
      const granted = this.#turns.filter((waiter) => this.#takeTurn(waiter))
      if (granted.length === 0 && !this.#turns.some((waiter) => this.#hasRoom(waiter))) return
      if (this.#turns.length === 0) return
    }
  }

  #takeTurn(waiter: Waiter): boolean {
    if (!this.#hasRoom(waiter)) return false
    waiter.deficit += quantumBytes
    if (waiter.deficit < waiter.cost) return false
    this.#turns = this.#turns.filter((other) => other !== waiter)
    this.#openBytes += waiter.cost
    this.#openTasks += 1
    this.#openOfLane.set(waiter.lane, (this.#openOfLane.get(waiter.lane) ?? 0) + 1)
    waiter.grant()
    return true
  }

  #hasRoom({ lane, cost }: Waiter): boolean {
    if (this.#openTasks === 0) return true
    if (cost <= reserveBytes && !this.#openOfLane.has(lane) && this.#openTasks < reserveTasksMax) return true
    return this.#openTasks < windowTasksMax && this.#openBytes + cost <= this.windowBytes
  }
}
