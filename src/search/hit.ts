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
const sequenceName = `"${sequenceRule}":`
const valueName = '"value":"'
const detailsName = '"_rankingScoreDetails":'
const scoreName = '"_rankingScore":'

/** @param text  of a hit with `_rankingScore` and, last, `_rankingScoreDetails`. */
export const readHit = (text: string, target: string, rules = new KnownRules()): Hit => new TextHit(text, target, rules)

/** The hit with other details than its node told. */
export function changedHit(hit: Hit, change: Partial<Hit>): Hit {
  const { text, score, scoreText, details, detailsText, keys, sequence, target } = hit
  return { text, score, scoreText, details, detailsText, keys, sequence, target, ...change }
}

/** What the rules but for the sequence say of a hit. */
interface Rules {
  readonly details: readonly ScoreDetail[]
  readonly keys: readonly ScoreKey[]
}

/** Rules by their text. Hits of one question have most of them in common but for the sequence: each is read once. */
export class KnownRules {
  readonly #known = new Map<string, Rules>()
  #lastText = ''
  #last: Rules | undefined

  /** @param text  of details, without the closing brace. */
  of(text: string): Rules {
    // Most often the hit before has the same, and to compare texts costs less than to look one up.
    if (this.#last !== undefined && text === this.#lastText) return this.#last
    let rules = this.#known.get(text)
    if (rules === undefined) {
      rules = rulesOf(orderedDetails(JSON.parse(`${text}}`) as JsonObject))
      this.#known.set(text, rules)
    }
    this.#lastText = text
    this.#last = rules
    return rules
  }
}

const rulesOf = (details: readonly ScoreDetail[]): Rules => ({ details, keys: keysOf(details) })

/** A hit that is read when it comes to be compared: of most hits of a leg nobody ever looks at the details. */
class TextHit implements Hit {
  readonly target: string
  readonly text: string
  readonly scoreText: string
  readonly detailsText: string
  readonly #known: KnownRules
  #rules: Rules | undefined
  #sequence = ''

  constructor(text: string, target: string, known: KnownRules) {
    const detailsAt = text.lastIndexOf(detailsName)
    const scoreAt = text.lastIndexOf(scoreName, detailsAt)
    assert(detailsAt > 0 && scoreAt > 0, 'a hit with its scores')
    this.#known = known
    this.target = target
    this.detailsText = text.slice(detailsAt + detailsName.length, -1)
    this.scoreText = text.slice(scoreAt + scoreName.length, detailsAt - 1)
    this.text = scoreAt === 1 ? '{}' : `${text.slice(0, scoreAt - 1)}}`
  }

  get score(): number {
    return Number(this.scoreText)
  }

  get details(): readonly ScoreDetail[] {
    this.#rules ??= this.#read()
    return this.#rules.details
  }

  get keys(): readonly ScoreKey[] {
    this.#rules ??= this.#read()
    return this.#rules.keys
  }

  get sequence(): string {
    this.#rules ??= this.#read()
    return this.#sequence
  }

  #read(): Rules {
    const text = this.detailsText
    const at = text.lastIndexOf(sequenceName)
    if (at < 0) {
      this.#sequence = sequenceOf(this.text)
      return this.#known.of(text.slice(0, -1))
    }
    // As nodes write it: the last rule, with its value last. Values of ours need no escapes.
    const valueAt = text.indexOf(valueName, at) + valueName.length
    const end = text.length - 3
    if (text.indexOf('"', valueAt) === end && text.endsWith('"}}')) {
      this.#sequence = text.slice(valueAt, end)
      return this.#known.of(text.slice(0, Math.max(1, at - 1)))
    }
    const details = orderedDetails(JSON.parse(text) as JsonObject)
    const last = details.at(-1)
    if (last?.name === sequenceRule) {
      details.pop()
      this.#sequence = sequenceText(last.fields.value)
    } else this.#sequence = sequenceOf(this.text)
    return rulesOf(details)
  }
}

/** Of a document's text; empty when it has none. */
export function sequenceOf(document: string): string {
  if (!document.includes(sequenceField)) return ''
  const text = splitMembers(document).get(sequenceField)
  return text === undefined ? '' : sequenceText(JSON.parse(text) as Json)
}

const sequenceText = (value: Json | undefined): string => (typeof value === 'string' ? value : '')
