/** Positions of documents, a block of neighbours under one key, so that a search reads few keys for many documents. */
import type { Table } from './index-env.ts'
import { facetKind, geoBlockSize, KeyBuilder } from './index-keys.ts'

export interface Position {
  readonly lat: number
  readonly lng: number
}

/** Latitude and longitude in turn; NaN where a document has none. */
export function readGeoBlock(table: Table, keys: KeyBuilder, block: number): Float64Array | undefined {
  const bytes = table.getBinary(keys.kindDocid(facetKind.geoBlock, block))
  return bytes === undefined ? undefined : new Float64Array(Uint8Array.from(bytes).buffer)
}

export class GeoBlocks {
  readonly #table: Table
  readonly #keys = new KeyBuilder()
  readonly #changed = new Map<number, Float64Array>()
  #hasAny: boolean | undefined

  constructor(table: Table) {
    this.#table = table
  }

  set(docid: number, position: Position | undefined): void {
    if (position === undefined && !this.#mayHave()) return
    const block = Math.floor(docid / geoBlockSize)
    let values = this.#changed.get(block)
    if (values === undefined) {
      values = readGeoBlock(this.#table, this.#keys, block)
      if (values === undefined && position === undefined) return
      values ??= new Float64Array(geoBlockSize * 2).fill(Number.NaN)
      this.#changed.set(block, values)
      this.#hasAny = true
    }
    const at = (docid % geoBlockSize) * 2
    values[at] = position?.lat ?? Number.NaN
    values[at + 1] = position?.lng ?? Number.NaN
  }

  flush(): void {
    for (const [block, values] of this.#changed) {
      const key = this.#keys.kindDocid(facetKind.geoBlock, block)
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
      const start = Uint8Array.of(facetKind.geoBlock)
      for (const _key of this.#table.getKeys({ start, end: Uint8Array.of(facetKind.geoBlock + 1), limit: 1 }))
        this.#hasAny = true
    }
    return this.#hasAny
  }
}
