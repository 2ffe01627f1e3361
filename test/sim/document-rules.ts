/**
 * The little search engine that nodes and model of the simulator share: documents, settings, and which changes it refuses.
 * Small on purpose: just enough that order, repetition and the state of the index show in the result.
 */
import type { ErrorBody } from '../../src/api/errors.ts'
import type { JsonObject } from '../../src/lib/json.ts'

export interface IndexState {
  primaryKey: string | null
  readonly documents: Map<string, JsonObject>
  settings: JsonObject
}

export function emptyIndex(primaryKey: string | null): IndexState {
  return { primaryKey, documents: new Map(), settings: {} }
}

export function copyIndex(index: IndexState): IndexState {
  return { primaryKey: index.primaryKey, documents: new Map(index.documents), settings: index.settings }
}

/**
 * A document that is `bad` is refused late, with its whole batch: always, or while the settings refuse that kind (as an
 * embedder refuses vectors of another size). What is stored was good once and is good in an index without settings.
 */
export function lateRefusal(index: IndexState, documents: readonly JsonObject[]): ErrorBody | undefined {
  const found = documents.find(({ bad }) => bad === 'always' || (bad !== undefined && index.settings.refuses === bad))
  return found && refusal('invalid_document_geo_field', `document ${JSON.stringify(found.id)} is refused`)
}

export function put(index: IndexState, documents: readonly JsonObject[], merge: boolean): void {
  for (const document of documents) {
    const id = String(document.id)
    const stored = merge ? index.documents.get(id) : undefined
    index.documents.set(id, stored === undefined ? document : { ...stored, ...document })
  }
}

/** Answers how many were there. */
export function remove(index: IndexState, ids: Iterable<string>): number {
  let count = 0
  for (const id of ids) if (index.documents.delete(id)) count += 1
  return count
}

/** Filters are `group = n`; the settings must allow them. */
export function matching(index: IndexState, filter: unknown): string[] | ErrorBody {
  if (index.settings.filterable !== true)
    return refusal('invalid_document_filter', 'Attribute `group` is not filterable.')
  const group = Number(/^group = (\d+)$/.exec(String(filter))?.[1])
  return [...index.documents].filter(([, document]) => document.group === group).map(([id]) => id)
}

/** The one edit there is: counts up, and deletes what came to 3. Not repeatable. */
export function edit(index: IndexState, ids: readonly string[]): void {
  for (const id of ids) {
    const document = index.documents.get(id)!
    const edits = Number(document.edits ?? 0) + 1
    if (edits >= 3) index.documents.delete(id)
    else index.documents.set(id, { ...document, edits })
  }
}

export function applySettings(index: IndexState, settings: JsonObject): ErrorBody | undefined {
  if (settings.broken === true) return refusal('invalid_settings_embedders', 'these settings are refused late')
  index.settings = { ...index.settings, ...settings }
  return undefined
}

/** One text for equal contents, whatever the order of documents and keys. */
export function digest(index: IndexState): string {
  const documents = [...index.documents.entries()].sort(([a], [b]) => (a < b ? -1 : 1))
  const sorted = documents.map(([id, document]) => [id, Object.fromEntries(Object.entries(document).sort())])
  return JSON.stringify([sorted, Object.fromEntries(Object.entries(index.settings).sort())])
}

export function refusal(code: string, message: string): ErrorBody {
  return { message, code, type: 'invalid_request', link: '' }
}
