/** The public listener: one pipeline, as data, from request id to render. */

import { errorBody } from '../api/errors.ts'
import { emulatedRelease } from '../api/names.ts'
import { createAccessTokens } from '../control/access-tokens.ts'
import { createAuthThrottle } from '../control/auth-throttle.ts'
import { createAuthentication } from '../control/authentication.ts'
import { createFairShare } from '../control/fair-share.ts'
import { createIssuerKeys } from '../control/issuer-keys.ts'
import { createKeyConfirmation } from '../control/key-confirmation.ts'
import { createRateLimits, type LimitClass, type LimitScope, type RateLimits } from '../control/rate-limits.ts'
import { createSharedRateLimits } from '../control/shared-rate-limits.ts'
import { type PublishedKey, publishedKeys } from '../control/token-keys.ts'
import type { TopologyDeps } from '../control/topology-view.ts'
import { assert } from '../lib/assert.ts'
import { type Clock, systemClock, systemTimers } from '../lib/clock.ts'
import { createEgressPolicy } from '../lib/egress-policy.ts'
import { type HttpRequest, listenHttp } from '../lib/http-server.ts'
import type { HttpResponse } from '../lib/plain-response.ts'
import { systemRandom } from '../lib/random.ts'
import { createRequestIds } from '../lib/request-ids.ts'
import { RouteTree } from '../lib/route-tree.ts'
import { StoreUnavailable } from '../store/ports.ts'
import type { RouteTable } from '../topology/route-table.ts'
import { createNodePools } from '../upstream/node-pools.ts'
import { createClusterMetrics } from './cluster-metrics.ts'
import { type BoundRoute, Exchange, type GatewayParts } from './exchange.ts'
import { watchFleet } from './fleet-watch.ts'
import { createGatewayAdmin } from './gateway-admin.ts'
import { createGatewayMetrics, type GatewayMetrics } from './gateway-metrics.ts'
import { defaultLimits, type Gateway, type GatewayOptions } from './gateway-options.ts'
import { startHeartbeat } from './heartbeat.ts'
import { type Pipeline, run } from './pipeline.ts'
import { beginSpan, endSpan } from './request-spans.ts'
import { routeCopyFile } from './route-copy-file.ts'
import { followRoutes, type RouteFollower } from './route-follower.ts'
import { limitClassOf, parameterNames, routePolicies } from './route-policy.ts'
import { createSpreadParts } from './spread-parts.ts'

export type { Gateway, GatewayLimits, GatewayOptions } from './gateway-options.ts'

const drainMsDefault = 10_000
const authFailuresDefault = 20

/** Listens when it resolves. Rejects when the store cannot be read or the address is taken. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { catalogue, journal, logger: log, clock = systemClock, random = systemRandom } = options
  const limits = { ...defaultLimits, ...options.limits }
  const { routeCopy, platformKeys = () => [] } = options
  const follower = await followRoutes({
    catalogue,
    clock,
    log,
    ...(routeCopy && {
      copy: {
        file: routeCopyFile({ ...routeCopy, clock, log }),
        ageMsMax: routeCopy.ageMsMax,
        notes: () => ({ keys: platformKeys().map(({ jwk }) => jwk) }),
      },
    }),
    trustMsMax: options.trustMsMax ?? null,
    mayBeEmpty: options.isTestMode === true,
  })
  const startedAt = clock.now()
  const draining = { isOn: false }
  const egress = createEgressPolicy(options.outbound ?? { allowed: [] })
  const issuerKeys = createIssuerKeys({ egress, clock, log })
  const accessTokens = createAccessTokens({ platformKeys: knownKeys(platformKeys, follower), issuerKeys, clock })
  let openRequests = 0
  let isClosing = false
  const metrics = createGatewayMetrics(options.metrics, {
    version: () => follower.table.version,
    lagMs: () => Math.max(0, clock.now() - follower.asOf),
    openRequests: () => openRequests,
    unreadableProjects: () => unreadableCount(follower.table),
    ...(options.tokenStore && { areLimitsShared: () => options.tokenStore?.isUp === true }),
  })
  const fleet = watchFleet({
    options: options.health,
    nodes: () => follower.table.nodes(),
    clock,
    timers: systemTimers,
    random,
    log,
  })
  const pools = createNodePools({
    connectionsMax: options.connectionsPerNode ?? 128,
    connectTimeoutMs: 2_000,
    answerTimeoutMs: limits.answerTimeoutMs,
    clock,
    listener: fleet.health,
    onRefusal: (node, isNews) => {
      metrics.refusedKeys.inc({ node })
      if (isNews) log.error({ node }, 'the node refuses the key of the gateway')
    },
  })
  const topology: TopologyDeps = {
    standing(node) {
      const standing = fleet.standing(node)
      // Its `/health` asks for no key.
      if (standing.state !== 'up' || !pools.health(node).isSuspect) return standing
      return { ...standing, state: 'degraded', error: 'it refuses the key of the gateway' }
    },
    now: () => clock.now(),
    pause: () => new Promise((resolve) => setImmediate(resolve)),
  }
  const clusterMetrics = createClusterMetrics(options.metrics, { table: () => follower.table, topology, clock })
  const parts: GatewayParts = {
    catalogue,
    journal,
    follower,
    pools,
    fleet,
    clusterMetrics,
    egress,
    accessTokens,
    clock,
    random,
    spread: createSpreadParts({
      options: options.cluster,
      journal,
      health: fleet.health,
      metrics: clusterMetrics,
      registry: options.metrics,
      clock,
      random,
      nodes: () => follower.table.nodes(),
    }),
    nextRequestId: createRequestIds(random),
    limits,
    version: options.version ?? emulatedRelease,
    log,
  }
  const unmatched = metrics.tally('unmatched')
  const authentication = createAuthentication({ clock, accessTokens })
  const rateLimits = rateLimitsBy(options, clock, metrics)
  const fairShare = createFairShare(limits.projectRequestsMax, () => metrics.overShare.inc())
  const pipeline: Pipeline = {
    routes: bindRoutes(metrics),
    authentication,
    keyConfirmation: createKeyConfirmation({ clock }),
    authThrottle: createAuthThrottle(options.authFailuresPerMinute ?? authFailuresDefault, {
      clock,
      onHold: () => metrics.authHolds.inc(),
    }),
    fairShare,
    rateLimits,
    hostRules: options.hosts ?? { baseDomain: null, region: 'local' },
    isClosing: () => isClosing,
    draining,
    isFull: () => openRequests > limits.openRequestsMax,
    onEnd(exchange) {
      openRequests -= 1
      if (exchange.load !== undefined) fairShare.leave(exchange.load)
      const tookMs = clock.monotonic() - exchange.startedAt
      const tally = exchange.route?.tally ?? unmatched
      tally.add(exchange.response.statusCode, tookMs)
      if (exchange.span !== undefined) endSpan(exchange.span, exchange)
      if (log.isLevelEnabled('info')) logRequest(exchange, tookMs)
    },
  }
  function answer(request: HttpRequest, response: HttpResponse): void {
    openRequests += 1
    const exchange = new Exchange(request, response, parts)
    if (options.traces !== undefined) exchange.span = beginSpan(options.traces, exchange)
    run(exchange, pipeline)
  }
  const { host, port } = splitAddress(options.httpAddr)
  const server = await listenHttp({
    host,
    port,
    clock,
    refusal: refuseRequest,
    handle: answer,
    ...(options.tls === undefined ? { handlePlain: answer } : { tls: options.tls, handleHttp2: answer }),
    log,
  }).catch(async (error: unknown) => {
    await follower.close()
    await issuerKeys.close()
    await fleet.close()
    await pools.close()
    throw error
  })
  const id = random.uuid()
  const heartbeat =
    options.registry &&
    startHeartbeat({
      registry: options.registry,
      describe: () => ({
        ...{ id, address: server.url, version: parts.version, startedAt },
        appliedVersion: follower.table.version,
      }),
      refresh: () => follower.refresh(),
      onCount: (count) => (options.isShareFixed === true ? undefined : rateLimits?.share(count)),
      clock,
      log,
    })
  let closing: Promise<void> | undefined

  async function close(drainMs: number): Promise<void> {
    isClosing = true
    await server.close(drainMs)
    await heartbeat?.close()
    await follower.close()
    await issuerKeys.close()
    await fleet.close()
    await pools.close()
  }

  return {
    url: server.url,
    admin: createGatewayAdmin({
      follower,
      pools,
      topology,
      counts: () => ({
        openRequests,
        credentials: authentication.rememberedCount(),
        livingGateways: heartbeat?.livingCount ?? null,
      }),
      draining,
      startedAt,
      version: parts.version,
      isTestMode: options.isTestMode === true,
    }),
    close: (drainMs = drainMsDefault) => {
      closing ??= close(drainMs)
      return closing
    },
  }
}

function rateLimitsBy(
  { rateLimits, tokenStore }: GatewayOptions,
  clock: Clock,
  { rateLimited }: GatewayMetrics,
): RateLimits | undefined {
  const onRefusal = (scope: LimitScope, limitClass: LimitClass) => rateLimited.inc({ scope, class: limitClass })
  const local = rateLimits && createRateLimits(rateLimits, { clock, onRefusal })
  if (rateLimits === undefined || local === undefined || tokenStore === undefined) return local
  return createSharedRateLimits(rateLimits, { store: tokenStore, local, clock, onRefusal })
}

/** Those of the store, or of the copy while the store has not answered yet. */
function knownKeys(
  platformKeys: () => readonly PublishedKey[],
  { copyNotes }: RouteFollower,
): () => readonly PublishedKey[] {
  const copied = publishedKeys(copyNotes)
  return () => {
    try {
      return platformKeys()
    } catch (error) {
      if (error instanceof StoreUnavailable) return copied
      throw error
    }
  }
}

function unreadableCount(table: RouteTable): number {
  let count = 0
  for (const { state } of table.projects()) if (state === 'unreadable') count += 1
  return count
}

function bindRoutes(metrics: GatewayMetrics): RouteTree<BoundRoute> {
  const tree = new RouteTree<BoundRoute>()
  for (const policy of routePolicies) {
    assert((policy.handler === undefined) === (policy.treatment === 'refuse'), `${policy.path} is not answered`)
    const parameters = parameterNames(policy)
    const tally = metrics.tally(`${policy.method} ${policy.path}`)
    tree.add(policy.method, policy.path, {
      policy,
      parameters,
      uidAt: parameters.indexOf('uid'),
      limitClass: limitClassOf(policy),
      tally,
    })
  }
  return tree
}

/** One line a request: never a query, a document or a key. */
function logRequest(exchange: Exchange, tookMs: number): void {
  const { request, response, principal, route, uid } = exchange
  exchange.parts.log.info(
    {
      requestId: exchange.requestId,
      method: request.method,
      route: route?.policy.path,
      project: principal?.project.ref,
      index: principal === undefined ? undefined : (uid ?? undefined),
      key: principal?.keyUid ?? undefined,
      status: response.statusCode,
      outcome: exchange.outcome,
      tookMs: Math.round(tookMs * 100) / 100,
    },
    'request',
  )
}

function refuseRequest(status: 400 | 431): string {
  return JSON.stringify(
    status === 431
      ? errorBody('headers_too_large', 'The headers of the request are too large.')
      : errorBody('bad_request', 'The request is not valid HTTP.'),
  )
}

/** `host:port`, `[v6]:port` or `:port`. */
function splitAddress(httpAddr: string): { readonly host: string; readonly port: number } {
  const split = httpAddr.lastIndexOf(':')
  return {
    host: httpAddr.slice(0, Math.max(0, split)).replace(/^\[|\]$/g, ''),
    port: Number(httpAddr.slice(split + 1)),
  }
}
