/** Hits of legs: cut out of a node's answer as text, with what the merge compares beside it. */
import { sequenceField } from '../api/reserved-fields.ts'
import { assert } from '../lib/assert.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { splitItems, splitMembers } from '../lib/json-cut.ts'
import { keysOf, orderedDetails, type ScoreDetail, type ScoreKey } from './score-keys.ts'

export interface Hit {
  /** The document and what is formatted of it: JSON text without scores. */
  readonly text: string
  readonly score: number
  /** As the node wrote it, when it still holds. */
  readonly scoreText: string | null
  /** In the order of the rules, the sequence apart. */
  readonly details: readonly ScoreDetail[]
  /** As the node wrote them, when they still hold. */
  readonly detailsText: string | null
  readonly keys: readonly ScoreKey[]
  /** The place of the document in the index; empty in plain ones. */
  readonly sequence: string
  /** The leg that gave it. */
  readonly target: string
}

const sequenceRule = `${sequenceField}:asc`
const detailsName = '"_rankingScoreDetails":'
const scoreName = '"_rankingScore":'

export function readHits(list: string, target: string): Hit[] {
  return splitItems(list).map((text) => readHit(text, target))
}

/** @param text  of a hit with `_rankingScore` and, last, `_rankingScoreDetails`. */
export function readHit(text: string, target: string): Hit {
  const detailsAt = text.lastIndexOf(detailsName)
  const scoreAt = text.lastIndexOf(scoreName, detailsAt)
  assert(detailsAt > 0 && scoreAt > 0, 'a hit with its scores')
  const detailsText = text.slice(detailsAt + detailsName.length, -1)
  const scoreText = text.slice(scoreAt + scoreName.length, detailsAt - 1)
  const details = orderedDetails(JSON.parse(detailsText) as JsonObject)
  const last = details.at(-1)
  const isRanked = last?.name === sequenceRule
  if (isRanked) details.pop()
  const document = scoreAt === 1 ? '{}' : `${text.slice(0, scoreAt - 1)}}`
  return {
    text: document,
    score: Number(scoreText),
    scoreText,
    details,
    detailsText,
    keys: keysOf(details),
    sequence: isRanked ? sequenceText(last.fields.value) : sequenceOf(document),
    target,
  }
}

/** Of a document's text; empty when it has none. */
export function sequenceOf(document: string): string {
  if (!document.includes(sequenceField)) return ''
  const text = splitMembers(document).get(sequenceField)
  return text === undefined ? '' : sequenceText(JSON.parse(text) as Json)
}

const sequenceText = (value: Json | undefined): string => (typeof value === 'string' ? value : '')
