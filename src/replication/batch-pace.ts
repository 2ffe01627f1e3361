/**
 * How fast a node works, learned from its batches: a time that every batch costs, however small, and bytes per time beyond
 * it. Told apart, since a window that was set by bytes over time alone would shrink itself: small batches are slow.
 */

/** Batches up to this size tell what every batch costs. */
const smallBytesMax = 16 * 1024
/** Batches from this size on tell the speed. */
const largeBytesMin = 64 * 1024
/** The larger a batch, the faster is each byte of it: only such tell of such. */
const veryLargeBytesMin = 4 * 1024 * 1024
/** Assumed before anything was measured: careful, so that the first window is not too long for whoever comes next. */
const firstBatchMs = 50
const firstBytesPerMs = 1024
/** A small batch that took longer says that the node was busy with something else. */
const batchMsMax = 1_000

export class BatchPace {
  #batchMs = firstBatchMs
  #bytesPerMs = firstBytesPerMs
  #longMsPerByte = 0

  /** What any batch costs, milliseconds. */
  get batchMs(): number {
    return this.#batchMs
  }

  /** @param byteCount  payload of the whole batch; 0 = not known. */
  note({ byteCount, tookMs }: { readonly byteCount: number; readonly tookMs: number }): void {
    if (byteCount === 0 || tookMs < 1) return
    if (byteCount <= smallBytesMax) this.#batchMs += (Math.min(tookMs, batchMsMax) - this.#batchMs) / 8
    if (byteCount < largeBytesMin) return
    const forBytesMs = Math.max(tookMs - this.#batchMs, tookMs / 4)
    this.#bytesPerMs += (byteCount / forBytesMs - this.#bytesPerMs) / 4
    if (byteCount >= veryLargeBytesMin) this.#longMsPerByte = tookMs / byteCount
  }

  /** How long a very large batch of so many bytes takes, milliseconds; 0 = there was none yet. */
  msOfLarge(byteCount: number): number {
    return this.#longMsPerByte * byteCount
  }

  /** What a batch of this length holds, bytes; may be 0. */
  bytesIn(ms: number): number {
    return Math.max(0, ms - this.#batchMs) * this.#bytesPerMs
  }
}
