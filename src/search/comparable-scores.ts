/**
 * By what hits of different questions are compared (M-F17, M-F20): the rules about words folded into one number as an
 * engine folds them, cut at every sort.
 */
import type { Json, JsonObject } from '../lib/json.ts'
import type { Hit } from './hit.ts'
import { compareKey, geoKey, isAscending, isGeo, isSort, type ScoreDetail } from './score-keys.ts'

export type Comparable =
  | { readonly kind: 'score'; readonly score: number }
  | { readonly kind: 'sort'; readonly value: Json; readonly ascending: boolean }
  | { readonly kind: 'geo'; readonly distance: Json; readonly ascending: boolean }

export function comparablesOf({ details, score }: Hit, weight: number): readonly Comparable[] {
  const groups: (Comparable | ScoreDetail[])[] = []
  let group: ScoreDetail[] | undefined
  for (const detail of details) {
    const { name, fields } = detail
    const ascending = isAscending(name)
    if (isSort(detail) || name === 'vectorSort') {
      group = undefined
      if (name === 'vectorSort') groups.push({ kind: 'score', score: numberOf(fields.similarity) * weight })
      else if (isGeo(name)) groups.push({ kind: 'geo', distance: fields.distance ?? null, ascending })
      else groups.push({ kind: 'sort', value: fields.value ?? null, ascending })
    } else if (group === undefined) {
      group = [detail]
      groups.push(group)
    } else group.push(detail)
  }
  const isOnlyGroup = groups.filter(isGroup).length === 1
  const words = numberOf(details.find(({ name }) => name === 'words')?.fields.matchingWords)
  return groups.map((item) =>
    isGroup(item) ? { kind: 'score', score: (isOnlyGroup ? score : folded(item, words)) * weight } : item,
  )
}

const isGroup = (item: Comparable | ScoreDetail[]): item is ScoreDetail[] => Array.isArray(item)
const numberOf = (value: Json | undefined): number => (typeof value === 'number' ? value : 0)

/** Each rule refines the one before: what is missing counts for one step of that. */
function folded(group: readonly ScoreDetail[], words: number): number {
  let score = 1
  let steps = 1
  for (const { name, fields } of group) {
    const own = ruleScore(name, fields)
    score -= (1 - own) / steps
    steps *= stepsOf(name, fields, Math.max(1, words), own)
  }
  return score
}

function ruleScore(name: string, fields: JsonObject): number {
  if (name === 'skipped') return 0
  return numberOf(fields.score ?? fields.attributeRankingOrderScore)
}

/** Nodes tell some; the others follow from the number of words that were found. */
function stepsOf(name: string, fields: JsonObject, words: number, score: number): number {
  switch (name) {
    case 'words':
      return Math.max(1, numberOf(fields.maxMatchingWords))
    case 'typo':
      return numberOf(fields.maxTypoCount) + 1
    case 'proximity':
      return whole(score, 1 + 7 * (words - 1))
    case 'wordPosition':
      return whole(score, 1 + 10 * words)
    case 'exactness':
      return 3 * (words + 1)
    default:
      return whole(score, 1 + words)
  }
}

/** The number of steps of which `score` is a whole number, `likely` or the least one above. */
function whole(score: number, likely: number): number {
  for (let steps = likely; steps < likely + 64; steps += 1)
    if (Math.abs(score * steps - Math.round(score * steps)) < 1e-9) return steps
  return likely
}

/** Negative when `a` comes first, null when the two cannot be compared. */
export function compareComparables(a: Comparable, b: Comparable): number | null {
  if (a.kind === 'score' && b.kind === 'score') return compareKey(a.score, b.score)
  if (a.kind === 'sort' && b.kind === 'sort') return a.ascending === b.ascending ? compareKey(a, b) : null
  if (a.kind === 'geo' && b.kind === 'geo') {
    if (a.ascending !== b.ascending) return null
    return compareKey(geoKey(a.distance, a.ascending), geoKey(b.distance, b.ascending))
  }
  return null
}
