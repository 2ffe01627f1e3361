/** The first hits of a search over all shards, by the kind of its plan. */
import type { Hit } from './hit.ts'
import { hybridSearch } from './hybrid-search.ts'
import type { ReadOptions } from './leg.ts'
import { askLegs } from './leg-answers.ts'
import { type MergedHits, mergeHits } from './merged-hits.ts'
import { legQuery, type SearchPlan } from './search-plan.ts'

export interface RankedHits extends MergedHits {
  /** Hits that were found by their vectors; null = no vectors were asked for. */
  readonly semanticHits: ReadonlySet<Hit> | null
}

/** @throws RefusedByNode, NodesDisagree, and what the port throws. */
export async function rankHits(plan: SearchPlan, options: ReadOptions): Promise<RankedHits> {
  if (plan.kind === 'hybrid') return hybridSearch(plan, options)
  const query = legQuery(plan)
  const merged = await mergeHits(plan, query, await askLegs(plan.index, query, options), options)
  return { ...merged, semanticHits: plan.kind === 'semantic' ? new Set(merged.hits) : null }
}
