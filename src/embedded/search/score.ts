/** Scores of hits: one detail per rule, folded into one number (M-F8, M-F9). */
import { unreachable } from '../../lib/assert.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { haversineMetres, type Point } from './geo.ts'

export type MatchType = 'exactMatch' | 'matchesStart' | 'noExactMatch'

export type ScoreDetail =
  | {
      readonly kind: 'words' | 'proximity' | 'attributeRank' | 'wordPosition'
      readonly rank: number
      readonly max: number
    }
  | { readonly kind: 'typo'; readonly typoCount: number; readonly maxTypoCount: number }
  | { readonly kind: 'exactAttribute'; readonly matchType: MatchType }
  | { readonly kind: 'exactWords'; readonly matching: number; readonly max: number }
  | {
      readonly kind: 'sort'
      readonly field: string
      readonly ascending: boolean
      /** The field is not displayed: its name and values stay hidden. */
      readonly isHidden: boolean
      readonly value: number | string | null
    }
  | { readonly kind: 'geoSort'; readonly target: Point; readonly ascending: boolean; readonly point: Point | null }
  | { readonly kind: 'vector'; readonly similarity: number | null }
  | { readonly kind: 'skipped' }
  /** Put there by a rule: no score. */
  | { readonly kind: 'pin'; readonly position: number }

export interface Rank {
  readonly rank: number
  readonly max: number
}

const matchTypeRanks: Record<MatchType, number> = { exactMatch: 3, matchesStart: 2, noExactMatch: 1 }

export function rankOf(detail: ScoreDetail): Rank | null {
  switch (detail.kind) {
    case 'words':
    case 'proximity':
    case 'attributeRank':
    case 'wordPosition':
      return detail
    case 'typo':
      return { rank: Math.max(0, detail.maxTypoCount + 1 - detail.typoCount), max: detail.maxTypoCount + 1 }
    case 'exactAttribute':
      return { rank: matchTypeRanks[detail.matchType], max: 3 }
    case 'exactWords':
      return { rank: detail.matching + 1, max: detail.max + 1 }
    case 'skipped':
      return { rank: 0, max: 1 }
    case 'sort':
    case 'geoSort':
    case 'vector':
    case 'pin':
      return null
    default:
      return unreachable(detail)
  }
}

export function foldRanks(ranks: Iterable<Rank>): number {
  let folded: Rank = { rank: 1, max: 1 }
  for (const rank of ranks) folded = mergeRanks(folded, rank)
  return folded.rank / folded.max
}

function mergeRanks(outer: Rank, inner: Rank): Rank {
  return { rank: Math.max(0, outer.rank - 1) * inner.max + inner.rank, max: outer.max * inner.max }
}

/** `_rankingScore`, 0 to 1. */
export function rankingScore(details: readonly ScoreDetail[]): number {
  let similarity: number | undefined
  const ranks: Rank[] = []
  for (const detail of details) {
    if (detail.kind === 'vector') similarity = detail.similarity ?? 0
    const rank = rankOf(detail)
    if (rank !== null) ranks.push(rank)
  }
  return similarity ?? foldRanks(ranks)
}

/** `_rankingScoreDetails`. `unified`: the rules have `attribute`, not its two halves. */
export function scoreDetailsJson(details: readonly ScoreDetail[], unified: boolean): JsonObject {
  const json: Record<string, Json> = {}
  let order = 0
  let attribute: (Rank & { readonly order: number }) | undefined
  let exactnessOrder = 0
  for (const detail of details) {
    const rank = rankOf(detail)
    const score = rank === null ? 0 : rank.rank / rank.max
    switch (detail.kind) {
      case 'words':
        json.words = { order, matchingWords: detail.rank, maxMatchingWords: detail.max, score }
        break
      case 'typo':
        json.typo = { order, typoCount: detail.typoCount, maxTypoCount: detail.maxTypoCount, score }
        break
      case 'proximity':
        json.proximity = { order, score }
        break
      case 'attributeRank':
        if (unified) {
          attribute = { ...detail, order }
          json.attribute = { order, attributeRankingOrderScore: score }
        } else json.attributeRank = { order, score }
        break
      case 'wordPosition':
        if (unified && attribute !== undefined) {
          json.attribute = {
            order: attribute.order,
            attributeRankingOrderScore: attribute.rank / attribute.max,
            queryWordDistanceScore: score,
            score: foldRanks([attribute, detail]),
          }
          continue
        }
        json.wordPosition = { order, score }
        break
      case 'exactAttribute':
        exactnessOrder = order
        json.exactness = { order, matchType: detail.matchType, score }
        break
      case 'exactWords': {
        const before = details.find((other) => other.kind === 'exactAttribute')
        if (before?.kind !== 'exactAttribute' || before.matchType !== 'noExactMatch') continue
        json.exactness = {
          order: exactnessOrder,
          matchType: before.matchType,
          matchingWords: detail.matching,
          maxMatchingWords: detail.max,
          score: foldRanks([
            { rank: 1, max: 3 },
            { rank: detail.matching + 1, max: detail.max + 1 },
          ]),
        }
        continue
      }
      case 'sort': {
        const name = detail.isHidden ? `<hidden-rule-${order}>` : `${detail.field}:${direction(detail.ascending)}`
        json[name] = { order, value: detail.isHidden ? '<hidden>' : detail.value }
        break
      }
      case 'geoSort': {
        const { target, point } = detail
        json[`_geoPoint(${target.lat}, ${target.lng}):${direction(detail.ascending)}`] = {
          order,
          value: point === null ? null : { lat: point.lat, lng: point.lng },
          distance: point === null ? null : haversineMetres(target, point),
        }
        break
      }
      case 'vector':
        json.vectorSort = { order, similarity: detail.similarity }
        break
      case 'skipped':
        json.skipped = { order }
        break
      case 'pin':
        json.pin = { order, position: detail.position }
        break
      default:
        unreachable(detail)
    }
    order += 1
  }
  return json
}

function direction(ascending: boolean): string {
  return ascending ? 'asc' : 'desc'
}

/** One element of the list by which hits of different searches are compared (M-F20). */
export type ComparableScore =
  | { readonly kind: 'score'; readonly score: number }
  | { readonly kind: 'sort'; readonly ascending: boolean; readonly value: number | string | null }
  | { readonly kind: 'geo'; readonly ascending: boolean; readonly distance: number | null }

/** The details cut at every sort: each run of relevancy rules becomes one weighted score. */
export function comparableScores(details: readonly ScoreDetail[], weight: number): readonly ComparableScore[] {
  const scores: ComparableScore[] = []
  let run: Rank | null = null
  const closeRun = () => {
    if (run !== null) scores.push({ kind: 'score', score: (run.rank / run.max) * weight })
    run = null
  }
  for (const detail of details) {
    const rank = rankOf(detail)
    if (rank !== null) {
      run = run === null ? rank : mergeRanks(run, rank)
      continue
    }
    closeRun()
    if (detail.kind === 'sort') scores.push({ kind: 'sort', ascending: detail.ascending, value: detail.value })
    if (detail.kind === 'geoSort') {
      const distance = detail.point === null ? null : haversineMetres(detail.target, detail.point)
      scores.push({ kind: 'geo', ascending: detail.ascending, distance })
    }
    if (detail.kind === 'vector') scores.push({ kind: 'score', score: (detail.similarity ?? 0) * weight })
  }
  closeRun()
  return scores
}

/** Positive when `left` ranks before `right`, null when they cannot be compared. */
export function compareScore(left: ComparableScore, right: ComparableScore): number | null {
  if (left.kind === 'score' && right.kind === 'score') return compareNumbers(left.score, right.score)
  if (left.kind === 'sort' && right.kind === 'sort')
    return left.ascending === right.ascending ? compareSortValues(left.ascending, left.value, right.value) : null
  if (left.kind === 'geo' && right.kind === 'geo') {
    if (left.ascending !== right.ascending) return null
    if (left.distance === null || right.distance === null)
      return left.distance === right.distance ? 0 : left.distance === null ? -1 : 1
    const order = compareNumbers(left.distance, right.distance)
    return left.ascending ? -order : order
  }
  return null
}

function compareNumbers(left: number, right: number): number {
  return Math.abs(left - right) <= Number.EPSILON ? 0 : left - right
}

/** Positive when `left` comes first: numbers before strings before nothing, whatever the direction (M-F10). */
export function compareSortValues(
  ascending: boolean,
  left: number | string | null,
  right: number | string | null,
): number {
  if (left === null || right === null) return left === right ? 0 : left === null ? -1 : 1
  if (typeof left !== typeof right) return typeof left === 'number' ? 1 : -1
  if (left === right) return 0
  const order = left < right ? -1 : 1
  return ascending ? -order : order
}
