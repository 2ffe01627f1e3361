/**
 * Dynamic search rules of a project: kept in the catalogue and sent along with each search that they may change, by the names
 * that the node knows. They never reach a node otherwise, so those of two projects cannot meet.
 */
import { ApiError } from '../api/errors.ts'
import { headerNames } from '../api/names.ts'
import { encodeRuledSearch } from '../api/ruled-search.ts'
import { type RuleAction, rulesFor, type SearchRule } from '../api/search-rule.ts'
import type { Project } from '../store/catalogue.ts'
import type { IndexRoute, RouteTable } from '../topology/route-table.ts'

export interface RuledRead {
  readonly project: Project
  readonly table: RouteTable
  readonly now: number
}

/** Header pair of a request whose body is `encodeRuledSearch`'s. */
export const ruledHeader: readonly string[] = [headerNames.searchRules.toLowerCase(), '1']

/**
 * The rules that may change a search of these indexes, by logical names.
 *
 * @throws ApiError `feature_not_available` when one of the indexes cannot be searched with them: nothing is left out silently.
 */
export function searchRulesOf({ project, table, now }: RuledRead, uids: readonly string[]): readonly SearchRule[] {
  if (project.searchRules.length === 0 || project.features.dynamicSearchRules !== true) return []
  const rules = rulesFor(project.searchRules, uids, now)
  for (const uid of rules.length === 0 ? [] : uids) {
    const route = table.index(project.id, uid)
    const isNamed = rules.some(({ actions = [] }) => actions.some((action) => isOn(action, uid)))
    if (route !== undefined && isNamed) checkRuled(route, table)
  }
  return rules
}

/** @throws ApiError when a rule with these actions would stand on an index that cannot be searched with rules. */
export function checkActions(project: Project, table: RouteTable, actions: readonly RuleAction[]): void {
  if (actions.length === 0) return
  for (const route of table.unsortedIndexes(project.id))
    if (actions.some((action) => isOn(action, route.index.uid))) checkRuled(route, table)
}

const isOn = ({ selector }: RuleAction, uid: string): boolean =>
  selector.indexUid === undefined || selector.indexUid === uid

function checkRuled({ index, placements }: IndexRoute, table: RouteTable): void {
  const reason =
    index.spread !== null
      ? 'its documents lie in shards'
      : placements.some(({ node }) => table.node(node)?.engine === 'meilisearch')
        ? 'it lies on a Meilisearch node'
        : undefined
  if (reason === undefined) return
  throw new ApiError(
    'feature_not_available',
    `Dynamic search rules are not available for index \`${index.uid}\`: ${reason}. Name other indexes in their actions, or delete them.`,
  )
}

/**
 * The body of a search with rules.
 *
 * @param search    text of the search's own body; null = it stands in the query string.
 * @param physical  names on the node of the indexes that are searched there, by logical names.
 */
export function ruledBody(
  rules: readonly SearchRule[],
  search: string | null,
  physical: ReadonlyMap<string, string>,
): Buffer {
  return encodeRuledSearch(
    rules.map((rule) => ({ ...rule, actions: (rule.actions ?? []).flatMap((action) => placed(action, physical)) })),
    search,
  )
}

function placed(action: RuleAction, physical: ReadonlyMap<string, string>): readonly RuleAction[] {
  const { indexUid, id } = action.selector
  if (indexUid === undefined) return [action]
  const name = physical.get(indexUid)
  return name === undefined ? [] : [{ ...action, selector: { indexUid: name, id } }]
}
