/**
 * Accounts for every task number of a node. The dispatcher is the only writer, so a number that none of its requests was
 * answered with is a request that came late (NF-43): one whose answer was lost, or one of a worker before us.
 */
export class NumberLedger {
  #highest: number
  #sends = 0
  readonly #open = new Set<number>()
  /** Numbers without an owner, each with the requests that may still turn out to own it. */
  readonly #unclaimed = new Map<number, Set<number>>()
  readonly #found: (numbers: readonly number[]) => void
  readonly #waiters = new Set<() => void>()

  /** `highest`: the newest number that existed when the lanes began to read the node. */
  constructor(highest: number, found: (numbers: readonly number[]) => void) {
    this.#highest = highest
    this.#found = found
  }

  get highest(): number {
    return this.#highest
  }

  /** Before a request goes out; the answer belongs to `end`. */
  begin(): number {
    this.#sends += 1
    this.#open.add(this.#sends)
    return this.#sends
  }

  /** A number that was given before: the disk under the node is an older one (NF-31). */
  isReused(number: number): boolean {
    return number <= this.#highest && !this.#unclaimed.has(number)
  }

  /** The request came to its end; `number` when it was answered with one. */
  end(send: number, number: number | undefined): void {
    this.#open.delete(send)
    if (number !== undefined) {
      this.#unclaimed.delete(number)
      this.#reach(number - 1)
      this.#highest = Math.max(this.#highest, number)
    }
    const ownerless: number[] = []
    for (const [unclaimed, owners] of this.#unclaimed) {
      owners.delete(send)
      if (owners.size === 0) ownerless.push(unclaimed)
    }
    for (const unclaimed of ownerless) this.#unclaimed.delete(unclaimed)
    if (ownerless.length > 0) this.#found(ownerless)
    for (const look of [...this.#waiters]) look()
  }

  /** Resolves once it is known of every number up to `number` whose it is, or when the signal aborts. */
  async claimed(number: number, signal: AbortSignal): Promise<void> {
    const isOpen = () => [...this.#unclaimed.keys()].some((unclaimed) => unclaimed <= number)
    if (signal.aborted || !isOpen()) return
    await new Promise<void>((resolve) => {
      const look = () => {
        if (!signal.aborted && isOpen()) return
        signal.removeEventListener('abort', look)
        this.#waiters.delete(look)
        resolve()
      }
      signal.addEventListener('abort', look, { once: true })
      this.#waiters.add(look)
    })
  }

  /** The node showed `number` as its newest task. */
  observe(number: number): void {
    this.#reach(number)
    if (this.#open.size === 0) this.end(0, undefined)
  }

  #reach(number: number): void {
    for (let missing = this.#highest + 1; missing <= number; missing += 1) {
      this.#unclaimed.set(missing, new Set(this.#open))
    }
    this.#highest = Math.max(this.#highest, number)
  }
}
