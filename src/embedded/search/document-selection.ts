/** Parts of documents by dotted names (M-F15): which fields a hit shows, and a visit of every leaf. */
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { joinMembers, splitItems, splitMembers } from '../../lib/json-cut.ts'
import { isCovered } from '../field-rules.ts'

/** The named fields of a document, in its order; a name may lead into objects and arrays of objects. */
export function selectFields(document: JsonObject, names: ReadonlySet<string>): JsonObject {
  const selected: Record<string, Json> = {}
  for (const [key, value] of Object.entries(document)) {
    if (names.has(key)) {
      selected[key] = value
      continue
    }
    const below = new Set<string>()
    for (const name of names) if (name.startsWith(`${key}.`)) below.add(name.slice(key.length + 1))
    if (below.size === 0) continue
    if (Array.isArray(value)) selected[key] = selectInArray(value, below)
    else selected[key] = isObject(value) ? selectFields(value, below) : value
  }
  return selected
}

function selectInArray(values: readonly Json[], names: ReadonlySet<string>): readonly Json[] {
  const selected: Json[] = []
  for (const value of values) {
    if (Array.isArray(value)) selected.push(selectInArray(value, names))
    else if (isObject(value)) {
      const fields = selectFields(value, names)
      if (Object.keys(fields).length > 0) selected.push(fields)
    } else selected.push(value)
  }
  return selected
}

/** The same of a document's JSON text: numbers keep every digit. */
export function selectTexts(document: string, names: ReadonlySet<string>): string {
  const selected: [string, string][] = []
  for (const [key, text] of splitMembers(document)) {
    const below = new Set<string>()
    for (const name of names) if (name.startsWith(`${key}.`)) below.add(name.slice(key.length + 1))
    if (names.has(key)) selected.push([key, text])
    else if (below.size > 0) selected.push([key, selectText(text, below) ?? text])
  }
  return joinMembers(selected)
}

/** `undefined` = neither an object nor an array. */
function selectText(text: string, names: ReadonlySet<string>): string | undefined {
  if (text.startsWith('{')) return selectTexts(text, names)
  if (!text.startsWith('[')) return undefined
  const items = splitItems(text).map((item) => selectText(item, names) ?? item)
  return `[${items.filter((item) => item !== '{}').join(',')}]`
}

/** `path`: dotted name of the leaf. `indices`: array indexes on the way to it. */
export type MapLeaf = (path: string, indices: readonly number[], value: Json) => Json

/** The document with its leaves replaced, where their name is related to one of `names` (null = all). */
export function mapLeaves(document: JsonObject, names: ReadonlySet<string> | null, map: MapLeaf): JsonObject {
  return mapObject(document, '', [], names, map)
}

function mapObject(
  object: JsonObject,
  base: string,
  indices: readonly number[],
  names: ReadonlySet<string> | null,
  map: MapLeaf,
): JsonObject {
  const mapped: Record<string, Json> = {}
  for (const [key, value] of Object.entries(object)) {
    const path = base === '' ? key : `${base}.${key}`
    mapped[key] = names === null || isRelated(path, names) ? mapValue(value, path, indices, names, map) : value
  }
  return mapped
}

function mapValue(
  value: Json,
  path: string,
  indices: readonly number[],
  names: ReadonlySet<string> | null,
  map: MapLeaf,
): Json {
  if (Array.isArray(value))
    return value.map((item: Json, index) => mapValue(item, path, [...indices, index], names, map))
  return isObject(value) ? mapObject(value, path, indices, names, map) : map(path, indices, value)
}

function isRelated(path: string, names: ReadonlySet<string>): boolean {
  if (names.has(path)) return true
  for (const name of names) if (isCovered(path, name) || isCovered(name, path)) return true
  return false
}
