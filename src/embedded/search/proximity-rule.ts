/** Edges of the `proximity` rule: pairs of neighbouring terms at distances 1 to 3 forwards, one less backwards (M-F8). */
import type { Bitmap } from '../../lib/bitmap.ts'
import type { Phrase } from './query-term.ts'
import type { Condition, EdgeBuilder } from './rule-graph.ts'
import type { TermDocids } from './term-docids.ts'
import { unite } from './term-docids.ts'
import { type Located, locatedKey, type TermSubset, termCount } from './term-subset.ts'

/** Cost of a pair that is nowhere near. */
const farCost = 3

export function proximityEdges(docids: TermDocids, matches: (to: Located) => Condition): EdgeBuilder {
  return (from, to) => {
    const base = termCount(to) - 1
    if (from === null || from.end + 1 !== to.start) return [{ cost: base, condition: matches(to) }]
    const edges = Array.from({ length: farCost }, (_, step) => ({
      cost: base + step,
      condition: pairAt(docids, from, to, step + 1),
    }))
    return [...edges, { cost: base + farCost, condition: matches(to) }]
  }
}

function pairAt(docids: TermDocids, from: Located, to: Located, distance: number): Condition {
  return {
    key: `${distance} ${locatedKey(from)} ${locatedKey(to)}`,
    from,
    to,
    resolve: (universe) => pairDocids(docids, from.subset, to.subset, distance, universe),
  }
}

/** One end of a pair: a word that stands alone, or the outer word of a phrase. */
interface PairEnd {
  readonly word: string
  readonly phrase: Phrase | null
  /** Documents of the universe that can have it. */
  readonly within: Bitmap
}

function pairDocids(docids: TermDocids, from: TermSubset, to: TermSubset, distance: number, universe: Bitmap): Bitmap {
  const { postings } = docids
  if (postings.byAttribute) return pairsByAttribute(docids, from, to, distance, universe)
  const found: Bitmap[] = []
  const lefts = pairEnds(docids, from, 'last', universe)
  const { prefix } = to.derivations
  if (prefix !== null) {
    for (const { word, phrase, within } of lefts) {
      found.push(postings.prefixPair(word, prefix.word, distance).and(within))
      if (phrase === null && distance > 1) found.push(postings.pair(prefix.word, word, distance - 1).and(within))
    }
  }
  // A prefix that is looked up word by word needs most pairs; a range read gives those that exist.
  const wholePrefix = to.term.prefixOf.length > 8 && to.zero === 'all' && to.term.isPrefix ? to.term.original : null
  const rights = pairEnds(docids, to, 'first', universe)
  const begun = new Set(wholePrefix === null ? [] : to.term.prefixOf)
  for (const left of lefts) {
    if (wholePrefix !== null) found.push(postings.prefixPair(left.word, wholePrefix, distance).and(left.within))
    for (const right of rights) {
      const skipsForward = wholePrefix !== null && right.phrase === null && begun.has(right.word)
      const goesBack = distance > 1 && left.phrase === null && right.phrase === null
      if (skipsForward && !goesBack) continue
      if (!left.within.intersects(right.within)) continue
      const within = right.phrase === null ? left.within : left.within.and(right.within)
      if (!skipsForward) found.push(postings.pair(left.word, right.word, distance).and(within))
      if (goesBack) found.push(postings.pair(right.word, left.word, distance - 1).and(within))
    }
  }
  return unite(found)
}

/**
 * Which pairs are asked about, in which order and for which documents, shows in the answers (see `Postings.pair`): nothing
 * is left out here that the reference asks.
 */
function pairsByAttribute(
  docids: TermDocids,
  from: TermSubset,
  to: TermSubset,
  distance: number,
  universe: Bitmap,
): Bitmap {
  const { postings } = docids
  const found: Bitmap[] = []
  const lefts = allEnds(from, 'last')
  const rights = allEnds(to, 'first')
  const { prefix } = to.derivations
  const inPhrase = (phrase: Phrase | null, documents: Bitmap) =>
    phrase === null ? documents : documents.and(docids.ofPhrase(phrase))
  if (prefix !== null)
    for (const { word, phrase } of lefts) {
      const within = inPhrase(phrase, universe)
      if (phrase !== null && within.isEmpty()) continue
      found.push(postings.prefixPair(word, prefix.word, distance, within))
      if (phrase === null) found.push(postings.prefixPair(word, prefix.word, distance, within))
    }
  for (const left of lefts) {
    if (rights.length > 1) {
      const own = left.phrase === null ? postings.original(left.word) : docids.ofPhrase(left.phrase)
      if (!own.intersects(universe)) continue
    }
    for (const right of rights) {
      const within = inPhrase(right.phrase, inPhrase(left.phrase, universe))
      if (within.isEmpty()) continue
      found.push(postings.pair(left.word, right.word, distance, within))
      if (distance > 1 && left.phrase === null && right.phrase === null)
        found.push(postings.pair(right.word, left.word, distance - 1, within))
    }
  }
  return unite(found).and(universe)
}

function allEnds(subset: TermSubset, end: 'first' | 'last'): readonly Omit<PairEnd, 'within'>[] {
  const { words, phrases } = subset.derivations
  const ends: Omit<PairEnd, 'within'>[] = words.map(({ word }) => ({ word, phrase: null }))
  for (const phrase of phrases) {
    const word = end === 'first' ? phrase.words[0] : phrase.words.at(-1)
    if (word != null) ends.push({ word, phrase })
  }
  return ends
}

function pairEnds(docids: TermDocids, subset: TermSubset, end: 'first' | 'last', universe: Bitmap): readonly PairEnd[] {
  const { postings } = docids
  const { words, phrases } = subset.derivations
  const ends: PairEnd[] = []
  // Pairs are known of all fields together: where some alone are searched, the other word may stand in any of them.
  const isAnywhere = end === 'first' && postings.restriction !== undefined
  for (const { word } of words) {
    const within = isAnywhere ? universe : postings.original(word).and(universe)
    if (!within.isEmpty()) ends.push({ word, phrase: null, within })
  }
  for (const phrase of phrases) {
    const word = end === 'first' ? phrase.words[0] : phrase.words.at(-1)
    if (word == null) continue
    const within = docids.ofPhrase(phrase).and(universe)
    if (!within.isEmpty()) ends.push({ word, phrase, within })
  }
  return ends
}
