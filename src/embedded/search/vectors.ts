/** Nearest vectors, by looking at all of them (M-F17). */
import { ApiError, type ErrorCode } from '../../api/errors.ts'
import { Bitmap } from '../../lib/bitmap.ts'
import type { JsonObject } from '../../lib/json.ts'
import { distributionOf } from '../embedders/distribution.ts'
import type { IndexReader } from '../index-reader.ts'
import { quantised } from '../vector-table.ts'
import type { QueryGraph } from './query-graph.ts'
import type { Bucket, RankingRule } from './ranking-rule.ts'

export interface Embedder {
  readonly name: string
  readonly settings: JsonObject
}

/** Message 36. */
export function embedderOf(reader: IndexReader, name: string, code: ErrorCode): Embedder {
  const settings = reader.settings.embedders[name]
  if (settings === undefined) throw new ApiError(code, `Cannot find embedder with name \`${name}\`.`)
  return { name, settings }
}

/** Message 33. */
export function checkDimensions({ settings }: Embedder, vector: readonly number[]): void {
  const { dimensions } = settings
  if (typeof dimensions === 'number' && dimensions !== vector.length)
    throw new ApiError(
      'invalid_vector_dimensions',
      `Invalid vector dimensions: expected: \`${dimensions}\`, found: \`${vector.length}\`.`,
    )
}

export interface Neighbour {
  readonly docid: number
  /** 0 to 1. */
  readonly similarity: number
}

/**
 * Documents of `universe` with a vector, most similar to any of `targets` first; ties by number.
 *
 * @param pairing  `by-place`: the first vector of one document is held against the first of the other and so on, as the
 *                 reference compares documents.
 */
export function nearest(
  reader: IndexReader,
  embedder: Embedder,
  targets: readonly ArrayLike<number>[],
  universe: Bitmap,
  pairing: 'any' | 'by-place' = 'any',
): readonly Neighbour[] {
  const prepared = targets.map((target) => prepare(target, isQuantised(embedder)))
  const neighbours: Neighbour[] = []
  for (const docid of reader.vectorDocids(embedder.name).and(universe)) {
    let best = Number.NEGATIVE_INFINITY
    for (const [place, vector] of reader.vectorsOf(embedder.name, docid).entries()) {
      const own = prepare(vector, isQuantised(embedder))
      const others = pairing === 'any' ? prepared : prepared.slice(place, place + 1)
      for (const target of others) best = Math.max(best, similarity(target, own))
    }
    if (best !== Number.NEGATIVE_INFINITY) neighbours.push({ docid, similarity: shift(embedder, Math.fround(best)) })
  }
  return neighbours.sort((left, right) => right.similarity - left.similarity || left.docid - right.docid)
}

function isQuantised({ settings }: Embedder): boolean {
  return settings.binaryQuantized === true
}

interface Prepared {
  /** Of one kind everywhere: the loops over them are most of the work. */
  readonly values: Float32Array
  readonly norm: number
  /** Quantised: every value is 0 or 1. */
  readonly isBits: boolean
}

function prepare(values: ArrayLike<number>, isBits: boolean): Prepared {
  const used = isBits ? quantised(values) : values instanceof Float32Array ? values : Float32Array.from(values)
  return { values: used, norm: Math.sqrt(dotProduct(used, used, used.length)), isBits }
}

/** (1 + cosine) / 2; of quantised vectors the share of equal bits, in whole words of 64 of which the last may be padded. */
function similarity(left: Prepared, right: Prepared): number {
  const length = Math.min(left.values.length, right.values.length)
  if (left.isBits) {
    let different = 0
    for (let index = 0; index < length; index += 1) if (left.values[index] !== right.values[index]) different += 1
    return 1 - different / (64 * Math.max(1, Math.ceil(length / 64)))
  }
  if (left.norm === 0 || right.norm === 0) return 0.5
  return (1 + dotProduct(left.values, right.values, length) / (left.norm * right.norm)) / 2
}

function dotProduct(left: Float32Array, right: Float32Array, length: number): number {
  let dot = 0
  for (let index = 0; index < length; index += 1) dot += left[index]! * right[index]!
  return dot
}

/** Moves similarities of a known distribution to where scores of keyword search are. In 32-bit floats, as the reference. */
function shift({ settings }: Embedder, raw: number): number {
  const distribution = distributionOf(settings)
  if (distribution === null) return raw
  const factor = Math.fround(Math.fround(0.4) / Math.fround(distribution.sigma))
  const offset = Math.fround(0.5 - Math.fround(factor * Math.fround(distribution.mean)))
  const shifted = Math.fround(Math.fround(factor * raw) + offset)
  return shifted <= 0 ? floatEpsilon : Math.min(1, shifted)
}

const floatEpsilon = 2 ** -23

/** Ranks by similarity; documents without a vector come last. */
export class VectorRule implements RankingRule {
  readonly #reader: IndexReader
  readonly #embedder: Embedder
  readonly #target: readonly number[]
  #graph: QueryGraph | null = null
  #neighbours: readonly Neighbour[] = []
  #at = 0

  constructor(reader: IndexReader, embedder: Embedder, target: readonly number[]) {
    this.#reader = reader
    this.#embedder = embedder
    this.#target = target
  }

  start(universe: Bitmap, graph: QueryGraph | null): void {
    this.#graph = graph
    this.#neighbours = nearest(this.#reader, this.#embedder, [this.#target], universe)
    this.#at = 0
  }

  next(universe: Bitmap): Bucket {
    while (this.#at < this.#neighbours.length) {
      const { similarity: value } = this.#neighbours[this.#at]!
      const docids: number[] = []
      for (; this.#neighbours[this.#at]?.similarity === value; this.#at += 1)
        docids.push(this.#neighbours[this.#at]!.docid)
      const candidates = Bitmap.from(docids).and(universe)
      if (!candidates.isEmpty()) return { graph: this.#graph, candidates, score: { kind: 'vector', similarity: value } }
    }
    return { graph: this.#graph, candidates: universe, score: { kind: 'vector', similarity: null } }
  }

  nextWithoutWork(universe: Bitmap): Bucket {
    return this.next(universe)
  }

  end(): void {
    this.#neighbours = []
  }
}
