/**
 * A JSON value with placeholders, as the `request` and `response` of a `rest` embedder are written: one placeholder, or an
 * array `[value with a placeholder, "{{..}}"]` that repeats its first item. Values go in at the placeholders, and come out
 * of an answer at the same places.
 */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'

export const placeholders = { text: '{{text}}', fragment: '{{fragment}}', embedding: '{{embedding}}' } as const
const repeat = '{{..}}'

/** Names and array positions from the root of a value. */
type Path = readonly (string | number)[]

export type InjectedValue =
  | { readonly kind: 'single'; readonly template: Json; readonly path: Path }
  | {
      readonly kind: 'array'
      readonly template: Json
      readonly path: Path
      readonly item: Json
      readonly itemPath: Path
    }

/** What is wrong with a template or with an answer; the message is for clients. */
export class InjectionFault extends Error {
  override readonly name = 'InjectionFault'
}

interface Found {
  single: Path | null
  array: { readonly path: Path; readonly item: Json; readonly itemPath: Path } | null
}

/** @throws InjectionFault naming the place below `root`. */
export function parseInjectedValue(template: Json, root: string, placeholder: string): InjectedValue {
  const found: Found = { single: null, array: null }
  search(template, { root, placeholder, found, isNested: false, base: [] }, [])
  const { single, array } = found
  if (array === null) {
    if (single === null) throw new InjectionFault(`in \`${root}\`: "${placeholder}" not found`)
    return { kind: 'single', template, path: single }
  }
  if (single !== null)
    throw new InjectionFault(
      `in ${pathText(root, single)}: Found "${placeholder}", but it was already present in ${pathText(root, [...array.path, 0, ...array.itemPath])} (repeated)`,
    )
  return { kind: 'array', template, ...array }
}

interface Search {
  readonly root: string
  readonly placeholder: string
  readonly found: Found
  /** Inside of a repeated value. */
  readonly isNested: boolean
  /** Where the repeated value stands. */
  readonly base: Path
}

function search(value: Json, context: Search, path: Path): void {
  const { root, placeholder, found, base } = context
  const at = (place: Path) => pathText(root, [...base, ...place])
  if (typeof value === 'string') {
    if (value === placeholder) {
      if (found.single !== null)
        throw new InjectionFault(
          `in ${at(path)}: Found "${placeholder}", but it was already present in ${at(found.single)}`,
        )
      found.single = path
    }
    if (value === repeat) throw new InjectionFault(`in ${at(path)}: "${repeat}" appears outside of an array`)
  } else if (Array.isArray(value)) searchArray(value as readonly Json[], context, path)
  else if (isObject(value)) for (const [name, member] of Object.entries(value)) search(member, context, [...path, name])
}

function searchArray(array: readonly Json[], context: Search, path: Path): void {
  const { root, placeholder, found, base } = context
  const at = (place: Path) => pathText(root, [...base, ...place])
  const badPosition = (position: number) =>
    new InjectionFault(`in ${at(path)}: "${repeat}" expected at position #1, but found at position #${position}`)
  if (array[1] !== repeat) {
    const position = array.indexOf(repeat)
    if (position >= 0) throw badPosition(position)
    for (const [index, item] of array.entries()) search(item, context, [...path, index])
    return
  }
  if (context.isNested)
    throw new InjectionFault(`in ${at(path)}: "${repeat}" appears nested inside of a value that is itself repeated`)
  if (found.array !== null)
    throw new InjectionFault(`in ${at(path)}: Found "${repeat}", but it was already present in ${at(found.array.path)}`)
  const item = array[0]!
  if (item === repeat) throw badPosition(0)
  const again = array.indexOf(repeat, 2)
  if (again >= 0) throw badPosition(again)
  const inside: Found = { single: null, array: null }
  search(item, { root, placeholder, found: inside, isNested: true, base: path }, [])
  if (inside.single === null)
    throw new InjectionFault(`in ${at([...path, 0])}: Expected "${placeholder}" inside of the repeated value`)
  found.array = { path, item, itemPath: inside.single }
}

/** The template with `values` in it; only the first where there is room for one. `values` is not empty. */
export function inject(value: InjectedValue, values: readonly Json[]): Json {
  if (value.kind === 'single') return replaced(value.template, value.path, values[0] ?? null)
  return replaced(
    value.template,
    value.path,
    values.map((inner) => replaced(value.item, value.itemPath, inner)),
  )
}

function replaced(value: Json, path: Path, inner: Json): Json {
  const [step, ...rest] = path
  if (step === undefined) return inner
  if (typeof step === 'number') {
    const items = [...(value as readonly Json[])]
    items[step] = replaced(items[step] ?? null, rest, inner)
    return items
  }
  const object = value as JsonObject
  return { ...object, [step]: replaced(object[step] ?? null, rest, inner) }
}

/**
 * The values at the placeholders of an answer.
 *
 * @throws InjectionFault what is missing, and what stands there instead.
 */
export function extract(value: InjectedValue, answer: Json, root: string, placeholder: string): readonly Extracted[] {
  if (value.kind === 'single') {
    const context = `extracting a single "${placeholder}"`
    return [{ value: valueAt(answer, value.path, { root, context }), path: value.path, context }]
  }
  const toArray = { root, context: `extracting the array of "${placeholder}"s` }
  const array = valueAt(answer, value.path, toArray)
  if (!Array.isArray(array)) throw wrongKind(array, value.path, 0, toArray)
  return (array as readonly Json[]).map((item, index) => {
    const context = `extracting item #${index} from the array of "${placeholder}"s`
    return { value: valueAt(item, value.itemPath, { root, context }), path: value.itemPath, context }
  })
}

export interface Extracted {
  readonly value: Json
  readonly path: Path
  /** For a complaint about the value itself. */
  readonly context: string
}

interface Extraction {
  readonly root: string
  readonly context: string
}

function valueAt(answer: Json, path: Path, extraction: Extraction): Json {
  let value = answer
  for (const [index, step] of path.entries()) {
    const before = path.slice(0, index)
    if (typeof step === 'number') {
      if (!Array.isArray(value)) throw wrongKind(value, before, step, extraction)
      const item: Json | undefined = value[step]
      if (item === undefined) throw missing(before, `item #${step}`, null, extraction)
      value = item
    } else {
      if (!isObject(value)) throw wrongKind(value, before, step, extraction)
      const member: Json | undefined = Object.hasOwn(value, step) ? value[step] : undefined
      if (member === undefined) throw missing(before, `key "${step}"`, similarKey(value, step), extraction)
      value = member
    }
  }
  return value
}

function wrongKind(value: Json, path: Path, step: string | number, { root, context }: Extraction): InjectionFault {
  const expected =
    typeof step === 'number' ? `an array with at least ${step + 1} item(s)` : `an object with key \`${step}\``
  return new InjectionFault(
    `in ${pathText(root, path)}, while ${context}, configuration expects ${lastNamed(root, path)} to be ${expected} but server sent ${valueText(value)}`,
  )
}

function missing(path: Path, what: string, similar: string | null, { root, context }: Extraction): InjectionFault {
  const hint =
    similar === null
      ? ''
      : `\n  - Hint: ${lastNamed(root, path)} has key \`${similar}\`, did you mean ${pathText(root, [...path, similar])} in embedder configuration?`
  return new InjectionFault(
    `in ${pathText(root, path)}, while ${context}, configuration expects ${what}, which is missing in response${hint}`,
  )
}

/** An extracted value that is not a vector. */
export function notNumbers(root: string, { path, context }: Extracted, why: string): InjectionFault {
  return new InjectionFault(
    `in ${pathText(root, path)}, while ${context}, expected ${lastNamed(root, path)} to be an array of numbers, but failed to parse server response:\n  - ${why}`,
  )
}

function lastNamed(root: string, path: Path): string {
  const reversed = [...path].reverse()
  const depth = reversed.findIndex((step) => typeof step === 'string')
  const name = depth < 0 ? root : String(reversed[depth])
  const numbers = depth < 0 ? path.length : depth
  if (numbers === 0) return `\`${name}\``
  const item = `item #${path.at(-1)} inside`
  if (numbers === 1) return `${item} \`${name}\``
  const levels = numbers === 2 ? '' : ` (${numbers - 1} levels of nesting)`
  return `item #${path[path.length - numbers + 1]} inside nested array${levels} in \`${name}\``
}

function pathText(root: string, path: Path): string {
  return `\`${root}${path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('')}\``
}

function valueText(value: Json): string {
  if (Array.isArray(value)) return `an array of size ${value.length}`
  if (isObject(value)) return `an object with ${Object.keys(value).length} field(s)`
  return JSON.stringify(value)
}

/** A key that differs from `key` by one or two edits. */
function similarKey(object: JsonObject, key: string): string | null {
  return (
    Object.keys(object)
      .sort()
      .find((name) => name !== key && editDistance(name, key) <= 2) ?? null
  )
}

/** With transpositions of neighbours as one edit. */
function editDistance(left: string, right: string): number {
  if (Math.abs(left.length - right.length) > 2) return 3
  let [beforeLast, last] = [[] as number[], Array.from({ length: right.length + 1 }, (_, index) => index)]
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= right.length; column += 1) {
      const same = left[row - 1] === right[column - 1] ? 0 : 1
      let best = Math.min(last[column]! + 1, current[column - 1]! + 1, last[column - 1]! + same)
      if (row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1])
        best = Math.min(best, beforeLast[column - 2]! + 1)
      current.push(best)
    }
    beforeLast = last
    last = current
  }
  return last[right.length]!
}
