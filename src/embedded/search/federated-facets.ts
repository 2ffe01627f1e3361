/** Facets of a federated search: by index, or merged into one (M-F20). */
import { ApiError } from '../../api/errors.ts'
import type { JsonObject } from '../../lib/json.ts'
import { isObject, type Json } from '../../lib/json.ts'
import type { IndexReader } from '../index-reader.ts'
import { normaliseFacet } from '../text/normalise.ts'
import { type FacetOrder, type Facets, facetNames, facetOrder, numberKey } from './facets.ts'

/** Refuses indexes that order the values of one facet differently (message 84). */
export class MergedFacetOrder {
  readonly #orders = new Map<string, { readonly uid: string; readonly order: FacetOrder }>()

  add(reader: Pick<IndexReader, 'settings' | 'fieldNames'>, uid: string, patterns: readonly string[]): void {
    for (const name of facetNames(reader, patterns)) {
      const order = facetOrder(reader, name)
      const before = this.#orders.get(name)
      if (before === undefined) this.#orders.set(name, { uid, order })
      else if (before.order !== order)
        throw new ApiError(
          'invalid_multi_search_facet_order',
          `Inconsistent order for values in facet \`${name}\`: index \`${before.uid}\` orders ${orderWords[before.order]}, but index \`${uid}\` orders ${orderWords[order]}.\n - Hint: Remove \`federation.mergeFacets\` or change \`faceting.sortFacetValuesBy\` to be consistent in settings.`,
        )
    }
  }

  orderOf(name: string): FacetOrder {
    return this.#orders.get(name)?.order ?? 'alpha'
  }
}

const orderWords: Record<FacetOrder, string> = { alpha: 'alphabetically', count: 'by count' }

/** Counts are summed, ranges joined, values sorted again and cut. */
export function mergeFacets(all: readonly Facets[], order: MergedFacetOrder, valuesMax: number | null): Facets {
  const counts = new Map<string, Map<string, number>>()
  const stats = new Map<string, { min: number; max: number }>()
  for (const facets of all) {
    for (const [name, values] of facets.distribution) {
      const merged = counts.get(name) ?? new Map<string, number>()
      counts.set(name, merged)
      for (const [value, count] of values) merged.set(value, (merged.get(value) ?? 0) + count)
    }
    for (const [name, { min, max }] of facets.stats) {
      const known = stats.get(name)
      stats.set(name, { min: Math.min(known?.min ?? min, min), max: Math.max(known?.max ?? max, max) })
    }
  }
  const distribution = new Map(
    [...counts]
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([name, values]): [string, Map<string, number>] => {
        const sorted = [...values].sort(([left, leftCount], [right, rightCount]) => {
          if (order.orderOf(name) === 'count' && leftCount !== rightCount) return rightCount - leftCount
          return left < right ? -1 : left > right ? 1 : 0
        })
        return [name, new Map(sorted.slice(0, valuesMax ?? undefined))]
      }),
  )
  return { distribution, stats: new Map([...stats].sort(([left], [right]) => (left < right ? -1 : 1))) }
}

/** The facets without hits that a merge dropped as duplicates. */
export function withoutHits(facets: Facets, documents: readonly JsonObject[]): Facets {
  if (documents.length === 0) return facets
  const distribution = new Map(
    [...facets.distribution].map(([name, values]) => {
      const left = new Map(values)
      const shown = new Map([...values.keys()].map((value) => [normaliseFacet(value), value]))
      for (const document of documents) {
        for (const value of facetValuesOf(document, name)) {
          const key = typeof value === 'number' ? numberKey(value) : (shown.get(value) ?? value)
          const count = left.get(key)
          if (count !== undefined) left.set(key, Math.max(0, count - 1))
        }
      }
      return [name, new Map([...left].filter(([, count]) => count > 0))] as const
    }),
  )
  return { ...facets, distribution }
}

/** Facet values of one field of a document: numbers, and normalised strings. */
export function facetValuesOf(document: JsonObject, name: string): readonly (number | string)[] {
  const found: (number | string)[] = []
  const addLeaf = (value: Json) => {
    if (typeof value === 'number') found.push(value)
    else if (typeof value === 'boolean') found.push(String(value))
    else if (typeof value === 'string') found.push(normaliseFacet(value))
  }
  const visit = (object: JsonObject, path: string) => {
    const value = object[path]
    if (Array.isArray(value)) for (const item of value as readonly Json[]) addLeaf(item)
    else if (value !== undefined) addLeaf(value)
    for (let dot = path.lastIndexOf('.'); dot > 0; dot = path.lastIndexOf('.', dot - 1)) {
      const inner = object[path.slice(0, dot)]
      if (inner === undefined) continue
      for (const item of Array.isArray(inner) ? (inner as readonly Json[]) : [inner])
        if (isObject(item)) visit(item, path.slice(dot + 1))
    }
  }
  visit(document, name)
  return found
}
