/** Foreign keys: ids in hits are replaced by the documents that they name in another index, while the flag is on. */
import { isDocumentId } from '../../api/document-id.ts'
import { missingIndexStatus, rethrowInside } from '../../api/multi-search-query.ts'
import { parseExact, plainText } from '../../lib/exact-numbers.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { selectFields } from './document-selection.ts'
import type { OrderedJson, OrderedObject } from './ordered-json.ts'

/** What foreign documents need of an index. */
export interface KeyedIndex {
  /** As they were set. */
  readonly settings: JsonObject
  /** JSON text of a document. */
  text(id: string): string | undefined
}

/** @throws ApiError `index_not_found` */
export type NeedIndex = (uid: string) => KeyedIndex

export interface ForeignKey {
  readonly foreignIndexUid: string
  readonly fieldName: string
}

/** The foreign keys among settings as they were set. */
export function foreignKeysOf({ foreignKeys }: JsonObject): readonly ForeignKey[] {
  if (!Array.isArray(foreignKeys)) return []
  return foreignKeys.flatMap((key: Json) =>
    isObject(key) && typeof key.foreignIndexUid === 'string' && typeof key.fieldName === 'string'
      ? [{ foreignIndexUid: key.foreignIndexUid, fieldName: key.fieldName }]
      : [],
  )
}

/**
 * The answer of a search, or of several, with foreign documents in its hits.
 *
 * @param uid  the index of all hits; null = each hit or list says its own.
 */
export function withForeignDocuments(answer: OrderedObject, uid: string | null, need: NeedIndex): OrderedObject {
  const results = answer.get('results')
  if (uid === null && Array.isArray(results)) {
    const each = results.map((result: OrderedJson, place) => {
      const own = result instanceof Map ? (result as OrderedObject) : undefined
      const name = own?.get('indexUid')
      return own !== undefined && typeof name === 'string'
        ? rethrowInside(place, () => withForeignDocuments(own, name, need), missingIndexStatus({ foreignKeys: true }))
        : result
    })
    return new Map([...answer, ['results', each as readonly OrderedObject[]]])
  }
  const hits = answer.get('hits')
  if (!Array.isArray(hits)) return answer
  const hydrations = new Map<string, Hydration>()
  const hydrated = hits.map((hit: Json) => {
    if (!isObject(hit)) return hit
    const name = uid ?? ownerOf(hit)
    if (name === undefined) return hit
    let hydration = hydrations.get(name)
    if (hydration === undefined) {
      hydration = new Hydration(name, need)
      hydrations.set(name, hydration)
    }
    return hydration.apply(hit)
  })
  return new Map([...answer, ['hits', hydrated]])
}

function ownerOf(hit: JsonObject): string | undefined {
  const federation = hit._federation
  return federation !== undefined && isObject(federation) ? String(federation.indexUid) : undefined
}

class Hydration {
  readonly #keys: readonly { readonly path: string; readonly find: (id: string) => Json }[]

  constructor(uid: string, need: NeedIndex) {
    this.#keys = foreignKeysOf(need(uid).settings).map(({ fieldName, foreignIndexUid }) => {
      const foreign = need(foreignIndexUid)
      const { displayedAttributes } = foreign.settings
      const shown = Array.isArray(displayedAttributes) ? new Set(displayedAttributes.map(String)) : null
      const known = new Map<string, Json>()
      const find = (id: string): Json => {
        let document = known.get(id)
        if (document === undefined) {
          const { _vectors, ...fields } = parseExact(foreign.text(id) ?? '{}') as { readonly [name: string]: Json }
          document = shown === null || shown.has('*') ? fields : selectFields(fields, shown)
          known.set(id, document)
        }
        return document
      }
      return { path: fieldName, find }
    })
  }

  apply(hit: JsonObject): JsonObject {
    if (this.#keys.length === 0) return hit
    const { _formatted: formatted } = hit
    const isFormatted = formatted !== undefined && isObject(formatted)
    let after = hit
    let afterFormatted = isFormatted ? formatted : {}
    for (const { path, find } of this.#keys) {
      afterFormatted = replaceAt(after, afterFormatted, path, find)
      after = replaceAt(after, after, path, find)
    }
    return isFormatted ? { ...after, _formatted: afterFormatted } : after
  }
}

/** `shown` with what stands at `path` replaced; `original` says which ids stand there, since shown ones may be marked. */
function replaceAt(original: JsonObject, shown: JsonObject, path: string, find: (id: string) => Json): JsonObject {
  let after = shown
  const own = original[path]
  const ownShown = shown[path]
  if (own !== undefined && ownShown !== undefined) after = { ...after, [path]: replaceAll(own, ownShown, find) }
  for (let dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1)) {
    const name = path.slice(0, dot)
    const [inner, innerShown] = [original[name], after[name]]
    if (inner === undefined || innerShown === undefined) continue
    after = { ...after, [name]: replaceBelow(inner, innerShown, path.slice(dot + 1), find) }
  }
  return after
}

function replaceBelow(original: Json, shown: Json, path: string, find: (id: string) => Json): Json {
  if (Array.isArray(original) && Array.isArray(shown))
    return shown.map((item: Json, index) => replaceBelow((original[index] ?? null) as Json, item, path, find))
  return isObject(original) && isObject(shown) ? replaceAt(original, shown, path, find) : shown
}

/** Every id below: strings and whole numbers; what can be no id stays as it is. */
function replaceAll(original: Json, shown: Json, find: (id: string) => Json): Json {
  if (Array.isArray(original) && Array.isArray(shown))
    return shown.map((item: Json, index) => replaceAll((original[index] ?? null) as Json, item, find))
  if (isObject(original) && isObject(shown))
    return Object.fromEntries(
      Object.entries(shown).map(([name, item]) => [name, replaceAll(original[name] ?? null, item, find)]),
    )
  if (typeof original !== 'string' && (typeof original !== 'number' || !Number.isInteger(original))) return shown
  const id = plainText(original)
  return isDocumentId(id) ? find(id) : shown
}
