/**
 * F1 of the merge findings: how many typos a query may have depends on whether two of its words, written together, are a
 * word of the shard. The order does not suffer, since counts are compared; the shown scores would. One node would know the
 * word if any shard does, so the largest maximum holds for all hits that the rules before found equal.
 */
import type { Json, JsonObject } from '../lib/json.ts'
import { changedHit, type Hit } from './hit.ts'
import { isSort, type ScoreDetail } from './score-keys.ts'

const numberOf = (value: Json | undefined): number => (typeof value === 'number' ? value : 0)

/** What the rules before `typo` say: hits of which it is the same are judged by the same words. */
const groupOf = (details: readonly ScoreDetail[], at: number): string =>
  details
    .slice(0, at)
    .map(({ fields }) => JSON.stringify(fields))
    .join()

const typoAt = (details: readonly ScoreDetail[]): number => details.findIndex(({ name }) => name === 'typo')

/** Lists of hits with common typo maxima and the scores that follow from them. */
export function withCommonTypoCounts(lists: readonly (readonly Hit[])[]): readonly (readonly Hit[])[] {
  if (!mayDiffer(lists)) return lists
  const maxima = new Map<string, number>()
  for (const list of lists)
    for (const { details } of list) {
      const at = typoAt(details)
      if (at < 0) continue
      const group = groupOf(details, at)
      maxima.set(group, Math.max(maxima.get(group) ?? 0, numberOf(details[at]!.fields.maxTypoCount)))
    }
  return lists.map((list) =>
    list.map((hit) => {
      const at = typoAt(hit.details)
      return at < 0 ? hit : withMaximum(hit, at, maxima.get(groupOf(hit.details, at)) ?? 0)
    }),
  )
}

/** Most often all hits have one maximum: then none is read for this. */
function mayDiffer(lists: readonly (readonly Hit[])[]): boolean {
  let known: string | undefined
  for (const list of lists)
    for (const { detailsText } of list) {
      const at = detailsText === null ? -1 : detailsText.indexOf(maximumName)
      if (detailsText === null || at < 0) continue
      const from = at + maximumName.length
      const max = detailsText.slice(from, detailsText.indexOf(',', from))
      known ??= max
      if (known !== max) return true
    }
  return false
}

const maximumName = '"maxTypoCount":'

function withMaximum(hit: Hit, at: number, maximum: number): Hit {
  const typo = hit.details[at]!
  if (numberOf(typo.fields.maxTypoCount) === maximum) return hit
  const count = numberOf(typo.fields.typoCount)
  const fields: JsonObject = { ...typo.fields, maxTypoCount: maximum, score: typoScore(count, maximum) }
  const details = hit.details.map((detail, index) => (index === at ? { name: 'typo', fields } : detail))
  const score = newScore(hit, at, maximum)
  return changedHit(hit, {
    details,
    detailsText: null,
    score,
    scoreText: score === hit.score ? hit.scoreText : null,
  })
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
