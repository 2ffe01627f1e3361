/** The span of each request, and of what the gateway asks nodes for it. Neither queries nor documents nor keys stand in them. */
import type { Span, Traces } from '../lib/traces.ts'
import type { Exchange } from './exchange.ts'

export function beginSpan(traces: Traces, { request }: Exchange): Span {
  const { rawHeaders, method = 'GET' } = request
  let parent: string | undefined
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() === 'traceparent') parent = rawHeaders[at + 1]
  }
  return traces.begin(method, { 'http.request.method': method }, parent)
}

export function endSpan(span: Span, { request, response, route, principal, uid, requestId, outcome }: Exchange): void {
  const { statusCode } = response
  const path = route?.policy.path
  if (path !== undefined) span.rename(`${request.method ?? 'GET'} ${path}`)
  span.set({
    ...(path === undefined ? {} : { 'http.route': path }),
    'http.response.status_code': statusCode,
    'flapjack.request_id': requestId,
    ...(principal === undefined ? {} : { 'flapjack.project': principal.project.ref }),
    ...(principal === undefined || uid === null ? {} : { 'flapjack.index': uid }),
  })
  if (statusCode >= 500) span.fail(outcome ?? `${statusCode}`)
  span.end()
}

/** Of one request to one node. */
export function legSpan(span: Span, uid: string, node: string, shards: readonly number[]): Span {
  return span.child('leg', { 'flapjack.node': node, 'flapjack.index': uid, 'flapjack.shards': shards.join(',') })
}

/** @param leg  `undefined`: nobody collects spans. */
export function spanned<T>(leg: Span | undefined, work: () => Promise<T>): Promise<T> {
  return leg === undefined ? work() : within(leg, work)
}

async function within<T>(leg: Span, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    leg.fail(error instanceof Error ? error.name : 'failed')
    throw error
  } finally {
    leg.end()
  }
}
