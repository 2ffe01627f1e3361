/** Nearest vectors, by looking at all of them (M-F17). */
import { ApiError, type ErrorCode } from '../../api/errors.ts'
import { Bitmap } from '../../lib/bitmap.ts'
import type { JsonObject } from '../../lib/json.ts'
import { type Distribution, distributionOf } from '../embedders/distribution.ts'
import type { IndexReader } from '../index-reader.ts'
import { dotProduct, type VectorBlock } from '../vector-blocks.ts'
import { quantised } from '../vector-table.ts'
import { NearestFirst } from './nearest-first.ts'
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
): NearestFirst {
  const isBits = embedder.settings.binaryQuantized === true
  const prepared = targets.map((target) => prepare(target, isBits))
  const wanted = reader.vectorDocids(embedder.name).and(universe).toArray()
  const docids = new Uint32Array(wanted.length)
  const similarities = new Float32Array(wanted.length)
  let found = 0
  let at = 0
  for (const block of reader.vectorBlocks(embedder.name, wanted)) {
    const { length } = block.docids
    for (let row = 0; row < length; ) {
      const docid = block.docids[row]!
      const start = row
      while (row < length && block.docids[row] === docid) row += 1
      while (at < wanted.length && wanted[at]! < docid) at += 1
      if (wanted[at] !== docid) continue
      let best = Number.NEGATIVE_INFINITY
      for (let own = start; own < row; own += 1) {
        if (pairing === 'by-place') {
          const other = prepared[own - start]
          if (other !== undefined) best = Math.max(best, similarity(block, own, other))
        } else for (const target of prepared) best = Math.max(best, similarity(block, own, target))
      }
      if (best === Number.NEGATIVE_INFINITY) continue
      docids[found] = docid
      similarities[found] = best
      found += 1
    }
  }
  const ofFound = similarities.subarray(0, found)
  const distribution = distributionOf(embedder.settings)
  if (distribution !== null)
    for (let index = 0; index < found; index += 1) ofFound[index] = shifted(distribution, ofFound[index]!)
  return new NearestFirst(docids.subarray(0, found), ofFound)
}

interface Target {
  readonly values: Float64Array
  /** Sum of the squares. */
  readonly square: number
  readonly norm: number
  /** Quantised: every value is 0 or 1, in rows as well. */
  readonly isBits: boolean
}

function prepare(sent: ArrayLike<number>, isBits: boolean): Target {
  const numbers = isBits ? quantised(sent) : Float32Array.from(sent)
  const values = Float64Array.from(numbers)
  const square = dotProduct(numbers, 0, values, values.length)
  return { values, square, norm: Math.sqrt(square), isBits }
}

/** (1 + cosine) / 2; of quantised vectors the share of equal bits, in whole words of 64 of which the last may be padded. */
function similarity({ values, dimensions, squares }: VectorBlock, row: number, target: Target): number {
  const length = Math.min(dimensions, target.values.length)
  const dot = dotProduct(values, row * dimensions, target.values, length)
  const square = squares[row]!
  if (target.isBits) return 1 - (square + target.square - 2 * dot) / (64 * Math.max(1, Math.ceil(length / 64)))
  if (square === 0 || target.norm === 0) return 0.5
  return (1 + dot / (target.norm * Math.sqrt(square))) / 2
}

/** Moves similarities of a known distribution to where scores of keyword search are. In 32-bit floats, as the reference. */
function shifted(distribution: Distribution, raw: number): number {
  const factor = Math.fround(Math.fround(0.4) / Math.fround(distribution.sigma))
  const offset = Math.fround(0.5 - Math.fround(factor * Math.fround(distribution.mean)))
  const moved = Math.fround(Math.fround(factor * raw) + offset)
  return moved <= 0 ? floatEpsilon : Math.min(1, moved)
}

const floatEpsilon = 2 ** -23

/** Ranks by similarity; documents without a vector come last. */
export class VectorRule implements RankingRule {
  readonly #reader: IndexReader
  readonly #embedder: Embedder
  readonly #target: readonly number[]
  #graph: QueryGraph | null = null
  #neighbours: NearestFirst | undefined

  constructor(reader: IndexReader, embedder: Embedder, target: readonly number[]) {
    this.#reader = reader
    this.#embedder = embedder
    this.#target = target
  }

  start(universe: Bitmap, graph: QueryGraph | null): void {
    this.#graph = graph
    this.#neighbours = nearest(this.#reader, this.#embedder, [this.#target], universe)
  }

  next(universe: Bitmap): Bucket {
    for (let nearest = this.#neighbours?.first; nearest !== undefined; nearest = this.#neighbours?.first) {
      const { similarity: value } = nearest
      const docids: number[] = []
      while (this.#neighbours?.first?.similarity === value) docids.push(this.#neighbours.take()!.docid)
      const candidates = Bitmap.from(docids).and(universe)
      if (!candidates.isEmpty()) return { graph: this.#graph, candidates, score: { kind: 'vector', similarity: value } }
    }
    return { graph: this.#graph, candidates: universe, score: { kind: 'vector', similarity: null } }
  }

  nextWithoutWork(universe: Bitmap): Bucket {
    return this.next(universe)
  }

  end(): void {
    this.#neighbours = undefined
  }
}
