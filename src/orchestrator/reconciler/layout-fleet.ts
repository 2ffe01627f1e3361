/** What planning looks at, read from the store: where indexes are and are wanted, which nodes take part, and what is on its way. */
import type { LaneJournal, LayoutJournal } from '../../journal/ports.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Node } from '../../store/catalogue.ts'
import type { Move, Moves } from '../../store/moves.ts'
import type { Catalogue } from '../../store/ports.ts'
import type { LayoutNode } from '../../topology/index-layout.ts'
import { isBusy, isEnded } from '../../topology/move-steps.ts'
import { type Fleet, nodesOf, type OpenMove } from '../../topology/rebalance-plan.ts'

export interface FleetSources {
  readonly catalogue: Pick<Catalogue, 'nodes'>
  readonly replicas: Pick<LayoutJournal, 'layouts'>
  readonly moves: Pick<Moves, 'list'>
  readonly lanes: Pick<LaneJournal, 'troubles'>
  readonly clock: Pick<Clock, 'now'>
}

/** What moves by itself can be undone for so long at most; the old node is empty only then. */
export const rebalanceKeepMs = 60_000
/** An index whose move came to nothing is left alone for so long. */
const failedRestMs = 10 * 60_000
/** One that was moved is not moved for want of room for so long (P-40). */
const movedRestMs = 30 * 60_000
const listedMax = 10_000

/** @param edit  nodes as they would be; default: as they are. */
export async function readFleet(
  { catalogue, replicas, moves, lanes, clock }: FleetSources,
  edit: (nodes: readonly LayoutNode[]) => readonly LayoutNode[] = (nodes) => nodes,
): Promise<Fleet> {
  const [nodes, troubles, layouts] = await Promise.all([catalogue.nodes(), lanes.troubles(), replicas.layouts()])
  const now = clock.now()
  // First the open ones: one that ends meanwhile is in both lists, and in none the other way round.
  const open = await moves.list({ isOpen: true }, listedMax)
  const ended = await moves.list({ finishedAfter: now - movedRestMs }, listedMax)
  const rests = (move: Move, ms: number) => move.finishedAt !== null && move.finishedAt > now - ms
  const failed = ended.filter((move) => move.step !== 'closed' && rests(move, failedRestMs))
  const moved = ended.filter((move) => move.step === 'closed' && rests(move, movedRestMs))
  return {
    layouts,
    nodes: edit(nodes.map((node) => layoutNode(node, !troubles.has(node.id)))),
    open: open.filter(({ step }) => !isEnded(step)).map(openMoveOf),
    resting: new Set(failed.map(({ index }) => index)),
    settled: new Set(moved.map(({ index }) => index)),
  }
}

export function layoutNode(node: Node, isLive: boolean): LayoutNode {
  const { id, group, region, engine, state, capacity, takesExisting, seat } = node
  return { id, group, region, engine, state, capacity, isLive, takesExisting: takesExisting === true, seat: seat ?? id }
}

function openMoveOf({ index, kind, takes, target, step, options }: Move): OpenMove {
  return {
    ...{ index, nodes: nodesOf({ kind, takes, target }), target },
    isUnderWay: step === 'planned' || isBusy(step),
    isKept: (step === 'keeping_back' || step === 'closing') && options.keepMs <= rebalanceKeepMs,
  }
}
