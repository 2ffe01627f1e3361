/**
 * What dynamic search rules put at fixed places, over all shards. Each leg pins what it holds, in its own list; which pins
 * show, and where, is settled anew over all of them.
 */
import { ruledDocuments, type SearchRule } from '../api/search-rule.ts'
import { isAbout, wordsOf } from '../embedded/rule-search.ts'
import { pinsMax, shownPins, withPins } from '../embedded/search/pinned-hits.ts'
import type { Json } from '../lib/json.ts'
import { splitMembers } from '../lib/json-cut.ts'
import type { Hit } from './hit.ts'
import type { SearchedIndex } from './leg.ts'

export interface PinnedHit {
  readonly hit: Hit
  /** From 0, in the whole list of hits. */
  readonly position: number
}

/** Hits beyond those of a page that a leg must give: its own pins may take places that others' pins have in the merged list. */
export function pinsSpare({ rules }: SearchedIndex): number {
  return Math.min(pinsMax, ruledDocuments(rules))
}

/** Where a rule puts the hit; null = the ranking alone. */
export function pinnedAt({ details }: Hit): number | null {
  const [first] = details
  const position = first?.name === 'pin' ? first.fields.position : undefined
  return typeof position === 'number' ? position : null
}

/** The hits of a leg that it ranked. */
export function rankedOnly(index: SearchedIndex, hits: Iterable<Hit>): Iterable<Hit> {
  if (index.rules.length === 0) return hits
  return { [Symbol.iterator]: () => ranked(hits) }
}

function* ranked(hits: Iterable<Hit>): Generator<Hit> {
  for (const hit of hits) if (pinnedAt(hit) === null) yield hit
}

/**
 * The pins that show among the first `length` hits, by place.
 *
 * @param hitCount  hits that are ranked, as far as anybody looked.
 */
export function pinnedHits(
  index: SearchedIndex,
  q: string | null,
  legs: Iterable<Iterable<Hit>>,
  hitCount: number,
  length: number,
): readonly PinnedHit[] {
  if (index.rules.length === 0) return []
  const order = precedenceOf(index.rules, q ?? '')
  const found: (PinnedHit & { readonly order: number })[] = []
  for (const hits of legs) {
    for (const hit of hits) {
      const position = pinnedAt(hit)
      if (position !== null) found.push({ hit, position, order: order(idOf(index, hit), position) })
    }
  }
  return shownPins(found.sort((a, b) => a.order - b.order).slice(0, pinsMax), hitCount, length)
}

/** The first `length` hits with what is pinned among them. */
export const hitsWithPins = <T>(
  hits: readonly T[],
  pins: readonly { readonly position: number; readonly hit: T }[],
  length: number,
): readonly T[] => (pins.length === 0 ? hits : withPins(hits, pins).slice(0, length))

/** The rank of the action that pinned a document to a place: of several, the first whose condition holds. */
function precedenceOf(rules: readonly SearchRule[], q: string): (id: string, position: number) => number {
  const words = wordsOf(q)
  const ranks = new Map<string, number>()
  const judged = rules.map((rule) => ({ rule, holds: isAbout(rule.conditions, words, words.length === 0) }))
  // What a node reads differently from us still has a rank, behind that of rules that hold.
  for (const { rule } of [...judged.filter(({ holds }) => holds), ...judged.filter(({ holds }) => !holds)]) {
    for (const { selector, action } of rule.actions ?? []) {
      const name = `${action.position}/${selector.id}`
      if (!ranks.has(name)) ranks.set(name, ranks.size)
    }
  }
  return (id, position) => ranks.get(`${position}/${id}`) ?? ranks.size
}

function idOf({ primaryKey }: SearchedIndex, { text }: Hit): string {
  const value = primaryKey === null ? undefined : splitMembers(text).get(primaryKey)
  return value === undefined ? '' : String(JSON.parse(value) as Json)
}
