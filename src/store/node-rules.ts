/** Dynamic search rules and where the indexes of their projects lie: what Meilisearch nodes are told of them. */
import type { NamedRule } from '../api/search-rule.ts'
import type { RuledProject } from '../topology/placed-rules.ts'
import type { NodeId, ProjectId } from './catalogue.ts'
import { type Database, reach } from './database.ts'

export interface NodeRules {
  /** Projects that have rules. */
  ruledProjects(): Promise<ReadonlySet<ProjectId>>
  /** Those with an index on the node, and with rules; `project`: that one alone, with rules or without. */
  ofNode(node: NodeId, project: ProjectId | null): Promise<readonly RuledProject[]>
}

interface RuledRow {
  readonly id: ProjectId
  readonly ref: string
  readonly features: string
  readonly search_rules: string | null
  readonly indexes: RuledProject['indexes']
}

export function openNodeRules({ pool }: Database): NodeRules {
  return {
    /** Served by projects_ruled. */
    async ruledProjects() {
      const { rows } = await reach(() =>
        pool.query<{ id: ProjectId }>(
          `select id from projects where search_rules is not null and search_rules <> '[]'`,
        ),
      )
      return new Set(rows.map(({ id }) => id))
    },
    async ofNode(node, project) {
      const { rows } = await reach(() =>
        pool.query<RuledRow>(
          `select p.id, p.ref, p.features, p.search_rules,
             json_agg(json_build_object('uid', coalesce(i.read_uid, i.write_uid), 'physicalUid', l.physical_uid,
               'isSpread', i.spread is not null)
               order by l.physical_uid) as indexes
           from placements l join indexes i on i.id = l.index_id join projects p on p.id = i.project_id
           where l.node_id = $1 and not l.is_gone and coalesce(i.read_uid, i.write_uid) is not null
             and (p.id = $2 or $2 is null and p.search_rules is not null and p.search_rules <> '[]')
           group by p.id order by p.id`,
          [node, project],
        ),
      )
      return rows.map(({ id, ref, features, search_rules, indexes }) => {
        const isOn = (JSON.parse(features) as Readonly<Record<string, boolean>>).dynamicSearchRules === true
        const rules = isOn && search_rules !== null ? (JSON.parse(search_rules) as readonly NamedRule[]) : []
        return { id, ref, rules, indexes }
      })
    },
  }
}
