/** Any filter, however it is written, finds the documents that its meaning says (M-F14): random trees and documents. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseFilter } from '../../src/api/filter.ts'
import { evaluateFilter } from '../../src/embedded/search/filter-evaluation.ts'
import { isObject, type Json, type JsonObject } from '../../src/lib/json.ts'
import { filterable, MemoryReader } from './memory-reader.ts'

type Comparison = '=' | '!=' | '>' | '>=' | '<' | '<='
type Tree =
  | { readonly kind: 'and' | 'or'; readonly parts: readonly Tree[] }
  | { readonly kind: 'not'; readonly part: Tree }
  | { readonly kind: 'compare'; readonly field: string; readonly operator: Comparison; readonly value: string }
  | { readonly kind: 'between'; readonly field: string; readonly from: string; readonly to: string }
  | { readonly kind: 'in'; readonly field: string; readonly negated: boolean; readonly values: readonly string[] }
  | { readonly kind: 'presence'; readonly field: string; readonly test: Presence }
  | { readonly kind: 'text'; readonly field: string; readonly test: TextTest; readonly value: string }
type Presence = 'EXISTS' | 'NOT EXISTS' | 'IS NULL' | 'IS NOT NULL' | 'IS EMPTY' | 'IS NOT EMPTY'
type TextTest = 'CONTAINS' | 'NOT CONTAINS' | 'STARTS WITH' | 'NOT STARTS WITH'

const runs = 400

// ---- Documents ----

const texts = ['red', 'Red', 'rédder', 'blue sky', '10', '2', 'true', "o'clock", ' b ', 'AND', 'x "y"']
const leaf = fc.oneof(
  fc.constantFrom(...texts),
  fc.integer({ min: -3, max: 12 }),
  fc.constantFrom(1.5, 10, 2),
  fc.boolean(),
  fc.constantFrom<Json>(null, '', [], {}),
)
const value: fc.Arbitrary<Json> = fc.oneof(leaf, fc.array(leaf, { maxLength: 3 }))
const inner = fc.record({ x: value, y: value }, { requiredKeys: [] })
const document = fc.record(
  { a: value, b: value, c: fc.oneof(inner, fc.array(inner, { maxLength: 2 })) },
  { requiredKeys: [] },
)

// ---- Filters ----

const fields = ['a', 'b', 'c', 'c.x', 'c.y', 'absent']
const operand = fc.constantFrom(...texts, '1.5', '10.0', '-1', '1e1', 'sky', 'false', 'É')
const field = fc.constantFrom(...fields)
const condition: fc.Arbitrary<Tree> = fc.oneof(
  fc.record({
    kind: fc.constant('compare' as const),
    field,
    operator: fc.constantFrom<Comparison>('=', '!=', '>', '>=', '<', '<='),
    value: operand,
  }),
  fc.record({ kind: fc.constant('between' as const), field, from: operand, to: operand }),
  fc.record({
    kind: fc.constant('in' as const),
    field,
    negated: fc.boolean(),
    values: fc.array(operand, { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant('presence' as const),
    field,
    test: fc.constantFrom<Presence>('EXISTS', 'NOT EXISTS', 'IS NULL', 'IS NOT NULL', 'IS EMPTY', 'IS NOT EMPTY'),
  }),
  fc.record({
    kind: fc.constant('text' as const),
    field,
    test: fc.constantFrom<TextTest>('CONTAINS', 'NOT CONTAINS', 'STARTS WITH', 'NOT STARTS WITH'),
    value: fc.constantFrom('r', 'E', 'sky', '1', 'true', 'b'),
  }),
)
const tree: fc.Arbitrary<Tree> = fc.letrec<{ tree: Tree; part: Tree }>((tie) => ({
  tree: fc.oneof({ maxDepth: 4 }, condition, tie('part')),
  part: fc.oneof(
    fc.record({
      kind: fc.constantFrom('and' as const, 'or' as const),
      parts: fc.array(tie('tree'), { minLength: 2, maxLength: 3 }),
    }),
    fc.record({ kind: fc.constant('not' as const), part: tie('tree') }),
  ),
})).tree
/** How the text is written: quotes, spaces, needless parentheses. */
const manner = fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 8, maxLength: 8 })

test('a filter finds what its meaning says, whatever the documents hold', () => {
  fc.assert(
    fc.property(fc.array(document, { minLength: 1, maxLength: 12 }), tree, manner, (documents, wanted, ways) => {
      const stored = documents.map((fieldsOf, id): JsonObject => ({ id, ...fieldsOf }))
      const reader = new MemoryReader(stored, { filterableAttributes: filterable(...fields) })
      const text = write(wanted, ways, 0)
      const filter = parseFilter(text, 'invalid_search_filter')
      assert.ok(filter !== null, text)
      const found = [...evaluateFilter(reader, filter, 'invalid_search_filter')]
      const expected = stored.flatMap((one, docid) => (passes(one, wanted, stored) ? [docid] : []))
      assert.deepEqual(found, expected, text)
    }),
    { numRuns: runs },
  )
})

function write(node: Tree, ways: readonly number[], depth: number): string {
  const way = ways[depth % ways.length]!
  switch (node.kind) {
    case 'and':
    case 'or':
      return node.parts
        .map((part) => bracket(part, node.kind, write(part, ways, depth + 1), way))
        .join(` ${node.kind.toUpperCase()} `)
    case 'not': {
      const needsBrackets = node.part.kind === 'and' || node.part.kind === 'or'
      const text = write(node.part, ways, depth + 1)
      return needsBrackets || way === 0 ? `NOT (${text})` : `NOT ${text}`
    }
    case 'compare': {
      const space = way === 1 ? '' : ' '
      return `${node.field}${space}${node.operator}${space}${quoted(node.value, way)}`
    }
    case 'between':
      return `${node.field} ${quoted(node.from, way)} TO ${quoted(node.to, way)}`
    case 'in':
      return `${node.field} ${node.negated ? 'NOT IN' : 'IN'}[${node.values.map((item) => quoted(item, way)).join(way === 2 ? ' , ' : ',')}]`
    case 'presence':
      return `${node.field} ${node.test}`
    case 'text':
      return `${node.field} ${node.test} ${quoted(node.value, way)}`
  }
}

function bracket(part: Tree, inside: 'and' | 'or', text: string, way: number): string {
  const isNeeded = inside === 'and' && part.kind === 'or'
  return isNeeded || way === 3 ? `( ${text} )` : text
}

function quoted(text: string, way: number): string {
  if (/^[\p{L}\d._-]+$/u.test(text) && text !== 'AND' && way > 2) return text
  if (way % 2 === 0) return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}

// ---- The same, naively ----

function passes(stored: JsonObject, node: Tree, all: readonly JsonObject[]): boolean {
  switch (node.kind) {
    case 'and':
      return node.parts.every((part) => passes(stored, part, all))
    case 'or':
      return node.parts.some((part) => passes(stored, part, all))
    case 'not':
      return !passes(stored, node.part, all)
    case 'compare':
      // A field that no document has is unequal to nothing.
      if (node.operator === '!=' && !all.some((one) => itemsAt(one, node.field).length > 0)) return false
      if (node.operator === '!=') return !leavesOf(stored, node.field).some((item) => equals(item, node.value))
      return leavesOf(stored, node.field).some((item) => compares(item, node.operator, node.value))
    case 'between':
      return leavesOf(stored, node.field).some((item) => isBetween(item, node.from, node.to))
    case 'in':
      return node.negated !== leavesOf(stored, node.field).some((item) => node.values.some((one) => equals(item, one)))
    case 'presence': {
      const isNegative = node.test.includes('NOT')
      return isNegative !== isPresent(stored, node.field, node.test)
    }
    case 'text': {
      const test = (text: string, wanted: string) =>
        node.test.endsWith('CONTAINS') ? text.includes(wanted) : text.startsWith(wanted)
      const found = leavesOf(stored, node.field).some(
        (item) => typeof item !== 'number' && test(formOf(item), formOf(node.value)),
      )
      return node.test.startsWith('NOT') ? !found : found
    }
  }
}

const formOf = (text: string | boolean): string => String(text).trim().normalize('NFKD').toLowerCase()
const numberOf = (text: string): number | null => (/^[+-]?\d+(\.\d+)?(e\d+)?$/i.test(text) ? Number(text) : null)

function equals(item: Leaf, wanted: string): boolean {
  return typeof item === 'number' ? item === numberOf(wanted) : formOf(item) === formOf(wanted)
}

function compares(item: Leaf, operator: Comparison, wanted: string): boolean {
  if (operator === '=') return equals(item, wanted)
  const number = numberOf(wanted)
  if (typeof item === 'number' && number === null) return false
  const [left, right] = typeof item === 'number' ? [item, number ?? 0] : [formOf(item), formOf(wanted)]
  if (operator === '>') return left > right
  if (operator === '>=') return left >= right
  return operator === '<' ? left < right : left <= right
}

function isBetween(item: Leaf, from: string, to: string): boolean {
  if (typeof item !== 'number') return formOf(item) >= formOf(from) && formOf(item) <= formOf(to)
  const [low, high] = [numberOf(from), numberOf(to)]
  return low !== null && high !== null && item >= low && item <= high
}

type Leaf = string | number | boolean

/** Texts and numbers under a dotted name; lists are looked through, empty texts are no values. */
function leavesOf(stored: JsonObject, name: string): readonly Leaf[] {
  const found: Leaf[] = []
  const collect = (item: Json) => {
    if (Array.isArray(item)) for (const one of item) collect(one)
    else if (typeof item === 'number' || typeof item === 'boolean') found.push(item)
    else if (typeof item === 'string' && item !== '') found.push(item)
  }
  for (const item of itemsAt(stored, name)) collect(item)
  return found
}

/** What stands under a dotted name, once for each object that has it. */
function itemsAt(stored: JsonObject, name: string): readonly Json[] {
  return name
    .split('.')
    .reduce<readonly Json[]>(
      (items, key) =>
        items
          .flatMap((item) => (Array.isArray(item) ? item : [item]))
          .flatMap((item: Json) => (isObject(item) && key in item ? [item[key]!] : [])),
      [stored],
    )
}

function isPresent(stored: JsonObject, name: string, test: Presence): boolean {
  const items = itemsAt(stored, name)
  if (test.endsWith('EXISTS')) return items.length > 0
  if (test.endsWith('NULL')) return items.some((item) => item === null)
  return items.some(
    (item) =>
      item === '' || (Array.isArray(item) ? item.length === 0 : isObject(item) && Object.keys(item).length === 0),
  )
}
