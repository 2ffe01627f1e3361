/** Everything that reads over replicas need, built once for a gateway process. */
import type { Registry } from 'prom-client'
import type { Config } from '../config/config.ts'
import type { Clock, Timers } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { NodeId } from '../store/catalogue.ts'
import { Coalescing } from './coalescing.ts'
import type { AgreedCover, Replica } from './covering-set.ts'
import { HedgeBudget } from './hedge-budget.ts'
import type { FleetHealth } from './node-health.ts'
import type { AttemptDeps } from './read-attempt.ts'
import { createReadMetrics } from './read-metrics.ts'
import { coverNext, type ReplicaStanding, standingsOf } from './read-preview.ts'
import { ReplicaChoice } from './replica-choice.ts'
import { groupRule, type ReadRun, type ReplicaReadOptions, readReplicas } from './replica-read.ts'
import { ReplicaScores } from './replica-scores.ts'
import { Sessions } from './sessions.ts'

export interface ReplicaReaderDeps extends Pick<AttemptDeps, 'onNodeError' | 'onNodeRequest'> {
  readonly options: Config['cluster']
  readonly health: FleetHealth
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly registry: Registry
  /** Ids of all nodes: what is known of others is forgotten. */
  readonly nodes: () => Iterable<{ readonly id: NodeId }>
}

export interface ReplicaReader<T> {
  /** See `readReplicas`. */
  read<A>(run: (tools: ReadRun) => Promise<A>, options: ReplicaReadOptions): Promise<A>
  readonly choice: ReplicaChoice
  /** What the next read would choose; no turn is taken and nobody is asked. */
  preview<R extends Replica>(replicas: readonly R[], targets: readonly number[]): AgreedCover<R>
  standings(replicas: readonly Replica[]): readonly ReplicaStanding[]
  /** Of whole answers. */
  readonly coalescing: Coalescing<T>
  readonly sessions: Sessions
}

const forgetMs = 60_000

/** @typeParam T  what reads that are shared answer with. */
export function createReplicaReader<T>(deps: ReplicaReaderDeps): ReplicaReader<T> {
  const { options, health, clock, timers, random, registry, nodes } = deps
  const scores = new ReplicaScores(options.replicaSelection, clock)
  const metrics = createReadMetrics(registry, { scores: () => scores.scores(), sessionCount: () => sessions.size })
  const { onExploration, onRetry, onHedge, onHedgeExhausted, onPinned, onSessionWait: onWait } = metrics
  const sessions = new Sessions({ options: options.sessionPinning, clock, onPinned, onWait })
  const choice = new ReplicaChoice({ options: options.replicaSelection, health, scores, random, onExploration })
  const readDeps = {
    options,
    health,
    scores,
    choice,
    clock,
    timers,
    budget: new HedgeBudget(options.hedging.maxExtraLoad),
    onRetry,
    onHedge,
    onHedgeExhausted,
    ...(deps.onNodeError === undefined ? {} : { onNodeError: deps.onNodeError }),
    ...(deps.onNodeRequest === undefined ? {} : { onNodeRequest: deps.onNodeRequest }),
  }
  const previewDeps = () => ({ options, health, scores, choice, rule: groupRule({ options, choice }) })
  let forgotAt = clock.monotonic()
  return {
    read(run, readOptions) {
      if (clock.monotonic() - forgotAt >= forgetMs) {
        forgotAt = clock.monotonic()
        scores.keep(new Set([...nodes()].map(({ id }) => id)))
      }
      return readReplicas(run, readOptions, readDeps)
    },
    choice,
    preview: (replicas, targets) => coverNext(replicas, targets, previewDeps()),
    standings: (replicas) => standingsOf(replicas, previewDeps()),
    coalescing: new Coalescing(options.queryCoalescing, clock, metrics),
    sessions,
  }
}
