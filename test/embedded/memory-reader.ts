/** An index in plain memory, for tests of search: small, slow to build, and without any storage. */
import { isExactField, isFaceted, localesOf, searchWeight, usesShapes } from '../../src/embedded/field-rules.ts'
import type { DocId, FieldId, IndexReader } from '../../src/embedded/index-reader.ts'
import type { IndexSettings } from '../../src/embedded/index-settings.ts'
import { type Box, boxOf, storedShape } from '../../src/embedded/shape-box.ts'
import { normaliseFacet } from '../../src/embedded/text/normalise.ts'
import { createTokenizer, eachWord, positionBucket, type Tokenizer } from '../../src/embedded/text/tokenize.ts'
import { packVectors, type VectorBlock } from '../../src/embedded/vector-blocks.ts'
import { Bitmap } from '../../src/lib/bitmap.ts'
import { isObject, type Json, type JsonObject } from '../../src/lib/json.ts'

export const defaultSettings: IndexSettings = {
  displayedAttributes: ['*'],
  searchableAttributes: ['*'],
  filterableAttributes: [],
  sortableAttributes: [],
  rankingRules: ['words', 'typo', 'proximity', 'attributeRank', 'sort', 'wordPosition', 'exactness'],
  stopWords: [],
  nonSeparatorTokens: [],
  separatorTokens: [],
  dictionary: [],
  synonyms: {},
  distinctAttribute: null,
  proximityPrecision: 'byWord',
  typoTolerance: {
    enabled: true,
    minWordSizeForTypos: { oneTypo: 5, twoTypos: 9 },
    disableOnWords: [],
    disableOnAttributes: [],
    disableOnNumbers: false,
  },
  faceting: { maxValuesPerFacet: 100, sortFacetValuesBy: { '*': 'alpha' } },
  pagination: { maxTotalHits: 1000 },
  embedders: {},
  searchCutoffMs: null,
  localizedAttributes: null,
  facetSearch: true,
  prefixSearch: 'indexingTime',
}

/** Settings with every feature on the named fields. */
export function filterable(...names: string[]): IndexSettings['filterableAttributes'] {
  return names.map((name) => ({
    attributePatterns: [name],
    features: { facetSearch: true, filter: { equality: true, comparison: true } },
    plain: true,
  }))
}

class Postings<K> {
  readonly lists = new Map<K, number[]>()
  readonly #bitmaps = new Map<K, Bitmap>()

  add(key: K, docid: number): void {
    const list = this.lists.get(key)
    if (list === undefined) this.lists.set(key, [docid])
    else if (list.at(-1) !== docid) list.push(docid)
  }

  get(key: K): Bitmap {
    let bitmap = this.#bitmaps.get(key)
    if (bitmap === undefined) {
      bitmap = Bitmap.from(this.lists.get(key) ?? [])
      this.#bitmaps.set(key, bitmap)
    }
    return bitmap
  }
}

const byBytes = (left: string, right: string) => Buffer.compare(Buffer.from(left), Buffer.from(right))

export class MemoryReader implements IndexReader {
  readonly settings: IndexSettings
  readonly primaryKey: string | null
  readonly documentIds: Bitmap
  readonly fieldNames: string[] = []
  readonly #ids = new Map<string, FieldId>()
  readonly #documents: readonly JsonObject[]
  readonly #tokenizer: Tokenizer
  readonly #tolerant = new Postings<string>()
  readonly #exact = new Postings<string>()
  readonly #inField = new Postings<string>()
  readonly #inBucket = new Postings<string>()
  readonly #buckets = new Map<string, Set<number>>()
  readonly #pairs = new Map<string, Map<number, number>>()
  readonly #counts = new Postings<string>()
  readonly #numbers = new Map<FieldId, Postings<number>>()
  readonly #strings = new Map<FieldId, Postings<string>>()
  readonly #originals = new Map<string, string>()
  readonly #facts = new Postings<string>()
  readonly #valuesOf = new Map<string, { numbers: number[]; strings: { value: string; original: string }[] }>()
  readonly #geo = new Map<DocId, { lat: number; lng: number }>()
  readonly #vectors = new Map<string, Map<DocId, readonly Float32Array[]>>()
  readonly #vocabulary: readonly string[]
  readonly searchableFields: IndexReader['searchableFields']

  constructor(documents: readonly JsonObject[], settings: Partial<IndexSettings> = {}, primaryKey = 'id') {
    this.settings = { ...defaultSettings, ...settings }
    this.primaryKey = primaryKey
    this.#tokenizer = createTokenizer(this.settings)
    this.documentIds = Bitmap.range(0, documents.length)
    this.#documents = documents.map(({ _vectors, ...document }, docid) => {
      this.#addVectors(docid, _vectors)
      return document
    })
    for (const document of this.#documents) for (const name of Object.keys(document)) this.#id(name)
    for (const [docid, document] of this.#documents.entries()) this.#index(docid, document)
    this.#vocabulary = [...new Set([...this.#tolerant.lists.keys(), ...this.#exact.lists.keys()])].sort(byBytes)
    this.searchableFields = this.fieldNames
      .flatMap((name, id) => {
        const weight = searchWeight(this.settings, name)
        return weight === undefined ? [] : [{ id, name, weight }]
      })
      .sort((left, right) => left.weight - right.weight)
  }

  fieldId(name: string): FieldId | undefined {
    return this.#ids.get(name)
  }
  fieldName(id: FieldId): string {
    return this.fieldNames[id] ?? ''
  }
  wordDocids(word: string): Bitmap {
    return this.#tolerant.get(word)
  }
  exactWordDocids(word: string): Bitmap {
    return this.#exact.get(word)
  }
  *words(start: string): Iterable<string> {
    let low = 0
    let high = this.#vocabulary.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (byBytes(this.#vocabulary[middle]!, start) < 0) low = middle + 1
      else high = middle
    }
    for (; low < this.#vocabulary.length; low += 1) yield this.#vocabulary[low]!
  }
  wordFieldDocids(word: string, field: FieldId): Bitmap {
    return this.#inField.get(`${field} ${word}`)
  }
  wordPositionDocids(word: string, bucket: number): Bitmap {
    return this.#inBucket.get(`${bucket} ${word}`)
  }
  wordPositions(word: string): Iterable<number> {
    return [...(this.#buckets.get(word) ?? [])].sort((left, right) => left - right)
  }
  pairDocids(left: string, right: string, distance: 1 | 2 | 3): Bitmap {
    const found = [...(this.#pairs.get(`${left} ${right}`) ?? [])].filter(([, smallest]) => smallest === distance)
    return Bitmap.from(found.map(([docid]) => docid))
  }
  fieldWordCountDocids(field: FieldId, count: number): Bitmap {
    return this.#counts.get(`${field} ${count}`)
  }
  *facetNumbers(field: FieldId, from: number, to: number): Iterable<{ value: number; docids: Bitmap }> {
    const postings = this.#numbers.get(field)
    for (const value of [...(postings?.lists.keys() ?? [])].sort((left, right) => left - right))
      if (value >= from && value <= to) yield { value, docids: this.facetNumber(field, value) }
  }
  *facetStrings(field: FieldId, start: string): Iterable<{ value: string; original: string; docids: Bitmap }> {
    const postings = this.#strings.get(field)
    for (const value of [...(postings?.lists.keys() ?? [])].sort(byBytes)) {
      const original = this.#originals.get(`${field} ${value}`) ?? value
      if (byBytes(value, start) >= 0) yield { value, original, docids: this.facetString(field, value) }
    }
  }
  facetString(field: FieldId, value: string): Bitmap {
    return this.#strings.get(field)?.get(value) ?? Bitmap.of()
  }
  facetNumber(field: FieldId, value: number): Bitmap {
    return this.#numbers.get(field)?.get(value) ?? Bitmap.of()
  }
  facetExists(field: FieldId): Bitmap {
    return this.#facts.get(`exists ${field}`)
  }
  facetNull(field: FieldId): Bitmap {
    return this.#facts.get(`null ${field}`)
  }
  facetEmpty(field: FieldId): Bitmap {
    return this.#facts.get(`empty ${field}`)
  }
  facetNumbersOf(docid: DocId, field: FieldId): readonly number[] {
    return this.#valuesOf.get(`${docid} ${field}`)?.numbers ?? []
  }
  facetStringsOf(docid: DocId, field: FieldId): readonly { value: string; original: string }[] {
    return this.#valuesOf.get(`${docid} ${field}`)?.strings ?? []
  }
  get geoDocids(): Bitmap {
    return Bitmap.from(this.#geo.keys())
  }
  geoOf(docid: DocId): { lat: number; lng: number } | undefined {
    return this.#geo.get(docid)
  }
  get shapeDocids(): Bitmap {
    return this.documentIds.clone()
  }
  shapeBoxOf(docid: DocId): Box | undefined {
    return usesShapes(this.settings) ? boxOf(storedShape(this.#documents[docid]?._geojson)) : undefined
  }
  document(docid: DocId): JsonObject | undefined {
    return this.#documents[docid]
  }
  storedDocument(docid: DocId): { readonly text: string } | undefined {
    const document = this.#documents[docid]
    return document === undefined ? undefined : { text: JSON.stringify(document) }
  }
  docidOf(documentId: string): DocId | undefined {
    const found = this.#documents.findIndex((document) => String(document[this.primaryKey ?? 'id']) === documentId)
    return found < 0 ? undefined : found
  }
  documentIdOf(docid: DocId): string {
    return String(this.#documents[docid]?.[this.primaryKey ?? 'id'])
  }
  vectorsOf(embedder: string, docid: DocId): readonly Float32Array[] {
    return this.#vectors.get(embedder)?.get(docid) ?? []
  }
  givenVectors(embedder: string, docid: DocId) {
    const vectors = this.#vectors.get(embedder)?.get(docid)
    return vectors === undefined ? undefined : { vectors, regenerate: false, isGenerated: false }
  }
  vectorBlocks(embedder: string, docids: readonly DocId[]): Iterable<VectorBlock> {
    return [packVectors(docids, (docid) => this.vectorsOf(embedder, docid))]
  }
  vectorDocids(embedder: string): Bitmap {
    return Bitmap.from(this.#vectors.get(embedder)?.keys() ?? [])
  }

  #id(name: string): FieldId {
    const known = this.#ids.get(name)
    if (known !== undefined) return known
    this.#ids.set(name, this.fieldNames.length)
    this.fieldNames.push(name)
    return this.fieldNames.length - 1
  }

  #index(docid: DocId, document: JsonObject): void {
    const places = new Map<FieldId, { next: number; words: [string, number][] }>()
    const visit = (name: string, value: Json, isBase: boolean): void => {
      const field = this.#id(name)
      const faceted = isFaceted(this.settings, name)
      if (faceted) this.#facts.add(`exists ${field}`, docid)
      if (faceted && isBase && value === null) this.#facts.add(`null ${field}`, docid)
      const isEmpty =
        value === '' ||
        (Array.isArray(value) && value.length === 0) ||
        (isObject(value) && Object.keys(value).length === 0)
      if (faceted && isBase && isEmpty) this.#facts.add(`empty ${field}`, docid)
      if (Array.isArray(value)) for (const item of value as readonly Json[]) visit(name, item, false)
      else if (isObject(value)) for (const [key, inner] of Object.entries(value)) visit(`${name}.${key}`, inner, true)
      else if (value !== null) {
        if (searchWeight(this.settings, name) !== undefined) {
          const place = places.get(field) ?? { next: 0, words: [] }
          places.set(field, place)
          const tokens = this.#tokenizer.tokenize(String(value), localesOf(this.settings, name))
          place.next = eachWord(tokens, place.next, (word, position) => place.words.push([word, position]))
        }
        if (faceted && value !== '') this.#addFacet(docid, field, value as string | number | boolean)
      }
    }
    for (const [name, value] of Object.entries(document)) visit(name, value, true)
    for (const [field, { words }] of places) this.#addWords(docid, field, words)
    const { _geo } = document
    if (isObject(_geo) && isFaceted(this.settings, '_geo'))
      this.#geo.set(docid, { lat: Number(_geo.lat), lng: Number(_geo.lng) })
  }

  #addWords(docid: DocId, field: FieldId, words: readonly (readonly [string, number])[]): void {
    const isExact = isExactField(this.settings, this.fieldName(field))
    for (const [index, [word, position]] of words.entries()) {
      const isNumber = this.settings.typoTolerance.disableOnNumbers && /^[+-]?\d+(\.\d+)?$/.test(word)
      ;(isExact || isNumber ? this.#exact : this.#tolerant).add(word, docid)
      this.#inField.add(`${field} ${word}`, docid)
      const bucket = positionBucket(position)
      this.#inBucket.add(`${bucket} ${word}`, docid)
      const buckets = this.#buckets.get(word) ?? new Set()
      this.#buckets.set(word, buckets.add(bucket))
      for (const [right, other] of words.slice(index + 1)) {
        const distance = other - position
        if (distance > 3) break
        const pairs = this.#pairs.get(`${word} ${right}`) ?? new Map<number, number>()
        this.#pairs.set(`${word} ${right}`, pairs)
        if (distance > 0) pairs.set(docid, Math.min(distance, pairs.get(docid) ?? distance))
      }
    }
    if (words.length > 0 && words.length <= 30) this.#counts.add(`${field} ${words.length}`, docid)
  }

  #addFacet(docid: DocId, field: FieldId, raw: string | number | boolean): void {
    const values = this.#valuesOf.get(`${docid} ${field}`) ?? { numbers: [], strings: [] }
    this.#valuesOf.set(`${docid} ${field}`, values)
    if (typeof raw === 'number') {
      const postings = this.#numbers.get(field) ?? new Postings<number>()
      this.#numbers.set(field, postings)
      postings.add(raw, docid)
      if (!values.numbers.includes(raw)) values.numbers.push(raw)
      return
    }
    const original = String(raw)
    const value = normaliseFacet(original)
    const postings = this.#strings.get(field) ?? new Postings<string>()
    this.#strings.set(field, postings)
    postings.add(value, docid)
    if (!this.#originals.has(`${field} ${value}`)) this.#originals.set(`${field} ${value}`, original)
    if (!values.strings.some((known) => known.value === value)) values.strings.push({ value, original })
  }

  #addVectors(docid: DocId, sent: Json | undefined): void {
    if (sent === undefined || !isObject(sent)) return
    for (const [name, value] of Object.entries(sent)) {
      const embeddings = isObject(value) ? value.embeddings : value
      if (!Array.isArray(embeddings)) continue
      const list = (Array.isArray(embeddings[0]) ? embeddings : [embeddings]) as readonly (readonly number[])[]
      const vectors = this.#vectors.get(name) ?? new Map<DocId, readonly Float32Array[]>()
      this.#vectors.set(
        name,
        vectors.set(
          docid,
          list.map((vector) => Float32Array.from(vector)),
        ),
      )
    }
  }
}
