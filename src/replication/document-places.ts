/**
 * Where documents of a spread index stand in its order when they keep the place of their first insertion: what the node holds,
 * and what is on its way there. Memory: an entry for each document that is sent and not applied.
 *
 * A place never moves back in time but by a deletion: of two, the lesser holds. So a lane that repeats what the node has
 * already comes to the same order as one that does not.
 */
export type ReadPlaces = (ids: readonly string[]) => Promise<ReadonlyMap<string, string>>

const idsPerLook = 1_000

export class DocumentPlaces {
  readonly #read: ReadPlaces
  /** null = its deletion is on the way. */
  readonly #onTheWay = new Map<string, { readonly position: number; readonly place: string | null }>()
  readonly #idsAt = new Map<number, string[]>()

  /** @param read  what the node holds of documents that nothing on the way is about. */
  constructor(read: ReadPlaces) {
    this.#read = read
  }

  /** Of these documents, where those stand that are there. */
  async of(ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const places = new Map<string, string>()
    const unknown: string[] = []
    for (const id of new Set(ids)) {
      const coming = this.#onTheWay.get(id)
      if (coming === undefined) unknown.push(id)
      else if (coming.place !== null) places.set(id, coming.place)
    }
    for (let at = 0; at < unknown.length; at += idsPerLook) {
      for (const [id, place] of await this.#read(unknown.slice(at, at + idsPerLook))) places.set(id, place)
    }
    return places
  }

  /** The change at `position` puts the document there, or deletes it (null). */
  send(position: number, id: string, place: string | null): void {
    this.#onTheWay.set(id, { position, place })
    const ids = this.#idsAt.get(position)
    if (ids === undefined) this.#idsAt.set(position, [id])
    else ids.push(id)
  }

  /** Everything up to here is on the node. */
  settle(position: number): void {
    for (const [at, ids] of this.#idsAt) {
      if (at > position) break
      for (const id of ids) if (this.#onTheWay.get(id)?.position === at) this.#onTheWay.delete(id)
      this.#idsAt.delete(at)
    }
  }

  /** Nothing is on the way. */
  clear(): void {
    this.#onTheWay.clear()
    this.#idsAt.clear()
  }
}
