/** Which matches a crop is built around (M-F15): most distinct query words, then closest together, then in order. */
import type { Match } from './matching-words.ts'

/** Gaps beyond this many words are equally wide. */
const gapMax = 7

/** The first and last match of the best interval no wider than `size` words. `matches` is not empty. */
export function bestInterval(matches: readonly Match[], size: number): readonly [Match, Match] {
  let best: { readonly first: number; readonly last: number; readonly score: readonly number[] } | undefined
  const judge = (first: number, last: number) => {
    const score = intervalScore(matches.slice(first, last + 1))
    if (best === undefined || compare(score, best.score) > 0) best = { first, last, score }
  }
  let first = 0
  for (const [index, next] of matches.entries()) {
    if (next.lastWord - matches[first]!.firstWord < size) continue
    if (index > 0) judge(first, index - 1)
    while (first < matches.length - 1) {
      first += 1
      const start = matches[first]!.firstWord
      if (start > next.lastWord || next.lastWord - start < size) break
    }
  }
  const last = matches.length - 1
  if (first !== last || wordCount(matches[first]!) < size) judge(first, last)
  return best === undefined ? [matches[0]!, matches[0]!] : [matches[best.first]!, matches[best.last]!]
}

function wordCount(match: Match): number {
  return match.lastWord - match.firstWord + 1
}

function intervalScore(matches: readonly Match[]): readonly number[] {
  const ids = new Set<number>()
  let order = 0
  let distance = 0
  for (const [index, match] of matches.entries()) {
    for (const id of match.ids) ids.add(id)
    const inside = match.lastWord - match.firstWord
    order += inside
    distance -= inside
    const next = matches[index + 1]
    if (next === undefined) continue
    if (Math.min(...next.ids) > Math.min(...match.ids)) order += 1
    distance -= Math.min(next.firstWord - match.lastWord, gapMax)
  }
  return [ids.size, distance, order]
}

function compare(left: readonly number[], right: readonly number[]): number {
  for (const [index, value] of left.entries()) if (value !== right[index]) return value - right[index]!
  return 0
}
