/** What reads over replicas count, under the cluster layer's names (C-52). */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { NodeId } from '../store/catalogue.ts'

export interface ReadMetrics {
  readonly onRetry: () => void
  readonly onHedge: (outcome: 'winner' | 'loser', savedMs: number) => void
  readonly onHedgeExhausted: () => void
  readonly onExploration: () => void
  readonly onPinned: (strategy: string) => void
  readonly onSessionWait: (tookMs: number, isInTime: boolean) => void
  readonly onJoin: () => void
  readonly onShared: () => void
}

export function createReadMetrics(
  registry: Registry,
  state: { readonly scores: () => Iterable<readonly [NodeId, number]>; readonly sessionCount: () => number },
): ReadMetrics {
  const registers = [registry]
  const retries = new Counter({
    name: 'miroir_scatter_retries_total',
    help: 'Times that a part of a read was asked of another replica, or again, since a node had failed.',
    registers,
  })
  const hedges = new Counter({
    name: 'miroir_hedge_fired_total',
    help: 'Second requests of reads that took longer than usual: the winner answered first.',
    labelNames: ['outcome'],
    registers,
  })
  const savings = new Histogram({
    name: 'miroir_hedge_latency_savings_seconds',
    help: 'By how much second requests that won were faster than what the first node usually takes.',
    buckets: [0, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers,
  })
  const exhausted = new Counter({
    name: 'miroir_hedge_budget_exhausted_total',
    help: 'Second requests that were not sent, since they would have been too large a part of all requests.',
    registers,
  })
  const explorations = new Counter({
    name: 'miroir_replica_selection_exploration_total',
    help: 'Reads that chose their replicas at random, to see how all nodes do.',
    registers,
  })
  new Gauge({
    name: 'miroir_replica_selection_score',
    help: 'Points of a node by latency, load and errors. Fewer are better.',
    labelNames: ['node_id'],
    registers,
    aggregator: 'max',
    collect() {
      this.reset()
      for (const [id, score] of state.scores()) this.set({ node_id: id }, score)
    },
  })
  new Gauge({
    name: 'miroir_session_active_count',
    help: 'Sessions that are kept.',
    registers,
    collect() {
      this.set(state.sessionCount())
    },
  })
  const pinned = new Counter({
    name: 'miroir_session_pin_enforced_total',
    help: 'Reads that met a write of their session that was not applied.',
    labelNames: ['strategy'],
    registers,
  })
  const waits = new Histogram({
    name: 'miroir_session_wait_duration_seconds',
    help: 'How long reads waited for writes of their session.',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers,
  })
  const timeouts = new Counter({
    name: 'miroir_session_wait_timeout_total',
    help: 'Reads that were answered without a write of their session, since it took too long.',
    registers,
  })
  const joins = new Counter({
    name: 'miroir_query_coalesce_subscribers_total',
    help: 'Reads that joined an identical one.',
    registers,
  })
  const shares = new Counter({
    name: 'miroir_query_coalesce_hits_total',
    help: 'Reads that were answered by an identical one.',
    registers,
  })
  return {
    onRetry: () => retries.inc(),
    onHedge(outcome, savedMs) {
      hedges.inc({ outcome })
      if (outcome === 'winner') savings.observe(savedMs / 1_000)
    },
    onHedgeExhausted: () => exhausted.inc(),
    onExploration: () => explorations.inc(),
    onPinned: (strategy) => pinned.inc({ strategy }),
    onSessionWait(tookMs, isInTime) {
      waits.observe(tookMs / 1_000)
      if (!isInTime) timeouts.inc()
    },
    onJoin: () => joins.inc(),
    onShared: () => shares.inc(),
  }
}
