/** Positions of documents, or boxes around their shapes, a block of neighbours under one key, so that a search reads few keys for many documents. */
import type { Table } from './index-env.ts'
import { facetKind, geoBlockSize, KeyBuilder } from './index-keys.ts'

/** What the blocks hold: `width` numbers per document, under keys of `kind`. */
export interface BlockForm {
  readonly kind: number
  readonly width: number
}

/** Latitude, longitude. */
export const geoBlocks: BlockForm = { kind: facetKind.geoBlock, width: 2 }
/** West, south, east, north. */
export const boxBlocks: BlockForm = { kind: facetKind.boxBlock, width: 4 }

/** The numbers of each document in turn; NaN where a document has none. */
export function readGeoBlock(
  table: Table,
  keys: KeyBuilder,
  { kind }: BlockForm,
  block: number,
): Float64Array | undefined {
  const bytes = table.getBinary(keys.kindDocid(kind, block))
  return bytes === undefined ? undefined : new Float64Array(Uint8Array.from(bytes).buffer)
}

export class GeoBlocks {
  readonly #table: Table
  readonly #form: BlockForm
  readonly #keys = new KeyBuilder()
  readonly #changed = new Map<number, Float64Array>()
  #hasAny: boolean | undefined

  constructor(table: Table, form: BlockForm) {
    this.#table = table
    this.#form = form
  }

  set(docid: number, numbers: readonly number[] | undefined): void {
    const { width } = this.#form
    if (numbers === undefined && !this.#mayHave()) return
    const block = Math.floor(docid / geoBlockSize)
    let values = this.#changed.get(block)
    if (values === undefined) {
      values = readGeoBlock(this.#table, this.#keys, this.#form, block)
      if (values === undefined && numbers === undefined) return
      values ??= new Float64Array(geoBlockSize * width).fill(Number.NaN)
      this.#changed.set(block, values)
      this.#hasAny = true
    }
    const at = (docid % geoBlockSize) * width
    if (numbers === undefined) values.fill(Number.NaN, at, at + width)
    else values.set(numbers, at)
  }

  flush(): void {
    for (const [block, values] of this.#changed) {
      const key = this.#keys.kindDocid(this.#form.kind, block)
      if (values.every(Number.isNaN)) this.#table.removeSync(key)
      else this.#table.putSync(key, new Uint8Array(values.buffer))
    }
    this.#changed.clear()
  }

  /** The table was emptied. */
  forget(): void {
    this.#changed.clear()
    this.#hasAny = false
  }

  /** Indexes without positions are the rule: one look spares one per document. */
  #mayHave(): boolean {
    if (this.#hasAny === undefined) {
      this.#hasAny = false
      const { kind } = this.#form
      const start = Uint8Array.of(kind)
      for (const _key of this.#table.getKeys({ start, end: Uint8Array.of(kind + 1), limit: 1 })) this.#hasAny = true
    }
    return this.#hasAny
  }
}
