/**
 * Dynamic search rules of a project: kept in the catalogue and sent along with each search that they may change, by the names
 * that the node knows. Meilisearch takes none with a search: workers keep them there, for each project under its own names.
 */
import { headerNames } from '../api/names.ts'
import {
  type NamedRule,
  numberedRules,
  type RuleAction,
  rulesFor,
  rulesOn,
  type SearchRule,
} from '../api/search-rule.ts'
import type { SearchedIndex } from '../search/leg.ts'
import type { EngineKind, IndexEntry, Project } from '../store/catalogue.ts'

/** Header pair of a request whose body is `encodeRuledSearch`'s. */
export const ruledHeader: readonly string[] = [headerNames.searchRules.toLowerCase(), '1']

/** The rules that may change a search of these indexes now, by precedence and by logical names. */
export function searchRulesOf(project: Project, uids: readonly string[], now: number): readonly SearchRule[] {
  return namedRulesOf(project, uids, now).map(({ rule }) => rule)
}

/** The same with their names. */
export function namedRulesOf(project: Project, uids: readonly string[], now: number): readonly NamedRule[] {
  if (project.searchRules.length === 0 || project.features.dynamicSearchRules !== true) return []
  return rulesFor(project.searchRules, uids, now)
}

export const noLegRules: Pick<SearchedIndex, 'rules' | 'pinPositions'> = { rules: [], pinPositions: [] }

/** What the legs of a search follow. */
export function legRulesOf(project: Project, index: IndexEntry, now: number): typeof noLegRules {
  if (project.searchRules.length === 0 || project.features.dynamicSearchRules !== true) return noLegRules
  if (index.spread === null)
    return { rules: rulesOn(searchRulesOf(project, [index.uid], now), index.uid), pinPositions: [] }
  const { rules, positions } = numberedRules(project.searchRules, index.uid, now)
  return { rules, pinPositions: positions }
}

/** Whether a search brings its rules along; else the node has them. */
export const takesRules: Readonly<Record<EngineKind, boolean>> = { embedded: true, meilisearch: false }

/**
 * The rules by the names of a node.
 *
 * @param physical  of the indexes that are searched there, by logical names; what is pinned in others goes.
 */
export function renamedRules(
  rules: readonly SearchRule[],
  physical: ReadonlyMap<string, string>,
): readonly SearchRule[] {
  return rules.map((rule) => ({ ...rule, actions: (rule.actions ?? []).flatMap((action) => placed(action, physical)) }))
}

function placed(action: RuleAction, physical: ReadonlyMap<string, string>): readonly RuleAction[] {
  const { indexUid, id } = action.selector
  if (indexUid === undefined) return [action]
  const name = physical.get(indexUid)
  return name === undefined ? [] : [{ ...action, selector: { indexUid: name, id } }]
}
