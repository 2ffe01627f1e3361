/**
 * Where documents of a spread index stand in its order when they keep the place of their first insertion: what the node holds
 * of them, once nothing on the way is about them. Memory: an entry for each document that is sent and not applied.
 *
 * A place never moves back in time but by a deletion: of two, the lesser holds. So a lane that repeats what the node has
 * already comes to the same order as one that does not.
 */
export type ReadPlaces = (ids: readonly string[]) => Promise<ReadonlyMap<string, string>>

/** As one change sees them. */
export interface ChangePlaces {
  /** Of these documents, where those stand that are there. @throws when the lane stops meanwhile. */
  of(ids: readonly string[]): Promise<ReadonlyMap<string, string>>
  /** The change puts the document there, or deletes it (null). */
  send(id: string, place: string | null): void
}

interface OnTheWay {
  readonly position: number
  readonly place: string | null
}

export class DocumentPlaces {
  readonly #read: ReadPlaces
  readonly #onTheWay = new Map<string, OnTheWay>()
  readonly #idsAt = new Map<number, string[]>()
  #wake: (() => void)[] = []

  /** @param read  what the node holds of documents that nothing on the way is about. */
  constructor(read: ReadPlaces) {
    this.#read = read
  }

  /** @param signal  aborts when the lane stops. */
  at(position: number, signal: AbortSignal): ChangePlaces {
    return {
      of: (ids) => this.#of(position, ids, signal),
      send: (id, place) => this.#send(id, { position, place }),
    }
  }

  /** Everything up to here is on the node, or has failed. */
  settle(position: number): void {
    for (const [at, ids] of this.#idsAt) {
      if (at > position) break
      for (const id of ids) if (this.#onTheWay.get(id)?.position === at) this.#onTheWay.delete(id)
      this.#idsAt.delete(at)
    }
    const waiting = this.#wake
    this.#wake = []
    for (const wake of waiting) wake()
  }

  /** Nothing is on the way. */
  clear(): void {
    this.settle(Number.POSITIVE_INFINITY)
  }

  async #of(position: number, ids: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const places = new Map<string, string>()
    const wanted = [...new Set(ids)]
    // What another change on the way comes to is not known before it is over: it may fail.
    while (wanted.some((id) => (this.#onTheWay.get(id)?.position ?? position) !== position)) await this.#settled(signal)
    const unknown: string[] = []
    for (const id of wanted) {
      const own = this.#onTheWay.get(id)
      if (own === undefined) unknown.push(id)
      else if (own.place !== null) places.set(id, own.place)
    }
    if (unknown.length > 0) for (const [id, place] of await this.#read(unknown)) places.set(id, place)
    return places
  }

  #send(id: string, change: OnTheWay): void {
    this.#onTheWay.set(id, change)
    const ids = this.#idsAt.get(change.position)
    if (ids === undefined) this.#idsAt.set(change.position, [id])
    else ids.push(id)
  }

  #settled(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(new Error('the lane stops'))
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      this.#wake.push(() => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      })
    })
  }
}
