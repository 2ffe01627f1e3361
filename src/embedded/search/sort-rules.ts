/** Rules that rank by values of documents: `field:asc`, `field:desc` and distance from a point (M-F10). */
import { Bitmap } from '../../lib/bitmap.ts'
import type { IndexReader } from '../index-reader.ts'
import { haversineMetres, type Point } from './geo.ts'
import type { QueryGraph } from './query-graph.ts'
import type { Bucket, RankingRule } from './ranking-rule.ts'
import { compareSortValues } from './score.ts'

/** Up to this many documents, values are read document by document; beyond, along the field's values. */
const documentsReadMax = 2000
const geoBucketSizeMax = 1000
/** Distances closer than this are equal. */
const geoErrorMetres = 1

export class SortRule implements RankingRule {
  readonly #reader: IndexReader
  readonly #field: string
  readonly #ascending: boolean
  readonly #isHidden: boolean
  #graph: QueryGraph | null = null
  #buckets: Iterator<ValueBucket> | undefined

  constructor(reader: IndexReader, field: string, ascending: boolean) {
    this.#reader = reader
    this.#field = field
    this.#ascending = ascending
    const { displayedAttributes } = reader.settings
    this.#isHidden = !displayedAttributes.includes('*') && !displayedAttributes.includes(field)
  }

  start(universe: Bitmap, graph: QueryGraph | null): void {
    this.#graph = graph
    this.#buckets = sortedBuckets(this.#reader, this.#field, this.#ascending, universe)
  }

  next(universe: Bitmap): Bucket {
    const found = this.#buckets?.next()
    const value = found?.done === false ? found.value.value : null
    const candidates = found?.done === false ? found.value.docids.and(universe) : universe
    return {
      graph: this.#graph,
      candidates,
      score: { kind: 'sort', field: this.#field, ascending: this.#ascending, isHidden: this.#isHidden, value },
    }
  }

  end(): void {
    this.#buckets = undefined
  }
}

/** The documents of `universe` that have a value, in buckets of equal values. */
export function* sortedBuckets(
  reader: IndexReader,
  name: string,
  ascending: boolean,
  universe: Bitmap,
): Generator<ValueBucket> {
  const field = reader.fieldId(name)
  if (field === undefined) return
  if (universe.size <= documentsReadMax) {
    yield* bucketsOfDocuments(reader, field, ascending, universe)
    return
  }
  yield* bucketsAlongValues(reader, field, ascending, universe)
}

function* bucketsOfDocuments(
  reader: IndexReader,
  field: number,
  ascending: boolean,
  universe: Bitmap,
): Generator<ValueBucket> {
  const byValue = new Map<number | string, number[]>()
  for (const docid of universe) {
    const numbers = reader.facetNumbersOf(docid, field)
    const value =
      numbers.length > 0
        ? pick(numbers, ascending)
        : pick(
            reader.facetStringsOf(docid, field).map((string) => string.value),
            ascending,
          )
    if (value === undefined) continue
    const docids = byValue.get(value)
    if (docids === undefined) byValue.set(value, [docid])
    else docids.push(docid)
  }
  const values = [...byValue.keys()].sort((left, right) => -compareSortValues(ascending, left, right))
  for (const value of values) yield { value, docids: Bitmap.from(byValue.get(value) ?? []) }
}

function pick<T extends number | string>(values: readonly T[], ascending: boolean): T | undefined {
  let picked: T | undefined
  for (const value of values) if (picked === undefined || (ascending ? value < picked : value > picked)) picked = value
  return picked
}

function* bucketsAlongValues(
  reader: IndexReader,
  field: number,
  ascending: boolean,
  universe: Bitmap,
): Generator<ValueBucket> {
  const numbers = (from: number | null, before: number | null) =>
    reader.facetNumbers(field, from ?? Number.NEGATIVE_INFINITY, before ?? Number.POSITIVE_INFINITY)
  const strings = (from: string | null) => reader.facetStrings(field, from ?? '')
  let left = universe
  function* within(entries: Iterable<ValueBucket>): Generator<ValueBucket> {
    for (const { value, docids } of entries) {
      if (left.isEmpty()) return
      const found = docids.and(left)
      if (found.isEmpty()) continue
      left = left.andNot(found)
      yield { value, docids: found }
    }
  }
  // A document with numbers is ranked by them alone, whatever strings it has as well.
  if (ascending) {
    yield* within(numbers(null, null))
    yield* within(strings(null))
    return
  }
  const sample = sampleOf(universe)
  const someNumbers = sample.flatMap((docid) => reader.facetNumbersOf(docid, field))
  yield* within(descending(someNumbers, numbers))
  const someStrings = sample.flatMap((docid) => reader.facetStringsOf(docid, field).map(({ value }) => value))
  yield* within(descending(someStrings, strings))
}

interface ValueBucket {
  readonly value: number | string
  readonly docids: Bitmap
}

/** Documents looked at to guess where the high values begin. */
const sampleSize = 256
/** Shares of the sample at which a list of values is cut, so that its upper end can be read without the rest. */
const sampleCuts = [0.98, 0.9, 0.7, 0.4]

function sampleOf(universe: Bitmap): readonly number[] {
  const docids = universe.toArray()
  const step = Math.max(1, Math.floor(docids.length / sampleSize))
  return docids.filter((_, index) => index % step === 0)
}

/** Values from the highest down, read in pieces: lists can only be read upwards. */
function* descending<T extends number | string>(
  sample: readonly T[],
  read: (from: T | null, before: T | null) => Iterable<{ readonly value: T; readonly docids: Bitmap }>,
): Generator<ValueBucket> {
  const sorted = [...sample].sort((left, right) => (left < right ? -1 : left > right ? 1 : 0))
  const cuts = new Set(sampleCuts.map((share) => sorted[Math.floor(share * sorted.length)] ?? null))
  let before: T | null = null
  for (const from of [...cuts, null]) {
    if (from === before && from !== null) continue
    const piece: ValueBucket[] = []
    for (const entry of read(from, before)) {
      if (before !== null && entry.value >= before) break
      piece.push(entry)
    }
    yield* piece.reverse()
    if (from === null) return
    before = from
  }
}

export class GeoSortRule implements RankingRule {
  readonly #reader: IndexReader
  readonly #target: Point
  readonly #ascending: boolean
  #graph: QueryGraph | null = null
  #sorted: readonly Place[] = []
  #at = 0

  constructor(reader: IndexReader, target: Point, ascending: boolean) {
    this.#reader = reader
    this.#target = target
    this.#ascending = ascending
  }

  start(universe: Bitmap, graph: QueryGraph | null): void {
    this.#graph = graph
    this.#sorted = sortByDistance(this.#reader, this.#target, this.#ascending, universe)
    this.#at = 0
  }

  next(universe: Bitmap): Bucket {
    const docids: number[] = []
    let first: Place | undefined
    for (; this.#at < this.#sorted.length && docids.length < geoBucketSizeMax; this.#at += 1) {
      const place = this.#sorted[this.#at]!
      if (!universe.has(place.docid)) continue
      if (first !== undefined && Math.abs(first.metres - place.metres) > geoErrorMetres) break
      first ??= place
      docids.push(place.docid)
    }
    const score = { kind: 'geoSort', target: this.#target, ascending: this.#ascending } as const
    if (first === undefined) return { graph: this.#graph, candidates: universe, score: { ...score, point: null } }
    return { graph: this.#graph, candidates: Bitmap.from(docids), score: { ...score, point: first.point } }
  }

  end(): void {
    this.#sorted = []
  }
}

interface Place {
  readonly docid: number
  readonly point: Point
  /** From the target. */
  readonly metres: number
}

/** Documents with a place, nearest (or farthest) first. */
export function sortByDistance(
  reader: IndexReader,
  target: Point,
  ascending: boolean,
  universe: Bitmap,
): readonly Place[] {
  const places: Place[] = []
  for (const docid of reader.geoDocids.and(universe)) {
    const point = reader.geoOf(docid)
    if (point !== undefined) places.push({ docid, point, metres: haversineMetres(target, point) })
  }
  const direction = ascending ? 1 : -1
  return places.sort((left, right) => direction * (left.metres - right.metres) || left.docid - right.docid)
}
