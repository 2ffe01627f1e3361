/** What reads of spread indexes use for as long as the gateway lives. */
import type { Registry } from 'prom-client'
import { type Config, loadConfig } from '../config/config.ts'
import type { Journal } from '../journal/ports.ts'
import { type Clock, systemTimers } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import { createNarrowing, type Narrow } from '../search/narrowing.ts'
import type { NodeId, ProjectId } from '../store/catalogue.ts'
import type { FleetHealth } from '../upstream/node-health.ts'
import { createReplicaReader, type ReplicaReader } from '../upstream/replica-reader.ts'
import { type SessionId, sessionId } from '../upstream/sessions.ts'
import type { ClusterMetrics } from './cluster-metrics.ts'
import { IndexSettingsReader } from './index-settings.ts'
import type { SharedAnswer } from './shared-answer.ts'
import { createSpreadMetrics, type SpreadMetrics } from './spread-metrics.ts'
import { TaskNews } from './task-news.ts'

export interface SpreadParts {
  readonly replicas: ReplicaReader<SharedAnswer>
  readonly settings: IndexSettingsReader
  /** Counted. */
  readonly narrow: Narrow
  readonly metrics: SpreadMetrics
  readonly news: TaskNews
  /** Identical searches share an answer. */
  readonly coalescing: boolean
  /** What is answered while a shard has no replica. */
  readonly unavailableShardPolicy: Config['cluster']['scatter']['unavailableShardPolicy']
  /** Of `X-Miroir-Session`; `undefined` = none. */
  sessionOf(project: ProjectId, header: string | undefined): SessionId | undefined
}

export interface SpreadDeps {
  /** Absent = every default. */
  readonly options: Config['cluster'] | undefined
  readonly journal: Pick<Journal, 'completedSettings'>
  readonly health: FleetHealth
  readonly metrics: ClusterMetrics
  readonly registry: Registry
  readonly clock: Clock
  readonly random: Random
  readonly nodes: () => Iterable<{ readonly id: NodeId }>
}

export function createSpreadParts(deps: SpreadDeps): SpreadParts {
  const { journal, health, metrics, registry, clock, random, nodes } = deps
  const options = deps.options ?? loadConfig({ env: {}, flags: {} }).cluster
  const counts = createSpreadMetrics(registry)
  const narrow = createNarrowing()
  return {
    replicas: createReplicaReader<SharedAnswer>({
      ...{ options, health, clock, timers: systemTimers, random, registry, nodes },
      onNodeError: metrics.onNodeError,
      onNodeRequest: metrics.onNodeRequest,
    }),
    settings: new IndexSettingsReader(journal),
    narrow(index, filter) {
      const narrowing = narrow(index, filter)
      counts.onNarrowing(narrowing, index.spread?.shards ?? 1)
      return narrowing
    },
    metrics: counts,
    news: new TaskNews(),
    coalescing: options.queryCoalescing.enabled,
    unavailableShardPolicy: options.scatter.unavailableShardPolicy,
    sessionOf: sessionId,
  }
}
