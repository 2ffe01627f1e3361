/** Asks a node every second whether it is there, so that one that is not holds nobody up (design 2, rule 3). */
import type { Engine } from '../engine/engine.ts'
import type { Clock } from '../lib/clock.ts'
import { withDeadline } from './deadline.ts'

export const pulseMs = 1_000
/** A paused process takes the connection and says nothing. */
const answerMsMax = 2_000
/** Questions without an answer, one after the other, that make a node silent. */
const missedMax = 3

export class NodePulse {
  readonly #engine: Pick<Engine, 'health'>
  readonly #clock: Clock
  #missed = 0

  constructor(engine: Pick<Engine, 'health'>, clock: Clock) {
    this.#engine = engine
    this.#clock = clock
  }

  get isSilent(): boolean {
    return this.#missed >= missedMax
  }

  /** It answered the last time it was asked. */
  get isWell(): boolean {
    return this.#missed === 0
  }

  /** @param onBeat  after each question. What it throws is thrown. */
  async run(signal: AbortSignal, onBeat: () => Promise<void>): Promise<void> {
    while (!signal.aborted) {
      await this.#clock.sleep(pulseMs, signal).catch(() => {})
      if (signal.aborted) return
      const reply = await withDeadline(this.#clock, answerMsMax, signal, (limit) => this.#engine.health(limit))
      this.#missed = reply.kind === 'answered' || reply.kind === 'refused' ? 0 : this.#missed + 1
      await onBeat()
    }
  }
}
