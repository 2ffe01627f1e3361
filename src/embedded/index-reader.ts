/**
 * What search may ask of one index, within one read transaction: the border between storage (writes these) and search
 * (reads these). Document numbers (`docid`) are internal, dense-ish, reused after deletes. Every bitmap handed out is
 * read-only for the receiver.
 */
import type { Bitmap } from '../lib/bitmap.ts'
import type { IndexSettings } from './index-settings.ts'
import type { Box } from './shape-box.ts'
import type { VectorBlock } from './vector-blocks.ts'
import type { DecodedVectors } from './vector-table.ts'

export type DocId = number
/** Number of a flattened field name (`a.b`), given when the index first meets it. */
export type FieldId = number

/** Stands for the words of an index while they can be followed, and for its settings. */
export interface KeptWords {
  version: number
  /** Words that came (true) or went since whoever keeps words took these. */
  readonly changes: Map<string, boolean>
}

export interface IndexReader {
  /** The same object for as long as the index stays as it is: search keeps unions by it, and word lists by its words. Absent = the reader itself. */
  readonly snapshot?: { readonly words: KeptWords }
  readonly settings: IndexSettings
  readonly primaryKey: string | null
  readonly documentIds: Bitmap
  /** Top-level and nested names that occur in documents. Order = order in which the index first met them. */
  readonly fieldNames: readonly string[]
  fieldId(name: string): FieldId | undefined
  fieldName(id: FieldId): string
  /** Searchable fields that exist, with their weight (0 = most important; M-D2), in weight order. */
  readonly searchableFields: readonly { readonly id: FieldId; readonly name: string; readonly weight: number }[]

  // Words (normalised forms).
  /** Documents with a typo-tolerant occurrence of the word in any searchable field. */
  wordDocids(word: string): Bitmap
  /** Documents with an occurrence that allows no typo: in a field of `disableOnAttributes`, or a number (M-F4). */
  exactWordDocids(word: string): Bitmap
  /** Vocabulary, exact-only words too, in order of UTF-8 bytes, from `start` (inclusive); stops when the consumer stops. */
  words(start: string): Iterable<string>
  wordFieldDocids(word: string, field: FieldId): Bitmap
  /** `bucket`: bucketed position (M-F2), in any field. */
  wordPositionDocids(word: string, bucket: number): Bitmap
  /** Buckets in which the word occurs, ascending. */
  wordPositions(word: string): Iterable<number>
  /** Documents in which `right` stands `distance` (1, 2, 3) after `left`, smallest distance per document. */
  pairDocids(left: string, right: string, distance: 1 | 2 | 3): Bitmap
  // Range reads, for prefixes of many words. A reader that leaves them out is asked word by word.
  /** All of `wordDocids`, and all of `exactWordDocids`, for the words that begin with `prefix`. */
  prefixWordDocids?(prefix: string): { readonly tolerant: Bitmap; readonly exact: Bitmap }
  /** All of `wordFieldDocids` for the words that begin with `prefix`, by field. */
  prefixFieldDocids?(prefix: string): ReadonlyMap<FieldId, Bitmap>
  /** All of `wordPositionDocids` for the words that begin with `prefix`, by bucket. */
  prefixPositionDocids?(prefix: string): ReadonlyMap<number, Bitmap>
  /** All of `pairDocids(left, …, distance)` for right words that begin with `prefix`. */
  prefixPairDocids?(left: string, prefix: string, distance: 1 | 2 | 3): Bitmap
  /** Documents whose field has exactly `count` words (1 to 30). */
  fieldWordCountDocids(field: FieldId, count: number): Bitmap

  // Facets: every filterable, sortable, distinct or custom-ranked field.
  /** Numbers of a field with their documents, ascending; bounds inclusive. */
  facetNumbers(field: FieldId, from: number, to: number): Iterable<{ readonly value: number; readonly docids: Bitmap }>
  /** Normalised strings of a field with their documents, ascending by bytes, from `start`. `original`: the spelling of the lowest docid. */
  facetStrings(
    field: FieldId,
    start: string,
  ): Iterable<{ readonly value: string; readonly original: string; readonly docids: Bitmap }>
  facetString(field: FieldId, value: string): Bitmap
  facetNumber(field: FieldId, value: number): Bitmap
  facetExists(field: FieldId): Bitmap
  facetNull(field: FieldId): Bitmap
  facetEmpty(field: FieldId): Bitmap
  /** Values of one document, for distinct and sort. */
  facetNumbersOf(docid: DocId, field: FieldId): readonly number[]
  facetStringsOf(docid: DocId, field: FieldId): readonly { readonly value: string; readonly original: string }[]
  /** Documents with a valid `_geo`. */
  readonly geoDocids: Bitmap
  geoOf(docid: DocId): { readonly lat: number; readonly lng: number } | undefined
  /** Documents with a shape in `_geojson`, where shapes are used. */
  readonly shapeDocids: Bitmap
  /** A box around the document's shape. */
  shapeBoxOf(docid: DocId): Box | undefined

  // Documents and vectors.
  /** The stored document, parsed, without `_vectors` of embedders. Key order: see M-F15. */
  document(docid: DocId): { readonly [key: string]: unknown } | undefined
  /** The document as it is stored. */
  storedDocument(docid: DocId): { readonly text: string } | undefined
  docidOf(documentId: string): DocId | undefined
  documentIdOf(docid: DocId): string
  /** Vectors of a document for an embedder; empty when it has none. */
  vectorsOf(embedder: string, docid: DocId): readonly Float32Array[]
  /** Vectors with whether they are computed anew; undefined = the embedder knows nothing of the document. */
  givenVectors(embedder: string, docid: DocId): DecodedVectors | undefined
  vectorDocids(embedder: string): Bitmap
  /** Vectors of at least the documents `docids` (ascending, all of them in `vectorDocids`), blocks ascending. */
  vectorBlocks(embedder: string, docids: readonly DocId[]): Iterable<VectorBlock>
}
