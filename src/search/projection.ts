/**
 * Which fields a client may see, and which it asked for. Nodes of spread indexes show every field, since rules on hidden
 * fields could not be compared; what the client's `displayedAttributes` hide is taken out here.
 */

import { sequenceField } from '../api/reserved-fields.ts'
import type { SearchQuery } from '../api/search-query.ts'
import type { SearchedIndex } from './leg.ts'
import { isReservedName } from './reserved-names.ts'

export interface Projection {
  /** Names that may be shown; null = all. */
  readonly displayed: ReadonlySet<string> | null
  /** Names that are shown; null = all. */
  readonly shown: ReadonlySet<string> | null
  /** Names in `_formatted`; null = all. */
  readonly formatted: ReadonlySet<string> | null
  /** For legs: null = all. */
  readonly retrieve: readonly string[] | null
  readonly highlight: readonly string[] | null
  readonly crop: readonly string[] | null
}

export type Shaped = Pick<SearchQuery, 'attributesToRetrieve' | 'attributesToHighlight' | 'attributesToCrop'>

/** @param added  fields that the merge itself needs. */
export function projectionOf({ settings, spread }: SearchedIndex, query: Shaped, added: readonly string[]): Projection {
  const { attributesToRetrieve, attributesToHighlight, attributesToCrop } = query
  const displayed = settings.displayedAttributes.includes('*') ? null : new Set(settings.displayedAttributes)
  const isShown = (name: string) => displayed === null || displayed.has(name)
  const asked = attributesToRetrieve === null || attributesToRetrieve.includes('*') ? null : attributesToRetrieve
  const names = asked === null ? displayed : new Set(asked.filter(isShown))
  const wanted = names === null ? null : [...names].filter((name) => !isReservedName(name))
  const shown = wanted === null ? null : new Set(wanted)
  const own = spread === null ? [] : [sequenceField]
  const retrieve = wanted === null ? null : [...new Set([...wanted, ...own, ...added])]
  const highlight = listed(attributesToHighlight, displayed, (name) => [name, ''])
  const crop = listed(attributesToCrop, displayed, cropName)
  const formats = [...(highlight ?? []), ...(crop ?? []).map((text) => cropName(text)[0])]
  const formatted = shown === null || formats.includes('*') ? null : new Set([...shown, ...formats])
  return { displayed, shown, formatted, retrieve, highlight, crop }
}

/** `body:5` → `body` and `:5`. */
function cropName(text: string): readonly [string, string] {
  const colon = text.lastIndexOf(':')
  return colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon)]
}

/** A star stands for what is displayed. */
function listed(
  names: readonly string[] | null,
  displayed: ReadonlySet<string> | null,
  split: (text: string) => readonly [string, string],
): readonly string[] | null {
  if (names === null || displayed === null) return names
  return names.flatMap((text) => {
    const [name, tail] = split(text)
    if (name === '*') return [...displayed].map((field) => `${field}${tail}`)
    return displayed.has(name) ? [text] : []
  })
}
