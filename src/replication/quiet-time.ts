/**
 * When long changes keep back for short ones of other lanes, on a node that runs one batch at a time. Who writes small changes
 * one after the other sends the next only once the last is applied: a long batch that begins in between, because nothing
 * waits at that moment, would keep every one of them waiting. So the node is left free while a short change is open and for a
 * little longer; but no longer than the last long batch took, so that long changes have half of the node's time.
 */

/** The pause after a short change, in times of what a batch costs, within bounds: its client must hear of it and write again. */
const pauseBatchCosts = 2
const pauseMsMin = 50
const pauseMsMax = 250
const heldMsMin = 100
const heldMsMax = 1_000

const within = (ms: number, min: number, max: number): number => Math.min(max, Math.max(min, ms))

export class QuietTime {
  /** Open short changes by lane. */
  readonly #open = new Map<string, number>()
  #last = { lane: '', until: 0 }
  #heldSince: number | undefined
  #heldMs = heldMsMin

  /** A short change goes out. */
  begin(lane: string): void {
    this.#open.set(lane, (this.#open.get(lane) ?? 0) + 1)
  }

  /** It has ended. */
  end(lane: string, now: number, batchMs: number): void {
    const left = (this.#open.get(lane) ?? 1) - 1
    if (left > 0) this.#open.set(lane, left)
    else this.#open.delete(lane)
    this.#last = { lane, until: now + within(pauseBatchCosts * batchMs, pauseMsMin, pauseMsMax) }
  }

  /** A long change has ended. */
  noteLong(tookMs: number): void {
    this.#heldMs = within(tookMs, heldMsMin, heldMsMax)
  }

  /** Until when a long change of the lane that could go out now keeps back; `undefined` = it goes. */
  heldUntil(lane: string, now: number): number | undefined {
    const isOthersOpen = this.#open.size > (this.#open.has(lane) ? 1 : 0)
    const isPause = this.#last.lane !== lane && now < this.#last.until
    if (!isOthersOpen && !isPause) return undefined
    this.#heldSince ??= now
    const most = this.#heldSince + this.#heldMs
    if (now >= most) return undefined
    return isOthersOpen ? most : Math.min(most, this.#last.until)
  }

  /** A long change goes out. */
  beginLong(): void {
    this.#heldSince = undefined
  }
}
