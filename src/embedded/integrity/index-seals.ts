/** Which indexes were written to since their checksums were: who wrote last keeps them up to date while it rests. */
import { sealOpenPages, sealPages } from './page-sums.ts'

/** A stop of the engine may not take much longer. */
const closeMsMax = 5_000

export class IndexSeals {
  readonly #stale = new Set<string>()

  /** The index in `folder` was written to. */
  note(folder: string): void {
    this.#stale.add(folder)
  }

  /** Another thread writes to the index and sums it. */
  drop(folder: string): void {
    this.#stale.delete(folder)
  }

  /**
   * Brings one index up to date, if it is not, before it is closed. Gives up after a while: what is left is summed when the
   * index is written to again, and believed until then. What cannot be summed is found by the next check, and told there.
   */
  async seal(folder: string): Promise<void> {
    if (!this.#stale.delete(folder)) return
    const end = performance.now() + closeMsMax
    await sealPages(folder, () => performance.now() > end).catch(() => undefined)
  }

  /** Brings all up to date, unless work comes in between: what is left then is done at the next rest. */
  async sealAll(isWanted: () => boolean): Promise<void> {
    for (const folder of [...this.#stale]) {
      if (isWanted()) return
      // Another thread may have begun to write, and this one not have heard of it.
      const isDone = await sealOpenPages(folder, isWanted).catch(() => true)
      if (isDone) this.#stale.delete(folder)
    }
  }
}
