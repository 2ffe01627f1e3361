/**
 * Goes through the files of all indexes again and again, slowly, so that damage is found while they are open: bits that turn
 * on the disk or in memory, and writes of others.
 */
import type { Clock } from '../../lib/clock.ts'

export interface ScrubOptions {
  readonly clock: Clock
  /** From the beginning of one pass to that of the next, at least; the first begins that long after the start. */
  readonly everyMs: number
  /** Bytes that are read and summed in a second at most. */
  readonly bytesPerSecond: number
  readonly folders: () => readonly string[]
  readonly check: (folder: string, pause: (byteCount: number) => Promise<void>) => Promise<void>
}

export class Scrub {
  readonly #options: ScrubOptions
  readonly #ended = new AbortController()
  #running: Promise<void> = Promise.resolve()
  #lastPassAt: number | null = null

  constructor(options: ScrubOptions) {
    this.#options = options
  }

  /** When a pass over all indexes ended last, milliseconds since 1970; null = none has. */
  get lastPassAt(): number | null {
    return this.#lastPassAt
  }

  start(): void {
    this.#running = this.#run()
  }

  async close(): Promise<void> {
    this.#ended.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { clock, everyMs } = this.#options
    const { signal } = this.#ended
    let begunAt = clock.monotonic()
    while (!signal.aborted) {
      await clock.sleep(Math.max(0, begunAt + everyMs - clock.monotonic()), signal).catch(() => undefined)
      begunAt = clock.monotonic()
      await this.#pass(signal)
      if (!signal.aborted) this.#lastPassAt = clock.now()
    }
  }

  async #pass(signal: AbortSignal): Promise<void> {
    const { clock, bytesPerSecond, folders, check } = this.#options
    for (const folder of folders()) {
      if (signal.aborted) return
      // An index may be deleted meanwhile, or the engine may end: what cannot be read now is read in the next pass.
      await check(folder, (byteCount) => clock.sleep((byteCount / bytesPerSecond) * 1000, signal)).catch(
        () => undefined,
      )
    }
  }
}
