/** `/dynamic-search-rules` of a project (M-H): reads from the catalogue, changes as tasks that are carried out at once. */
import { decodeCustomMetadata } from '../api/documents-query.ts'
import { ApiError } from '../api/errors.ts'
import { isIndexUid, wrongIndexUid } from '../api/index-uid.ts'
import {
  decodeRuleChange,
  decodeRuleList,
  type RuleOperation,
  renderRule,
  ruleNotFound,
  rulesAfter,
  rulesIndex,
} from '../api/search-rule.ts'
import { listRules } from '../embedded/rule-search.ts'
import { type Answer, json } from './answer.ts'
import { append } from './append.ts'
import { type Call, type Handler, param } from './exchange.ts'
import { readJson } from './request-body.ts'

/** They are held in memory by every gateway, and looked at by every search of the project. */
const rulesMax = 1_000
const rulesBytesMax = 256 * 1024

const sentJson = ({ exchange, headers, parts }: Call) => readJson(exchange.request, headers, parts.limits.bodyBytesMax)

/** What a rule that no rule can be named like is answered with, in plain text. */
const named =
  (handle: (call: Call, uid: string) => Promise<Answer>): Handler =>
  async (call) => {
    const uid = param(call, 'rule')
    if (isIndexUid(uid)) return handle(call, uid)
    const body = Buffer.from(wrongIndexUid(uid))
    return { kind: 'bytes', status: 404, contentType: 'text/plain; charset=utf-8', body }
  }

/** `POST /dynamic-search-rules`. */
export const listSearchRules: Handler = async (call) => {
  const query = decodeRuleList(await sentJson(call))
  const { results, total } = listRules(call.principal.project.searchRules, query)
  const { offset, limit } = query
  return json(200, { results: results.map(({ uid, rule }) => renderRule(uid, rule)), offset, limit, total })
}

/** `DELETE /dynamic-search-rules`. */
export const clearSearchRules: Handler = async (call) => change(call, { kind: 'rules-clear' })

/** `GET /dynamic-search-rules/{rule}`. */
export const readSearchRule: Handler = named(async ({ principal }, uid) => {
  const found = principal.project.searchRules.find((rule) => rule.uid === uid)
  if (found === undefined) throw ruleNotFound(uid)
  return json(200, renderRule(uid, found.rule))
})

/** `PATCH /dynamic-search-rules/{rule}`. */
export const updateSearchRule: Handler = named(async (call, rule) => {
  const operation = { kind: 'rule-put', rule, change: decodeRuleChange(await sentJson(call)) } as const
  const { project } = call.principal
  const after = rulesAfter(project.searchRules, operation)
  if (after.length > rulesMax || JSON.stringify(after).length > rulesBytesMax)
    throw new ApiError(
      'bad_request',
      `A project holds at most ${rulesMax} dynamic search rules, of ${rulesBytesMax / 1024} KiB together.`,
    )
  return change(call, operation)
})

/** `DELETE /dynamic-search-rules/{rule}`. */
export const deleteSearchRule: Handler = named(async (call, rule) => change(call, { kind: 'rule-delete', rule }))

function change(call: Call, operation: RuleOperation): Promise<Answer> {
  return append(call, {
    uid: rulesIndex,
    operation,
    customMetadata: decodeCustomMetadata(call.search),
    mayCreateIndex: false,
  })
}
