/** A bell for one waiter: rung while nobody waits, it is remembered. */
export class Wake {
  #isRung = false
  #resume: (() => void) | undefined

  ring(): void {
    this.#isRung = true
    this.#resume?.()
  }

  /** Resolves when rung, or when the signal aborts: the caller looks at its own state then. */
  async wait(signal: AbortSignal): Promise<void> {
    if (!this.#isRung && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const end = () => {
          signal.removeEventListener('abort', end)
          resolve()
        }
        this.#resume = end
        signal.addEventListener('abort', end, { once: true })
      })
      this.#resume = undefined
    }
    this.#isRung = false
  }
}
