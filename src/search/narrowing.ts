/**
 * Fewer shards for filters on the primary key (C-29): a document stands in the shard of its id, so conditions that name ids
 * name shards. Only what is certain narrows; everything else is asked of all shards.
 */
import { LRUCache } from 'lru-cache'
import { ApiError } from '../api/errors.ts'
import { parseFilter } from '../api/filter.ts'
import type { Filter, Word } from '../api/filter-tree.ts'
import type { Json } from '../lib/json.ts'
import { shardOfKey } from '../topology/rendezvous.ts'
import type { Coverage, SearchedIndex, Target } from './leg.ts'

/** More ids than these are not looked up: they stand in most shards anyway. */
const idsMax = 128

export type NarrowingReason = 'no-filter' | 'unreadable' | 'not-by-id' | 'by-id' | 'one-shard'

export interface Narrowing {
  /** Ascending; null = all. */
  readonly shards: readonly number[] | null
  readonly reason: NarrowingReason
}

/** The shards that can hold documents which pass the filter. */
export type Narrow = (index: Pick<SearchedIndex, 'primaryKey' | 'spread'>, filter: Json) => Narrowing

/** A `Narrow` that remembers; a filter's text and its answer are small. @param filtersMax  remembered. Default 2,000. */
export function createNarrowing(filtersMax = 2_000): Narrow {
  const known = new LRUCache<string, Narrowing>({ max: filtersMax, maxSize: 20 * 2 ** 20, sizeCalculation: sizeOf })
  return (index, filter) => {
    const { primaryKey, spread } = index
    if (filter === null || primaryKey === null || spread === null) return narrow(index, filter)
    const key = JSON.stringify([primaryKey, spread.shards, filter])
    const found = known.get(key)
    if (found !== undefined) return found
    const narrowing = narrow(index, filter)
    known.set(key, narrowing)
    return narrowing
  }
}

const sizeOf = ({ shards }: Narrowing, key: string): number => 2 * key.length + 8 * (shards?.length ?? 0) + 100

export const narrow: Narrow = ({ primaryKey, spread }, filter) => {
  if (spread === null || spread.shards === 1) return { shards: null, reason: 'one-shard' }
  if (filter === null || primaryKey === null) return { shards: null, reason: 'no-filter' }
  const parsed = readFilter(filter)
  if (parsed === undefined) return { shards: null, reason: 'unreadable' }
  const ids = parsed === null ? null : idsOf(parsed, primaryKey)
  if (ids === null || ids.size > idsMax) return { shards: null, reason: 'not-by-id' }
  const shards = new Set([...ids].map((id) => shardOfKey(id, spread.shards)))
  return { shards: [...shards].sort((a, b) => a - b), reason: 'by-id' }
}

/** undefined: a node says what is wrong with it. */
function readFilter(filter: Json): Filter | null | undefined {
  try {
    return parseFilter(filter, 'invalid_search_filter')
  } catch (error) {
    if (error instanceof ApiError) return undefined
    throw error
  }
}

/** Ids of which a document that passes has one; null = it may have any. */
function idsOf(filter: Filter, primaryKey: string): ReadonlySet<string> | null {
  switch (filter.kind) {
    case 'compare':
      return filter.operator === '=' && filter.field.text === primaryKey ? literals([filter.value]) : null
    case 'in':
      return !filter.negated && filter.field.text === primaryKey ? literals(filter.values) : null
    case 'and': {
      const all = filter.filters.map((part) => idsOf(part, primaryKey)).filter((ids) => ids !== null)
      const [first, ...others] = all
      if (first === undefined) return null
      return new Set([...first].filter((id) => others.every((ids) => ids.has(id))))
    }
    case 'or': {
      const all = filter.filters.map((part) => idsOf(part, primaryKey))
      return all.includes(null) ? null : new Set(all.flatMap((ids) => [...(ids ?? [])]))
    }
    default:
      return null
  }
}

/**
 * Filters compare texts without regard to case and numbers as doubles, so a text with letters may mean several ids, and so
 * may a number in another spelling than its own.
 */
function literals(values: readonly Word[]): ReadonlySet<string> | null {
  return values.every(({ text }) => isOneId(text)) ? new Set(values.map(({ text }) => text)) : null
}

function isOneId(text: string): boolean {
  if (/^(?:0|-?[1-9]\d*)$/.test(text)) return Number.isSafeInteger(Number(text))
  // Neither a number in any spelling nor a text with another case.
  return /^[\d_-]+$/.test(text) && Number.isNaN(Number(text))
}

/** The index with only the targets that are needed for the filter: at least one, which says what is wrong with a query. */
export function narrowed<T extends SearchedIndex>(index: T, { shards }: Narrowing): T {
  if (shards === null) return index
  const wanted = new Set(shards)
  const coverage: Coverage = index.coverage.map((target) => within(target, wanted)).filter((target) => target !== null)
  const [first] = index.coverage
  if (coverage.length > 0 || first === undefined) return { ...index, coverage }
  return {
    ...index,
    coverage: [{ ...first, shards: first.shards.slice(0, 1), isWhole: first.isWhole && first.shards.length === 1 }],
  }
}

function within(target: Target, wanted: ReadonlySet<number>): Target | null {
  const shards = target.shards.filter((shard) => wanted.has(shard))
  if (shards.length === target.shards.length) return target
  return shards.length === 0 ? null : { ...target, shards, isWhole: false }
}
