/** Who else may answer for a leg that failed or is slow. */
import type { NodeId } from '../store/catalogue.ts'
import { type CoveringSet, coverShards, type GroupRule, type Leg, type NodeView, type Replica } from './covering-set.ts'

/**
 * @param shards   of the leg, or some of them.
 * @param avoid    nodes that were asked for them.
 * @param purpose  a `hedge` goes to replicas that do well only: it is sent to save time.
 */
export type Alternatives<R extends Replica> = (
  leg: Leg<R>,
  shards: readonly number[],
  avoid: ReadonlySet<NodeId>,
  purpose: 'retry' | 'hedge',
) => CoveringSet<R>

/** Looks in the leg's own group first. The arguments are those of the plan's `coverShards`. */
export function otherReplicas<R extends Replica>(
  replicas: readonly R[],
  view: NodeView,
  rule: GroupRule,
): Alternatives<R> {
  return (leg, shards, avoid, purpose) => {
    const rest: NodeView = {
      turn: view.turn,
      cost: view.cost,
      standing(node) {
        if (avoid.has(node)) return undefined
        const standing = view.standing(node)
        return purpose === 'hedge' && standing !== 'good' ? undefined : standing
      },
    }
    return coverShards(replicas, shards, rest, { ...rule, preferred: leg.replica.group })
  }
}
