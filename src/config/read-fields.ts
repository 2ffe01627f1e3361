/** How reads choose among replicas and get over nodes that fail: groups of the section `cluster` (C-27, C-28, C-30, C-35, C-04). */
import { choice, decimal, type Field, field, flagValue, integer } from './field.ts'

/** A field of one group, with the variable that its path gives it. */
function fieldOf<T>(
  path: string,
  decoder: Field<T>['decoder'],
  initial: T,
  about: string,
  initialText?: string,
): Field<T> {
  const env = [`FLAPJACK_CLUSTER_${path.replace('.', '_').toUpperCase()}`]
  return field(decoder, initial, { env, about, ...(initialText === undefined ? {} : { initialText }) })
}

export const healthFields = {
  intervalMs: fieldOf(
    'health.interval_ms',
    integer(100, 600_000),
    5_000,
    'Milliseconds between two probes (`GET /health`) of a node. A node that failed one is probed every second.',
  ),
  timeoutMs: fieldOf(
    'health.timeout_ms',
    integer(10, 60_000),
    2_000,
    'Milliseconds after which a probe without an answer has failed.',
  ),
  unhealthyThreshold: fieldOf(
    'health.unhealthy_threshold',
    integer(1, 100),
    3,
    'Failures in a row, of probes or of connections, after which this process asks a node nothing but probes and single trials. With fewer, others are preferred.',
  ),
  recoveryThreshold: fieldOf(
    'health.recovery_threshold',
    integer(1, 100),
    2,
    'Successes in a row after which a node that had failed is asked again.',
  ),
} as const

export const scatterFields = {
  nodeTimeoutMs: fieldOf(
    'scatter.node_timeout_ms',
    integer(10, 600_000),
    5_000,
    'Milliseconds that one node has for its part of a read, before another replica is asked.',
  ),
  retryOnTimeout: fieldOf(
    'scatter.retry_on_timeout',
    flagValue,
    true,
    'Asks another replica when a node did not answer in time, and not only when it failed.',
  ),
  unavailableShardPolicy: fieldOf(
    'scatter.unavailable_shard_policy',
    choice('error', 'partial'),
    'error',
    'What a search gets while a shard has no live replica: `error` is 503 `miroir_shard_unavailable`, `partial` an answer without it whose `X-Miroir-Degraded` names it. With no shard left it is 503 in either case.',
  ),
} as const

export const hedgingFields = {
  enabled: fieldOf(
    'hedging.enabled',
    flagValue,
    true,
    'Asks a second replica when the first takes longer than it usually does; the first answer wins.',
  ),
  p95TriggerMultiplier: fieldOf(
    'hedging.p95_trigger_multiplier',
    decimal(1, 100),
    1.2,
    'A second replica is asked after this many times the time in which the node answers 95 of 100 requests.',
  ),
  minTriggerMs: fieldOf(
    'hedging.min_trigger_ms',
    integer(1, 60_000),
    15,
    'Never asks a second replica before this many milliseconds.',
  ),
  maxHedgesPerQuery: fieldOf(
    'hedging.max_hedges_per_query',
    integer(0, 64),
    2,
    'Second requests of one request of a client at most.',
  ),
  maxExtraLoad: fieldOf(
    'hedging.max_extra_load',
    decimal(0, 1),
    0.1,
    'Second requests at most, as a part of all requests to nodes.',
  ),
  crossGroupFallback: fieldOf(
    'hedging.cross_group_fallback',
    flagValue,
    true,
    'Reads a shard from another replica group when the chosen one has no live replica of it, and hedges there.',
  ),
} as const

export const replicaSelectionFields = {
  strategy: fieldOf(
    'replica_selection.strategy',
    choice('adaptive', 'round_robin', 'random'),
    'adaptive',
    'How a replica is chosen: `adaptive` by latency, load and errors, `round_robin` in turn, or `random`.',
  ),
  latencyWeight: fieldOf(
    'replica_selection.latency_weight',
    decimal(0, 1_000),
    1,
    'Points of a node for each millisecond in which it answers 95 of 100 requests. Fewer points are better.',
  ),
  inflightWeight: fieldOf(
    'replica_selection.inflight_weight',
    decimal(0, 1_000),
    2,
    'Points of a node for each request that it has not answered yet.',
  ),
  errorWeight: fieldOf(
    'replica_selection.error_weight',
    decimal(0, 1_000),
    10,
    'Points of a node for each failed request of a thousand.',
  ),
  ewmaHalfLifeMs: fieldOf(
    'replica_selection.ewma_half_life_ms',
    integer(100, 600_000),
    5_000,
    'Milliseconds after which what was measured counts half.',
  ),
  explorationEpsilon: fieldOf(
    'replica_selection.exploration_epsilon',
    decimal(0, 1),
    0.05,
    'Part of the reads whose replicas are chosen at random, so that a node that has recovered is noticed.',
  ),
  exclusionFactor: fieldOf(
    'replica_selection.exclusion_factor',
    decimal(1, 1_000),
    5,
    'A node with more than this many times the points of the middle one is left out while others hold its shards.',
  ),
} as const

export const queryCoalescingFields = {
  enabled: fieldOf(
    'query_coalescing.enabled',
    flagValue,
    true,
    'Identical reads with the same credential that come at the same time are sent to the nodes once.',
  ),
  windowMs: fieldOf(
    'query_coalescing.window_ms',
    integer(0, 10_000),
    50,
    'How many milliseconds after it began a read may be joined by identical ones.',
  ),
  maxSubscribers: fieldOf(
    'query_coalescing.max_subscribers',
    integer(1, 100_000),
    1_000,
    'Reads that may join one. Further ones are sent themselves.',
  ),
  maxPendingQueries: fieldOf(
    'query_coalescing.max_pending_queries',
    integer(1, 1_000_000),
    10_000,
    'Reads of one gateway that may be joined at the same time.',
  ),
} as const

export const sessionPinningFields = {
  enabled: fieldOf(
    'session_pinning.enabled',
    flagValue,
    true,
    'Reads with an `X-Miroir-Session` see what was written with the same one before.',
  ),
  ttlSeconds: fieldOf(
    'session_pinning.ttl_seconds',
    integer(1, 86_400),
    900,
    'Seconds after its last use that a session is kept.',
  ),
  maxSessions: fieldOf(
    'session_pinning.max_sessions',
    integer(1, 10_000_000),
    100_000,
    'Sessions that one gateway keeps. Beyond it, the one that was not used for the longest time is forgotten.',
  ),
  waitStrategy: fieldOf(
    'session_pinning.wait_strategy',
    choice('block', 'route_pin'),
    'block',
    "What a read does while the session's write is not applied: `block` waits for it, `route_pin` reads at once.",
  ),
  maxWaitMs: fieldOf(
    'session_pinning.max_wait_ms',
    integer(0, 600_000),
    5_000,
    'Milliseconds that a read waits at most. Then it is answered from what there is.',
  ),
} as const
