/**
 * What one document puts into the index: words with their places, facet values, position on earth (M-E8, M-F2). The same
 * document and settings always give the same facts, so that a change is the difference of two sets of facts.
 */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { FacetValues } from './facet-values.ts'
import { isExactField, isFaceted, localesOf, searchWeight, usesGeo, usesShapes } from './field-rules.ts'
import { cutFacetString } from './index-keys.ts'
import type { IndexSettings } from './index-settings.ts'
import { type Interner, type KeySet, kindShift, kinds } from './posting-table.ts'
import { type Box, boxOf, storedShape } from './shape-box.ts'
import { normaliseFacet } from './text/normalise.ts'
import { createTokenizer, eachWord, positionBucket, type Tokenizer } from './text/tokenize.ts'

/** Documents with shapes stand beside those with positions. */
export const shapesField = 1
/** Words of a field that are counted (M-F2). */
const countedWordsMax = 30
const pairDistanceMax = 3
/** Nesting that is looked into; the edge refuses deeper documents. */
const depthMax = 200

/** Numbers for field names, given when a name is first met. */
export class FieldNames {
  readonly names: string[]
  readonly #ids: Map<string, number>

  constructor(names: readonly string[]) {
    this.names = [...names]
    this.#ids = new Map(names.map((name, id) => [name, id]))
  }

  has(name: string): boolean {
    return this.#ids.has(name)
  }

  id(name: string): number {
    const known = this.#ids.get(name)
    if (known !== undefined) return known
    const id = this.names.length
    this.names.push(name)
    this.#ids.set(name, id)
    return id
  }
}

/** Every name that a document brings into the index, nested ones with dots. */
export function eachFieldName(document: JsonObject, visit: (name: string) => void): void {
  const walk = (name: string, value: Json, depth: number): void => {
    if (typeof value !== 'object' || value === null || depth > depthMax) return
    if (Array.isArray(value)) {
      for (const item of value as readonly Json[]) walk(name, item, depth + 1)
      return
    }
    for (const [key, inner] of Object.entries(value as JsonObject)) {
      visit(`${name}.${key}`)
      walk(`${name}.${key}`, inner, depth + 1)
    }
  }
  for (const [key, value] of Object.entries(document)) {
    visit(key)
    if (key !== '_vectors') walk(key, value, 0)
  }
}

export interface FactParts {
  readonly words: boolean
  readonly facets: boolean
}

export interface DocumentFacts {
  /** By field; empty when facets were not asked for. */
  readonly facets: ReadonlyMap<number, FacetValues>
  readonly geo: { readonly lat: number; readonly lng: number } | undefined
  /** Around the shape of `_geojson`. */
  readonly box: Box | undefined
}

interface FieldPlan {
  readonly isSearched: boolean
  readonly isExact: boolean
  readonly isFaceted: boolean
  readonly locales: readonly string[] | undefined
}

interface FieldState {
  /** Where the field's next value begins. */
  position: number
  readonly words: number[]
  readonly positions: number[]
}

export class FactReader {
  readonly #settings: IndexSettings
  readonly #fields: FieldNames
  readonly #interner: Interner
  readonly #numbers: Map<number, number> = new Map()
  readonly numbers: number[] = []
  readonly #tokenizer: Tokenizer
  readonly #plans: FieldPlan[] = []
  readonly #usesGeo: boolean
  readonly #usesShapes: boolean

  constructor(settings: IndexSettings, fields: FieldNames, interner: Interner) {
    this.#settings = settings
    this.#fields = fields
    this.#interner = interner
    this.#tokenizer = createTokenizer(settings)
    this.#usesGeo = usesGeo(settings)
    this.#usesShapes = usesShapes(settings)
  }

  /** Forget the numbers given to facet values, when the interner forgets its strings. */
  clear(): void {
    this.#numbers.clear()
    this.numbers.length = 0
  }

  /** Adds the document's postings to `keys`. */
  read(document: JsonObject, parts: FactParts, keys: KeySet): DocumentFacts {
    const states = new Map<number, FieldState>()
    const facets = new Map<number, { numbers: number[]; strings: { value: string; original: string }[] }>()
    const valuesOf = (field: number) => {
      let values = facets.get(field)
      if (values === undefined) {
        values = { numbers: [], strings: [] }
        facets.set(field, values)
      }
      return values
    }
    const addWords = (field: number, plan: FieldPlan, text: string) => {
      let state = states.get(field)
      if (state === undefined) {
        state = { position: 0, words: [], positions: [] }
        states.set(field, state)
      }
      const { words, positions } = state
      const tokens = this.#tokenizer.tokenize(text, plan.locales)
      state.position = eachWord(tokens, state.position, (word, position) => {
        words.push(this.#interner.number(word))
        positions.push(position)
      })
    }
    // What has no words of its own still moves the field's next value on: null, and nested lists and objects.
    const addNoWords = (field: number, plan: FieldPlan) => addWords(field, plan, '')
    const addString = (field: number, text: string, original: string) => {
      const value = cutFacetString(text)
      keys.add(this.#interner.number(value), keyOf(kinds.facetString, field))
      const { strings } = valuesOf(field)
      const spelling = { value, original: cutFacetString(original) }
      const known = strings.findIndex((string) => string.value === value)
      // The last spelling of a value is the one that is shown.
      if (known < 0) strings.push(spelling)
      else strings[known] = spelling
    }
    const addNumber = (field: number, value: number) => {
      keys.add(this.#numberOf(value), keyOf(kinds.facetNumber, field))
      const { numbers } = valuesOf(field)
      if (!numbers.includes(value)) numbers.push(value)
    }
    const visit = (name: string, value: Json, isBase: boolean, depth: number): void => {
      if (depth > depthMax) return
      const field = this.#fields.id(name)
      const plan = this.#planOf(field, name)
      const facet = parts.facets && plan.isFaceted && !(this.#usesGeo && name.startsWith('_geo.'))
      const isSearched = parts.words && plan.isSearched
      if (facet) keys.add(field, keyOf(kinds.exists, 0))
      if (Array.isArray(value)) {
        if (isSearched && isBase && depth > 0) addNoWords(field, plan)
        if (isSearched && value.length === 0) addNoWords(field, plan)
        if (facet && isBase && value.length === 0) keys.add(field, keyOf(kinds.isEmpty, 0))
        for (const item of value) visit(name, item, false, depth + 1)
        return
      }
      if (isObject(value)) {
        const names = Object.keys(value)
        if (isSearched && isBase && depth > 0) addNoWords(field, plan)
        if (isSearched && names.length === 0) addNoWords(field, plan)
        if (facet && isBase && names.length === 0) keys.add(field, keyOf(kinds.isEmpty, 0))
        for (const inner of names) visit(`${name}.${inner}`, value[inner]!, true, depth + 1)
        return
      }
      if (value === null) {
        if (isSearched) addNoWords(field, plan)
        if (facet && isBase) keys.add(field, keyOf(kinds.isNull, 0))
        return
      }
      if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return
      if (isSearched) addWords(field, plan, typeof value === 'string' ? value : JSON.stringify(value))
      if (!facet) return
      if (typeof value === 'number') addNumber(field, value)
      else if (typeof value === 'boolean') addString(field, String(value), String(value))
      else if (value !== '') addString(field, normaliseFacet(value), value)
      else if (isBase) keys.add(field, keyOf(kinds.isEmpty, 0))
    }
    for (const name of Object.keys(document)) if (name !== '_vectors') visit(name, document[name]!, true, 0)
    for (const [field, state] of states) this.#addField(keys, field, state)
    const geo = parts.facets && this.#usesGeo ? geoOf(document._geo) : undefined
    if (geo !== undefined) {
      keys.add(0, keyOf(kinds.geo, 0))
      // Coordinates may be given as strings, and are numbers to facets all the same.
      for (const [name, value] of Object.entries(geo)) {
        const field = this.#fields.id(`_geo.${name}`)
        if (this.#planOf(field, `_geo.${name}`).isFaceted) addNumber(field, value)
      }
    }
    const box = parts.facets && this.#usesShapes ? boxOf(storedShape(document._geojson)) : undefined
    if (box !== undefined) keys.add(shapesField, keyOf(kinds.geo, 0))
    return { facets, geo, box }
  }

  #addField(keys: KeySet, field: number, { words, positions }: FieldState): void {
    const { isExact } = this.#planOf(field, this.#fields.names[field]!)
    const { disableOnNumbers } = this.#settings.typoTolerance
    const hasPairs = this.#settings.proximityPrecision === 'byWord'
    for (let index = 0; index < words.length; index += 1) {
      const word = words[index]!
      const isStrict = isExact || (disableOnNumbers && isNumeric(this.#interner.strings[word]!))
      keys.add(word, keyOf(isStrict ? kinds.exact : kinds.word, 0))
      keys.add(word, keyOf(kinds.field, field))
      keys.add(word, keyOf(kinds.position, positionBucket(positions[index]!)))
      if (!hasPairs) continue
      for (let next = index + 1; next < words.length; next += 1) {
        const distance = positions[next]! - positions[index]!
        if (distance > pairDistanceMax) break
        if (distance > 0) addPair(keys, word, words[next]!, distance)
      }
    }
    if (words.length > 0 && words.length <= countedWordsMax) keys.add(field, keyOf(kinds.count, words.length))
  }

  #planOf(field: number, name: string): FieldPlan {
    let plan = this.#plans[field]
    if (plan === undefined) {
      plan = {
        isSearched: searchWeight(this.#settings, name) !== undefined,
        isExact: isExactField(this.#settings, name),
        isFaceted: isFaceted(this.#settings, name),
        locales: localesOf(this.#settings, name),
      }
      this.#plans[field] = plan
    }
    return plan
  }

  #numberOf(value: number): number {
    const known = this.#numbers.get(value)
    if (known !== undefined) return known
    this.#numbers.set(value, this.numbers.length)
    this.numbers.push(value)
    return this.numbers.length - 1
  }
}

const keyOf = (kind: number, value: number): number => ((kind << kindShift) | value) >>> 0

/** Every distance of a pair is noted here; `smallestPairs` keeps each pair's smallest. */
function addPair(keys: KeySet, left: number, right: number, distance: number): void {
  for (let nearer = 1; nearer < distance; nearer += 1)
    if (keys.has(left, keyOf(kinds.pair1 + nearer - 1, right))) return
  keys.add(left, keyOf(kinds.pair1 + distance - 1, right))
}

/** A pair counts at its smallest distance in the document only (M-F2). */
export function isHiddenPair(keys: KeySet, a: number, b: number): boolean {
  const kind = b >>> kindShift
  if (kind !== kinds.pair2 && kind !== kinds.pair3) return false
  const right = b & ((1 << kindShift) - 1)
  if (keys.has(a, keyOf(kinds.pair1, right))) return true
  return kind === kinds.pair3 && keys.has(a, keyOf(kinds.pair2, right))
}

function isNumeric(word: string): boolean {
  return /^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?$/.test(word)
}

/** A position: numbers or numeric strings (M-E7); undefined when there is none or it is not valid. */
export function geoOf(value: Json | undefined): { readonly lat: number; readonly lng: number } | undefined {
  if (value === undefined || !isObject(value)) return undefined
  const [lat, lng] = [coordinate(value.lat), coordinate(value.lng)]
  return lat === undefined || lng === undefined ? undefined : { lat, lng }
}

function coordinate(value: Json | undefined): number | undefined {
  if (typeof value !== 'number' && (typeof value !== 'string' || value.trim() === '')) return undefined
  const number = Number(value)
  return Number.isFinite(number) ? number : undefined
}
