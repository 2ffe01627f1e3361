/** The public listener: one pipeline, as data, from request id to render. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { emulatedRelease } from '../api/names.ts'
import { createAuthentication } from '../control/authentication.ts'
import { createEgressPolicy } from '../control/egress-policy.ts'
import { assert } from '../lib/assert.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import { createNodePools } from '../upstream/node-pools.ts'
import { type BoundRoute, Exchange, type GatewayParts } from './exchange.ts'
import { createGatewayMetrics, type GatewayMetrics } from './gateway-metrics.ts'
import { defaultLimits, type Gateway, type GatewayOptions } from './gateway-options.ts'
import { type Pipeline, run } from './pipeline.ts'
import { followRoutes } from './route-follower.ts'
import { parameterNames, RouteTree } from './route-match.ts'
import { routePolicies } from './route-policy.ts'

export type { Gateway, GatewayLimits, GatewayOptions } from './gateway-options.ts'

const headersBytesMax = 64 * 1024
const headerCountMax = 100
const drainMsDefault = 10_000

/** Listens when it resolves. Rejects when the store cannot be read or the address is taken. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { catalogue, journal, logger: log, clock = systemClock, random = systemRandom } = options
  const limits = { ...defaultLimits, ...options.limits }
  const follower = await followRoutes({ catalogue, clock, log })
  const pools = createNodePools({
    connectionsMax: options.connectionsPerNode ?? 128,
    connectTimeoutMs: 2_000,
    answerTimeoutMs: limits.answerTimeoutMs,
  })
  let openRequests = 0
  let isClosing = false
  const metrics = createGatewayMetrics(options.metrics, {
    version: () => follower.table.version,
    openRequests: () => openRequests,
  })
  const parts: GatewayParts = {
    catalogue,
    journal,
    follower,
    pools,
    egress: createEgressPolicy({ allowPrivate: options.allowPrivateUrls ?? false }),
    clock,
    random,
    limits,
    version: options.version ?? emulatedRelease,
    log,
  }
  const unmatched = metrics.tally('unmatched')
  const pipeline: Pipeline = {
    routes: bindRoutes(metrics),
    authentication: createAuthentication({ clock }),
    isClosing: () => isClosing,
    onEnd(exchange) {
      openRequests -= 1
      const tookMs = clock.monotonic() - exchange.startedAt
      const tally = exchange.route?.tally ?? unmatched
      tally.add(exchange.response.statusCode, tookMs)
      if (log.isLevelEnabled('info')) logRequest(exchange, tookMs)
    },
  }
  const server = createServer(
    {
      maxHeaderSize: headersBytesMax,
      keepAliveTimeout: 75_000,
      headersTimeout: 60_000,
      // A slow upload is bounded by its own pace, not by a total: the body limit bounds its size.
      requestTimeout: 0,
      noDelay: true,
    },
    (request, response) => {
      openRequests += 1
      run(new Exchange(request, response, parts), pipeline)
    },
  )
  server.maxHeadersCount = headerCountMax
  server.on('clientError', refuseRequest)
  try {
    await listen(server, options.httpAddr)
  } catch (error) {
    await follower.close()
    await pools.close()
    throw error
  }
  let closing: Promise<void> | undefined

  async function close(drainMs: number): Promise<void> {
    isClosing = true
    const ended = new Promise<void>((resolve) => server.close(() => resolve()))
    server.closeIdleConnections()
    await drain(clock, ended, drainMs)
    server.closeAllConnections()
    await ended
    await follower.close()
    await pools.close()
  }

  return {
    url: urlOf(server, options.httpAddr),
    close: (drainMs = drainMsDefault) => {
      closing ??= close(drainMs)
      return closing
    },
  }
}

function bindRoutes(metrics: GatewayMetrics): RouteTree<BoundRoute> {
  const tree = new RouteTree<BoundRoute>()
  for (const policy of routePolicies) {
    assert((policy.handler === undefined) === (policy.treatment === 'refuse'), `${policy.path} is not answered`)
    const parameters = parameterNames(policy)
    const tally = metrics.tally(`${policy.method} ${policy.path}`)
    tree.add(policy.method, policy.path, { policy, parameters, uidAt: parameters.indexOf('uid'), tally })
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

/** A request that is no HTTP: one clear answer, and the connection ends, since nobody knows where the next one begins. */
function refuseRequest(error: Error & { code?: string }, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const [status, code, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'headers_too_large', 'The headers of the request are too large.']
      : ['400 Bad Request', 'bad_request', 'The request is not valid HTTP.']
  const link = `https://docs.meilisearch.com/errors#${code}`
  const body = JSON.stringify({ message, code, type: 'invalid_request', link })
  socket.end(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

/** `host:port`, `[v6]:port` or `:port`. */
function listen(server: Server, httpAddr: string): Promise<void> {
  const split = httpAddr.lastIndexOf(':')
  const host = httpAddr.slice(0, Math.max(0, split)).replace(/^\[|\]$/g, '')
  const port = Number(httpAddr.slice(split + 1))
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, ...(host === '' ? {} : { host }) }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function urlOf(server: Server, httpAddr: string): string {
  const { port } = server.address() as AddressInfo
  const host = httpAddr.slice(0, Math.max(0, httpAddr.lastIndexOf(':')))
  return `http://${host === '' || host === '0.0.0.0' ? '127.0.0.1' : host}:${port}`
}

async function drain(clock: Clock, ended: Promise<void>, drainMs: number): Promise<void> {
  const waiting = new AbortController()
  const tooLate = clock.sleep(drainMs, waiting.signal).catch(() => undefined)
  await Promise.race([ended, tooLate])
  waiting.abort(new Error('drained'))
}
