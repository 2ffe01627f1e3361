/**
 * What a node has been sent and not finished, shared fairly among its lanes (NF-09, NF-18, NF-19).
 *
 * Meilisearch runs the oldest task first, whoever sent it: what is already there delays every later change. So the window is
 * the node's, in bytes that it finishes within a time, and lanes take turns for it (deficit round robin). A lone lane may
 * fill seconds, which makes large batches; once lanes wait for each other, about as long as a small change takes anyway:
 * mostly one slice at a time, with quiet times in between. The embedded engine runs small changes beside the large batches of other indexes, so that they
 * take nothing from them: only long lanes share there.
 */
import type { EngineTask } from '../engine/engine.ts'
import type { Clock } from '../lib/clock.ts'
import type { Node } from '../store/catalogue.ts'
import { BatchPace } from './batch-pace.ts'
import { QuietTime } from './quiet-time.ts'

interface Span {
  readonly batchCosts: number
  readonly msMin: number
  readonly msMax: number
}

interface Terms {
  /**
   * How long the node may be busy with what is open, in times of what any batch costs it, within bounds. A lane alone: half
   * of it is a batch, so that this cost is small against it, and the other half comes when that one nears its end. Who comes
   * next waits for the batch that runs. So long ones only where nobody has come for a while.
   */
  readonly alone: Span
  /** One lane at a time, but they took turns less than `neighbourForMs` ago. */
  readonly neighboured: Span
  /** Lanes that wait for each other. */
  readonly shared: Span
  /** A lane without anything open may always send this much: behind the window it would wait longer. */
  readonly reserveBytes: number
  /** The node runs that much beside the batches of other indexes. */
  readonly runsBeside: boolean
  /** So many may run at once: one before these is complete. */
  readonly batchesAtOnce: number
}

const termsOf: Record<Node['engine'], Terms> = {
  embedded: {
    alone: { batchCosts: 64, msMin: 24_000, msMax: 32_000 },
    neighboured: { batchCosts: 16, msMin: 8_000, msMax: 16_000 },
    shared: { batchCosts: 4, msMin: 1_000, msMax: 2_000 },
    reserveBytes: 64 * 1024,
    runsBeside: true,
    batchesAtOnce: 2,
  },
  meilisearch: {
    // Batches of a fifth of that take two thirds more of its processor time per document.
    alone: { batchCosts: 64, msMin: 20_000, msMax: 28_000 },
    neighboured: { batchCosts: 16, msMin: 4_000, msMax: 12_000 },
    // Twice a small change.
    shared: { batchCosts: 2, msMin: 20, msMax: 1_000 },
    reserveBytes: 16 * 1024,
    runsBeside: false,
    batchesAtOnce: 1,
  },
}
const windowBytesMax = 32 * 1024 * 1024
const aloneBytesMin = 2 * 1024 * 1024
export const windowTasksMax = 256
/** Reserves end here, so that very many lanes together cannot flood the node. */
const reserveTasksMax = 2 * windowTasksMax
/** What a lane may send per turn. */
const quantumBytes = 256 * 1024
/** A change without payload costs the node about as much as this. */
const costBytesMin = 512
/** For so long after a lane found something of another one before it, the window is shared. */
const sharedForMs = 10_000
const neighbourForMs = 30_000
/** What follows a long batch goes out once so much of the time is over that it should take: who comes before stands before it. */
const fillAt = 0.7

export interface Ticket {
  /** Once; `task` as it ended, `undefined` when that is not known. */
  release(task: EngineTask | undefined): void
}

interface Waiter {
  readonly lane: string
  readonly cost: number
  /** Within the reserve. */
  readonly isShort: boolean
  readonly grant: () => void
  deficit: number
}

export class SendWindow {
  readonly #clock: Clock
  readonly #terms: Terms
  readonly #pace = new BatchPace()
  readonly #quiet = new QuietTime()
  /** Ends with the session. */
  readonly #signal: AbortSignal
  /** When it is looked at again. */
  #shareAt = Number.POSITIVE_INFINITY
  #openBytes = 0
  #openTasks = 0
  readonly #openOfLane = new Map<string, number>()
  /** Of them, those that other lanes wait for on the node. */
  readonly #heavyOfLane = new Map<string, number>()
  /** Batches whose tasks are ending, by number. */
  readonly #batches = new Map<number, { byteCount: number; readonly tookMs: number }>()
  #sharedUntil = 0
  /** When each lane of the last `neighbourForMs` sent something, the latest at the end. */
  readonly #sentAt = new Map<string, number>()
  #latestLane = ''
  #neighbouredUntil = 0
  /** When the long batch that runs began, as far as is known: then everything open became part of it. */
  #batchAt = Number.NEGATIVE_INFINITY
  /** Sent since. */
  #queuedBytes = 0
  #turns: Waiter[] = []

  constructor(clock: Clock, engine: Node['engine'], signal: AbortSignal) {
    this.#signal = signal
    this.#clock = clock
    this.#terms = termsOf[engine]
  }

  get openBytes(): number {
    return this.#openBytes
  }

  get windowBytes(): number {
    const { alone, neighboured, shared, reserveBytes } = this.#terms
    const isShared = this.#clock.monotonic() < this.#sharedUntil
    const { batchCosts, msMin, msMax } = isShared ? shared : this.#isLone ? alone : neighboured
    const ms = Math.min(msMax, Math.max(msMin, batchCosts * this.#pace.batchMs))
    return Math.min(windowBytesMax, Math.max(isShared ? reserveBytes : aloneBytesMin, this.#pace.bytesIn(ms)))
  }

  /** Nobody else has sent anything that it would hold up, or waits to, as far as is known. */
  isAlone(lane: string): boolean {
    return this.#isLone && !this.#isOpenForOthers(lane)
  }

  /** One lane at a time, for a while. */
  get #isLone(): boolean {
    const now = this.#clock.monotonic()
    return now >= this.#sharedUntil && now >= this.#neighbouredUntil
  }

  /** Waits for room; `undefined` when the signal aborted first. The ticket is given back once its task has ended. */
  acquire(lane: string, byteCount: number, signal: AbortSignal): Promise<Ticket | undefined> {
    if (signal.aborted) return Promise.resolve(undefined)
    const cost = Math.max(costBytesMin, byteCount)
    const isShort = cost <= this.#terms.reserveBytes && !this.#openOfLane.has(lane)
    if (!this.#isLight({ isShort }) && this.#isOpenForOthers(lane))
      this.#sharedUntil = this.#clock.monotonic() + sharedForMs
    return new Promise((resolve) => {
      const end = (isGranted: boolean) => {
        signal.removeEventListener('abort', onAbort)
        resolve(isGranted ? this.#ticket(waiter, byteCount) : undefined)
      }
      const waiter: Waiter = { lane, cost, isShort, deficit: 0, grant: () => end(true) }
      const onAbort = () => {
        this.#turns = this.#turns.filter((other) => other !== waiter)
        end(false)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#turns.push(waiter)
      this.#share()
    })
  }

  /** Lanes one after the other do not share; lanes that wait for each other do. */
  #isOpenForOthers(lane: string): boolean {
    return (
      this.#heavyOfLane.size > (this.#heavyOfLane.has(lane) ? 1 : 0) ||
      this.#turns.some((other) => other.lane !== lane && !this.#isLight(other))
    )
  }

  /** Nobody waits for it on the node. */
  #isLight({ isShort }: Pick<Waiter, 'isShort'>): boolean {
    return isShort && this.#terms.runsBeside
  }

  #ticket(waiter: Waiter, byteCount: number): Ticket {
    let isOpen = true
    return {
      release: (task) => {
        if (!isOpen) return
        isOpen = false
        if (task !== undefined) this.#note(task, waiter, byteCount)
        this.#release(waiter)
      },
    }
  }

  #release(waiter: Waiter): void {
    const { lane, cost } = waiter
    this.#openBytes -= cost
    this.#openTasks -= 1
    count(this.#openOfLane, lane, -1)
    if (!this.#isLight(waiter)) count(this.#heavyOfLane, lane, -1)
    if (waiter.isShort) this.#quiet.end(lane, this.#clock.monotonic(), this.#pace.batchMs)
    this.#share()
  }

  /** The node's speed is that of whole batches: their payload bytes over the time that they ran. */
  #note({ batchUid, startedAt, finishedAt }: EngineTask, waiter: Waiter, byteCount: number): void {
    if (batchUid === null || startedAt === null || finishedAt === null) return
    if (this.#isLong(waiter)) this.#quiet.noteLong(finishedAt - startedAt)
    if (!this.#isLight(waiter) && !this.#batches.has(batchUid)) {
      this.#batchAt = this.#clock.monotonic()
      this.#queuedBytes = 0
    }
    const batch = this.#batches.get(batchUid) ?? { byteCount: 0, tookMs: finishedAt - startedAt }
    batch.byteCount += byteCount
    this.#batches.set(batchUid, batch)
    for (const [uid, { byteCount, tookMs }] of this.#batches) {
      if (this.#batches.size <= this.#terms.batchesAtOnce) break
      this.#pace.note({ byteCount, tookMs })
      this.#batches.delete(uid)
    }
  }

  #share(): void {
    // Each pass gives every waiting lane a quantum; a pass that grants nothing while there is room goes on, since the
    // deficits grow until the cheapest fits. Bounded: a cost is at most some hundred quanta.
    while (this.#turns.length > 0) {
      const granted = this.#turns.filter((waiter) => this.#takeTurn(waiter))
      if (granted.length === 0 && !this.#turns.some((waiter) => this.#mayGo(waiter))) break
    }
    this.#shareLater()
  }

  #takeTurn(waiter: Waiter): boolean {
    if (!this.#mayGo(waiter)) return false
    waiter.deficit += quantumBytes
    if (waiter.deficit < waiter.cost) return false
    this.#turns = this.#turns.filter((other) => other !== waiter)
    this.#openBytes += waiter.cost
    this.#queuedBytes += waiter.cost
    this.#openTasks += 1
    count(this.#openOfLane, waiter.lane, 1)
    if (!this.#isLight(waiter)) this.#beginHeavy(waiter.lane)
    if (waiter.isShort) this.#quiet.begin(waiter.lane)
    if (this.#isLong(waiter)) this.#quiet.beginLong()
    waiter.grant()
    return true
  }

  #beginHeavy(lane: string): void {
    count(this.#heavyOfLane, lane, 1)
    const now = this.#clock.monotonic()
    for (const [other, at] of this.#sentAt) {
      if (at + neighbourForMs > now) break
      this.#sentAt.delete(other)
    }
    // Filling one index after the other is no neighbourhood; coming back to the first one is.
    if (lane !== this.#latestLane && this.#sentAt.delete(lane)) this.#neighbouredUntil = now + neighbourForMs
    this.#sentAt.delete(lane)
    this.#sentAt.set(lane, now)
    this.#latestLane = lane
  }

  #mayGo(waiter: Waiter): boolean {
    return this.#hasRoom(waiter) && this.#heldUntil(waiter) === undefined
  }

  /** See `QuietTime`, and `fillAt`. */
  #heldUntil(waiter: Waiter): number | undefined {
    const now = this.#clock.monotonic()
    const quietUntil = this.#isLong(waiter) ? this.#quiet.heldUntil(waiter.lane, now) : undefined
    if (quietUntil !== undefined || waiter.isShort || !this.#isLone) return quietUntil
    const runningBytes = this.#openBytes - this.#queuedBytes
    if (runningBytes < this.windowBytes / 4) return undefined
    const fillsAt = this.#batchAt + fillAt * this.#pace.msOfLarge(runningBytes)
    return now < fillsAt ? fillsAt : undefined
  }

  #isLong({ cost }: Waiter): boolean {
    return cost > this.#terms.reserveBytes && !this.#terms.runsBeside
  }

  /** When the quiet time of those who have room is over. */
  #shareLater(): void {
    const ends = this.#turns.flatMap((waiter) => (this.#hasRoom(waiter) ? (this.#heldUntil(waiter) ?? []) : []))
    const at = Math.min(...ends)
    if (at >= this.#shareAt) return
    this.#shareAt = at
    const again = () => {
      if (this.#shareAt === at) this.#shareAt = Number.POSITIVE_INFINITY
      if (!this.#signal.aborted) this.#share()
    }
    this.#clock.sleep(Math.max(1, at - this.#clock.monotonic()), this.#signal).then(again, again)
  }

  #hasRoom({ lane, cost }: Waiter): boolean {
    if (this.#openTasks === 0) return true
    if (cost <= this.#terms.reserveBytes && !this.#openOfLane.has(lane) && this.#openTasks < reserveTasksMax)
      return true
    if (this.#openTasks >= windowTasksMax || this.#openBytes + cost > this.windowBytes) return false
    return !this.#isLone || this.#queuedBytes + cost <= this.windowBytes / 2
  }
}

function count(lanes: Map<string, number>, lane: string, by: 1 | -1): void {
  const left = (lanes.get(lane) ?? 0) + by
  if (left > 0) lanes.set(lane, left)
  else lanes.delete(lane)
}
