/** What the next read would choose, and why: for explanations (C-46). No turn is taken and nobody is asked. */
import type { Config } from '../config/config.ts'
import type { NodeId } from '../store/catalogue.ts'
import { type AgreedCover, coverInAgreement, type GroupRule, type Replica, type Standing } from './covering-set.ts'
import type { FleetHealth, HealthState } from './node-health.ts'
import type { ReplicaChoice } from './replica-choice.ts'
import { isWholeAnywhere } from './replica-read.ts'
import type { ReplicaScores } from './replica-scores.ts'

/** How a replica's node does, as this process sees it. */
export interface ReplicaStanding {
  readonly node: NodeId
  readonly group: number
  readonly health: HealthState
  /** null = it must not be asked. */
  readonly standing: Standing | null
  /** Points; fewer are better. */
  readonly score: number
  /** Of the last seconds; null = nothing was measured. */
  readonly p95Ms: number | null
  /** After which another replica is asked as well; null = never. */
  readonly hedgeAfterMs: number | null
}

export interface ReadPreviewDeps {
  readonly options: Pick<Config['cluster'], 'hedging'>
  readonly health: Pick<FleetHealth, 'state'>
  readonly scores: Pick<ReplicaScores, 'score' | 'p95Ms' | 'usualMs'>
  readonly choice: Pick<ReplicaChoice, 'peek'>
  readonly rule: GroupRule
}

/** @param replicas  as reads are given them, in the same order. */
export function coverNext<R extends Replica>(
  replicas: readonly R[],
  targets: readonly number[],
  { choice, rule }: ReadPreviewDeps,
): AgreedCover<R> {
  const cover = coverInAgreement(replicas, targets, choice.peek(), rule)
  const legs = cover.legs.map((leg) => ({ ...leg, isWhole: leg.isWhole && isWholeAnywhere(leg, cover.replicas) }))
  return { ...cover, legs }
}

export function standingsOf(replicas: readonly Replica[], deps: ReadPreviewDeps): readonly ReplicaStanding[] {
  const { options, health, scores, choice } = deps
  const { enabled, maxHedgesPerQuery, minTriggerMs, p95TriggerMultiplier } = options.hedging
  const isHedged = enabled && maxHedgesPerQuery > 0
  const view = choice.peek()
  return replicas.map(({ node, group }) => ({
    node,
    group,
    health: health.state(node),
    standing: view.standing(node) ?? null,
    score: scores.score(node),
    p95Ms: scores.p95Ms(node) ?? null,
    hedgeAfterMs: isHedged ? Math.max(minTriggerMs, p95TriggerMultiplier * scores.usualMs(node)) : null,
  }))
}
