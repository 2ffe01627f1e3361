/** The payloads of one change as its parts send them: cut into slices in one pass each, and for the lane's own shards. */
import type { Payload } from '../journal/change.ts'
import type { LaneChange, LaneJournal } from '../journal/ports.ts'
import { type Part, payloadByteCount, wholeSliceBytes } from './delivery.ts'
import type { DocumentPlaces } from './document-places.ts'
import { PayloadSlices } from './payload-slices.ts'
import { ownDocuments, ownIds } from './shard-lines.ts'
import type { Cut } from './shard-view.ts'

type Put = Extract<Part, { readonly kind: 'put' }>

interface OpenPayload {
  /** `undefined` = it is one slice. */
  readonly slices: PayloadSlices | undefined
  readonly counter: { line: number }
}

/** What the parts of a delivery send. */
export interface Payloads {
  /** Parts are asked for in order, and each is read to its end before the next. `undefined` = nothing of it is the lane's. */
  documents(part: Put): Promise<AsyncIterable<Uint8Array> | undefined>
  /** The same for a deletion. */
  ids(payload: Payload): Promise<AsyncIterable<Uint8Array> | undefined>
  close(): Promise<void>
}

export class PartPayloads implements Payloads {
  readonly #journal: Pick<LaneJournal, 'open'>
  readonly #cut: Cut
  readonly #item: LaneChange
  readonly #places: DocumentPlaces | undefined
  readonly #open = new Map<Payload, OpenPayload>()

  /** @param places  for documents that keep the place of their first insertion. */
  constructor(journal: Pick<LaneJournal, 'open'>, cut: Cut, item: LaneChange, places: DocumentPlaces | undefined) {
    this.#journal = journal
    this.#cut = cut
    this.#item = item
    this.#places = places
  }

  async documents(part: Put): Promise<AsyncIterable<Uint8Array> | undefined> {
    const { slices, counter } = this.#opened(part)
    // An empty put would cost a whole batch (NF-41).
    if (slices?.isEmpty(part.slice)) return undefined
    const chunks = slices === undefined ? this.#journal.open(part.payload) : slices.read(part.slice)
    const { view } = this.#cut
    if (view === null) return chunks
    const { change, primaryKey } = this.#item
    const lines = { view, primaryKey: primaryKey ?? '', position: change.position, counter, ...this.#order }
    return begun(ownDocuments(chunks, lines))
  }

  async ids(payload: Payload): Promise<AsyncIterable<Uint8Array> | undefined> {
    const chunks = this.#journal.open(payload)
    const { view } = this.#cut
    if (view === null) return chunks
    return begun(ownIds(chunks, { view, position: this.#item.change.position, ...this.#order }))
  }

  get #order(): { readonly places?: DocumentPlaces } {
    return this.#places === undefined ? {} : { places: this.#places }
  }

  async close(): Promise<void> {
    for (const { slices } of this.#open.values()) await slices?.close()
  }

  #opened({ payload, slices: count, firstLine }: Put): OpenPayload {
    const known = this.#open.get(payload)
    if (known !== undefined) return known
    const byteCount = payloadByteCount(payload)
    const slices =
      count === 1
        ? undefined
        : new PayloadSlices(this.#journal.open(payload), byteCount, wholeSliceBytes(this.#cut, byteCount))
    const opened = { slices, counter: { line: firstLine } }
    this.#open.set(payload, opened)
    return opened
  }
}

/** The same chunks; `undefined` = there are none. */
async function begun(chunks: AsyncGenerator<Uint8Array>): Promise<AsyncIterable<Uint8Array> | undefined> {
  const first = await chunks.next()
  if (first.done === true) return undefined
  return (async function* () {
    try {
      yield first.value
      yield* chunks
    } finally {
      await chunks.return(undefined)
    }
  })()
}
