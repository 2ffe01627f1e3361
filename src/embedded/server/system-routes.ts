/** Health, version, stats, features, keys, dumps and exports (M-A2, M-A8). */

import type { Action } from '../../api/actions.ts'
import { decodeExport, exportRules } from '../../api/export-body.ts'
import { decodeFeatures } from '../../api/features.ts'
import { matchesSomeIndexPattern } from '../../api/index-uid.ts'
import { decodeKeyChange, decodeKeyCreation } from '../../api/key-body.ts'
import { decodeKeyPage, decodeStatsQuery, renderPage } from '../../api/page-query.ts'
import type { SummarizedTask } from '../../api/tasks.ts'
import type { EngineOperation } from '../core.ts'
import { accepted, type Call, json, noContent, type Route, readJson } from './call.ts'
import { readMetrics } from './metrics.ts'

const route = (method: Route['method'], path: string, action: Action | null, handle: Route['handle']): Route => ({
  method,
  path,
  action,
  handle,
})

export const systemRoutes: readonly Route[] = [
  route('GET', '/', null, () => json({ status: 'Meilisearch is running' })),
  route('GET', '/health', null, () => json({ status: 'available' })),
  route('GET', '/version', 'version', ({ parts }) =>
    json({ commitSha: 'unknown', commitDate: 'unknown', pkgVersion: parts.version }),
  ),
  route('GET', '/stats', 'stats.get', async ({ parts, access, search }) => {
    decodeStatsQuery(search)
    const stats = await parts.core.stats()
    const seen = Object.entries(stats.indexes).filter(([uid]) => matchesSomeIndexPattern(access.indexes, uid))
    return json({ ...stats, indexes: Object.fromEntries(seen) })
  }),
  route('GET', '/experimental-features', 'experimental.get', ({ parts }) => json(parts.features())),
  route('PATCH', '/experimental-features', 'experimental.update', async (call) =>
    json(await call.parts.setFeatures(decodeFeatures(await readJson(call)))),
  ),

  route('POST', '/keys', 'keys.create', async (call) => {
    const { keys, clock } = call.parts
    return json(keys.render(await keys.create(decodeKeyCreation(await readJson(call), clock.now()))), 201)
  }),
  route('GET', '/keys', 'keys.get', ({ parts: { keys }, search }) => {
    const page = renderPage(keys.list(), decodeKeyPage(search))
    return json({ ...page, results: page.results.map((key) => keys.render(key)) })
  }),
  route('GET', '/keys/{key}', 'keys.get', ({ parts: { keys }, params }) =>
    json(keys.render(keys.find(params[0] ?? ''))),
  ),
  route('PATCH', '/keys/{key}', 'keys.update', async (call) => {
    const { keys } = call.parts
    return json(keys.render(await keys.update(call.params[0] ?? '', decodeKeyChange(await readJson(call)))))
  }),
  route('DELETE', '/keys/{key}', 'keys.delete', async ({ parts: { keys }, params }) => {
    await keys.delete(params[0] ?? '')
    return noContent
  }),

  route('POST', '/dumps', 'dumps.create', async (call) => accepted(await enqueue(call, { kind: 'dump' }))),
  route('POST', '/snapshots', 'snapshots.create', async (call) => accepted(await enqueue(call, { kind: 'snapshot' }))),

  // 200, as in the reference.
  route('POST', '/export', 'export', async (call) => {
    const request = decodeExport(await readJson(call))
    return json(await enqueue(call, { kind: 'export', ...request, indexes: exportRules(request) }))
  }),

  route('GET', '/metrics', 'metrics.get', readMetrics),
  // Of this engine alone, for operators: names every index.
  route('GET', '/sis/integrity', 'snapshots.create', ({ parts }) => json(parts.core.integrity())),
]

function enqueue({ parts }: Call, operation: EngineOperation): Promise<SummarizedTask> {
  return parts.core.enqueue({ uid: null, operation, customMetadata: null, allowIndexCreation: false })
}
