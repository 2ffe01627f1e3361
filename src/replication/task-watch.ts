/**
 * Follows the open tasks of one node until they end, by reading their numbers in groups (NF-42).
 *
 * The embedded engine holds its answer until a task has ended. Stock Meilisearch answers at once: there, the pause between two reads grows with the time since something last ended, up to a second behind a long batch. While
 * little is open the node may be idle until we look, and somebody waits for a small change: then it is short at first.
 */

import type { Engine, EngineTask } from '../engine/engine.ts'
import type { Clock } from '../lib/clock.ts'
import { withDeadline } from './deadline.ts'
import { isPending } from './task-effect.ts'
import { Wake } from './wake.ts'

/** Up to so many open tasks are little. */
const fewTasks = 4
const fewPauseMsMin = 5
const pauseMsMin = 20
const pauseMsMax = 1_000
const numbersPerRead = 200
/** How long an engine that can do so may hold its answer; whole reads come as often. */
const waitSeconds = 2
export const readDeadlineMs = 10_000
/** So often open tasks are read as well: a node that does not know one of them any more is noticed by that. */
const wholeReadMs = waitSeconds * 1_000

export interface TaskWatchDeps {
  readonly engine: Pick<Engine, 'capabilities' | 'tasks'>
  readonly clock: Clock
  /** The node answered, or did not. */
  readonly onAnswer: (isWell: boolean) => void
  /** The node does not know a number that it gave us. */
  readonly onLost: (number: number) => void
}

export class TaskWatch {
  readonly #deps: TaskWatchDeps
  readonly #pending = new Map<number, (task: EngineTask | undefined) => void>()
  readonly #ended = new Map<number, EngineTask>()
  readonly #waiters = new Set<{ readonly numbers: readonly number[]; readonly resolve: () => void }>()
  readonly #wake = new Wake()
  #progressAt = 0
  #readWholeAt = Number.NEGATIVE_INFINITY
  /** The engine answered and will hold its next answer. */
  #mayAskAgain = false

  constructor(deps: TaskWatchDeps) {
    this.#deps = deps
  }

  /** `onEnd` is called once: when the task has ended, or with `undefined` when it is forgotten before. */
  follow(number: number, onEnd?: (task: EngineTask | undefined) => void): void {
    if (this.#ended.has(number) || this.#pending.has(number)) return
    if (this.#pending.size === 0) this.#progressAt = this.#deps.clock.monotonic()
    this.#pending.set(number, onEnd ?? (() => {}))
    this.#wake.ring()
  }

  /** The lowest number that somebody still waits for or looks at; infinite when there is none. */
  get lowest(): number {
    let lowest = Number.POSITIVE_INFINITY
    for (const numbers of [this.#pending, this.#ended])
      for (const number of numbers.keys()) lowest = Math.min(lowest, number)
    return lowest
  }

  /** The task as it ended; `undefined` while it is open. */
  ended(number: number): EngineTask | undefined {
    return this.#ended.get(number)
  }

  forget(numbers: readonly number[]): void {
    for (const number of numbers) {
      this.#pending.get(number)?.(undefined)
      this.#pending.delete(number)
      this.#ended.delete(number)
    }
  }

  /** Resolves when all have ended, or when the signal aborts. */
  async settled(numbers: readonly number[], signal: AbortSignal): Promise<void> {
    for (const number of numbers) this.follow(number)
    if (signal.aborted || numbers.every((number) => this.#ended.has(number))) return
    await new Promise<void>((resolve) => {
      const end = () => {
        signal.removeEventListener('abort', end)
        this.#waiters.delete(waiter)
        resolve()
      }
      const waiter = { numbers, resolve: end }
      signal.addEventListener('abort', end, { once: true })
      this.#waiters.add(waiter)
    })
  }

  /** Reads until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps
    while (!signal.aborted) {
      if (this.#pending.size === 0) {
        await this.#wake.wait(signal)
        continue
      }
      const sinceProgress = clock.monotonic() - this.#progressAt
      const firstMs =
        this.#pending.size <= fewTasks ? Math.min(pauseMsMin, Math.max(fewPauseMsMin, sinceProgress / 3)) : pauseMsMin
      const pauseMs = Math.min(pauseMsMax, Math.max(firstMs, sinceProgress / 8))
      if (!this.#mayAskAgain) await clock.sleep(pauseMs, signal).catch(() => {})
      if (!signal.aborted) await this.read(signal)
    }
  }

  /** One read of the oldest open tasks. */
  async read(signal: AbortSignal): Promise<void> {
    const { engine, clock, onAnswer, onLost } = this.#deps
    const numbers = [...this.#pending.keys()].sort((a, b) => a - b).slice(0, numbersPerRead)
    if (numbers.length === 0) return
    const isWhole = clock.monotonic() - this.#readWholeAt >= wholeReadMs
    const options = isWhole ? {} : { endedOnly: true, waitSeconds }
    const reply = await withDeadline(clock, readDeadlineMs, signal, (limit) => engine.tasks(numbers, limit, options))
    if (signal.aborted) return
    onAnswer(reply.kind === 'answered')
    this.#mayAskAgain = engine.capabilities.waits && reply.kind === 'answered'
    if (reply.kind !== 'answered') return
    if (isWhole) this.#readWholeAt = clock.monotonic()
    const seen = new Set<number>()
    for (const task of reply.value) {
      seen.add(task.uid)
      const onEnd = this.#pending.get(task.uid)
      if (isPending(task) || onEnd === undefined) continue
      this.#pending.delete(task.uid)
      this.#ended.set(task.uid, task)
      onEnd(task)
      this.#progressAt = clock.monotonic()
    }
    const lost = numbers.find((number) => !seen.has(number) && this.#pending.has(number))
    if (isWhole && lost !== undefined) onLost(lost)
    for (const waiter of [...this.#waiters]) {
      if (waiter.numbers.every((number) => this.#ended.has(number))) waiter.resolve()
    }
  }
}
