/** An engine that somebody else runs: it is only registered. */
import { request } from 'undici'
import type { Action } from '../api/actions.ts'
import { createHttpEngine } from '../engine/http-engine.ts'
import { nodeOfMarker } from '../engine/node-marker.ts'
import type { Clock } from '../lib/clock.ts'
import type { Node, NodeId } from '../store/catalogue.ts'
import type { Catalogue } from '../store/ports.ts'
import { EngineUnavailable, waitForHealth } from './local-driver.ts'

const reachableMsMax = 10_000

interface Waiting {
  readonly clock: Clock
  readonly signal: AbortSignal
}

/** @throws EngineUnavailable when it does not answer, or its key may not do what is needed. */
export async function registerRemoteNode(
  node: Parameters<Catalogue['putNode']>[0],
  { catalogue, ...waiting }: Waiting & { readonly catalogue: Pick<Catalogue, 'putNode'> },
): Promise<Node> {
  await reachEngine(node, waiting)
  return catalogue.putNode(node)
}

interface Engine {
  readonly url: string
  readonly key: string | null
}

/** Waits until it answers with its key. @throws EngineUnavailable when it does not, or the key may not do what is needed. */
export async function reachEngine({ url, key }: Engine, { clock, signal }: Waiting): Promise<void> {
  await waitForHealth(url, reachableMsMax, clock, signal)
  await checkEngineKey(url, key)
}

/** The node that an engine is already, of this installation or another; `undefined` = none, as far as it tells. */
export async function markedNode({ url, key }: Engine, signal: AbortSignal): Promise<NodeId | undefined> {
  const engine = createHttpEngine({ url, key })
  try {
    const marker = await engine.readMarker(signal)
    return marker.kind === 'answered' && marker.value !== null ? nodeOfMarker(marker.value.name) : undefined
  } finally {
    await engine.close()
  }
}

/**
 * What a key must be allowed, on all indexes, and a request that shows whether it is: one that changes nothing. Engines look
 * at the key before anything else, so that any other refusal says that it may.
 */
const probes: Readonly<Record<NeededAction, Probe>> = {
  search: { method: 'GET', path: 'INDEX/search?limit=0' },
  'documents.add': { method: 'POST', path: 'INDEX/documents', type: 'text/plain', sent: 'x' },
  'documents.get': { method: 'GET', path: 'INDEX/documents?limit=0' },
  'documents.delete': { method: 'POST', path: 'INDEX/documents/delete-batch', sent: '{' },
  'indexes.create': { method: 'POST', path: '/indexes', sent: '{}' },
  'indexes.get': { method: 'GET', path: 'INDEX' },
  'indexes.update': { method: 'PATCH', path: 'INDEX', sent: '{' },
  'indexes.delete': { method: 'DELETE', path: '/indexes/no%20index' },
  'settings.get': { method: 'GET', path: 'INDEX/settings' },
  'settings.update': { method: 'PATCH', path: 'INDEX/settings', sent: '{' },
  'stats.get': { method: 'GET', path: 'INDEX/stats' },
  'tasks.get': { method: 'GET', path: '/tasks?limit=0' },
  'tasks.cancel': { method: 'POST', path: '/tasks/cancel' },
  'tasks.delete': { method: 'DELETE', path: '/tasks' },
}

type NeededAction = Extract<
  Action,
  | 'search'
  | `documents.${'add' | 'get' | 'delete'}`
  | `indexes.${'create' | 'get' | 'update' | 'delete'}`
  | `settings.${'get' | 'update'}`
  | 'stats.get'
  | `tasks.${'get' | 'cancel' | 'delete'}`
>

interface Probe {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** `INDEX`: the path of an index that nobody has. */
  readonly path: string
  /** Default JSON. */
  readonly type?: string
  readonly sent?: string
}

const probedIndex = '/indexes/flapjackprobe_none'

/**
 * A wrong key would otherwise show only as writes that never end.
 *
 * @returns whether it may make keys for gateways; `keyless` = the engine runs without a master key.
 * @throws EngineUnavailable when it is refused, or lacks actions, which are named.
 */
export async function checkEngineKey(url: string, key: string | null): Promise<'makes-keys' | 'one-key' | 'keyless'> {
  const ask = async ({ method, path, type = 'application/json', sent }: Probe) => {
    const headers = {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(sent === undefined ? {} : { 'content-type': type }),
    }
    const place = `${url}${path.replace('INDEX', probedIndex)}`
    const { statusCode, body } = await request(place, {
      ...{ method, headers, headersTimeout: reachableMsMax },
      ...(sent === undefined ? {} : { body: sent }),
    })
    const answer = await body.text()
    if (statusCode >= 500)
      throw new EngineUnavailable(`the engine at ${url} answers ${statusCode} to ${method} ${path}`)
    return { isAllowed: statusCode !== 401 && statusCode !== 403, answer }
  }
  const keys = await ask({ method: 'GET', path: '/keys?limit=1' })
  // Without a master key the engine has no keys to show, and says so to anybody.
  if (!keys.isAllowed && key === null && keys.answer.includes('"missing_master_key"')) return 'keyless'
  const missing: string[] = []
  const entries = Object.entries(probes)
  for (const [action, probe] of entries) if (!(await ask(probe)).isAllowed) missing.push(action)
  if (missing.length === entries.length) {
    throw new EngineUnavailable(
      `the engine at ${url} refuses this key; give its master key, or one with the actions ${missing.join(', ')} on all indexes`,
    )
  }
  if (missing.length > 0) {
    const lacks = missing.length === 1 ? 'the action' : 'the actions'
    throw new EngineUnavailable(
      `the key for the engine at ${url} lacks ${lacks} ${missing.join(', ')} on all indexes (\`*\`); give one that has them, or its master key`,
    )
  }
  const makes = keys.isAllowed && (await ask({ method: 'POST', path: '/keys', sent: '{}' })).isAllowed
  return makes ? 'makes-keys' : 'one-key'
}
