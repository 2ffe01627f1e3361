/**
 * The little search engine that nodes and model of the simulator share: documents, settings, and which changes it refuses.
 * Small on purpose: just enough that order, repetition and the state of the index show in the result.
 */
import type { ErrorBody } from '../../src/api/errors.ts'
import { reservedFields, shardField } from '../../src/api/reserved-fields.ts'
import { foldSettings } from '../../src/api/settings.ts'
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
 *
 * @param picky  a node that for a while refuses, alone, documents that are `odd` for it.
 */
export function lateRefusal(
  index: IndexState,
  documents: readonly JsonObject[],
  picky?: string | null,
): ErrorBody | undefined {
  const isBad = ({ bad }: JsonObject) => bad === 'always' || (bad !== undefined && index.settings.refuses === bad)
  const found = documents.find((document) => isBad(document) || (document.odd !== undefined && document.odd === picky))
  if (found === undefined) return undefined
  const why = isBad(found) ? 'refused' : 'odd'
  return refusal('invalid_document_geo_field', `document ${JSON.stringify(found.id)} is ${why}`)
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

/** Filters are `group = n` and lists of shards, and arrays of them; the settings must allow their attributes. */
export function matching(index: IndexState, filter: unknown): string[] | ErrorBody {
  const terms = Array.isArray(filter) ? filter.map(String) : [String(filter)]
  const { filterableAttributes } = index.settings
  let found = [...index.documents]
  for (const term of terms) {
    const attribute = term.startsWith(shardField) ? shardField : 'group'
    if (!Array.isArray(filterableAttributes) || !filterableAttributes.includes(attribute))
      return refusal('invalid_document_filter', `Attribute \`${attribute}\` is not filterable.`)
    if (attribute === shardField) {
      const shards = new Set([...term.matchAll(/"([^"]*)"/g)].map(([, shard]) => shard))
      found = found.filter(([, document]) => shards.has(String(document[shardField])))
    } else {
      const group = Number(/^group = (\d+)$/.exec(term)?.[1])
      found = found.filter(([, document]) => document.group === group)
    }
  }
  return found.map(([id]) => id)
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
  index.settings = foldSettings(index.settings, settings)
  return undefined
}

/** As the client wrote it. */
function clientPart(document: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(document).filter(([name]) => !reservedFields.includes(name)))
}

/** Documents are replaced, never changed. */
const knownTexts = new WeakMap<JsonObject, string>()

/** One text for equal documents, whatever the order of keys. */
export function documentText(document: JsonObject): string {
  const known = knownTexts.get(document)
  if (known !== undefined) return known
  const text = JSON.stringify(Object.fromEntries(Object.entries(document).sort(([a], [b]) => (a < b ? -1 : 1))))
  knownTexts.set(document, text)
  return text
}

const knownParts = new WeakMap<JsonObject, string>()

/** The same of what the client wrote of a stored document. */
export function clientText(document: JsonObject): string {
  const known = knownParts.get(document)
  if (known !== undefined) return known
  const text = documentText(clientPart(document))
  knownParts.set(document, text)
  return text
}

export function refusal(code: string, message: string): ErrorBody {
  return { message, code, type: 'invalid_request', link: '' }
}
