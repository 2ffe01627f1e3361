/** `POST /indexes/{uid}/facet-search` over the shards of a spread index. */
import { encodeFacetSearch, type FacetSearchQuery } from '../api/facet-search-query.ts'
import { normalise, normaliseFacet } from '../embedded/text/normalise.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { splitItems, splitMembers } from '../lib/json-cut.ts'
import { indexPath, type Leg, type ReadOptions, type SearchedIndex, type Target } from './leg.ts'
import { isRefusal, refusal } from './refusals.ts'
import { withClientNames } from './reserved-names.ts'
import { compareBytes } from './score-keys.ts'
import { legFilter } from './shard-clause.ts'

interface FacetHit {
  shown: string
  /** By which values are the same, and are put in order. */
  readonly form: string
  count: number
}

/** @returns JSON text of the whole answer. @throws as `searchIndex`. */
export async function searchFacet(index: SearchedIndex, sent: FacetSearchQuery, options: ReadOptions): Promise<string> {
  const { ask, signal } = options
  const query = withClientNames(sent, index.settings)
  const legs = index.coverage.map((target) => leg(index, target, legFilter(index, target, query.filter), query))
  const replies = await Promise.all(legs.map((item) => ask(item, signal)))
  if (replies.some(isRefusal))
    throw await refusal(index, replies, leg(index, index.coverage[0]!, query.filter, query), options)
  const answers = replies.map(({ body }) => splitMembers(body))
  const hits = mergeValues(answers.flatMap((answer) => splitItems(answer.get('facetHits') ?? '[]')))
  const shown = ordered(hits, index, query).slice(0, index.settings.faceting.maxValuesPerFacet)
  const tookMs = Math.max(0, ...answers.map((answer) => Number(answer.get('processingTimeMs') ?? 0)))
  const { facetQuery } = query
  return JSON.stringify({
    facetHits: shown.map(({ shown: value, count }) => ({ value, count })),
    facetQuery,
    processingTimeMs: tookMs,
  })
}

function leg(index: SearchedIndex, target: Target, filter: Json, query: FacetSearchQuery): Leg {
  const body: JsonObject = encodeFacetSearch({ ...query, filter })
  return { target: target.id, method: 'POST', path: indexPath(index, '/facet-search'), body }
}

function mergeValues(items: readonly string[]): FacetHit[] {
  const hits = new Map<string, FacetHit>()
  for (const item of items) {
    const { value, count } = JSON.parse(item) as { readonly value: string; readonly count: number }
    const form = normaliseFacet(value)
    const known = hits.get(form)
    if (known === undefined) hits.set(form, { shown: value, form, count })
    else {
      known.count += count
      if (compareBytes(value, known.shown) < 0) known.shown = value
    }
  }
  return [...hits.values()]
}

function ordered(hits: FacetHit[], { settings }: SearchedIndex, query: FacetSearchQuery): readonly FacetHit[] {
  const { sortFacetValuesBy } = settings.faceting
  const order = sortFacetValuesBy[query.facetName] ?? sortFacetValuesBy['*'] ?? 'alpha'
  if (order === 'count') return hits.sort((a, b) => b.count - a.count || compareBytes(b.shown, a.shown))
  if (query.facetQuery === null) return hits.sort((a, b) => compareBytes(a.form, b.form))
  // With something typed, an engine goes along the words by which it is found, which have no accents.
  const byForm = (a: FacetHit, b: FacetHit) => compareBytes(normalise(a.form), normalise(b.form))
  return hits.sort((a, b) => byForm(a, b) || compareBytes(a.form, b.form))
}
