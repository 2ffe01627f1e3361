/** How many second requests a process may send: a part of its requests, so that hedges never make an overload worse (C-27). */
export class HedgeBudget {
  readonly #extraLoadMax: number
  /** A few at the start, and as many as a short trouble needs. */
  #tokens = 2

  /** @param extraLoadMax  second requests for each first one, from 0 to 1. */
  constructor(extraLoadMax: number) {
    this.#extraLoadMax = extraLoadMax
    if (extraLoadMax === 0) this.#tokens = 0
  }

  /** A first request is sent. */
  earn(): void {
    this.#tokens = Math.min(tokensMax, this.#tokens + this.#extraLoadMax)
  }

  /** @returns whether `count` second requests may be sent now. */
  take(count: number): boolean {
    // Sums of tenths are never quite whole.
    if (this.#tokens + 1e-9 < count) return false
    this.#tokens -= count
    return true
  }
}

const tokensMax = 20
