/**
 * Values of a facet by their counts, in the reference's order: equal counts follow from the tree over the values in which it
 * looks for the greatest count (M-F12). A group of that tree is opened when its count is the greatest left, and after single
 * values of that count: so among equals those come last that make up the whole count of their group, and of its group, and
 * so on. Otherwise the greater value goes first.
 *
 * The tree is taken to be what one batch of documents makes. One that grew in many batches has groups of up to eight.
 */
import type { Bitmap } from '../../lib/bitmap.ts'

export interface PlacedCount {
  /** Among all values of the field, ascending, from 0. */
  readonly place: number
  /** Of the candidates; 1 or more. */
  readonly count: number
  readonly docids: Bitmap
}

const groupSize = 4
const levelSizeMin = 5
/** A batch with as many new values builds the whole tree, one with fewer a single level. */
const wholeTreeMin = 1000

/**
 * @param values  with candidates, ascending.
 * @param total   how many values the field has.
 * @returns the first `max`.
 */
export function byCount<T extends PlacedCount>(
  values: readonly T[],
  total: number,
  candidates: Bitmap,
  max: number,
): readonly T[] {
  const sorted = [...values].reverse().sort((left, right) => right.count - left.count)
  const height = heightOf(total)
  if (height === 0) return sorted.slice(0, max)
  const tree = new Tree(values, candidates)
  const ordered: T[] = []
  for (let from = 0; ordered.length < max && from < sorted.length; ) {
    let end = from + 1
    while (end < sorted.length && sorted[end]!.count === sorted[from]!.count) end += 1
    ordered.push(...tree.equals(sorted.slice(from, end), height, max - ordered.length))
    from = end
  }
  return ordered
}

/** Levels above the values. */
function heightOf(total: number): number {
  if (total < wholeTreeMin) return total >= groupSize * levelSizeMin ? 1 : 0
  let height = 0
  for (let size = total; size / groupSize >= levelSizeMin; size = Math.ceil(size / groupSize)) height += 1
  return height
}

class Tree {
  readonly #values: readonly PlacedCount[]
  readonly #candidates: Bitmap

  constructor(values: readonly PlacedCount[], candidates: Bitmap) {
    this.#values = values
    this.#candidates = candidates
  }

  /** The first `wanted` of values of one count. */
  equals<T extends PlacedCount>(values: readonly T[], height: number, wanted: number): readonly T[] {
    if (values.length === 1) return values
    const byLevels: T[][] = Array.from({ length: height + 1 }, () => [])
    for (const value of values) {
      byLevels[this.#levelsAlone(value, height)]!.push(value)
      if (byLevels[0]!.length === wanted) break
    }
    return byLevels.flat().slice(0, wanted)
  }

  /** Of how many groups, from the innermost on, the value is the whole count. */
  #levelsAlone(value: PlacedCount, height: number): number {
    let width = 1
    for (let level = 0; level < height; level += 1) {
      width *= groupSize
      if (!this.#isWhole(value, width)) return level
    }
    return height
  }

  /** Whether no candidate of the group is without the value. */
  #isWhole(value: PlacedCount, width: number): boolean {
    const start = value.place - (value.place % width)
    for (let at = this.#firstFrom(start); at < this.#values.length; at += 1) {
      const other = this.#values[at]!
      if (other.place >= start + width) return true
      if (other === value) continue
      if (other.count > value.count || !other.docids.intersects(value.docids)) return false
      if (other.docids.and(value.docids).andSize(this.#candidates) < other.count) return false
    }
    return true
  }

  #firstFrom(place: number): number {
    let low = 0
    let high = this.#values.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#values[middle]!.place < place) low = middle + 1
      else high = middle
    }
    return low
  }
}
