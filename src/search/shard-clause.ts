/** The condition that confines a leg to the shards which it answers for. */
import { andFilters } from '../api/filter.ts'
import { shardField, shardText } from '../api/reserved-fields.ts'
import type { Json } from '../lib/json.ts'
import type { SearchedIndex, Target } from './leg.ts'

/** Longer lists of shards cost (merge findings, section 8): then the complement is named, if it is shorter. */
const listedMax = 30

/** null = none is needed. */
export function shardClause(
  { shards, isWhole }: Pick<Target, 'shards' | 'isWhole'>,
  shardCount: number,
): string | null {
  if (isWhole || shards.length === shardCount) return null
  if (shards.length <= listedMax || shards.length * 2 <= shardCount) return `${shardField} IN ${list(shards)}`
  const asked = new Set(shards)
  const others = Array.from({ length: shardCount }, (_, shard) => shard).filter((shard) => !asked.has(shard))
  return `${shardField} NOT IN ${list(others)}`
}

/** The client's filter, and the leg's shards beside it. */
export function legFilter(index: SearchedIndex, target: Target, filter: Json): Json {
  return index.spread === null ? filter : andFilters(filter, shardClause(target, index.spread.shards))
}

const list = (shards: readonly number[]): string => `[${shards.map((shard) => `"${shardText(shard)}"`).join(', ')}]`
