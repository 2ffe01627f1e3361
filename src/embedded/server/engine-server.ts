/** The embedded engine as a Meilisearch server: authorise, decode, ask the core, answer. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline, Readable } from 'node:stream'
import { ApiError, type ErrorBody, errorBody } from '../../api/errors.ts'
import { completeFeatures, type Feature, type Features } from '../../api/features.ts'
import { emulatedRelease } from '../../api/names.ts'
import { type Clock, systemClock } from '../../lib/clock.ts'
import { type AllowedNetworks, createEgressPolicy } from '../../lib/egress-policy.ts'
import { dropRest } from '../../lib/http-body.ts'
import { readPath } from '../../lib/http-path.ts'
import { listenHttp } from '../../lib/http-server.ts'
import { isObject } from '../../lib/json.ts'
import { type Random, systemRandom } from '../../lib/random.ts'
import { RouteTree } from '../../lib/route-tree.ts'
import type { EngineCore } from '../core.ts'
import type { Answer, Call, Route, ServerParts } from './call.ts'
import { chatRoutes } from './chat-routes.ts'
import { documentRoutes } from './document-routes.ts'
import { indexRoutes } from './index-routes.ts'
import { checkIndex, openKeyRing } from './key-ring.ts'
import { logRoutes } from './log-routes.ts'
import { EngineMetrics } from './metrics.ts'
import { networkRoutes } from './network-routes.ts'
import { renderRoutes } from './render-routes.ts'
import { ruleRoutes } from './rule-routes.ts'
import { searchRoutes } from './search-routes.ts'
import { snapshotRoutes } from './snapshot-routes.ts'
import { systemRoutes } from './system-routes.ts'
import { taskRoutes } from './task-routes.ts'
import { webhookRoutes } from './webhook-routes.ts'

export interface EngineServerOptions {
  /** Open; closed by whoever opened it, after the server. */
  readonly core: EngineCore
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
  /** null = every route is open (M-G2). */
  readonly masterKey: string | null
  /** Largest body, decoded. Default 100 MB. */
  readonly payloadBytesMax?: number
  /** Switched on at the start, whatever is stored. */
  readonly featuresOn?: readonly Feature[]
  /** `pkgVersion`. Default: the release that we speak. */
  readonly version?: string
  /** Why an address that a client names may not be called; undefined = it may. Default: every one may. */
  readonly egressFault?: (url: URL) => string | undefined
  /** Networks beside public ones where chat providers may be. Default: none. */
  readonly allowedNetworks?: AllowedNetworks
  readonly clock?: Clock
  readonly random?: Random
  /** Told of failures that a client sees as 500. */
  readonly onFailure?: (error: unknown) => void
}

export interface EngineServer {
  readonly url: string
  /** Lets requests end for at most `drainMs` (default 5,000). May run twice. */
  close(drainMs?: number): Promise<void>
}

const featuresEntry = 'features'
const drainMsDefault = 5_000

/** Listens when it resolves. */
export async function startEngineServer(options: EngineServerOptions): Promise<EngineServer> {
  const { core, clock = systemClock, random = systemRandom, onFailure = () => undefined } = options
  const keys = await openKeyRing({ store: core.store, masterKey: options.masterKey, clock, random })
  const closing = new AbortController()
  let features = startFeatures(core, options.featuresOn ?? [])
  const parts: ServerParts = {
    core,
    keys,
    clock,
    random,
    version: options.version ?? emulatedRelease,
    metrics: new EngineMetrics(),
    egressFault: options.egressFault ?? (() => undefined),
    payloadBytesMax: options.payloadBytesMax ?? 100_000_000,
    egress: createEgressPolicy({ allowed: options.allowedNetworks ?? [] }),
    closing: closing.signal,
    features: () => features,
    async setFeatures(change) {
      const next: Features = { ...features, ...change }
      await core.store.put(featuresEntry, next)
      features = next
      return next
    },
  }
  const tree = new RouteTree<Route>()
  for (const route of [
    ...systemRoutes,
    ...indexRoutes,
    ...documentRoutes,
    ...searchRoutes,
    ...renderRoutes,
    ...chatRoutes,
    ...taskRoutes,
    ...snapshotRoutes,
    ...webhookRoutes,
    ...networkRoutes,
    ...logRoutes,
    ...ruleRoutes,
  ])
    tree.add(route.method, route.path, route)

  const server = await listenHttp({
    host: options.host,
    port: options.port,
    clock,
    handle: (request, response) => {
      serve(tree, parts, request)
        .catch((error: unknown) => refusalOf(error, onFailure))
        .then((answer) => send(request, response, answer))
        .catch((error: unknown) => {
          onFailure(error)
          response.destroy()
        })
    },
    refusal: (status) =>
      JSON.stringify(
        status === 431
          ? errorBody('headers_too_large', 'The headers of the request are too large.')
          : errorBody('bad_request', 'The request is not valid HTTP.'),
      ),
  })
  const close = (drainMs = drainMsDefault) => {
    closing.abort()
    return server.close(drainMs)
  }
  return { url: server.url, close }
}

function startFeatures(core: EngineCore, featuresOn: readonly Feature[]): Features {
  const stored = core.store.get(featuresEntry)
  const on = Object.entries(stored !== undefined && isObject(stored) ? stored : {}).filter(
    ([, value]) => value === true,
  )
  return completeFeatures(Object.fromEntries([...on.map(([name]) => name), ...featuresOn].map((name) => [name, true])))
}

async function serve(tree: RouteTree<Route>, parts: ServerParts, request: IncomingMessage): Promise<Answer> {
  const path = readPath(request.url ?? '/')
  if (path.kind === 'refused')
    throw path.reason === 'too-long'
      ? new ApiError('uri_too_long', 'The URL of the request is too long.')
      : new ApiError('bad_request', 'The path of the request is not in canonical form.')
  // Pre-flight requests carry no key.
  if (request.method === 'OPTIONS') return { status: 204, body: null, headers: preflight }
  const match = tree.find(request.method ?? '', path.path)
  if (match.kind === 'unknown') return { status: 404, body: null }
  if (match.kind === 'wrong-method') return { status: 405, body: null, headers: { allow: match.allowed.join(', ') } }
  const { route } = match
  if (!parts.features().metrics) return answerOf(route, parts, request, match.params, path.search)
  const begin = parts.clock.now()
  const note = (status: number) => parts.metrics.observe(route.method, route.path, status, parts.clock.now() - begin)
  try {
    const answer = await answerOf(route, parts, request, match.params, path.search)
    note(answer.status)
    return answer
  } catch (error) {
    note(error instanceof ApiError ? error.status : 500)
    throw error
  }
}

async function answerOf(
  route: Route,
  parts: ServerParts,
  request: IncomingMessage,
  encoded: readonly string[],
  search: string,
): Promise<Answer> {
  const access = parts.keys.authorise(request.headers.authorization, route.action)
  const params = encoded.map(decodeURIComponent)
  if (route.path.startsWith('/indexes/{uid}')) checkIndex(access, params[0] ?? '')
  const call: Call = { parts, request, access, params, search }
  return route.handle(call)
}

const preflight = {
  'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE, OPTIONS',
  'access-control-allow-headers': '*',
  'access-control-max-age': '86400',
}

function refusalOf(error: unknown, onFailure: (error: unknown) => void): Answer {
  if (error instanceof ApiError) {
    const wait: Readonly<Record<string, string>> = error.status === 503 ? { 'retry-after': '10' } : {}
    return reply(error.status, error.body, { ...wait, ...error.headers })
  }
  onFailure(error)
  return reply(500, errorBody('internal', 'An internal error has occurred.'), {})
}

function reply(status: number, body: ErrorBody, headers: Readonly<Record<string, string>>): Answer {
  return { status, body: JSON.stringify(body), headers }
}

function send(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  const { body } = answer
  if (body instanceof Readable) {
    response.writeHead(answer.status, { 'access-control-allow-origin': '*', ...answer.headers })
    // A stream that breaks breaks the connection, so that the client does not take a part for the whole.
    pipeline(body, response, () => undefined)
    dropRest(request)
    return
  }
  const bytes = typeof body === 'string' ? Buffer.from(body) : (body ?? new Uint8Array())
  response.writeHead(answer.status, {
    'access-control-allow-origin': '*',
    ...(body === null ? {} : { 'content-type': answer.contentType ?? 'application/json' }),
    ...(answer.status === 204 ? {} : { 'content-length': bytes.length }),
    ...answer.headers,
  })
  response.end(bytes)
  // What was not read of a refused body is dropped, so that the next request of the connection is undisturbed.
  dropRest(request)
}
