/**
 * What dynamic search rules put at fixed places, over all shards. Nodes are told rules whose positions are numbers by
 * precedence (`NumberedRules`), so that each leg gives everything that is pinned of what it holds, and says by which action;
 * which pins show, and where, is settled here over all of them.
 */
import { pinsMax, withPins } from '../embedded/search/pinned-hits.ts'
import { changedHit, type Hit } from './hit.ts'
import type { SearchedIndex } from './leg.ts'

export interface PinnedHit {
  readonly hit: Hit
  /** From 0, in the whole list of hits. */
  readonly position: number
}

/** Hits beyond those that are wanted which a leg must give: as many as may be pinned. */
export const pinsSpare = ({ pinPositions }: SearchedIndex): number => pinPositions.length

/** The position that a node tells of a pinned hit; null = the ranking alone put it where it is. */
export function pinnedAt({ details }: Hit): number | null {
  const [first] = details
  const position = first?.name === 'pin' ? first.fields.position : undefined
  return typeof position === 'number' ? position : null
}

/** The hits of a leg that it ranked. */
export function rankedOnly({ pinPositions }: SearchedIndex, hits: Iterable<Hit>): Iterable<Hit> {
  if (pinPositions.length === 0) return hits
  return { [Symbol.iterator]: () => ranked(hits) }
}

function* ranked(hits: Iterable<Hit>): Generator<Hit> {
  for (const hit of hits) if (pinnedAt(hit) === null) yield hit
}

/** The other hits of all legs, by precedence. */
export function pinnedOnly(
  { pinPositions }: SearchedIndex,
  legs: readonly { readonly hits: Iterable<Hit> }[],
): readonly PinnedHit[] {
  if (pinPositions.length === 0) return []
  const found: { readonly hit: Hit; readonly number: number }[] = []
  for (const { hits } of legs) {
    for (const hit of hits) {
      const number = pinnedAt(hit)
      if (number !== null) found.push({ hit, number })
    }
  }
  return found
    .sort((a, b) => a.number - b.number)
    .slice(0, pinsMax)
    .map(({ hit, number }) => placed(hit, pinPositions[number] ?? 0))
}

function placed(hit: Hit, position: number): PinnedHit {
  const details = [{ name: 'pin', fields: { order: 0, position } }]
  return { hit: changedHit(hit, { details, detailsText: null }), position }
}

/** The first `length` hits with what is pinned among them. */
export const hitsWithPins = <T>(
  hits: readonly T[],
  pins: readonly { readonly position: number; readonly hit: T }[],
  length: number,
): readonly T[] => (pins.length === 0 ? hits : withPins(hits, pins).slice(0, length))
