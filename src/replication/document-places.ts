/**
 * Where documents of a spread index stand in its order when they keep the place of their first insertion: what the node holds,
 * and what is on its way there. Memory: an entry for each document that is sent and not applied.
 *
 * A place never moves back in time but by a deletion: of two, the lesser holds. So a lane that repeats what the node has
 * already comes to the same order as one that does not.
 *
 * What is on the way may still fail, and then nobody may stand where it put a document. Waiting for it would make documents
 * that are written often slow; so a place is taken from it all the same, and who took one is remembered: its heirs are
 * delivered again when it fails.
 */
import { positionOf } from '../api/reserved-fields.ts'

export type ReadPlaces = (ids: readonly string[]) => Promise<ReadonlyMap<string, string>>

const idsPerLook = 1_000

interface OnTheWay {
  readonly position: number
  /** null = its deletion is on the way. */
  readonly place: string | null
}

export class DocumentPlaces {
  readonly #read: ReadPlaces
  readonly #onTheWay = new Map<string, OnTheWay>()
  readonly #idsAt = new Map<number, string[]>()
  /** By position on the way: the first change behind it that relies on what it does to a document's place. */
  readonly #heirs = new Map<number, number>()
  /** Changes that relied on others on the way, whatever became of those. */
  readonly #relying = new Set<number>()

  /** @param read  what the node holds of documents that nothing on the way is about. */
  constructor(read: ReadPlaces) {
    this.#read = read
  }

  /** Of these documents, where those stand that are there when the change at `position` comes. */
  of(position: number, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return this.ofEach(new Map(ids.map((id) => [id, position])))
  }

  /** The same for documents of several changes, with one look at the node. @param heirs  by id: the first of them about it. */
  async ofEach(heirs: ReadonlyMap<string, number>): Promise<ReadonlyMap<string, string>> {
    const places = new Map<string, string>()
    const unknown: string[] = []
    for (const [id, position] of heirs) {
      const coming = this.#onTheWay.get(id)
      if (coming === undefined) unknown.push(id)
      else if (coming.place !== null) places.set(id, coming.place)
      // Before the look: what is on the way may end meanwhile.
      if (coming !== undefined) this.#inherit(coming, position)
    }
    for (let at = 0; at < unknown.length; at += idsPerLook) {
      for (const [id, place] of await this.#read(unknown.slice(at, at + idsPerLook))) places.set(id, place)
    }
    return places
  }

  /** The change at `position` relies on what another one, sent before, does to the document's place. */
  rely(position: number, id: string): void {
    const coming = this.#onTheWay.get(id)
    if (coming !== undefined) this.#inherit(coming, position)
  }

  #inherit({ position, place }: OnTheWay, heir: number): void {
    const from = place === null ? position : positionOf(place)
    if (from === heir || !this.#idsAt.has(from)) return
    this.#relying.add(heir)
    if (!this.#heirs.has(from)) this.#heirs.set(from, heir)
  }

  /** The change took a place, once when it was sent, that was on the way. */
  relies(position: number): boolean {
    return this.#relying.has(position)
  }

  /** The change at `position` puts the document there, or deletes it (null). */
  send(position: number, id: string, place: string | null): void {
    this.#onTheWay.set(id, { position, place })
    const ids = this.#idsAt.get(position)
    if (ids === undefined) this.#idsAt.set(position, [id])
    else ids.push(id)
  }

  /**
   * The change failed, and everything in front of it is on the node. From now on nobody relies on it.
   *
   * @returns the first change that did; `undefined` = none.
   */
  fail(position: number): number | undefined {
    this.#forget(position)
    return this.#heirs.get(position)
  }

  /** Everything up to here is on the node. */
  settle(position: number): void {
    for (const at of this.#idsAt.keys()) {
      if (at > position) break
      this.#forget(at)
    }
    for (const at of this.#heirs.keys()) if (at <= position) this.#heirs.delete(at)
    for (const at of this.#relying) if (at <= position) this.#relying.delete(at)
  }

  #forget(position: number): void {
    for (const id of this.#idsAt.get(position) ?? [])
      if (this.#onTheWay.get(id)?.position === position) this.#onTheWay.delete(id)
    this.#idsAt.delete(position)
  }

  /** Nothing is on the way; what was sent may be on the node. */
  clear(): void {
    this.#onTheWay.clear()
    this.#idsAt.clear()
    this.#heirs.clear()
  }
}
