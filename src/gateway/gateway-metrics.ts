/** What the gateway counts. Labels are routes of the policy table and classes of statuses: bounded by construction. */
import { Counter, Gauge, type Registry } from 'prom-client'
import { type SecondsTally, TalliedSeconds } from './tallied-seconds.ts'

/** Counts of one route. A request only adds to numbers; the metrics are made of them when somebody reads them. */
export interface RouteTally {
  add(status: number, tookMs: number): void
}

export interface GatewayMetrics {
  tally(route: string): RouteTally
  /** Requests over a rate limit. */
  readonly rateLimited: Counter<'scope' | 'class'>
  /** Requests of projects that had too many in flight. */
  readonly overShare: Counter
  /** Addresses that were held for failed authentications. */
  readonly authHolds: Counter
  /** Error texts of engines that named what they must not. */
  readonly leaks: Counter
  /** Answers of engines that could not be used. */
  readonly badAnswers: Counter
  /** Answers of engines that refused our key. */
  readonly refusedKeys: Counter<'node'>
}

const classes = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const
const upperSeconds: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

class Tally implements RouteTally {
  readonly route: string
  /** By class of status. */
  readonly answered: number[] = classes.map(() => 0)
  readonly #seconds: SecondsTally

  constructor(route: string, seconds: SecondsTally) {
    this.route = route
    this.#seconds = seconds
  }

  add(status: number, tookMs: number): void {
    const at = Math.floor(status / 100) - 1
    // An engine may answer with a status of no class.
    if (at < classes.length) this.answered[at]! += 1
    this.#seconds.add(tookMs)
  }
}

export function createGatewayMetrics(
  registry: Registry,
  state: {
    readonly version: () => number
    /** Since the store answered, milliseconds. */
    readonly lagMs: () => number
    readonly openRequests: () => number
    readonly unreadableProjects: () => number
    /** Absent: no store for them is configured. */
    readonly areLimitsShared?: () => boolean
  },
): GatewayMetrics {
  const tallies: Tally[] = []
  new Counter({
    name: 'flapjack_http_requests_total',
    help: 'Requests answered by the gateway.',
    labelNames: ['route', 'status'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { route, answered } of tallies) {
        classes.forEach((status, at) => {
          this.inc({ route, status }, answered[at])
        })
      }
    },
  })
  const seconds = new TalliedSeconds(registry, {
    name: 'flapjack_http_request_seconds',
    help: 'Time from the request to the end of its answer.',
    labelNames: ['route'],
    upperSeconds,
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
    name: 'flapjack_route_table_lag_seconds',
    help: 'Time since the route table was known to show everything that was committed.',
    registers: [registry],
    collect() {
      this.set(state.lagMs() / 1_000)
    },
  })
  new Gauge({
    name: 'flapjack_unreadable_projects',
    help: 'Projects whose secrets in the database do not open, so that they are out of service. Anything but 0 is an alert.',
    registers: [registry],
    collect() {
      this.set(state.unreadableProjects())
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
  const { areLimitsShared } = state
  if (areLimitsShared !== undefined) {
    new Gauge({
      name: 'flapjack_rate_limits_shared',
      help: 'Whether rate limits are kept together with the other gateways (1), or the store for them is away and each allows its share (0).',
      registers: [registry],
      collect() {
        this.set(areLimitsShared() ? 1 : 0)
      },
    })
  }
  return {
    tally(route) {
      const tally = new Tally(route, seconds.tally({ route }))
      tallies.push(tally)
      return tally
    },
    rateLimited: new Counter({
      name: 'flapjack_rate_limited_total',
      help: 'Requests refused by a rate limit of a key or a project.',
      labelNames: ['scope', 'class'],
      registers: [registry],
    }),
    overShare: new Counter({
      name: 'flapjack_project_overloads_total',
      help: 'Requests refused since too many of their project were being answered.',
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
    refusedKeys: new Counter({
      name: 'flapjack_engine_refused_keys_total',
      help: "Answers of nodes that refused the gateway's key. Anything but 0 is an alert: keys were taken away, or the node is another.",
      labelNames: ['node'],
      registers: [registry],
    }),
    badAnswers: new Counter({
      name: 'flapjack_engine_bad_answers_total',
      help: 'Answers of engines that could not be used.',
      registers: [registry],
    }),
  }
}
