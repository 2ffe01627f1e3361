/** What reads and writes of spread indexes count, under the cluster layer's names (C-52). */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Narrowing } from '../search/narrowing.ts'

export interface SpreadMetrics {
  /** A read has an answer. `isPartial`: shards are missing in it. */
  readonly onRead: (nodeCount: number, isPartial: boolean) => void
  readonly onNarrowing: (narrowing: Narrowing, shardCount: number) => void
  readonly onMultiSearch: (queryCount: number) => void
  /** A multi-search without some shards. */
  readonly onPartialMultiSearch: () => void
  readonly onNoQuorum: () => void
  /** A write was accepted while replicas were away. */
  readonly onDegradedWrite: () => void
}

const sizes = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128]

export function createSpreadMetrics(registry: Registry): SpreadMetrics {
  const registers = [registry]
  const fanOut = new Histogram({
    name: 'miroir_scatter_fan_out_size',
    help: 'Nodes that were asked for one read of spread indexes.',
    buckets: sizes,
    registers,
  })
  const partial = new Counter({
    name: 'miroir_scatter_partial_responses_total',
    help: 'Reads that were answered without some shards.',
    registers,
  })
  const degraded = new Counter({
    name: 'miroir_degraded_requests_total',
    help: 'Requests for spread indexes that were answered with `X-Miroir-Degraded`.',
    registers,
  })
  const noQuorum = new Counter({
    name: 'miroir_no_quorum_requests_total',
    help: 'Writes that were refused since too few replicas were alive.',
    registers,
  })
  let searches = 0
  let narrowed = 0
  new Counter({
    name: 'miroir_query_plan_narrowable_total',
    help: 'Searches of spread indexes, by whether their filter named the shards that can answer.',
    labelNames: ['narrowed'],
    registers,
    collect() {
      this.reset()
      if (narrowed > 0) this.inc({ narrowed: 'yes' }, narrowed)
      if (searches > narrowed) this.inc({ narrowed: 'no' }, searches - narrowed)
    },
  })
  const planned = new Histogram({
    name: 'miroir_query_plan_fanout_size',
    help: 'Shards that a search of a spread index needs.',
    buckets: sizes,
    registers,
  })
  new Gauge({
    name: 'miroir_query_plan_narrowing_ratio',
    help: 'Part of the searches of spread indexes that needed only the shards which their filter names, since the start.',
    registers,
    aggregator: 'average',
    collect() {
      this.set(searches === 0 ? 0 : narrowed / searches)
    },
  })
  const queries = new Histogram({
    name: 'miroir_multisearch_queries_per_batch',
    help: 'Queries of one multi-search in which spread indexes take part.',
    buckets: [1, 2, 3, 5, 10, 20, 50, 100, 1_000],
    registers,
  })
  const batches = new Counter({
    name: 'miroir_multisearch_batches_total',
    help: 'Multi-searches in which spread indexes take part.',
    registers,
  })
  const partialBatches = new Counter({
    name: 'miroir_multisearch_partial_failures_total',
    help: 'Multi-searches that were answered without some shards.',
    registers,
  })
  return {
    onRead(nodeCount, isPartial) {
      fanOut.observe(nodeCount)
      if (!isPartial) return
      partial.inc()
      degraded.inc()
    },
    onNarrowing({ reason, shards }, shardCount) {
      searches += 1
      if (reason === 'by-id') narrowed += 1
      planned.observe(shards?.length ?? shardCount)
    },
    onMultiSearch(queryCount) {
      batches.inc()
      queries.observe(queryCount)
    },
    onPartialMultiSearch: () => partialBatches.inc(),
    onNoQuorum: () => noQuorum.inc(),
    onDegradedWrite: () => degraded.inc(),
  }
}
