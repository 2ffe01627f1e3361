/** A search's plan as data (C-46): what would be asked of whom, and how the answers would become one. Nobody is asked. */
import { parseFilter } from '../api/filter.ts'
import { pageRequest } from '../api/paging.ts'
import type { SearchQuery } from '../api/search-query.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { fieldsIn, isFilterableField } from './hidden-distinct.ts'
import type { SearchedIndex } from './leg.ts'
import type { Narrow, NarrowingReason } from './narrowing.ts'
import { legQuery, planSearch, searchLegs } from './search-plan.ts'
import { shardClause } from './shard-clause.ts'

/** Beyond this, every leg gives more hits than anyone reads. */
const hitsLarge = 10_000
const warningsMax = 20

export interface LegExplanation {
  readonly target: string
  readonly shards: readonly number[]
  /** The condition that names the shards; null = the node holds no others. */
  readonly clause: string | null
  readonly method: string
  readonly path: string
  readonly body: JsonObject | null
}

export interface SearchExplanation {
  readonly resolved_uid: string
  readonly plan: {
    readonly kind: string
    readonly narrowed: boolean
    readonly narrowing_reason: string
    readonly target_shards: readonly number[]
    readonly legs: readonly LegExplanation[]
    /** What decides the order, first to last. */
    readonly merge_keys: readonly string[]
    /** Further questions that the merge may have to ask. */
    readonly follow_ups: readonly string[]
  }
  readonly warnings: readonly { readonly type: string; readonly message: string }[]
}

const reasons: Readonly<Record<NarrowingReason, string>> = {
  'no-filter': 'no filter restricts the search',
  unreadable: 'the filter cannot be read',
  'not-by-id': 'the filter does not name ids in a way that decides their shards',
  'by-id': 'the filter names ids',
  'one-shard': 'the index has one shard',
}

/** @param index  covered for all shards. */
export function explainSearch(index: SearchedIndex, query: SearchQuery, narrow: Narrow): SearchExplanation {
  const plan = planSearch(index, query, narrow)
  // Searches of a plain index go through as they came.
  const sent = index.spread === null ? query : legQuery(plan)
  const { reason } = narrow(index, query.filter)
  const { coverage, spread } = plan.index
  return {
    resolved_uid: index.uid,
    plan: {
      kind: plan.kind,
      narrowed: reason === 'by-id',
      narrowing_reason: reasons[reason],
      target_shards: coverage.flatMap(({ shards }) => shards).sort((a, b) => a - b),
      legs: searchLegs(plan.index, sent).map(({ method, path, body }, at): LegExplanation => {
        const target = coverage[at]!
        const clause = spread === null ? null : shardClause(target, spread.shards)
        return { target: target.id, shards: target.shards, clause, method, path, body }
      }),
      merge_keys: spread === null ? [] : mergeKeys(index, query),
      follow_ups: spread === null ? [] : followUps(plan.kind, plan.distinct, query),
    },
    warnings: warningsOf(index, query, reason).slice(0, warningsMax),
  }
}

function mergeKeys({ settings }: SearchedIndex, { sort }: SearchQuery): readonly string[] {
  const rules = settings.rankingRules.flatMap((rule) => (rule === 'sort' ? (sort ?? []) : [rule]))
  return [...rules, 'order of the index']
}

function followUps(kind: string, distinct: string | null, query: SearchQuery): readonly string[] {
  const { isExhaustive } = pageRequest(query)
  return [
    ...(kind === 'hybrid' ? ['vectors, when what words find is not good enough'] : []),
    ...(query.rankingScoreThreshold !== null && !isExhaustive
      ? ['the total without threshold, when the page is full']
      : []),
    ...(distinct === null
      ? []
      : ['totals of distinct values', 'legs again, when a hit with several values is left out']),
  ]
}

function warningsOf(index: SearchedIndex, query: SearchQuery, reason: NarrowingReason): SearchExplanation['warnings'] {
  const warnings: { type: string; message: string }[] = []
  const warn = (type: string, message: string) => warnings.push({ type, message })
  const fields = reason === 'unreadable' ? [] : fieldsOf(query.filter)
  for (const field of fields) {
    if (!isFilterableField(index.settings, field))
      warn('UnfilterableAttribute', `\`${field}\` is not in \`filterableAttributes\`: the search is refused.`)
  }
  const { skip, take } = pageRequest(query)
  if (skip + take > hitsLarge)
    warn('LargeOffsetLimit', `Every leg gives all hits up to the end of the page, here ${skip + take}.`)
  if (query.facets?.includes('*') === true)
    warn('UnboundedWildcard', '`facets: ["*"]` counts every value of every filterable attribute on every leg.')
  if (reason === 'not-by-id' && index.primaryKey !== null && fields.includes(index.primaryKey))
    warn('NarrowingNotPossible', `The filter names \`${index.primaryKey}\`, but not so that it decides the shards.`)
  return warnings
}

function fieldsOf(filter: Json): readonly string[] {
  const parsed = parseFilter(filter, 'invalid_search_filter')
  return parsed === null ? [] : [...new Set(fieldsIn(parsed).map(({ text }) => text))]
}
