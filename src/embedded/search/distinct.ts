/** At most one document per value of an attribute (M-F11). */
import { Bitmap } from '../../lib/bitmap.ts'
import type { FieldId, IndexReader } from '../index-reader.ts'

/** Every document that shares a value with `docid`, itself included; empty when it has none. */
export function sharesValue(reader: IndexReader, field: FieldId, docid: number): Bitmap {
  const found: Bitmap[] = []
  for (const { value } of reader.facetStringsOf(docid, field)) found.push(reader.facetString(field, value))
  for (const value of reader.facetNumbersOf(docid, field)) found.push(reader.facetNumber(field, value))
  return Bitmap.union(found)
}

export interface DistinctDocids {
  readonly kept: Bitmap
  readonly excluded: Bitmap
}

/** Keeps the lowest number of each group. `excluded` may hold kept ones, and any outside `candidates`. */
export function keepDistinct(reader: IndexReader, field: FieldId, candidates: Bitmap): DistinctDocids {
  const kept: number[] = []
  let excluded = Bitmap.of()
  for (const docid of candidates) {
    if (excluded.has(docid)) continue
    kept.push(docid)
    excluded = excluded.or(sharesValue(reader, field, docid))
  }
  return { kept: Bitmap.from(kept), excluded }
}
