/** `/dynamic-search-rules`: reads at once, changes as tasks. */
import type { Action } from '../../api/actions.ts'
import { decodeCustomMetadata } from '../../api/documents-query.ts'
import { featureNotEnabled } from '../../api/features.ts'
import { isIndexUid, wrongIndexUid } from '../../api/index-uid.ts'
import { decodeRuleChange, decodeRuleList, renderRule, ruleNotFound, rulesIndex } from '../../api/search-rule.ts'
import type { EngineOperation } from '../core.ts'
import { type Answer, accepted, type Call, json, type Route, readJson } from './call.ts'

const path = '/dynamic-search-rules'
const anyUse = 'Using the `/dynamic-search-rules` routes'

/** `handle` gets the rule of the path, empty when there is none; one that no rule can have is unknown, in plain text. */
const route = (
  method: Route['method'],
  tail: '' | '/{rule}',
  action: Action,
  handle: (call: Call, rule: string) => Promise<Answer>,
): Route => ({
  method,
  path: `${path}${tail}`,
  action,
  async handle(call) {
    const rule = call.params[0] ?? ''
    if (tail === '' || isIndexUid(rule)) return handle(call, rule)
    return { status: 404, body: wrongIndexUid(rule), contentType: 'text/plain; charset=utf-8' }
  },
})

function check({ parts }: Call, use: string): void {
  if (!parts.features().dynamicSearchRules) throw featureNotEnabled('dynamicSearchRules', use)
}

export const ruleRoutes: readonly Route[] = [
  route('POST', '', 'dynamicSearchRules.get', async (call) => {
    const query = decodeRuleList(await readJson(call))
    check(call, 'Calling the `POST /dynamic-search-rules` route')
    const { results, total } = call.parts.core.rules.list(query)
    const { offset, limit } = query
    return json({ results: results.map(({ uid, rule }) => renderRule(uid, rule)), offset, limit, total })
  }),
  route('DELETE', '', 'dynamicSearchRules.delete', async (call) => {
    const metadata = decodeCustomMetadata(call.search)
    check(call, anyUse)
    return enqueue(call, { kind: 'rules-clear' }, metadata)
  }),
  route('GET', '/{rule}', 'dynamicSearchRules.get', async (call, uid) => {
    check(call, 'Calling the `GET /dynamic-search-rules/{:ruleUid}` route')
    const rule = call.parts.core.rules.get(uid)
    if (rule === undefined) throw ruleNotFound(uid)
    return json(renderRule(uid, rule))
  }),
  route('PATCH', '/{rule}', 'dynamicSearchRules.update', async (call, rule) => {
    const metadata = decodeCustomMetadata(call.search)
    const change = decodeRuleChange(await readJson(call))
    check(call, anyUse)
    return enqueue(call, { kind: 'rule-put', rule, change }, metadata)
  }),
  route('DELETE', '/{rule}', 'dynamicSearchRules.delete', async (call, rule) => {
    const metadata = decodeCustomMetadata(call.search)
    check(call, anyUse)
    return enqueue(call, { kind: 'rule-delete', rule }, metadata)
  }),
]

async function enqueue({ parts }: Call, operation: EngineOperation, customMetadata: string | null): Promise<Answer> {
  return accepted(await parts.core.enqueue({ uid: rulesIndex, operation, customMetadata, allowIndexCreation: false }))
}
