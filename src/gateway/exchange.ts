/** One request on its way through the pipeline, and what its handler may use. */
import type { Logger } from 'pino'
import { ApiError } from '../api/errors.ts'
import type { AccessTokens } from '../control/access-tokens.ts'
import type { ProjectLoad } from '../control/fair-share.ts'
import type { Principal } from '../control/principal.ts'
import type { LimitClass } from '../control/rate-limits.ts'
import type { Journal } from '../journal/ports.ts'
import { assert } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import type { EgressPolicy } from '../lib/egress-policy.ts'
import type { HttpRequest } from '../lib/http-server.ts'
import type { HttpResponse } from '../lib/plain-response.ts'
import type { Random } from '../lib/random.ts'
import type { Span } from '../lib/traces.ts'
import type { Project } from '../store/catalogue.ts'
import type { Catalogue } from '../store/ports.ts'
import type { RouteTable } from '../topology/route-table.ts'
import type { NodePools } from '../upstream/node-pools.ts'
import type { Answer } from './answer.ts'
import type { ClusterMetrics } from './cluster-metrics.ts'
import type { FleetWatch } from './fleet-watch.ts'
import type { RouteTally } from './gateway-metrics.ts'
import type { GatewayLimits } from './gateway-options.ts'
import type { RequestHeaders } from './request-headers.ts'
import type { RequestPath } from './request-path.ts'
import type { RouteFollower } from './route-follower.ts'
import type { RoutePolicy } from './route-policy.ts'
import type { SpreadParts } from './spread-parts.ts'

/** What lives as long as the gateway. */
export interface GatewayParts {
  readonly catalogue: Catalogue
  readonly journal: Journal
  readonly follower: RouteFollower
  readonly pools: NodePools
  readonly fleet: Pick<FleetWatch, 'health'>
  readonly clusterMetrics: ClusterMetrics
  readonly egress: EgressPolicy
  readonly spread: SpreadParts
  readonly accessTokens: AccessTokens
  readonly clock: Clock
  readonly random: Random
  readonly nextRequestId: () => string
  readonly limits: GatewayLimits
  readonly version: string
  readonly log: Logger
}

/** A route of the policy table, made ready. */
export interface BoundRoute {
  readonly policy: RoutePolicy
  readonly parameters: readonly string[]
  /** Position of `{uid}` among the parameters; -1 = the route names no index in its path. */
  readonly uidAt: number
  readonly limitClass: LimitClass
  readonly tally: RouteTally
}

export class Exchange {
  readonly request: HttpRequest
  readonly response: HttpResponse
  readonly parts: GatewayParts
  readonly startedAt: number
  /** One picture of the world from start to end. */
  table: RouteTable
  requestId = ''
  headers: RequestHeaders | undefined
  path: RequestPath | undefined
  route: BoundRoute | undefined
  params: readonly string[] = []
  /** The index that the path names. */
  uid: string | null = null
  /** The project that the host names, if it does. */
  hostProject: Project | undefined
  principal: Principal | undefined
  /** Of its project; given back when the answer has ended. */
  load: ProjectLoad | undefined
  /** Absent where nobody collects spans. */
  span: Span | undefined
  /** For the log line: what went wrong, if anything. */
  outcome: string | undefined

  constructor(request: HttpRequest, response: HttpResponse, parts: GatewayParts) {
    this.request = request
    this.response = response
    this.parts = parts
    this.startedAt = parts.clock.monotonic()
    this.table = parts.follower.table
  }
}

/** What a handler sees. Authentication and authorisation have run. */
export interface Call {
  readonly exchange: Exchange
  readonly parts: GatewayParts
  readonly policy: RoutePolicy
  readonly principal: Principal
  readonly headers: RequestHeaders
  readonly search: string
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal
}

export type Handler = (call: Call) => Promise<Answer>

export function callOf(exchange: Exchange): Call {
  const { headers, path, route, principal, parts } = exchange
  assert(headers && path && route && principal, 'a handler runs behind the whole pipeline')
  const leaving = new AbortController()
  exchange.response.once('close', () => {
    if (!exchange.response.writableFinished) leaving.abort(new Error('the client closed the connection'))
  })
  return { exchange, parts, policy: route.policy, principal, headers, search: path.search, signal: leaving.signal }
}

/** A path parameter, decoded. */
export function param(call: Call, name: string): string {
  const at = call.exchange.route?.parameters.indexOf(name) ?? -1
  const sent = call.exchange.params[at]
  assert(sent !== undefined, `the route ${call.policy.path} has no {${name}}`)
  return decodeURIComponent(sent)
}

/** The index that the path names. */
export function pathUid(call: Call): string {
  const { uid } = call.exchange
  assert(uid !== null, `the route ${call.policy.path} names no index`)
  return uid
}

export function routeNotAvailable(what: string): ApiError {
  return new ApiError('route_not_available', `${what} is not available here.`)
}
