/** Documents that dynamic search rules put at fixed places among the hits. */
import type { SearchRule } from '../../api/search-rule.ts'
import type { Bitmap } from '../../lib/bitmap.ts'
import type { IndexReader } from '../index-reader.ts'
import { isAbout } from '../rule-search.ts'
import type { LocatedTerm } from './query-parser.ts'

export interface PinRules {
  /** Name of the index that is searched. */
  readonly uid: string
  /** By precedence. */
  readonly rules: readonly SearchRule[]
}

export interface Pin {
  readonly docid: number
  /** From 0, in the whole list of hits. */
  readonly position: number
}

/** Bounds of the reference. */
const rulesMax = 1000
export const pinsMax = 100

/** By precedence, each document once. `universe`: what passes the filter. */
export function pinsOf(
  { uid, rules }: PinRules,
  terms: readonly LocatedTerm[],
  universe: Bitmap,
  reader: IndexReader,
): readonly Pin[] {
  if (rules.length === 0) return []
  const words = terms.flatMap(({ term }) => (term.phrase === null && term.ngramWords === null ? [term.original] : []))
  const pins = new Map<number, Pin>()
  const holding = rules.filter(({ conditions }) => isAbout(conditions, words, terms.length === 0)).slice(0, rulesMax)
  for (const { actions = [] } of holding)
    for (const { selector, action } of actions) {
      if (selector.indexUid !== undefined && selector.indexUid !== uid) continue
      const docid = reader.docidOf(selector.id)
      if (docid === undefined || pins.has(docid) || !universe.has(docid)) continue
      pins.set(docid, { docid, position: action.position })
      if (pins.size === pinsMax) return [...pins.values()]
    }
  return [...pins.values()]
}

/**
 * The pins that show among the first `length` hits, by place. Which they are is settled by precedence: a pin that waits
 * for its place holds back those behind it, unless the other hits run out. Shown, they stand in the order of their places.
 */
export function shownPins<P extends Pick<Pin, 'position'>>(
  pins: readonly P[],
  hitCount: number,
  length: number,
): readonly P[] {
  const shown: P[] = []
  for (let place = 0; place < length && shown.length < pins.length; place += 1) {
    const pin = pins[shown.length]!
    if (pin.position <= place || place - shown.length >= hitCount) shown.push(pin)
  }
  return shown.sort((left, right) => left.position - right.position)
}

/** The whole list from its beginning: each pin at its place or after, those that are left after everything else. */
export function withPins<T>(
  hits: readonly T[],
  pins: readonly { readonly position: number; readonly hit: T }[],
): readonly T[] {
  const merged: T[] = []
  let next = 0
  for (const hit of hits) {
    for (let pin = pins[next]; pin !== undefined && pin.position <= merged.length; pin = pins[next]) {
      merged.push(pin.hit)
      next += 1
    }
    merged.push(hit)
  }
  return [...merged, ...pins.slice(next).map(({ hit }) => hit)]
}
