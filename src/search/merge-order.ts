/** The order of hits from several nodes, and the merge of lists that are each in that order. */
import type { Hit } from './hit.ts'
import { compareKeys } from './score-keys.ts'

/** Negative when `a` comes first: rule by rule, then the place in the index. */
export function compareHits(a: Hit, b: Hit): number {
  const order = compareKeys(a.keys, b.keys)
  if (order !== 0) return order
  return a.sequence < b.sequence ? -1 : a.sequence > b.sequence ? 1 : 0
}

/**
 * The best heads first. Lists are taken as they are: a node's own order is never changed. Equal heads go in list order.
 *
 * @param countMax  hits that are wanted.
 */
export function mergeLists<T>(
  lists: readonly (readonly T[])[],
  compare: (a: T, b: T) => number,
  countMax = Number.POSITIVE_INFINITY,
): T[] {
  const heads = lists.map(() => 0)
  const merged: T[] = []
  while (merged.length < countMax) {
    let best: T | undefined
    let from = -1
    for (let at = 0; at < lists.length; at += 1) {
      const head = lists[at]![heads[at]!]
      if (head === undefined) continue
      if (best === undefined || compare(head, best) < 0) {
        best = head
        from = at
      }
    }
    if (best === undefined) break
    heads[from]! += 1
    merged.push(best)
  }
  return merged
}
