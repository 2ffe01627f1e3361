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
 * @param lists  read no further than needed.
 * @param countMax  that are wanted.
 */
export function mergeLists<T>(
  lists: readonly Iterable<T>[],
  compare: (a: T, b: T) => number,
  countMax = Number.POSITIVE_INFINITY,
): T[] {
  const merged: T[] = []
  if (countMax <= 0) return merged
  const rests = lists.map((list) => list[Symbol.iterator]())
  const heads = rests.map((rest) => rest.next())
  for (;;) {
    let best: T | undefined
    let from = -1
    for (let at = 0; at < heads.length; at += 1) {
      const head = heads[at]!
      if (head.done === true || (from >= 0 && compare(head.value, best!) >= 0)) continue
      best = head.value
      from = at
    }
    if (from < 0) return merged
    merged.push(best!)
    if (merged.length >= countMax) return merged
    heads[from] = rests[from]!.next()
  }
}
