/** Reading a document's id by its primary key (M-E2, M-E3). */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'

/** The id as text, or `undefined` when there is none. Dots in the key address nested objects; a flat field of that name comes first. */
export function documentId(document: JsonObject, primaryKey: string): string | undefined {
  const id = valueAt(document, primaryKey)
  if (typeof id === 'string') return id
  return typeof id === 'number' || typeof id === 'bigint' ? String(id) : undefined
}

function valueAt(value: Json | undefined, path: string): Json | undefined {
  if (!isObject(value)) return undefined
  if (Object.hasOwn(value, path)) return value[path]
  for (let dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1)) {
    const found = valueAt(value[path.slice(0, dot)], path.slice(dot + 1))
    if (found !== undefined) return found
  }
  return undefined
}
