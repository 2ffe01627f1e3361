/** Dynamic search rules of projects as a node holds them that takes none with a search: by physical names, so that no two projects meet. Pure. */
import { createHash } from 'node:crypto'
import { parseTime } from '../api/dates.ts'
import {
  activeRules,
  type NamedRule,
  numberedActions,
  type RuleConditions,
  rulesByPrecedence,
  rulesOn,
} from '../api/search-rule.ts'
import type { JsonObject } from '../lib/json.ts'
import type { ProjectId } from '../store/catalogue.ts'

export interface RuledProject {
  readonly id: ProjectId
  readonly ref: string
  /** None while the project has not switched them on. */
  readonly rules: readonly NamedRule[]
  /** Its indexes on the node. A name may stand several times, while an index moves. */
  readonly indexes: readonly {
    readonly uid: string
    readonly physicalUid: string
    /** What the node pins is put together with what others pin (`NumberedRules`). */
    readonly isSpread: boolean
  }[]
}

/** Rules by the names that they have on the node. A name follows from what the rule says: one never changes. */
export type PlacedRules = ReadonlyMap<string, JsonObject>

/** What a name of ours looks like: the reference of the project, and a digest. */
const ourName = /^[a-z0-9]{12}_[0-9a-f]{32}$/

export const isPlacedRule = (name: string, ref?: string): boolean =>
  ourName.test(name) && (ref === undefined || name.startsWith(`${ref}_`))

export function placedRules({ ref, rules, indexes }: RuledProject): PlacedRules {
  const ordered = rulesByPrecedence(activeRules(rules))
  const places = indexes.map(({ uid, physicalUid, isSpread }) => {
    const actions = ordered.map(({ rule }) => rulesOn([rule], uid)[0]?.actions ?? [])
    return { physicalUid, lists: isSpread ? numberedActions(actions) : actions }
  })
  const placed = new Map<string, JsonObject>()
  for (const [precedence, { rule }] of ordered.entries()) {
    const actions = places.flatMap(({ physicalUid, lists }) =>
      (lists[precedence] ?? []).map(({ selector: { id }, action }) => ({
        selector: { indexUid: physicalUid, id },
        action: { ...action },
      })),
    )
    if (actions.length === 0) continue
    // Which rules are active, and in what order, is a question of one project: the node sees those of several.
    const body: JsonObject = { active: true, precedence, conditions: conditionsOf(rule.conditions ?? {}), actions }
    const digest = createHash('sha256').update(JSON.stringify(body)).digest('hex').slice(0, 32)
    placed.set(`${ref}_${digest}`, body)
  }
  return placed
}

/** Meilisearch compares times as texts. */
function conditionsOf({ time, query }: RuleConditions): JsonObject {
  return {
    ...(time === undefined ? {} : { time: { ...moment('start', time.start), ...moment('end', time.end) } }),
    ...(query === undefined ? {} : { query: { ...query } }),
  }
}

function moment(name: 'start' | 'end', text: string | undefined): JsonObject {
  const at = text === undefined ? undefined : parseTime(text)
  return at === undefined ? {} : { [name]: new Date(at).toISOString() }
}
