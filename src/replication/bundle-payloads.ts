/** The payloads of a bundle as its parts send them: with shard and place where the index is spread. */
import { sequenceText } from '../api/reserved-fields.ts'
import type { Bundle, BundleStep } from './bundle.ts'
import type { Part } from './delivery.ts'
import type { DocumentPlaces } from './document-places.ts'
import { bytesOf } from './ndjson.ts'
import type { Payloads } from './part-payloads.ts'
import { withFields } from './shard-lines.ts'

export class BundlePayloads implements Payloads {
  readonly #bundle: Bundle
  readonly #isSpread: boolean
  readonly #places: DocumentPlaces | undefined
  #texts: ReadonlyMap<BundleStep, string> | undefined

  constructor(
    bundle: Bundle,
    { isSpread, places }: { readonly isSpread: boolean; readonly places: DocumentPlaces | undefined },
  ) {
    this.#bundle = bundle
    this.#isSpread = isSpread
    this.#places = places
  }

  async documents({ merge }: Extract<Part, { readonly kind: 'put' }>): Promise<AsyncIterable<Uint8Array>> {
    return this.#sent(merge ? 'merge' : 'put')
  }

  async ids(): Promise<AsyncIterable<Uint8Array>> {
    return this.#sent('delete')
  }

  async close(): Promise<void> {}

  async #sent(kind: BundleStep['kind']): Promise<AsyncIterable<Uint8Array>> {
    this.#texts ??= await this.#write()
    const texts: string[] = []
    for (const [step, text] of this.#texts) if (step.kind === kind && !this.#bundle.isLeftOut(step)) texts.push(text)
    return bytesOf(texts)
  }

  /** In the order of the journal, since each step tells the next one where the document stands. */
  async #write(): Promise<ReadonlyMap<BundleStep, string>> {
    const { steps } = this.#bundle
    const [places, isSpread] = [this.#places, this.#isSpread]
    const known = new Map(await places?.ofEach(firstWrites(steps)))
    const texts = new Map<BundleStep, string>()
    for (const step of steps) {
      const { kind, id, position, text, line } = step
      if (kind === 'delete') {
        known.delete(id)
        places?.send(position, id, null)
      }
      if (kind === 'delete' || !isSpread) {
        texts.set(step, text)
        continue
      }
      const own = sequenceText(position, line)
      places?.rely(position, id)
      const before = known.get(id)
      const place = before !== undefined && before < own ? before : own
      if (places !== undefined) known.set(id, place)
      places?.send(position, id, place)
      texts.set(step, withFields(step, place))
    }
    return texts
  }
}

/** By id, for documents that may be there before: the first change that is about them. */
function firstWrites(steps: readonly BundleStep[]): ReadonlyMap<string, number> {
  const writes = new Map<string, number>()
  const seen = new Set<string>()
  for (const { kind, id, position } of steps) {
    if (kind !== 'delete' && !seen.has(id)) writes.set(id, position)
    seen.add(id)
  }
  return writes
}
