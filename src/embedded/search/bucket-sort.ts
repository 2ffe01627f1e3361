/**
 * Ranks documents (M-F7): the first rule splits them into buckets, each bucket is split by the next rule, and so on until
 * enough documents are known. Ties end in internal number order.
 *
 * It is a walk over a stack of rules: `universes[i]` are the documents that rule i has still to sort, `scores` what the
 * rules above the current one said of them.
 */
import { Bitmap } from '../../lib/bitmap.ts'
import type { IndexReader } from '../index-reader.ts'
import { keepDistinct, sharesValue } from './distinct.ts'
import type { QueryGraph } from './query-graph.ts'
import type { Bucket, RankingRule } from './ranking-rule.ts'
import { rankingScore, type ScoreDetail } from './score.ts'

export interface SortRequest {
  readonly reader: IndexReader
  readonly rules: readonly RankingRule[]
  readonly graph: QueryGraph | null
  readonly universe: Bitmap
  /** Attribute, or null. */
  readonly distinct: string | null
  readonly from: number
  readonly length: number
  /** Every hit gets the details of every rule; else a lone document is not judged further. */
  readonly needsScores: boolean
  readonly threshold: number | null
  /** With a threshold, look at this many documents so that counts are exact; null = no more than the page. */
  readonly countedMax: number | null
  /** Whether `searchCutoffMs` is over. */
  readonly isLate: () => boolean
}

export interface Sorted {
  readonly docids: readonly number[]
  readonly scores: readonly (readonly ScoreDetail[])[]
  /** Documents that count as found. */
  readonly candidates: Bitmap
}

export function bucketSort(request: SortRequest): Sorted {
  const { reader, rules, graph, universe, from, length } = request
  const distinctField = request.distinct === null ? undefined : reader.fieldId(request.distinct)
  if (universe.size < from) return { docids: [], scores: [], candidates: universe }
  if (rules.length === 0) return unsorted(request, distinctField)

  let candidates = universe
  const docids: number[] = []
  const scores: (readonly ScoreDetail[])[] = []
  let offset = 0
  const universes: Bitmap[] = rules.map(() => Bitmap.of())
  const details: ScoreDetail[] = []
  let current = 0
  universes[0] = universe
  rules[0]!.start(universe, graph)

  const add = (bucket: Bitmap) => {
    let kept = bucket
    if (distinctField !== undefined) {
      const { kept: first, excluded } = keepDistinct(reader, distinctField, bucket)
      for (const [index, left] of universes.entries()) universes[index] = left.andNot(excluded)
      candidates = candidates.andNot(excluded).or(first)
      kept = first
    } else if (request.threshold !== null) candidates = candidates.or(bucket)
    if (kept.isEmpty()) return
    const size = kept.size
    let skipped = 0
    if (offset + size >= from) {
      for (const docid of kept) {
        if (docids.length >= length) break
        if (offset + skipped < from) skipped += 1
        else {
          docids.push(docid)
          scores.push([...details])
        }
      }
    }
    offset += size
  }
  const isBelow = () => request.threshold !== null && rankingScore(details) < request.threshold
  const drop = (bucket: Bitmap) => {
    candidates = candidates.andNot(bucket).andNot(universes[current]!)
  }
  /** Returns to the rule above; false when there is none. */
  const back = (): boolean => {
    universes[current] = Bitmap.of()
    rules[current]!.end()
    if (current === 0) return false
    current -= 1
    if (details.length > current) details.pop()
    return true
  }

  const wanted = request.threshold !== null && request.countedMax !== null ? request.countedMax : length
  while (docids.length < wanted) {
    const rule = rules[current]!
    const left = universes[current]!
    if (left.isEmpty() || (!request.needsScores && left.size === 1)) {
      universes[current] = Bitmap.of()
      add(left)
      if (!back()) break
      continue
    }
    let bucket: Bucket | null
    if (request.isLate()) {
      bucket = rule.nextWithoutWork?.(left) ?? null
      if (bucket === null) {
        universes[current] = Bitmap.of()
        details.push({ kind: 'skipped' })
        if (isBelow()) candidates = candidates.andNot(left)
        else add(left)
        details.pop()
        if (!back()) break
        continue
      }
    } else bucket = rule.next(left)
    if (bucket === null) {
      if (!back()) break
      continue
    }
    details.push(bucket.score)
    const below = isBelow()
    universes[current] = left.withoutSubset(bucket.candidates)
    const isFinal =
      current === rules.length - 1 ||
      (!request.needsScores && bucket.candidates.size <= 1) ||
      offset + bucket.candidates.size < from
    if (isFinal || below) {
      if (below) drop(bucket.candidates)
      else add(bucket.candidates)
      details.pop()
      continue
    }
    current += 1
    universes[current] = bucket.candidates
    rules[current]!.start(bucket.candidates, bucket.graph)
  }
  return { docids, scores, candidates }
}

function unsorted(request: SortRequest, distinctField: number | undefined): Sorted {
  const { reader, universe, from, length } = request
  const found: number[] = []
  let excluded = Bitmap.of()
  for (const docid of universe) {
    if (found.length >= from + length) break
    if (excluded.has(docid)) continue
    if (distinctField !== undefined) excluded = excluded.or(sharesValue(reader, distinctField, docid))
    found.push(docid)
  }
  const docids = found.slice(from)
  const candidates = distinctField === undefined ? universe : universe.andNot(excluded).or(Bitmap.from(found))
  return { docids, scores: docids.map(() => []), candidates }
}
