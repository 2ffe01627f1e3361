/**
 * One index in the route table, flat: a table of a million must stay below 500 bytes each, so that the usual single
 * placement needs no objects of its own and strings that repeat are shared.
 */
import type { IndexEntry, Placement, PlacementState, Spread } from '../store/catalogue.ts'

/** Gives back one copy of equal strings. */
export type SharedStrings = Map<string, string>

function shared(strings: SharedStrings, text: string): string {
  const known = strings.get(text)
  if (known !== undefined) return known
  strings.set(text, text)
  return text
}

const onlyShard: readonly number[] = [0]

export class IndexRecord {
  readonly id: string
  readonly project: string
  readonly uid: string
  readonly #primaryKey: string | null
  readonly #createdAt: number
  readonly #updatedAt: number
  /** The fields of a single placement, or `undefined` with all of them in `#others`. */
  readonly #node: string | undefined
  readonly #physicalUid: string
  readonly #state: PlacementState
  readonly #generation: number
  readonly #applied: number
  readonly #revision: number
  readonly #settingsPosition: number
  readonly #spread: Spread | null
  readonly #others: readonly Placement[] | undefined

  constructor(index: IndexEntry, placements: readonly Placement[], strings: SharedStrings) {
    this.id = index.id
    this.project = shared(strings, index.project)
    this.uid = index.uid
    this.#primaryKey = index.primaryKey === null ? null : shared(strings, index.primaryKey)
    this.#createdAt = index.createdAt
    this.#updatedAt = index.updatedAt
    const only = placements.length === 1 && index.spread === null ? placements[0]! : undefined
    this.#node = only && shared(strings, only.node)
    this.#physicalUid = only?.physicalUid ?? ''
    this.#state = only?.state ?? 'lost'
    this.#generation = only?.generation ?? 0
    this.#applied = only?.applied ?? 0
    this.#revision = only?.revision ?? 0
    this.#settingsPosition = index.settingsPosition
    this.#spread = index.spread
    this.#others = only === undefined ? placements : undefined
  }

  get index(): IndexEntry {
    return {
      id: this.id,
      project: this.project,
      uid: this.uid,
      primaryKey: this.#primaryKey,
      createdAt: this.#createdAt,
      updatedAt: this.#updatedAt,
      settingsPosition: this.#settingsPosition,
      spread: this.#spread,
    }
  }

  get placements(): readonly Placement[] {
    if (this.#node === undefined) return this.#others ?? []
    return [
      {
        index: this.id,
        generation: this.#generation,
        shards: onlyShard,
        node: this.#node,
        physicalUid: this.#physicalUid,
        state: this.#state,
        applied: this.#applied,
        revision: this.#revision,
      },
    ]
  }
}
