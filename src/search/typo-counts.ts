/**
 * F1 of the merge findings: how many typos a query may have depends on whether two of its words, written together, are a
 * word of the shard. The order does not suffer, since counts are compared; the shown scores would. One node would know the
 * word if any shard does, so the largest maximum holds for all hits with as many matching words.
 */
import type { Json, JsonObject } from '../lib/json.ts'
import type { Hit } from './hit.ts'
import { isSort, type ScoreDetail } from './score-keys.ts'

const numberOf = (value: Json | undefined): number => (typeof value === 'number' ? value : 0)

const wordsOf = (details: readonly ScoreDetail[]): number =>
  numberOf(details.find(({ name }) => name === 'words')?.fields.matchingWords)

/** Lists of hits with common typo maxima and the scores that follow from them. */
export function withCommonTypoCounts(lists: readonly (readonly Hit[])[]): readonly (readonly Hit[])[] {
  const maxima = new Map<number, number>()
  let differ = false
  for (const list of lists)
    for (const { details } of list) {
      const typo = details.find(({ name }) => name === 'typo')
      if (typo === undefined) continue
      const words = wordsOf(details)
      const max = numberOf(typo.fields.maxTypoCount)
      const known = maxima.get(words)
      if (known !== undefined && known !== max) differ = true
      maxima.set(words, Math.max(known ?? 0, max))
    }
  if (!differ) return lists
  return lists.map((list) => list.map((hit) => withMaximum(hit, maxima.get(wordsOf(hit.details)) ?? 0)))
}

function withMaximum(hit: Hit, maximum: number): Hit {
  const at = hit.details.findIndex(({ name }) => name === 'typo')
  const typo = hit.details[at]
  if (typo === undefined || numberOf(typo.fields.maxTypoCount) === maximum) return hit
  const count = numberOf(typo.fields.typoCount)
  const fields: JsonObject = { ...typo.fields, maxTypoCount: maximum, score: typoScore(count, maximum) }
  const details = hit.details.map((detail, index) => (index === at ? { name: 'typo', fields } : detail))
  const score = newScore(hit, at, maximum)
  return { ...hit, details, detailsText: null, score, scoreText: score === hit.score ? hit.scoreText : null }
}

const typoScore = (count: number, maximum: number): number => (maximum + 1 - count) / (maximum + 1)

/** Exact where only `words` is compared before `typo`; else the node's score stays. */
function newScore({ details, score }: Hit, at: number, maximum: number): number {
  const relevant = details.slice(0, at).filter((detail) => !isSort(detail))
  if (relevant.length > 1 || relevant.some(({ name }) => name !== 'words')) return score
  const words = relevant[0]?.fields
  const w = words === undefined ? 1 : numberOf(words.score)
  const wordsMax = words === undefined ? 1 : numberOf(words.maxMatchingWords)
  const typo = details[at]!.fields
  const before = numberOf(typo.maxTypoCount) + 1
  const after = maximum + 1
  const rest = (w - (1 - numberOf(typo.score)) / wordsMax - score) * wordsMax * before
  return w - (1 - typoScore(numberOf(typo.typoCount), maximum)) / wordsMax - rest / (wordsMax * after)
}
