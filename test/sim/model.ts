/** What must be there in the end: every index folded from what was acknowledged, change by change, one after the other. */
import type { Change } from '../../src/journal/change.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import * as rules from './document-rules.ts'
import type { SimNode } from './sim-node.ts'
import type { SimStore, StoredIndex } from './sim-store.ts'

/** Differences between what is and what must be, as text; empty = all is well. */
export function violations(store: SimStore, nodes: ReadonlyMap<string, SimNode>, mayLinger: boolean): string[] {
  return store.indexes.flatMap((index) => violationsOf(index, nodes.get(index.placement.node)!, mayLinger))
}

function violationsOf(index: StoredIndex, node: SimNode, mayLinger: boolean): string[] {
  const found: string[] = []
  const state = rules.emptyIndex(null)
  for (const [at, change] of index.changes.entries()) {
    const name = `${index.id}:${change.position} ${change.operation.kind}`
    // I1
    if (change.position !== at + 1) found.push(`${name}: a gap in the positions`)
    const expected = fold(state, change)
    if (change.status !== expected) found.push(`${name} is ${change.status} (${change.error?.code}), not ${expected}`)
  }
  const stored = node.disk.indexes.get(index.placement.physicalUid)
  if (index.isGone) {
    // A request that came late, or an older disk, may bring the index back; nothing points to it any more.
    if (stored !== undefined && !mayLinger) found.push(`${index.id} was deleted and is on ${node.id}`)
    return found
  }
  // I2
  const actual = rules.digest(stored ?? rules.emptyIndex(null))
  if (stored === undefined) found.push(`${index.id} is not on ${node.id}`)
  if (actual !== rules.digest(state)) found.push(`${index.id} holds ${actual}, not ${rules.digest(state)}`)
  return found
}

/** Applies one change alone, as the order of the journal has it, and answers how it must end. */
function fold(state: rules.IndexState, change: Change): Change['status'] {
  if (change.status === 'canceled') return 'canceled'
  if (change.refusal !== null) return 'failed'
  // Trouble that looks like a verdict, twice in a row and alone: believed (NF-21).
  if (change.status === 'failed' && change.error?.code === 'internal') return 'failed'
  const { operation } = change
  switch (operation.kind) {
    case 'documents-put': {
      let documents = linesOf(change) as JsonObject[]
      if (operation.skipCreation) documents = documents.filter(({ id }) => state.documents.has(String(id)))
      if (rules.lateRefusal(state, documents) !== undefined) return 'failed'
      rules.put(state, documents, operation.merge)
      return 'succeeded'
    }
    case 'documents-delete':
      rules.remove(state, linesOf(change) as string[])
      return 'succeeded'
    case 'documents-delete-by-filter':
    case 'documents-edit': {
      const found = rules.matching(state, operation.filter)
      if (!Array.isArray(found)) return 'failed'
      if (operation.kind === 'documents-edit') {
        // What an edit came to is put again, and must be good under the settings of its position.
        const after = rules.copyIndex(state)
        rules.edit(after, found)
        const changed = [...after.documents.values()].filter((document) => found.includes(String(document.id)))
        if (rules.lateRefusal(state, changed) !== undefined) return 'failed'
        rules.edit(state, found)
      } else rules.remove(state, found)
      return 'succeeded'
    }
    case 'documents-clear':
    case 'index-delete':
      state.documents.clear()
      return 'succeeded'
    case 'settings':
      return rules.applySettings(state, operation.settings) === undefined ? 'succeeded' : 'failed'
    default:
      return 'succeeded'
  }
}

function linesOf({ payload }: Change): unknown[] {
  if (payload?.kind !== 'inline') return []
  return Buffer.from(payload.bytes)
    .toString()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
}
