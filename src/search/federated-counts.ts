/**
 * How many documents several queries over one index find together, and the facets of these. Nodes count queries with words
 * together, and queries without, but not both at once (T9); of both together the common ones are taken away again.
 */
import type { MultiSearchQuery } from '../api/multi-search-query.ts'
import { encodeMultiSearchQuery } from '../api/multi-search-query.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { splitMembers } from '../lib/json-cut.ts'
import type { FacetLeg } from './facet-counts.ts'
import type { PlacedQuery } from './federated-lists.ts'
import { legFilterAny } from './filter-text.ts'
import type { Leg, ReadOptions, SearchedIndex, Target } from './leg.ts'
import { isRefusal, refusal } from './refusals.ts'
import { withClientNames } from './reserved-names.ts'
import { countQuery, kindOf } from './search-plan.ts'
import { legFilter } from './shard-clause.ts'

export interface UnionCount {
  readonly total: number
  /** Facets to be added up; those of common documents count below zero. */
  readonly answers: readonly FacetLeg[]
}

export async function countUnion(
  index: SearchedIndex,
  placed: readonly PlacedQuery[],
  patterns: readonly string[] | null,
  options: ReadOptions,
): Promise<UnionCount> {
  const queries = placed.map(
    ({ query }): MultiSearchQuery => ({
      ...query,
      ...countQuery(withClientNames(query, index.settings)),
      federationOptions: null,
    }),
  )
  const worded = queries.filter(hasWords)
  const unworded = queries
    .filter((query) => !hasWords(query))
    .map((query) => ({ ...query, q: null, hybrid: null, vector: null, media: null }))
  const count = (some: readonly MultiSearchQuery[], sign: 1 | -1) =>
    countTogether(index, some, { patterns, sign }, options)
  if (worded.length === 0 || unworded.length === 0)
    return count(queries.length === worded.length ? worded : unworded, 1)
  const either = legFilterAny(unworded.map(({ filter }) => filter))
  const common = worded.map((query) => ({
    ...query,
    filter: either === null ? query.filter : both(query.filter, either),
  }))
  const [words, rest, shared] = await Promise.all([count(worded, 1), count(unworded, 1), count(common, -1)])
  return {
    total: words.total + rest.total - shared.total,
    answers: [...words.answers, ...rest.answers, ...shared.answers],
  }
}

/** What vectors find is everything that the filter lets through. */
const hasWords = (query: MultiSearchQuery): boolean =>
  kindOf(query) === 'keyword' && query.q !== null && query.q.trim() !== ''

const both = (filter: Json, clause: string): Json =>
  filter === null ? clause : Array.isArray(filter) ? [...(filter as readonly Json[]), clause] : [filter, clause]

async function countTogether(
  index: SearchedIndex,
  queries: readonly MultiSearchQuery[],
  { patterns, sign }: { readonly patterns: readonly string[] | null; readonly sign: 1 | -1 },
  options: ReadOptions,
): Promise<UnionCount> {
  const legOf = (target: Target, withClause: boolean): Leg => ({
    target: target.id,
    method: 'POST',
    path: '/multi-search',
    body: {
      queries: queries.map((query) =>
        encodeCount(query, withClause ? legFilter(index, target, query.filter) : query.filter),
      ),
      federation: { limit: 0, ...(patterns === null ? {} : { facetsByIndex: { [index.uid]: patterns } }) },
    },
    rules: index.rules,
  })
  const replies = await Promise.all(index.coverage.map((target) => options.ask(legOf(target, true), options.signal)))
  if (replies.some(isRefusal)) throw await refusal(index, replies, legOf(index.coverage[0]!, false), options)
  const answers = replies.map(({ body }): FacetLeg => {
    const members = splitMembers(body)
    const facets = splitMembers(members.get('facetsByIndex') ?? '{}').get(index.uid)
    const texts = facets === undefined ? new Map<string, string>() : splitMembers(facets)
    return {
      total: Number(members.get('estimatedTotalHits') ?? 0),
      sign,
      facets: { distribution: texts.get('distribution') ?? '{}', stats: texts.get('stats') ?? '{}' },
    }
  })
  return { total: answers.reduce((sum, { total }) => sum + total, 0), answers }
}

/** Only what decides what is found. */
function encodeCount(query: MultiSearchQuery, filter: Json): JsonObject {
  const { limit: _limit, offset: _offset, ...body } = encodeMultiSearchQuery({ ...query, filter, sort: null })
  return isObject(body) ? body : {}
}
