/** Who else may answer for a leg that failed or is slow. Pure. */
import type { NodeId } from '../store/catalogue.ts'
import { coverShards, type GroupRule, type Leg, type NodeView, type Replica } from './covering-set.ts'

export interface OtherReplicas<R extends Replica> {
  /**
   * One that holds all shards of the leg: of the leg's own group, if that has one.
   * @param avoid    nodes that were asked.
   * @param purpose  a `hedge` goes to replicas that do well only: it is sent to save time.
   */
  one(leg: Leg<R>, avoid: ReadonlySet<NodeId>, purpose: 'retry' | 'hedge'): R | undefined
  /** Whether several hold them together. */
  several(leg: Leg<R>, avoid: ReadonlySet<NodeId>): boolean
  /** Whether one that holds them all may not be asked just now. */
  isAwaited(leg: Leg<R>, avoid: ReadonlySet<NodeId>): boolean
}

/** The arguments are those of the plan's `coverShards`. */
export function otherReplicas<R extends Replica>(
  replicas: readonly R[],
  view: NodeView,
  rule: GroupRule,
): OtherReplicas<R> {
  const isPinned = rule.isPinned === true || rule.fallbackGroupsMax === 0
  const ruleOf = (leg: Leg<R>): GroupRule => ({ ...rule, preferred: leg.replica.group, isPinned })
  return {
    one(leg, avoid, purpose) {
      const able = replicas.filter((replica) => holdsAll(replica, leg.shards))
      const rest = without(view, avoid, purpose === 'hedge')
      return coverShards(able, leg.shards, rest, ruleOf(leg)).legs[0]?.replica
    },
    several(leg, avoid) {
      const rest = without(view, avoid, false)
      return coverShards(replicas, leg.shards, rest, ruleOf(leg)).missing.length === 0
    },
    isAwaited: (leg, avoid) =>
      replicas.some(
        (replica) =>
          !avoid.has(replica.node) && holdsAll(replica, leg.shards) && view.standing(replica.node) === undefined,
      ),
  }
}

/** The view of a read that keeps away from some nodes. */
export function without(view: NodeView, avoid: ReadonlySet<NodeId>, isOnlyGood: boolean): NodeView {
  if (avoid.size === 0 && !isOnlyGood) return view
  return {
    turn: view.turn,
    cost: view.cost,
    standing(node) {
      if (avoid.has(node)) return undefined
      const standing = view.standing(node)
      return isOnlyGood && standing !== 'good' ? undefined : standing
    },
  }
}

/** Both lists ascend. */
export function holdsAll(replica: Replica, shards: readonly number[]): boolean {
  const held = replica.shards
  if (held.length < shards.length) return false
  let at = 0
  for (const shard of shards) {
    while (at < held.length && held[at]! < shard) at += 1
    if (held[at] !== shard) return false
    at += 1
  }
  return true
}
