/**
 * What happens to a request, in this order, which carries meaning: request id → headers → canonical path → host → match →
 * authenticate → rate limits → project state → authorise → feature → handler → render. An unauthorised caller learns nothing of what
 * comes behind (M-A1): neither whether its body was valid nor whether an index exists.
 */
import type { Action } from '../api/actions.ts'
import { ApiError } from '../api/errors.ts'
import { completeFeatures, featureNotEnabled } from '../api/features.ts'
import { checkIndexUid } from '../api/index-uid.ts'
import { headerNames } from '../api/names.ts'
import type { AuthThrottle } from '../control/auth-throttle.ts'
import type { Authentication } from '../control/authentication.ts'
import type { FairShare } from '../control/fair-share.ts'
import type { KeyConfirmation } from '../control/key-confirmation.ts'
import { authorise, invalidKey, type Principal } from '../control/principal.ts'
import { type LimitState, limitHeaders, type RateLimits } from '../control/rate-limits.ts'
import { assert } from '../lib/assert.ts'
import type { RouteTree } from '../lib/route-tree.ts'
import type { Answer } from './answer.ts'
import { type BoundRoute, callOf, type Exchange, routeNotAvailable } from './exchange.ts'
import { forwardRead } from './forward-read.ts'
import { handlers, isRelayed, type OpenName, openAnswers } from './handlers.ts'
import { projectUnreadable, renderAnswer, renderError } from './render.ts'
import { credentialOf, readHeaders } from './request-headers.ts'
import { foreignHost, type HostRules, projectOfHost } from './request-host.ts'
import { canonicalPath } from './request-path.ts'
import type { Refusal, RoutePolicy } from './route-policy.ts'

export interface Pipeline {
  readonly routes: RouteTree<BoundRoute>
  readonly authentication: Authentication
  readonly keyConfirmation: KeyConfirmation
  /** Absent = failed authentications are not counted. */
  readonly authThrottle: AuthThrottle | undefined
  readonly fairShare: FairShare
  /** Absent = no limit is set. */
  readonly rateLimits: RateLimits | undefined
  readonly hostRules: HostRules
  readonly isClosing: () => boolean
  /** Connections are closed behind their answers, so that clients go elsewhere. */
  readonly draining: { readonly isOn: boolean }
  /** More requests are being answered than the gateway takes on. */
  readonly isFull: () => boolean
  /** The answer was given, whole or not. */
  readonly onEnd: (exchange: Exchange) => void
}

const degradedName = headerNames.flapjackDegraded.toLowerCase()
const requestIdForm = /^[A-Za-z0-9._:-]{1,128}$/

export function run(exchange: Exchange, pipeline: Pipeline): void {
  try {
    const answer = enter(exchange, pipeline)
    if (answer === relayed) return
    if (answer instanceof Promise) {
      answer.then(
        (answered) => {
          if (answered !== relayed) give(exchange, pipeline, answered)
        },
        (error: unknown) => fail(exchange, pipeline, error),
      )
    } else give(exchange, pipeline, answer)
  } catch (error) {
    fail(exchange, pipeline, error)
  }
}

/** The answer is streamed through by `forwardRead`, which says when it ends. */
const relayed = Symbol('relayed')

function give(exchange: Exchange, pipeline: Pipeline, answer: Answer): void {
  renderAnswer(exchange, answer).then(
    () => pipeline.onEnd(exchange),
    (error: unknown) => fail(exchange, pipeline, error),
  )
}

function fail(exchange: Exchange, pipeline: Pipeline, error: unknown): void {
  renderError(exchange, error)
  pipeline.onEnd(exchange)
}

type Outcome = Answer | typeof relayed | Promise<Answer | typeof relayed>

function enter(exchange: Exchange, pipeline: Pipeline): Outcome {
  const { request, parts } = exchange
  // Before anything can go wrong: an error names it too.
  exchange.requestId = parts.nextRequestId()
  const headers = readHeaders(request.rawHeaders)
  if (headers.requestId !== undefined && requestIdForm.test(headers.requestId)) exchange.requestId = headers.requestId
  exchange.headers = headers
  const path = canonicalPath(request.url ?? '/')
  exchange.path = path
  // Whoever balances load asks for the health at an address.
  if (path.path !== '/health') exchange.hostProject = projectOfHost(headers.host, pipeline.hostRules, exchange.table)
  if (request.method === 'OPTIONS' && headers.requestedMethod !== undefined) return preflight(headers.requestedHeaders)
  const match = pipeline.routes.find(request.method ?? 'GET', path.path)
  if (match.kind === 'unknown') return { kind: 'empty', status: 404 }
  if (match.kind === 'wrong-method') {
    return { kind: 'empty', status: 405, headers: { allow: match.allowed.join(', ') } }
  }
  const { route, params } = match
  exchange.route = route
  exchange.params = params
  if (pipeline.isFull()) {
    throw new ApiError(
      'too_many_search_requests',
      'Too many requests are being answered at the same time. Retry after 10s.',
    )
  }
  if (pipeline.isClosing()) throw new ApiError('shutting_down', 'The server is shutting down. Try again.')
  const { handler, action } = route.policy
  if (handler === 'root' || handler === 'health' || handler === 'jwks') return openAnswers[handler](parts)
  if (route.uidAt >= 0) exchange.uid = decodeURIComponent(params[route.uidAt]!)
  const known = identify(exchange, pipeline, action)
  if (known !== undefined) return proceed(exchange, pipeline, route, handler, known)
  // Unknown here: another process may have made the key a moment ago. While the store is away the table stays as it is.
  const again = () => {
    exchange.table = parts.follower.table
    return proceed(exchange, pipeline, route, handler, identifyNow(exchange, pipeline, action))
  }
  return parts.follower
    .refresh()
    .catch(() => undefined)
    .then(() => pipeline.authentication.settled(parts.follower.table, sentCredential(exchange)))
    .then(again)
}

function proceed(
  exchange: Exchange,
  pipeline: Pipeline,
  route: BoundRoute,
  handler: Exclude<RoutePolicy['handler'], OpenName>,
  principal: Principal,
): Outcome {
  exchange.principal = principal
  if (exchange.hostProject !== undefined && exchange.hostProject.id !== principal.project.id) throw foreignHost()
  if (exchange.parts.follower.standing !== 'fresh') tellStanding(exchange)
  if (pipeline.draining.isOn) exchange.response.setHeader('connection', 'close')
  exchange.load = pipeline.fairShare.enter(principal.project.id)
  const counting = pipeline.rateLimits && count(exchange, pipeline.rateLimits, principal, route)
  if (counting !== undefined) return counting.then(() => handle(exchange, pipeline, route, handler, principal))
  return handle(exchange, pipeline, route, handler, principal)
}

function handle(
  exchange: Exchange,
  pipeline: Pipeline,
  route: BoundRoute,
  handler: Exclude<RoutePolicy['handler'], OpenName>,
  principal: Principal,
): Outcome {
  const { refusal } = route.policy
  admit(principal, route.policy, exchange.uid)
  if (refusal !== undefined) throw refused(refusal, route.policy, principal)
  assert(handler !== undefined, `${route.policy.method} ${route.policy.path} has neither handler nor refusal`)
  if (!isRelayed(handler)) return handlers[handler](callOf(exchange))
  forwardRead(exchange, {
    onEnd: () => pipeline.onEnd(exchange),
    onError: (error) => fail(exchange, pipeline, error),
  })
  return relayed
}

/** `undefined`: the credential is unknown, and a look at the store may tell more. */
function identify(exchange: Exchange, pipeline: Pipeline, action: Action | null): Principal | undefined {
  const credential = sentCredential(exchange)
  const { authentication, authThrottle, keyConfirmation } = pipeline
  if (authThrottle !== undefined) {
    const known = authentication.recall(exchange.table, credential)
    if (known !== undefined) return known
    authThrottle.check(exchange.request.socket.remoteAddress)
  }
  try {
    return authentication.authenticate(exchange.table, credential, action)
  } catch (error) {
    if (isInvalidKey(error) && keyConfirmation.take(credential)) return undefined
    throw counted(exchange, pipeline, error)
  }
}

function identifyNow(exchange: Exchange, pipeline: Pipeline, action: Action | null): Principal {
  try {
    return pipeline.authentication.authenticate(exchange.table, sentCredential(exchange), action)
  } catch (error) {
    throw counted(exchange, pipeline, error)
  }
}

const isInvalidKey = (error: unknown) => error instanceof ApiError && error.code === 'invalid_api_key'

/** The error itself, or that of the throttle when it was one too many. */
function counted(exchange: Exchange, { authThrottle }: Pipeline, error: unknown): unknown {
  if (isInvalidKey(error)) authThrottle?.fail(exchange.request.socket.remoteAddress)
  return error
}

function sentCredential({ headers }: Exchange): string {
  assert(headers !== undefined, 'headers are read before a caller is identified')
  const credential = credentialOf(headers)
  if (credential !== undefined) return credential
  throw new ApiError(
    'missing_authorization_header',
    'The Authorization header is missing. It must use the bearer authorization method.',
  )
}

/** P-17: reads go on while the store is away, and say so; after the time that operators allow, nothing is trusted any more. */
function tellStanding({ parts, response }: Exchange): void {
  if (parts.follower.standing === 'expired') {
    throw new ApiError('route_unavailable', 'Keys cannot be checked at the moment. Try again.')
  }
  response.setHeader(degradedName, 'db')
}

/** @returns a promise when what all gateways used must be asked for. */
function count(
  exchange: Exchange,
  rateLimits: RateLimits,
  principal: Principal,
  route: BoundRoute,
): Promise<void> | undefined {
  const taken = rateLimits.take(principal, route.limitClass)
  if (taken instanceof Promise) return taken.then((state) => tellLimit(exchange, state))
  tellLimit(exchange, taken)
  return undefined
}

/** The headers are set beside those of the answer, whoever writes it. */
function tellLimit(exchange: Exchange, state: LimitState | undefined): void {
  if (state === undefined) return
  for (const [name, value] of Object.entries(limitHeaders(state))) exchange.response.setHeader(name, value)
}

/** Project state, then actions, then the index that the path names, then flags. */
function admit(principal: Principal, policy: RoutePolicy, uid: string | null): void {
  const { state } = principal.project
  if (state === 'suspended') throw new ApiError('project_suspended', 'This project is suspended.')
  if (state === 'deleting') throw invalidKey()
  if (state === 'unreadable') throw new ApiError('route_unavailable', projectUnreadable)
  authorise(principal, policy.action, null)
  for (const action of policy.alsoActions ?? []) authorise(principal, action, null)
  if (uid !== null) authorise(principal, null, checkIndexUid(uid))
  if (state === 'read_only' && policy.writes === true) {
    throw new ApiError('project_read_only', 'This project can only be read at the moment.')
  }
  if (policy.feature !== undefined && principal.project.features[policy.feature.feature] !== true) {
    throw featureNotEnabled(policy.feature.feature, policy.feature.action)
  }
}

function refused(refusal: Refusal, policy: RoutePolicy, principal: Principal): ApiError {
  switch (refusal.kind) {
    case 'action':
      return invalidKey()
    case 'edition':
      return new ApiError(
        'requires_enterprise_edition',
        'Meilisearch Enterprise Edition is required to call this route',
      )
    case 'feature':
      return completeFeatures(principal.project.features)[refusal.feature]
        ? routeNotAvailable(`\`${policy.method} ${policy.path}\``)
        : featureNotEnabled(refusal.feature, refusal.action)
  }
}

/** Any origin, method and header may be used; no key is needed to ask (M-A1). */
function preflight(requestedHeaders: string | undefined): Answer {
  return {
    kind: 'empty',
    status: 200,
    headers: {
      'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS',
      ...(requestedHeaders === undefined ? {} : { 'access-control-allow-headers': requestedHeaders }),
      'access-control-max-age': '86400',
      vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
    },
  }
}
