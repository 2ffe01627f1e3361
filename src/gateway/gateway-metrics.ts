/** What the gateway counts. Labels are routes of the policy table and classes of statuses: bounded by construction. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

/** Counts of one route, bound once, so that a request only adds. */
export interface RouteTally {
  add(status: number, tookMs: number): void
}

export interface GatewayMetrics {
  tally(route: string): RouteTally
  /** Requests over a rate limit. */
  readonly rateLimited: Counter<'scope' | 'class'>
  /** Addresses that were held for failed authentications. */
  readonly authHolds: Counter
  /** Error texts of engines that named what they must not. */
  readonly leaks: Counter
  /** Answers of engines that could not be used. */
  readonly badAnswers: Counter
}

const classes = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const

export function createGatewayMetrics(
  registry: Registry,
  state: { readonly version: () => number; readonly openRequests: () => number },
): GatewayMetrics {
  const requests = new Counter({
    name: 'flapjack_http_requests_total',
    help: 'Requests answered by the gateway.',
    labelNames: ['route', 'status'],
    registers: [registry],
  })
  const seconds = new Histogram({
    name: 'flapjack_http_request_seconds',
    help: 'Time from the request to the end of its answer.',
    labelNames: ['route'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  })
  new Gauge({
    name: 'flapjack_route_table_version',
    help: 'Version of the catalogue that the route table shows.',
    registers: [registry],
    collect() {
      this.set(state.version())
    },
  })
  new Gauge({
    name: 'flapjack_http_open_requests',
    help: 'Requests being answered now.',
    registers: [registry],
    collect() {
      this.set(state.openRequests())
    },
  })
  return {
    tally(route) {
      const counters = classes.map((status) => requests.labels(route, status))
      const timer = seconds.labels(route)
      return {
        add(status, tookMs) {
          counters[Math.floor(status / 100) - 1]?.inc()
          timer.observe(tookMs / 1000)
        },
      }
    },
    rateLimited: new Counter({
      name: 'flapjack_rate_limited_total',
      help: 'Requests refused by a rate limit of a key or a project.',
      labelNames: ['scope', 'class'],
      registers: [registry],
    }),
    authHolds: new Counter({
      name: 'flapjack_auth_holds_total',
      help: 'Times an address was held for failed authentications.',
      registers: [registry],
    }),
    leaks: new Counter({
      name: 'flapjack_leak_guard_total',
      help: 'Error texts of engines that were withheld because they named something foreign.',
      registers: [registry],
    }),
    badAnswers: new Counter({
      name: 'flapjack_engine_bad_answers_total',
      help: 'Answers of engines that could not be used.',
      registers: [registry],
    }),
  }
}
