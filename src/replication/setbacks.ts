/** What went wrong with the changes that a lane has not settled, by position. */
import type { GoBackReason } from './judgement.ts'

export class Setbacks {
  /** How often the lane went back. */
  readonly #goneBack = new Map<number, Map<GoBackReason, number>>()
  /** Removals that a delivery reported which did not count in the end. */
  readonly #removed = new Map<number, number>()
  /** A request ended without an answer: an attempt that nobody counts may be on the node. */
  readonly #uncertain = new Set<number>()

  timesGoneBack(position: number, reason: GoBackReason): number {
    return this.#goneBack.get(position)?.get(reason) ?? 0
  }

  noteGoneBack(position: number, reason: GoBackReason): void {
    const counts = this.#goneBack.get(position) ?? new Map<GoBackReason, number>()
    counts.set(reason, (counts.get(reason) ?? 0) + 1)
    this.#goneBack.set(position, counts)
  }

  removed(position: number): number {
    return this.#removed.get(position) ?? 0
  }

  noteRemoved(position: number, count: number): void {
    this.#removed.set(position, Math.max(count, this.removed(position)))
  }

  isUncertain(position: number): boolean {
    return this.#uncertain.has(position)
  }

  noteUncertain(position: number): void {
    this.#uncertain.add(position)
  }

  settle(position: number): void {
    this.#goneBack.delete(position)
    this.#removed.delete(position)
    this.#uncertain.delete(position)
  }
}
