/** A hit as the client sees it: without reserved and hidden fields, with what was asked for; values keep the node's bytes. */

import { reservedFields } from '../api/reserved-fields.ts'
import { isCovered } from '../embedded/field-rules.ts'
import { selectTexts } from '../embedded/search/document-selection.ts'
import { joinMembers, type Members, splitMembers } from '../lib/json-cut.ts'
import type { Hit } from './hit.ts'
import type { Projection } from './projection.ts'
import { isReservedName } from './reserved-names.ts'
import { isGeo, isSort } from './score-keys.ts'

export interface HitShape {
  readonly projection: Projection
  readonly showScore: boolean
  readonly showDetails: boolean
  /** Computed members that nodes give only because the merge asked for something: they go. */
  readonly drops: readonly ('_geoDistance' | '_vectors')[]
}

/** @param extra  a further member after the fields of the document, as text. */
export function hitText(hit: Hit, shape: HitShape, extra?: readonly [string, string]): string {
  const document = documentText(hit.text, shape, extra)
  const scores: string[] = []
  if (shape.showScore) scores.push(`"_rankingScore":${scoreText(hit)}`)
  if (shape.showDetails) scores.push(`"_rankingScoreDetails":${detailsText(hit, shape.projection)}`)
  if (scores.length === 0) return document
  return `${document.slice(0, -1)}${document === '{}' ? '' : ','}${scores.join(',')}}`
}

const formattedName = '_formatted'
const positionsName = '_matchesPosition'
/** Members of a hit that are no fields of the document. */
const computed: ReadonlySet<string> = new Set([formattedName, positionsName, '_geoDistance', '_vectors'])

function documentText(text: string, { projection, drops }: HitShape, extra?: readonly [string, string]): string {
  const { shown, formatted, displayed } = projection
  const isAll = shown === null && displayed === null && drops.length === 0
  if (isAll && extra === undefined) {
    const clear = withoutMarks(text)
    if (!unclear.test(clear)) return clear
  }
  const members = splitMembers(text)
  const kept: Members = new Map()
  const fields = shown === null ? members : fieldsOf(members, shown)
  for (const [name, value] of fields) if (!computed.has(name) && !isReservedName(name)) kept.set(name, value)
  keep(kept, members, '_vectors', !drops.includes('_vectors') && (displayed === null || displayed.has('_vectors')))
  keep(kept, members, '_geoDistance', !drops.includes('_geoDistance'))
  if (extra !== undefined) kept.set(...extra)
  const shownFormats = members.get(formattedName)
  if (shownFormats !== undefined) {
    const selected = formatted === null ? shownFormats : selectTexts(shownFormats, formatted)
    const clean = withoutReserved(selected)
    if (clean !== '{}') kept.set(formattedName, clean)
  }
  const positions = members.get(positionsName)
  if (positions !== undefined) kept.set(positionsName, shownPositions(positions, displayed))
  return joinMembers(kept)
}

/** A text with some of these must be cut into its members. */
const unclear = /"_(?:miroir_|formatted"|matchesPosition"|geoDistance"|vectors")/

const marks = reservedFields.map((name) => `"${name}":"`)

/** Without the reserved fields that stand before any object within the document: as lanes write them, all of them do. */
function withoutMarks(text: string): string {
  // On most nodes they come first, since settings name them before there are documents.
  let start = 1
  let found = 0
  for (let at = 0; at < marks.length; ) {
    const mark = marks[at]!
    if (!text.startsWith(mark, start)) at += 1
    else {
      const end = text.indexOf('"', start + mark.length) + 1
      if (text[end] !== ',') break
      start = end + 1
      found += 1
      at = 0
    }
  }
  if (found === marks.length) return `{${text.slice(start)}`
  let clear = text
  for (const name of reservedFields) {
    const mark = `"${name}":"`
    const at = clear.indexOf(mark)
    if (at < 0) continue
    const nested = clear.indexOf('{', 1)
    const before = clear[at - 1]
    if ((nested >= 0 && nested < at) || (before !== '{' && before !== ',')) return text
    // Values of ours need no escapes.
    const end = clear.indexOf('"', at + mark.length) + 1
    clear =
      clear[end] === ','
        ? clear.slice(0, at) + clear.slice(end + 1)
        : clear.slice(0, before === ',' ? at - 1 : at) + clear.slice(end)
  }
  return clear
}

function fieldsOf(members: Members, shown: ReadonlySet<string>): Members {
  const names = [...shown]
  // Most names are of whole fields: only what leads into an object must be cut.
  const isFlat = [...members].every(
    ([name]) => shown.has(name) || !names.some((wanted) => wanted.startsWith(`${name}.`)),
  )
  if (!isFlat) return splitMembers(selectTexts(joinMembers(members), shown))
  return new Map([...members].filter(([name]) => shown.has(name)))
}

function keep(kept: Members, members: Members, name: string, isWanted: boolean): void {
  const value = members.get(name)
  if (value !== undefined && isWanted) kept.set(name, value)
}

function withoutReserved(text: string): string {
  if (!text.includes('_miroir_')) return text
  return joinMembers([...splitMembers(text)].filter(([name]) => !isReservedName(name)))
}

function shownPositions(text: string, displayed: ReadonlySet<string> | null): string {
  if (displayed === null && !text.includes('_miroir_')) return text
  const isShown = (path: string) =>
    displayed === null || [...displayed].some((name) => isCovered(path, name) || isCovered(name, path))
  return joinMembers([...splitMembers(text)].filter(([path]) => !isReservedName(path) && isShown(path)))
}

export const scoreText = ({ scoreText: text, score }: Pick<Hit, 'scoreText' | 'score'>): string =>
  text ?? numberText(score)

/** A double in the engine's spelling. */
export function numberText(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value)
}

/** Without the sequence; the names and values of hidden fields only hinted at. */
function detailsText({ detailsText: text, details }: Hit, { displayed }: Projection): string {
  const members = text === null ? null : splitMembers(text)
  const shown = details.map((detail): [string, string] => {
    const { name, fields } = detail
    const field = name.slice(0, name.lastIndexOf(':'))
    if (isSort(detail) && !isGeo(name) && displayed !== null && !displayed.has(field))
      return [`<hidden-rule-${String(fields.order)}>`, `{"order":${String(fields.order)},"value":"<hidden>"}`]
    return [name, members?.get(name) ?? JSON.stringify(fields)]
  })
  return joinMembers(shown)
}
