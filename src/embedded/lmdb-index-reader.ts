/**
 * `IndexReader` over LMDB. A reader is used within one turn of the event loop, or inside a write transaction: that makes
 * all its reads one snapshot.
 */
import { Bitmap } from '../lib/bitmap.ts'
import { BitmapUnion } from '../lib/bitmap-union.ts'
import type { BitmapCache } from './bitmap-cache.ts'
import { shapesField } from './document-facts.ts'
import { decodeFacetValues } from './facet-values.ts'
import { boxBlocks, geoBlocks, readGeoBlock } from './geo-blocks.ts'
import { type IndexEnv, mainKeys, prefixesHold, readBitmap, type Table } from './index-env.ts'
import {
  cutFacetString,
  facetKind,
  geoBlockSize,
  KeyBuilder,
  keyAfter,
  numberAtEnd,
  postingKind,
  readOrderedFloat,
} from './index-keys.ts'
import type { DocId, FieldId, IndexReader } from './index-reader.ts'
import type { IndexSettings } from './index-settings.ts'
import { type IndexSnapshot, readSnapshot } from './index-snapshot.ts'
import { splitPair } from './posting-flush.ts'
import { isStoredPrefix, storedPositions, storedTolerant, uniteByNumber, uniteWords } from './prefix-unions.ts'
import type { Box } from './shape-box.ts'
import { decodeDocument, decodeDocumentId, type StoredDocument } from './stored-document.ts'
import { packStored, packVectors, type VectorBlock, type VectorCache, vectorBlockSize } from './vector-blocks.ts'
import { countVectors, type DecodedVectors, decodeVectors, readBlockFacts, versionOf } from './vector-table.ts'

const none = Bitmap.of()
const wordBytesMax = 250

export interface ReaderOptions {
  readonly snapshot?: IndexSnapshot
  readonly cache?: BitmapCache
  readonly vectorCache?: VectorCache
}

export class LmdbIndexReader implements IndexReader {
  readonly snapshot: IndexSnapshot
  readonly #env: IndexEnv
  readonly #cache: BitmapCache | undefined
  readonly #cacheName: string
  readonly #vectorCache: VectorCache | undefined
  readonly #keys = new KeyBuilder()
  readonly #geoBlocks = new Map<number, Float64Array | undefined>()
  #hasPrefixes: boolean | undefined
  #boxBlock: { readonly block: number; readonly values: Float64Array | undefined } | undefined

  constructor(env: IndexEnv, options: ReaderOptions = {}) {
    this.#env = env
    this.snapshot = options.snapshot ?? readSnapshot(env, undefined)
    this.#cache = options.cache
    this.#vectorCache = options.vectorCache
    this.#cacheName = `${env.folder}\0${this.snapshot.revision}\0`
  }

  get settings(): IndexSettings {
    return this.snapshot.settings
  }

  get primaryKey(): string | null {
    return this.snapshot.facts.primaryKey
  }

  get documentIds(): Bitmap {
    return this.snapshot.documentIds
  }

  get fieldNames(): readonly string[] {
    return this.snapshot.facts.fieldNames
  }

  get searchableFields(): IndexSnapshot['searchableFields'] {
    return this.snapshot.searchableFields
  }

  fieldId(name: string): FieldId | undefined {
    return this.snapshot.fieldIds.get(name)
  }

  fieldName(id: FieldId): string {
    return this.fieldNames[id]!
  }

  wordDocids(word: string): Bitmap {
    return isKeyable(word) ? this.#read(this.#env.postings, this.#keys.word(postingKind.word, word)) : none
  }

  exactWordDocids(word: string): Bitmap {
    return isKeyable(word) ? this.#read(this.#env.postings, this.#keys.word(postingKind.exact, word)) : none
  }

  *words(start: string): Iterable<string> {
    const options = start === '' ? {} : { start: Buffer.from(start) }
    for (const key of this.#env.vocabulary.getKeys(options)) yield textOf(key)
  }

  wordFieldDocids(word: string, field: FieldId): Bitmap {
    if (!isKeyable(word)) return none
    return this.#read(this.#env.postings, this.#keys.wordNumber(postingKind.field, word, field))
  }

  wordPositionDocids(word: string, bucket: number): Bitmap {
    if (!isKeyable(word)) return none
    return this.#read(this.#env.postings, this.#keys.wordNumber(postingKind.position, word, bucket))
  }

  *wordPositions(word: string): Iterable<number> {
    if (!isKeyable(word)) return
    const start = Buffer.from(this.#keys.wordNumber(postingKind.position, word, 0))
    const end = Buffer.from(start)
    end[end.length - 3] = 1
    for (const key of this.#env.postings.getKeys({ start, end })) yield numberAtEnd(key)
  }

  pairDocids(left: string, right: string, distance: 1 | 2 | 3): Bitmap {
    if (!isKeyable(left) || !isKeyable(right)) return none
    const read = () => {
      const bytes = this.#env.postings.getBinary(this.#keys.pair(left, right))
      const part = bytes === undefined ? undefined : splitPair(bytes)[distance - 1]
      return part === undefined ? none : Bitmap.deserialize(part)
    }
    return this.#cache === undefined ? read() : this.#cache.get(`${this.#cacheName}${distance}${left}\0${right}`, read)
  }

  prefixWordDocids(prefix: string): { readonly tolerant: Bitmap; readonly exact: Bitmap } {
    if (!isKeyable(prefix)) return { tolerant: none, exact: none }
    const stored = this.#isStored(prefix) ? storedTolerant(this.#env, this.#keys, prefix) : undefined
    if (stored !== undefined) return { tolerant: stored, exact: none }
    return {
      tolerant: uniteWords(this.#env, this.#keys, postingKind.word, prefix),
      exact: uniteWords(this.#env, this.#keys, postingKind.exact, prefix),
    }
  }

  prefixFieldDocids(prefix: string): ReadonlyMap<FieldId, Bitmap> {
    return isKeyable(prefix) ? uniteByNumber(this.#env, this.#keys, postingKind.field, prefix) : new Map()
  }

  prefixPositionDocids(prefix: string): ReadonlyMap<number, Bitmap> {
    if (!isKeyable(prefix)) return new Map()
    return this.#isStored(prefix)
      ? storedPositions(this.#env, this.#keys, prefix)
      : uniteByNumber(this.#env, this.#keys, postingKind.position, prefix)
  }

  prefixPairDocids(left: string, prefix: string, distance: 1 | 2 | 3): Bitmap {
    if (!isKeyable(left) || !isKeyable(prefix)) return none
    const start = Buffer.from(this.#keys.pair(left, prefix))
    const union = new BitmapUnion()
    for (const { value } of this.#env.postings.getRange({ start, end: keyAfter(start) })) {
      const part = splitPair(value)[distance - 1]
      if (part !== undefined) union.add(part)
    }
    return union.build()
  }

  fieldWordCountDocids(field: FieldId, count: number): Bitmap {
    return this.#read(this.#env.postings, this.#keys.fieldCount(field, count))
  }

  *facetNumbers(
    field: FieldId,
    from: number,
    to: number,
  ): Iterable<{ readonly value: number; readonly docids: Bitmap }> {
    const start = Buffer.from(this.#keys.facetNumber(field, from))
    const end = Buffer.from(this.#keys.facetNumber(field, to))
    for (const { key, value } of this.#env.facets.getRange({ start, end, inclusiveEnd: true }))
      yield { value: readOrderedFloat(key, 3), docids: Bitmap.deserialize(value) }
  }

  *facetStrings(
    field: FieldId,
    start: string,
  ): Iterable<{ readonly value: string; readonly original: string; readonly docids: Bitmap }> {
    const first = Buffer.from(this.#keys.facetString(field, cutFacetString(start)))
    const end = keyAfter(this.#keys.field(facetKind.string, field))
    for (const { key, value } of this.#env.facets.getRange({ start: first, end }))
      yield new FacetString(this, field, textOf(key.subarray(3)), Bitmap.deserialize(value))
  }

  facetString(field: FieldId, value: string): Bitmap {
    return this.#read(this.#env.facets, this.#keys.facetString(field, cutFacetString(value)))
  }

  facetNumber(field: FieldId, value: number): Bitmap {
    return this.#read(this.#env.facets, this.#keys.facetNumber(field, value))
  }

  facetExists(field: FieldId): Bitmap {
    return this.#read(this.#env.facets, this.#keys.field(facetKind.exists, field))
  }

  facetNull(field: FieldId): Bitmap {
    return this.#read(this.#env.facets, this.#keys.field(facetKind.isNull, field))
  }

  facetEmpty(field: FieldId): Bitmap {
    return this.#read(this.#env.facets, this.#keys.field(facetKind.isEmpty, field))
  }

  facetNumbersOf(docid: DocId, field: FieldId): readonly number[] {
    return decodeFacetValues(this.#facetValues(docid), field).numbers
  }

  facetStringsOf(docid: DocId, field: FieldId): readonly { readonly value: string; readonly original: string }[] {
    return decodeFacetValues(this.#facetValues(docid), field).strings
  }

  get geoDocids(): Bitmap {
    return this.#read(this.#env.facets, this.#keys.field(facetKind.geoDocids, 0))
  }

  get shapeDocids(): Bitmap {
    return this.#read(this.#env.facets, this.#keys.field(facetKind.geoDocids, shapesField))
  }

  /** Read one block at a time: filters ask in the order of documents. */
  shapeBoxOf(docid: DocId): Box | undefined {
    const block = Math.floor(docid / geoBlockSize)
    if (this.#boxBlock?.block !== block)
      this.#boxBlock = { block, values: readGeoBlock(this.#env.facets, this.#keys, boxBlocks, block) }
    const { values } = this.#boxBlock
    const at = (docid % geoBlockSize) * boxBlocks.width
    if (values === undefined || Number.isNaN(values[at]!)) return undefined
    return [values[at]!, values[at + 1]!, values[at + 2]!, values[at + 3]!]
  }

  geoOf(docid: DocId): { readonly lat: number; readonly lng: number } | undefined {
    const block = Math.floor(docid / geoBlockSize)
    if (!this.#geoBlocks.has(block))
      this.#geoBlocks.set(block, readGeoBlock(this.#env.facets, this.#keys, geoBlocks, block))
    const values = this.#geoBlocks.get(block)
    const at = (docid % geoBlockSize) * 2
    if (values === undefined || Number.isNaN(values[at]!)) return undefined
    return { lat: values[at]!, lng: values[at + 1]! }
  }

  document(docid: DocId): { readonly [key: string]: unknown } | undefined {
    const stored = this.storedDocument(docid)
    return stored === undefined ? undefined : (JSON.parse(stored.text) as { readonly [key: string]: unknown })
  }

  /** The document as text, for answers that pass it on. */
  storedDocument(docid: DocId): StoredDocument | undefined {
    const bytes = this.#env.documents.getBinary(this.#keys.docid(docid))
    return bytes === undefined ? undefined : decodeDocument(bytes)
  }

  /** Stored documents from number `from` on, ascending. */
  *storedDocuments(from: DocId): Iterable<StoredDocument & { readonly docid: DocId }> {
    for (const { key, value } of this.#env.documents.getRange({ start: Buffer.from(this.#keys.docid(from)) }))
      yield { docid: Buffer.from(key).readUInt32BE(0), ...decodeDocument(value) }
  }

  docidOf(documentId: string): DocId | undefined {
    if (documentId === '' || Buffer.byteLength(documentId) > 511) return undefined
    const bytes = this.#env.ids.getBinary(this.#keys.text(documentId))
    return bytes === undefined ? undefined : Buffer.from(bytes).readUInt32BE(0)
  }

  documentIdOf(docid: DocId): string {
    const bytes = this.#env.documents.getBinary(this.#keys.docid(docid))
    return bytes === undefined ? '' : decodeDocumentId(bytes)
  }

  vectorsOf(embedder: string, docid: DocId): readonly Float32Array[] {
    return this.givenVectors(embedder, docid)?.vectors ?? []
  }

  /** Vectors with whether they are to be computed again; undefined = the document says nothing of the embedder. */
  givenVectors(embedder: string, docid: DocId): DecodedVectors | undefined {
    const bytes = this.#env.vectors.getBinary(this.#keys.vector(embedder, docid))
    return bytes === undefined ? undefined : decodeVectors(bytes)
  }

  vectorDocids(embedder: string): Bitmap {
    return readBitmap(this.#env.main, mainKeys.vectorDocids(embedder))
  }

  *vectorBlocks(embedder: string, docids: readonly DocId[]): Iterable<VectorBlock> {
    const facts = readBlockFacts(this.#env, embedder)
    const all = this.vectorDocids(embedder).toArray()
    const stored = (docid: DocId) => this.#env.vectors.getBinaryFast(this.#keys.vector(embedder, docid))
    const pack = (of: readonly DocId[]) =>
      packStored(of, stored) ?? packVectors(of, (docid) => this.vectorsOf(embedder, docid))
    this.#vectorCache?.beginScan()
    let at = 0
    for (let from = 0; from < docids.length; ) {
      const block = Math.floor(docids[from]! / vectorBlockSize)
      const end = (block + 1) * vectorBlockSize
      let to = from
      while (to < docids.length && docids[to]! < end) to += 1
      while (all[at]! < block * vectorBlockSize) at += 1
      const start = at
      while (at < all.length && all[at]! < end) at += 1
      yield this.#vectorBlock(`${block}\0${embedder}`, versionOf(facts, block), {
        // Few documents of a block are read by themselves.
        few: (to - from) * 16 < at - start ? () => pack(docids.slice(from, to)) : undefined,
        whole: () => pack(all.slice(start, at)),
      })
      from = to
    }
  }

  /** How many vectors an embedder has, in all documents. */
  vectorCount(embedder: string): number {
    return countVectors(this.#env, embedder, this.vectorDocids(embedder))
  }

  #vectorBlock(
    name: string,
    version: number,
    read: { readonly few: (() => VectorBlock) | undefined; readonly whole: () => VectorBlock },
  ): VectorBlock {
    const known = this.#vectorCache?.get(this.#env.folder, name, version)
    if (known !== undefined) return known
    if (read.few !== undefined) return read.few()
    const block = read.whole()
    this.#vectorCache?.put(this.#env.folder, name, version, block)
    return block
  }

  #facetValues(docid: DocId): Uint8Array | undefined {
    return this.#env.facets.getBinary(this.#keys.kindDocid(facetKind.values, docid))
  }

  #isStored(prefix: string): boolean {
    this.#hasPrefixes ??= prefixesHold(this.#env)
    return this.#hasPrefixes && isStoredPrefix(this.#env, this.#keys, prefix)
  }

  #read(table: Table, key: Buffer): Bitmap {
    const read = () => {
      const bytes = table.getBinary(key)
      return bytes === undefined ? none : Bitmap.deserialize(bytes)
    }
    if (this.#cache === undefined) return read()
    // Kinds of both tables differ in their first byte, so one cache serves both.
    return this.#cache.get(this.#cacheName + key.toString('latin1'), read)
  }
}

/** `original` is looked up only when asked for: most values of a field are never shown. */
class FacetString {
  readonly value: string
  readonly docids: Bitmap
  readonly #reader: LmdbIndexReader
  readonly #field: FieldId

  constructor(reader: LmdbIndexReader, field: FieldId, value: string, docids: Bitmap) {
    this.#reader = reader
    this.#field = field
    this.value = value
    this.docids = docids
  }

  get original(): string {
    const lowest = this.docids.min()
    if (lowest === undefined) return this.value
    const strings = this.#reader.facetStringsOf(lowest, this.#field)
    return strings.find(({ value }) => value === this.value)?.original ?? this.value
  }
}

const isKeyable = (word: string): boolean =>
  word.length * 3 <= wordBytesMax || (word.length <= wordBytesMax && Buffer.byteLength(word) <= wordBytesMax)

const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
