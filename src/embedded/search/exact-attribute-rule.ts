/**
 * The first half of `exactness` (M-F8): documents of which an attribute is the query word for word, then those of which
 * one begins with it.
 */
import { Bitmap } from '../../lib/bitmap.ts'
import { positionBucket } from '../text/tokenize.ts'
import type { QueryGraph } from './query-graph.ts'
import type { Bucket, RankingRule } from './ranking-rule.ts'
import type { MatchType } from './score.ts'
import type { TermDocids } from './term-docids.ts'
import { unite } from './term-docids.ts'

/** Attributes with more words than this are not told by their word count. */
const wordCountMax = 30

interface Candidates {
  readonly matchType: MatchType
  /** Null = whatever is left. */
  readonly docids: Bitmap | null
}

export class ExactAttributeRule implements RankingRule {
  readonly #docids: TermDocids
  #graph: QueryGraph | null = null
  #steps: Candidates[] = []

  constructor(docids: TermDocids) {
    this.#docids = docids
  }

  start(universe: Bitmap, graph: QueryGraph | null): void {
    this.#graph = graph
    this.#steps = [...(graph === null ? [] : this.#find(universe, graph)), { matchType: 'noExactMatch', docids: null }]
  }

  next(universe: Bitmap): Bucket {
    const { matchType, docids } = this.#steps.length > 1 ? this.#steps.shift()! : this.#steps[0]!
    const candidates = docids === null ? universe : docids.and(universe)
    return { graph: this.#graph, candidates, score: { kind: 'exactAttribute', matchType } }
  }

  end(): void {
    this.#steps = []
  }

  #find(universe: Bitmap, graph: QueryGraph): readonly Candidates[] {
    const { postings } = this.#docids
    const found = [...graph.terms()]
      .map(([, { subset, start, end, firstTerm }]) => ({ exact: subset.exactTerm, start, end, firstTerm }))
      .filter(({ exact }) => exact !== null)
      .sort((left, right) => left.firstTerm - right.firstTerm)
    const terms = found.filter((term, index) => index === 0 || found[index - 1]!.firstTerm !== term.firstTerm)
    // No term of the query may be missing.
    if (terms.length === 0 || terms.some((term, index) => term.firstTerm !== index)) return []
    const words: { readonly word: string; readonly position: number }[] = []
    let count = 0
    for (const { exact, start, end } of terms) {
      count += end - start + 1
      if (exact === null) continue
      const parts = exact.kind === 'word' ? [exact.word] : exact.phrase.words
      for (const [offset, word] of parts.entries()) if (word !== null) words.push({ word, position: start + offset })
    }
    let candidates = universe
    for (const { word, position } of words) {
      candidates = candidates.and(postings.inBucket(word, positionBucket(position)))
      if (candidates.isEmpty()) return []
    }
    const whole: Bitmap[] = []
    const begins: Bitmap[] = []
    for (const { id } of postings.reader.searchableFields) {
      let inField = candidates
      for (const { word } of words) {
        inField = inField.and(postings.inField(word, id))
        if (inField.isEmpty()) break
      }
      if (inField.isEmpty()) continue
      const ofLength = count <= wordCountMax ? postings.reader.fieldWordCountDocids(id, count) : Bitmap.of()
      whole.push(inField.and(ofLength))
      begins.push(inField.andNot(ofLength))
    }
    return [
      { matchType: 'exactMatch', docids: unite(whole) },
      { matchType: 'matchesStart', docids: unite(begins) },
    ]
  }
}
