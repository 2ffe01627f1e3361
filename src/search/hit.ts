/** Hits of legs: cut out of a node's answer as text, with what the merge compares beside it. */
import { sequenceField } from '../api/reserved-fields.ts'
import { assert } from '../lib/assert.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { splitMembers } from '../lib/json-cut.ts'
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

/** @param text  of a hit with `_rankingScore` and, last, `_rankingScoreDetails`. */
export const readHit = (text: string, target: string): Hit => new TextHit(text, target)

/** The hit with other details than its node told. */
export function changedHit(hit: Hit, change: Partial<Hit>): Hit {
  const { text, score, scoreText, details, detailsText, keys, sequence, target } = hit
  return { text, score, scoreText, details, detailsText, keys, sequence, target, ...change }
}

/** A hit that is read when it comes to be compared: of most hits of a leg nobody ever looks at the details. */
class TextHit implements Hit {
  readonly target: string
  readonly text: string
  readonly scoreText: string
  readonly detailsText: string
  #details: readonly ScoreDetail[] | undefined
  #keys: readonly ScoreKey[] | undefined
  #sequence = ''

  constructor(text: string, target: string) {
    const detailsAt = text.lastIndexOf(detailsName)
    const scoreAt = text.lastIndexOf(scoreName, detailsAt)
    assert(detailsAt > 0 && scoreAt > 0, 'a hit with its scores')
    this.target = target
    this.detailsText = text.slice(detailsAt + detailsName.length, -1)
    this.scoreText = text.slice(scoreAt + scoreName.length, detailsAt - 1)
    this.text = scoreAt === 1 ? '{}' : `${text.slice(0, scoreAt - 1)}}`
  }

  get score(): number {
    return Number(this.scoreText)
  }

  get details(): readonly ScoreDetail[] {
    this.#details ??= this.#read()
    return this.#details
  }

  get keys(): readonly ScoreKey[] {
    this.#keys ??= keysOf(this.details)
    return this.#keys
  }

  get sequence(): string {
    this.#details ??= this.#read()
    return this.#sequence
  }

  #read(): readonly ScoreDetail[] {
    const details = orderedDetails(JSON.parse(this.detailsText) as JsonObject)
    const last = details.at(-1)
    if (last?.name === sequenceRule) {
      details.pop()
      this.#sequence = sequenceText(last.fields.value)
    } else this.#sequence = sequenceOf(this.text)
    return details
  }
}

/** Of a document's text; empty when it has none. */
export function sequenceOf(document: string): string {
  if (!document.includes(sequenceField)) return ''
  const text = splitMembers(document).get(sequenceField)
  return text === undefined ? '' : sequenceText(JSON.parse(text) as Json)
}

const sequenceText = (value: Json | undefined): string => (typeof value === 'string' ? value : '')
