/** One index as the model has it: folded from its changes, one after the other. */
import { sequenceText } from '../../src/api/reserved-fields.ts'
import type { Change, Payload } from '../../src/journal/change.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import type { Spread } from '../../src/store/catalogue.ts'
import * as rules from './document-rules.ts'

export interface ModelIndex {
  readonly id: string
  /** As it lies now. */
  spread: Spread | null
  /** Task numbers, by position from 1. */
  readonly tasks: number[]
  /** As of `folded`: all before it has ended. */
  readonly state: rules.IndexState
  folded: number
  isGone: boolean
  /** Documents that a failed change named: some of it may be on a node until it is built anew. */
  readonly tainted: Set<string>
  /** Where it was ever placed. */
  readonly homes: Map<string, { readonly node: string; readonly physicalUid: string }>
  /** Where documents stand that keep the place of their first insertion. */
  readonly places: Map<string, string>
}

export function newModelIndex(id: string, spread: Spread | null): ModelIndex {
  return {
    id,
    spread,
    tasks: [],
    state: rules.emptyIndex(null),
    folded: 0,
    isGone: false,
    tainted: new Set(),
    homes: new Map(),
    places: new Map(),
  }
}

/** Ids that a change may touch; `undefined` = any. */
export function touched(change: Change, state: rules.IndexState): readonly string[] | undefined {
  const { operation } = change
  switch (operation.kind) {
    case 'documents-put':
      return (linesOf(change) as JsonObject[]).map(({ id }) => String(id))
    case 'documents-delete':
      return linesOf(change) as string[]
    case 'documents-edit':
      if (change.status !== 'failed') return undefined
      return [...state.documents.keys()]
    case 'documents-delete-by-filter':
    case 'documents-clear':
    case 'index-delete':
      return change.status === 'failed' ? [] : undefined
    default:
      return []
  }
}

export function checkDetails({ operation, details }: Change, removed: number, note: (text: string) => void): void {
  if (operation.kind !== 'documents-delete-by-filter' && operation.kind !== 'documents-edit') return
  const told = (details as JsonObject | null)?.deletedDocuments
  if (told !== removed) note(`deletedDocuments are ${told}, not ${removed}`)
}

interface Folded {
  readonly status: Change['status']
  readonly removed: number
}

/** Applies one change alone, as the order of the journal has it, and answers how it must end. */
export function fold(state: rules.IndexState, change: Change): Folded {
  const done = { status: 'succeeded', removed: 0 } as const
  const failed = { status: 'failed', removed: 0 } as const
  if (change.status === 'canceled') return { status: 'canceled', removed: 0 }
  if (change.refusal !== null) return failed
  // Trouble that looks like a verdict, twice in a row and alone, is believed (NF-21); and so is one node alone.
  const { error } = change
  if (change.status === 'failed' && (error?.code === 'internal' || error?.message.endsWith('is odd'))) return failed
  const { operation } = change
  switch (operation.kind) {
    case 'documents-put': {
      let documents = linesOf(change) as JsonObject[]
      if (operation.skipCreation) documents = documents.filter(({ id }) => state.documents.has(String(id)))
      if (rules.lateRefusal(state, documents) !== undefined) return failed
      rules.put(state, documents, operation.merge)
      return done
    }
    case 'documents-delete':
      rules.remove(state, linesOf(change) as string[])
      return done
    case 'documents-delete-by-filter':
    case 'documents-edit': {
      const found = rules.matching(state, operation.filter)
      if (!Array.isArray(found)) return failed
      const before = state.documents.size
      if (operation.kind === 'documents-edit') {
        // What an edit came to is put again, and must be good under the settings of its position.
        const after = rules.copyIndex(state)
        rules.edit(after, found)
        const changed = [...after.documents.values()].filter((document) => found.includes(String(document.id)))
        if (rules.lateRefusal(state, changed) !== undefined) return failed
        rules.edit(state, found)
      } else rules.remove(state, found)
      return { status: 'succeeded', removed: before - state.documents.size }
    }
    case 'documents-clear':
    case 'index-delete':
      state.documents.clear()
      return done
    case 'settings':
      return rules.applySettings(state, operation.settings) === undefined ? done : failed
    default:
      return done
  }
}

/** A document stands where the first write put it that found none of its id. */
export function foldPlaces({ places, state: { documents } }: ModelIndex, change: Change): void {
  for (const id of places.keys()) if (!documents.has(id)) places.delete(id)
  if (change.operation.kind !== 'documents-put') return
  for (const [line, { id }] of (linesOf(change) as JsonObject[]).entries()) {
    const key = String(id)
    if (documents.has(key) && !places.has(key)) places.set(key, sequenceText(change.position ?? 0, line))
  }
}

/** Parsed once; nobody changes them. */
const knownLines = new WeakMap<Payload, unknown[]>()

function linesOf({ payload }: Change): unknown[] {
  if (payload?.kind !== 'inline') return []
  const known = knownLines.get(payload)
  if (known !== undefined) return known
  const lines = Buffer.from(payload.bytes)
    .toString()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
  knownLines.set(payload, lines)
  return lines
}
