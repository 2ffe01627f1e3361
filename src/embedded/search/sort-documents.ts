/** The order of a listing of documents by `sort` (M-E6). */
import type { Bitmap } from '../../lib/bitmap.ts'
import type { IndexReader } from '../index-reader.ts'
import { bucketSort } from './bucket-sort.ts'
import { checkSort, parseSort } from './sort-criteria.ts'
import { GeoSortRule, SortRule } from './sort-rules.ts'

/**
 * Document numbers of one page of `candidates`, sorted; ties in number order.
 * @throws ApiError `invalid_document_sort`, messages 50 and 51.
 */
export function sortDocuments(
  reader: IndexReader,
  sort: readonly string[],
  candidates: Bitmap,
  page: { readonly offset: number; readonly limit: number },
): readonly number[] {
  const criteria = parseSort(sort, 'invalid_document_sort')
  checkSort(reader, criteria, 'invalid_document_sort')
  const rules = criteria.map((criterion) =>
    criterion.kind === 'field'
      ? new SortRule(reader, criterion.field, criterion.ascending)
      : new GeoSortRule(reader, criterion.point, criterion.ascending),
  )
  const { docids } = bucketSort({
    reader,
    rules,
    graph: null,
    universe: candidates,
    distinct: null,
    from: page.offset,
    length: page.limit,
    needsScores: false,
    threshold: null,
    countedMax: null,
    isLate: () => false,
  })
  return docids
}
