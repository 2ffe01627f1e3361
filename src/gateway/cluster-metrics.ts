/** Nodes and shards in numbers, under the cluster layer's names (C-52). */
import { Counter, Gauge, type Registry } from 'prom-client'
import { surveyShards, type TopologyDeps } from '../control/topology-view.ts'
import type { Clock } from '../lib/clock.ts'
import type { NodeId } from '../store/catalogue.ts'
import type { RouteTable } from '../topology/route-table.ts'
import type { NodeErrorType, ReadOperation } from '../upstream/read-attempt.ts'
import { type SecondsTally, TalliedSeconds } from './tallied-seconds.ts'

export interface ClusterMetrics {
  /** For reads of spread indexes. */
  readonly onNodeError: (node: NodeId, type: NodeErrorType) => void
  readonly onNodeRequest: (node: NodeId, operation: ReadOperation, tookMs: number) => void
}

/** Looking at every index is not worth more than this. */
const surveyMs = 15_000

/** Each gateway process has its own view; the one that sees least is shown. */
export function createClusterMetrics(
  registry: Registry,
  {
    table,
    topology,
    clock,
  }: { readonly table: () => RouteTable; readonly topology: TopologyDeps; readonly clock: Pick<Clock, 'monotonic'> },
): ClusterMetrics {
  let survey: ReturnType<typeof surveyShards> | undefined
  let surveyedAt = Number.NEGATIVE_INFINITY
  const recent = () => {
    if (survey === undefined || clock.monotonic() - surveyedAt > surveyMs) {
      surveyedAt = clock.monotonic()
      survey = surveyShards(table(), topology)
    }
    return survey
  }
  new Gauge({
    name: 'miroir_node_healthy',
    help: '1 = the node answers this gateway; 0 = it failed a probe or a request lately, or is lost.',
    labelNames: ['node_id'],
    registers: [registry],
    aggregator: 'min',
    collect() {
      this.reset()
      for (const { id, state } of table().nodes()) {
        const isHealthy = state !== 'lost' && topology.standing(id).state === 'up'
        this.set({ node_id: id }, isHealthy ? 1 : 0)
      }
    },
  })
  new Gauge({
    name: 'miroir_shard_coverage',
    help: 'Part of the shards of all indexes that some node which answers holds.',
    registers: [registry],
    aggregator: 'min',
    async collect() {
      const { shards, uncovered } = await recent()
      this.set(shards === 0 ? 1 : 1 - uncovered / shards)
    },
  })
  new Gauge({
    name: 'miroir_degraded_shards_total',
    help: 'Shards that no node which answers holds.',
    registers: [registry],
    aggregator: 'max',
    async collect() {
      this.set((await recent()).uncovered)
    },
  })
  new Gauge({
    name: 'miroir_shard_distribution',
    help: 'Copies of shards on the node.',
    labelNames: ['node_id'],
    registers: [registry],
    aggregator: 'max',
    async collect() {
      const { shardCounts } = await recent()
      this.reset()
      for (const { id } of table().nodes()) this.set({ node_id: id }, shardCounts.get(id) ?? 0)
    },
  })
  const errors = new Counter({
    name: 'miroir_node_errors_total',
    help: 'Requests for spread indexes that a node failed.',
    labelNames: ['node_id', 'error_type'],
    registers: [registry],
  })
  const durations = new TalliedSeconds(registry, {
    name: 'miroir_node_request_duration_seconds',
    help: 'From a request for a spread index to the end of the answer of the node.',
    labelNames: ['node_id', 'operation'],
    upperSeconds: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  })
  /** By operation, then by node. Both are few, and nodes that went stay, as with any metric. */
  const tallies = new Map<ReadOperation, Map<NodeId, SecondsTally>>()
  function tallyOf(node: NodeId, operation: ReadOperation): SecondsTally {
    let ofOperation = tallies.get(operation)
    if (ofOperation === undefined) {
      ofOperation = new Map()
      tallies.set(operation, ofOperation)
    }
    let tally = ofOperation.get(node)
    if (tally === undefined) {
      tally = durations.tally({ node_id: node, operation })
      ofOperation.set(node, tally)
    }
    return tally
  }
  return {
    onNodeError: (node, type) => errors.inc({ node_id: node, error_type: type }),
    onNodeRequest: (node, operation, tookMs) => tallyOf(node, operation).add(tookMs),
  }
}
