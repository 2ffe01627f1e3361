/** From terms to documents: which match a term, a phrase, or a whole query graph. Answers are kept for one query. */
import { assert } from '../../lib/assert.ts'
import { Bitmap } from '../../lib/bitmap.ts'
import type { FieldId } from '../index-reader.ts'
import { Bits } from './bits.ts'
import type { Postings } from './postings.ts'
import { endNode, type QueryGraph, startNode } from './query-graph.ts'
import type { Phrase } from './query-term.ts'
import type { TermSubset } from './term-subset.ts'

export class TermDocids {
  readonly postings: Postings
  readonly #bySubset = new Map<string, Bitmap>()
  readonly #phrases = new Map<string, Bitmap>()
  readonly #buckets = new Map<string, readonly number[]>()

  constructor(postings: Postings) {
    this.postings = postings
  }

  /** Documents that match any derivation of the subset. */
  of(subset: TermSubset): Bitmap {
    const known = this.#bySubset.get(subset.key)
    if (known !== undefined) return known
    const { words, phrases, prefix } = subset.derivations
    const found = words.map(({ word, isOriginal }) =>
      isOriginal ? this.postings.original(word) : this.postings.derived(word),
    )
    for (const phrase of phrases) found.push(this.ofPhrase(phrase))
    if (prefix !== null)
      found.push(
        prefix.isOriginal ? this.postings.prefixOriginal(prefix.word) : this.postings.prefixDerived(prefix.word),
      )
    const docids = unite(found)
    this.#bySubset.set(subset.key, docids)
    return docids
  }

  /** The same, with the derivation (of a phrase, its first word) in one of the fields. */
  inFields(subset: TermSubset, fields: readonly FieldId[]): Bitmap {
    const { words, phrases, prefix } = subset.derivations
    const found: Bitmap[] = []
    for (const field of fields) {
      for (const { word } of words) found.push(this.postings.inField(word, field))
      for (const phrase of phrases) {
        const first = firstWord(phrase)
        if (first !== undefined) found.push(this.postings.inField(first, field).and(this.ofPhrase(phrase)))
      }
      if (prefix !== null) found.push(this.postings.prefixInField(prefix.word, field))
    }
    return unite(found)
  }

  /** The same, with the derivation at one of the position buckets of any field. */
  inBuckets(subset: TermSubset, buckets: readonly number[]): Bitmap {
    const { words, phrases, prefix } = subset.derivations
    const found: Bitmap[] = []
    for (const bucket of buckets) {
      for (const { word } of words)
        if (this.postings.bucketsOf(word).includes(bucket)) found.push(this.postings.inBucket(word, bucket))
      for (const phrase of phrases) {
        const first = firstWord(phrase)
        if (first !== undefined) found.push(this.postings.inBucket(first, bucket).and(this.ofPhrase(phrase)))
      }
      if (prefix !== null) found.push(this.postings.prefixInBucket(prefix.word, bucket))
    }
    return unite(found)
  }

  /** Position buckets in which a derivation occurs anywhere in the index. */
  bucketsOf(subset: TermSubset): readonly number[] {
    const known = this.#buckets.get(subset.key)
    if (known !== undefined) return known
    const { words, phrases, prefix } = subset.derivations
    const found = new Set<number>()
    for (const { word } of words) for (const bucket of this.postings.bucketsOf(word)) found.add(bucket)
    for (const phrase of phrases) {
      const first = firstWord(phrase)
      if (first !== undefined) for (const bucket of this.postings.bucketsOf(first)) found.add(bucket)
    }
    if (prefix !== null) for (const bucket of this.postings.prefixBuckets(prefix.word)) found.add(bucket)
    const buckets = [...found].sort((left, right) => left - right)
    this.#buckets.set(subset.key, buckets)
    return buckets
  }

  /**
   * Documents with the phrase, judged by the distances of its words in windows of three: a long phrase may, rarely, be
   * found where it is not (M-F3).
   */
  ofPhrase(phrase: Phrase): Bitmap {
    const known = this.#phrases.get(phrase.key)
    if (known !== undefined) return known
    const docids = this.#findPhrase(phrase.words)
    this.#phrases.set(phrase.key, docids)
    return docids
  }

  /** Documents within `universe` that match some path through the graph. */
  ofGraph(graph: QueryGraph, universe: Bitmap): Bitmap {
    const resolved = new Bits()
    const docids = new Map<number, Bitmap>()
    const queue = [startNode]
    // Each round either resolves a node or turns it over behind one that it waits for.
    for (let rounds = 0; queue.length > 0; rounds += 1) {
      assert(rounds <= graph.nodes.length ** 2 + 1, 'a query graph has no cycle')
      const id = queue.shift()!
      const node = graph.nodes[id]!
      if (!node.predecessors.isSubsetOf(resolved)) {
        queue.push(id)
        continue
      }
      const before = unite([...node.predecessors].map((predecessor) => docids.get(predecessor)!))
      if (id === endNode) return before
      assert(node.data !== 'removed' && node.data !== 'end', 'only linked nodes are visited')
      docids.set(id, node.data === 'start' ? universe : before.and(this.of(node.data.subset)))
      resolved.add(id)
      for (const successor of node.successors)
        if (!queue.includes(successor) && !resolved.has(successor)) queue.push(successor)
    }
    return Bitmap.of()
  }

  #findPhrase(words: readonly (string | null)[]): Bitmap {
    let candidates: Bitmap | undefined
    for (const word of words) {
      if (word === null) continue
      const docids = this.postings.original(word)
      candidates = candidates === undefined ? docids : candidates.and(docids)
      if (candidates.isEmpty()) return candidates
    }
    if (candidates === undefined) return Bitmap.of()
    const size = Math.min(words.length, 3)
    for (let from = 0; from + size <= words.length; from += 1) {
      for (let left = from; left < from + size; left += 1) {
        for (let right = left + 1; right < from + size; right += 1) {
          const before = words[left]
          const after = words[right]
          if (before == null || after == null) continue
          const near: Bitmap[] = []
          for (let distance = 1; distance <= right - left; distance += 1)
            near.push(this.postings.pair(before, after, distance))
          candidates = candidates.and(unite(near))
          if (candidates.isEmpty()) return candidates
        }
      }
    }
    return candidates
  }
}

function firstWord(phrase: Phrase): string | undefined {
  return phrase.words.find((word): word is string => word !== null)
}

export function unite(bitmaps: readonly Bitmap[]): Bitmap {
  const filled = bitmaps.filter((bitmap) => !bitmap.isEmpty())
  if (filled.length === 1) return filled[0]!
  return Bitmap.union(filled)
}
