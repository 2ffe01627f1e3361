/** One process of the simulator: what comes back to it is dropped when it is dead, and waits while it is stopped (SIGSTOP). */
import type { Clock } from '../../src/lib/clock.ts'
import { type Scheduler, startOfTime } from './scheduler.ts'

export class SimProcess {
  readonly name: string
  readonly #scheduler: Scheduler
  readonly #waiting: (() => void)[] = []
  isDead = false
  #isStopped = false
  /** The store does not hear it, or does what it asks and is not heard. */
  storeLink: 'cut' | 'deaf' | undefined
  /** Nodes that it does not reach at all, or that do not reach it although they hear it. */
  readonly links = new Map<string, 'cut' | 'deaf'>()
  readonly #unanswered: (() => void)[] = []

  constructor(name: string, scheduler: Scheduler) {
    this.name = name
    this.#scheduler = scheduler
  }

  get isStopped(): boolean {
    return this.#isStopped
  }

  /** Something happens to the process. */
  deliver(run: () => void): void {
    if (this.isDead) return
    if (this.#isStopped) this.#waiting.push(() => this.deliver(run))
    else run()
  }

  stop(): void {
    this.#isStopped = true
  }

  /** Everything that was missed arrives, each for itself. */
  resume(): void {
    this.#isStopped = false
    for (const run of this.#waiting.splice(0)) this.#scheduler.after(0, run)
  }

  /** Nobody answers this request while the link lasts; `fail` = its connection breaks. */
  noteUnanswered(fail: () => void): void {
    this.#unanswered.push(fail)
  }

  /** It reaches every node again, and notices that connections are gone. */
  mendLinks(): void {
    this.links.clear()
    for (const fail of this.#unanswered.splice(0)) fail()
  }

  get clock(): Clock {
    const scheduler = this.#scheduler
    return {
      now: () => startOfTime + Math.floor(scheduler.now),
      monotonic: () => scheduler.now,
      after: (ms, run) => scheduler.after(ms, () => this.deliver(run)),
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted) return reject(signal.reason)
          const onAbort = () => {
            cancel()
            reject(signal?.reason)
          }
          const cancel = scheduler.after(ms, () =>
            this.deliver(() => {
              signal?.removeEventListener('abort', onAbort)
              resolve()
            }),
          )
          signal?.addEventListener('abort', onAbort, { once: true })
        }),
    }
  }
}
