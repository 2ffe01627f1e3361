/** Dynamic search rules (`/dynamic-search-rules`): documents that are pinned to a place while a condition holds. */
import type { Json, JsonObject } from '../lib/json.ts'
import { parseTime } from './dates.ts'
import {
  array,
  bodyRoot,
  boolean,
  type Decoder,
  type Field,
  integer,
  invalidValue,
  jsonObject,
  missingField,
  nullable,
  object,
  optional,
  orNull,
  required,
  string,
  unknownField,
} from './decode.ts'
import { ApiError, type ErrorCode } from './errors.ts'
import { indexUid } from './index-uid.ts'

/** What a rule holds; a field that was never set is absent. */
export interface SearchRule {
  readonly description?: string
  /** Lower goes first; absent = last. */
  readonly precedence?: number
  readonly active?: boolean
  readonly conditions?: RuleConditions
  readonly actions?: readonly RuleAction[]
}

export interface RuleConditions {
  /** RFC 3339, each end included. */
  readonly time?: { readonly start?: string; readonly end?: string }
  /** `words`: all of them stand in the query. */
  readonly query?: { readonly isEmpty?: boolean; readonly words?: string }
}

export interface RuleAction {
  /** Without `indexUid`: in every index. */
  readonly selector: { readonly indexUid?: string; readonly id: string }
  /** `position`: from 0, in the whole list of hits. */
  readonly action: { readonly type: 'pin'; readonly position: number }
}

export interface NamedRule {
  readonly uid: string
  readonly rule: SearchRule
}

/** What changes rules. `change`: null = as if never set. */
export type RuleOperation =
  | { readonly kind: 'rule-put'; readonly rule: string; readonly change: JsonObject }
  | { readonly kind: 'rule-delete'; readonly rule: string }
  | { readonly kind: 'rules-clear' }

/** The index that tasks of rules name, as in the reference. */
export const rulesIndex = '.meili_dsr'

/** undefined = unchanged, null = as if never set. */
export type RuleChange = { readonly [K in keyof SearchRule]-?: SearchRule[K] | null | undefined }

function unchanged<T>(decode: Decoder<T>, code: ErrorCode): Field<T | null | undefined> {
  return { decode: nullable(decode), fallback: () => undefined, code }
}

const moment: Decoder<string> = (value, at) => {
  const text = string(value, at)
  if (parseTime(text) !== undefined) return text
  throw invalidValue(
    `\`${text}\` is not a valid date. It should follow the RFC 3339 format to represents a date or datetime in the future or specified as a null value. e.g. 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'.\n`,
    at,
  )
}

const conditionFields = object<{
  time: { start: string | null; end: string | null } | null
  query: { isEmpty: boolean | null; words: string | null } | null
}>({
  time: orNull(object({ start: orNull(moment), end: orNull(moment) }, { strict: false })),
  query: orNull(object({ isEmpty: orNull(boolean), words: orNull(string) })),
})

const conditions: Decoder<RuleConditions> = (value, at) => {
  const { time, query } = conditionFields(value, at)
  const inside = (field: string) => ({ path: `${at.path}.${field}`, code: 'bad_request' as const })
  if (query?.isEmpty === true && query.words !== null)
    throw invalidValue('either `isEmpty` or `words` can be used, not both at once', inside('query'))
  const { start = null, end = null } = time ?? {}
  if (start !== null && end !== null && (parseTime(start) ?? 0) > (parseTime(end) ?? 0))
    throw invalidValue(
      `\`end\` (\`${timeText(end)}\`) should be later than \`start\` (\`${timeText(start)}\`)`,
      inside('time'),
    )
  return {
    ...(time === null ? {} : { time: withoutNulls({ start, end }) }),
    ...(query === null ? {} : { query: withoutNulls(query) }),
  }
}

/** As the reference prints it: `2025-11-28 0:00:00.0 +00:00:00`. */
function timeText(time: string): string {
  const [, day, hour, rest, fraction = '.0', zone = ''] = /^(.{10}).(\d\d)(:\d\d:\d\d)(\.\d+)?(.*)$/.exec(time) ?? []
  const offset = /^z$/i.test(zone) ? '+00:00' : zone
  return `${day} ${Number(hour)}${rest}${fraction} ${offset}:00`
}

function withoutNulls<T extends object>(value: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== null)) as {
    [K in keyof T]?: NonNullable<T[K]>
  }
}

const pin: Decoder<RuleAction['action']> = (value, at) => {
  const { type, ...fields } = jsonObject(value, at)
  if (type === undefined) throw missingField('type', at)
  if (string(type, { ...at, path: `${at.path}.type` }) !== 'pin') throw invalidValue('Incorrect tag value', at)
  const unknown = Object.keys(fields).find((name) => name !== 'position')
  if (unknown !== undefined) throw unknownField(unknown, ['position'], at)
  return { type: 'pin', ...object<{ position: number }>({ position: required(integer) })(fields, at) }
}

const selectorFields = object<{ indexUid: string | null; id: string }>({
  indexUid: orNull(indexUid),
  id: required(string),
})

const action = object<RuleAction>({
  selector: required((value, at) => {
    const { indexUid: uid, id } = selectorFields(value, at)
    return { ...(uid === null ? {} : { indexUid: uid }), id }
  }),
  action: required(pin),
})

const change = object<RuleChange>({
  description: unchanged(string, 'invalid_dynamic_search_rule_description'),
  precedence: unchanged(integer, 'invalid_dynamic_search_rule_priority'),
  active: unchanged(boolean, 'invalid_dynamic_search_rule_active'),
  conditions: unchanged(conditions, 'invalid_dynamic_search_rule_conditions'),
  actions: unchanged(array(action), 'invalid_dynamic_search_rule_actions'),
})

/** `PATCH /dynamic-search-rules/{uid}`: the fields that were sent. */
export function decodeRuleChange(sent: Json): JsonObject {
  const fields = Object.entries(change(sent, bodyRoot)).filter(([, value]) => value !== undefined)
  return JSON.parse(JSON.stringify(Object.fromEntries(fields))) as JsonObject
}

export interface RuleListQuery {
  readonly offset: number
  readonly limit: number
  /** Words of descriptions and conditions. */
  readonly query: string | null
  readonly active: boolean | null
}

const list = object<{ offset: number; limit: number; filter: { query: string | null; active: boolean | null } | null }>(
  {
    offset: optional(integer, 0, 'invalid_dynamic_search_rule_offset'),
    limit: optional(integer, 20, 'invalid_dynamic_search_rule_limit'),
    filter: orNull(
      object({
        query: orNull(string, 'invalid_dynamic_search_rule_filter_query'),
        active: orNull(boolean, 'invalid_dynamic_search_rule_filter_active'),
      }),
      'invalid_dynamic_search_rule_filter',
    ),
  },
)

/** `POST /dynamic-search-rules`. */
export function decodeRuleList(sent: Json): RuleListQuery {
  const { offset, limit, filter } = list(sent, bodyRoot)
  return { offset, limit, query: filter?.query ?? null, active: filter?.active ?? null }
}

/** A rule as answers show it. */
export function renderRule(uid: string, rule: SearchRule): JsonObject {
  const { description, precedence, active = true, conditions: when = {}, actions = [] } = rule
  const shown = { uid, description, precedence, active, conditions: when, actions }
  return JSON.parse(JSON.stringify(shown)) as JsonObject
}

/** Whether the condition on time holds. */
export function isInTime({ conditions: when }: SearchRule, now: number): boolean {
  const { start, end } = when?.time ?? {}
  return (start === undefined || (parseTime(start) ?? 0) <= now) && (end === undefined || (parseTime(end) ?? 0) >= now)
}

/** `before` with the fields of `change`. */
export function changedRule(before: SearchRule | undefined, change: JsonObject): SearchRule {
  const fields = Object.entries({ ...(before as JsonObject | undefined), ...change })
  return Object.fromEntries(fields.filter(([, value]) => value !== null)) as SearchRule
}

/** Rules in the order in which they came, after the operation. */
export function rulesAfter(rules: readonly NamedRule[], operation: RuleOperation): readonly NamedRule[] {
  if (operation.kind === 'rules-clear') return []
  const { rule: uid } = operation
  if (operation.kind === 'rule-delete') return rules.filter((named) => named.uid !== uid)
  const known = rules.find((named) => named.uid === uid)
  const next = { uid, rule: changedRule(known?.rule, operation.change) }
  return known === undefined ? [...rules, next] : rules.map((named) => (named === known ? next : named))
}

/** As in the reference: who says nothing is active, until some rule says something. */
export function activeRules(rules: readonly NamedRule[]): readonly NamedRule[] {
  const isSilentActive = rules.every(({ rule }) => rule.active === undefined)
  return rules.filter(({ rule }) => rule.active ?? isSilentActive)
}

/** Rules that may change a search of one of these indexes now, lowest precedence number first. */
export function rulesFor(rules: readonly NamedRule[], indexes: readonly string[], now: number): readonly NamedRule[] {
  const found = activeRules(rules).filter(({ rule }) => {
    const names = (rule.actions ?? []).map(({ selector }) => selector.indexUid)
    return isInTime(rule, now) && names.some((uid) => uid === undefined || indexes.includes(uid))
  })
  return rulesByPrecedence(found)
}

/** Lowest number first; equal ones as they came. */
export const rulesByPrecedence = (rules: readonly NamedRule[]): readonly NamedRule[] =>
  [...rules].sort((a, b) => precedence(a.rule) - precedence(b.rule))

/** The same rules as one index sees them: with the actions on its documents, which name no index any more. */
export function rulesOn(rules: readonly SearchRule[], uid: string): readonly SearchRule[] {
  return rules.flatMap((rule) => {
    const actions = (rule.actions ?? []).flatMap(({ selector: { indexUid, id }, action }) =>
      indexUid === undefined || indexUid === uid ? [{ selector: { id }, action }] : [],
    )
    return actions.length === 0 ? [] : [{ ...rule, actions }]
  })
}

/** Rules of an index whose documents lie on several nodes: what nodes pin is put together by numbers. */
export interface NumberedRules {
  /** By precedence, as far as they hold now; in place of its position each action has its number. */
  readonly rules: readonly SearchRule[]
  /** Of all actions, by number: the lower one goes first. Times do not change the numbers. */
  readonly positions: readonly number[]
}

export function numberedRules(rules: readonly NamedRule[], uid: string, now: number): NumberedRules {
  const ordered = rulesByPrecedence(activeRules(rules))
  const actions = ordered.map(({ rule }) => rulesOn([rule], uid)[0]?.actions ?? [])
  const lists = numberedActions(actions)
  const numbered = ordered.map(({ rule }, at) => ({ ...rule, actions: lists[at] ?? [] }))
  return {
    rules: numbered.filter((rule) => rule.actions.length > 0 && isInTime(rule, now)),
    positions: actions.flat().map(({ action: { position } }) => position),
  }
}

/** @param actions  of each rule, by precedence. */
export function numberedActions(actions: readonly (readonly RuleAction[])[]): readonly (readonly RuleAction[])[] {
  let next = 0
  return actions.map((own) => {
    const first = next
    next += own.length
    return own.map(({ selector, action }, at) => ({ selector, action: { ...action, position: first + at } }))
  })
}

const precedence = (rule: SearchRule): number => rule.precedence ?? Number.POSITIVE_INFINITY

export const ruleNotFound = (uid: string): ApiError =>
  new ApiError('dynamic_search_rule_not_found', `Dynamic search rule \`${uid}\` not found.`)
