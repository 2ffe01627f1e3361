/** `POST /render-template` (M-H8): what a template makes of a document or a query. */
import { allows } from '../../api/actions.ts'
import { featureNotEnabled } from '../../api/features.ts'
import { decodeRenderQuery } from '../../api/render-query.ts'
import { type Answer, type Call, type Route, readJson } from './call.ts'
import { checkIndex, invalidKey } from './key-ring.ts'

export const renderRoutes: readonly Route[] = [
  { method: 'POST', path: '/render-template', action: 'settings.get', handle: renderTemplate },
]

async function renderTemplate(call: Call): Promise<Answer> {
  const { parts, access } = call
  if (!allows(access.actions, 'documents.get')) throw invalidKey()
  const sent = await readJson(call)
  const features = parts.features()
  if (!features.renderRoute) throw featureNotEnabled('renderRoute', 'calling the /render-template route')
  const query = decodeRenderQuery(sent, features)
  for (const uid of [query.template.indexUid, query.input?.indexUid ?? null]) if (uid !== null) checkIndex(access, uid)
  return { status: 200, body: await parts.core.renderTemplate(query) }
}
