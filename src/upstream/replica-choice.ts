/**
 * How nodes stand for the next read: health, points and turns together (C-28). A few reads choose at random, so that a node
 * that has recovered shows it.
 */
import type { Config } from '../config/config.ts'
import type { Random } from '../lib/random.ts'
import type { NodeId } from '../store/catalogue.ts'
import type { GroupRule, NodeView, Standing } from './covering-set.ts'
import type { FleetHealth } from './node-health.ts'
import type { ReplicaScores } from './replica-scores.ts'

export interface ReplicaChoiceDeps {
  readonly options: Pick<Config['cluster']['replicaSelection'], 'strategy' | 'explorationEpsilon'>
  readonly health: Pick<FleetHealth, 'state' | 'mayAsk'>
  readonly scores: Pick<ReplicaScores, 'score' | 'isExcluded'>
  readonly random: Pick<Random, 'float' | 'integer'>
  /** A read chooses at random. */
  readonly onExploration?: () => void
}

/** A node that failed lately is taken for this many times as bad. */
const degradedFactor = 4
const turnsMax = 2 ** 30

export class ReplicaChoice {
  readonly #deps: ReplicaChoiceDeps
  #turn = 0

  constructor(deps: ReplicaChoiceDeps) {
    this.#deps = deps
  }

  get rotation(): GroupRule['rotation'] {
    return this.#deps.options.strategy === 'adaptive' ? 'weighted' : 'turns'
  }

  /** For one read and whatever is repeated of it. */
  next(): NodeView {
    const { options, random, onExploration } = this.#deps
    this.#turn = (this.#turn + 1) % turnsMax
    if (options.strategy === 'round_robin') return this.#plain(this.#turn)
    if (options.strategy === 'random') return this.#plain(random.integer(turnsMax))
    if (random.float() >= options.explorationEpsilon) return this.#adaptive(this.#turn)
    onExploration?.()
    return this.#plain(random.integer(turnsMax))
  }

  /** What the next read would see; no turn is taken. For explanations. */
  peek(): NodeView {
    const turn = this.#turn + 1
    return this.#deps.options.strategy === 'adaptive' ? this.#adaptive(turn) : this.#plain(turn)
  }

  #adaptive(turn: number): NodeView {
    const { scores } = this.#deps
    return {
      turn,
      standing: (node) => this.#standing(node, scores.isExcluded(node)),
      // Below a millisecond, differences are noise.
      cost: (node) => Math.max(1, scores.score(node)) * this.#healthFactor(node),
    }
  }

  #plain(turn: number): NodeView {
    return {
      turn,
      standing: (node) => this.#standing(node, false),
      cost: (node) => this.#healthFactor(node),
    }
  }

  #standing(node: NodeId, isExcluded: boolean): Standing | undefined {
    const { health } = this.#deps
    if (health.state(node) === 'down') return health.mayAsk(node) ? 'trial' : undefined
    return isExcluded ? 'poor' : 'good'
  }

  #healthFactor(node: NodeId): number {
    return this.#deps.health.state(node) === 'degraded' ? degradedFactor : 1
  }
}
