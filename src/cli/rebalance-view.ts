/** What a change of nodes or of wanted places would move, and how far it is: for the commands that make such changes. */

import type { Store } from '../journal/open-store.ts'
import { systemClock } from '../lib/clock.ts'
import type { JsonObject } from '../lib/json.ts'
import { readFleet } from '../orchestrator/reconciler/layout-fleet.ts'
import { isEnded } from '../topology/move-steps.ts'
import type { Fleet, RebalancePlan } from '../topology/rebalance-plan.ts'
import { nodesOf, planRebalance } from '../topology/rebalance-plan.ts'
import type { Terminal } from './terminal.ts'

export type FleetStore = Pick<Store, 'catalogue' | 'replicas' | 'moves' | 'laneJournal'>

/** What would be done if the fleet were as `edit` makes it. Nothing is changed. */
export async function plannedFor(
  store: FleetStore,
  edit: (fleet: Fleet) => Fleet = (fleet) => fleet,
): Promise<RebalancePlan> {
  return planRebalance(edit(await readFleet({ ...store, lanes: store.laneJournal, clock: systemClock })))
}

const shownMax = 20

export function planView({ moves, stuck, braked }: RebalancePlan) {
  const indexes = new Set(moves.map(({ layout }) => layout.index))
  return {
    moves: moves.map(({ layout, kind, takes, target, bytes }) => ({
      ...{ index: layout.uid, kind, target, bytes },
      takes: takes.map(({ node, shards }) => ({ node, shards: [...shards] })),
    })),
    indexes: indexes.size,
    nodes: [...new Set(moves.flatMap(nodesOf))].sort(),
    bytes: moves.reduce((sum, { bytes }) => sum + bytes, 0),
    stuck: stuck.map(({ layout, node, reason }) => ({ index: layout.uid, node, reason })),
    braked: [...braked],
  } satisfies JsonObject
}

export function planLines(plan: RebalancePlan): readonly string[] {
  const { moves, indexes, nodes, bytes, stuck, braked } = planView(plan)
  const summary =
    moves.length === 0
      ? 'Nothing moves.'
      : `${moves.length} moves of ${indexes} indexes between ${nodes.join(', ')}; about ${(bytes / 1e6).toFixed(1)} MB are copied.`
  const shown = moves.slice(0, shownMax).map(({ index, kind, takes, target }) => {
    const from = takes.map(({ node, shards }) => `${shards.length} of ${node}`).join(', ')
    return kind === 'removal' ? `  ${index}: gives up ${from}` : `  ${index}: ${kind} to ${target}, shards: ${from}`
  })
  return [
    summary,
    ...shown,
    ...(moves.length > shownMax ? [`  and ${moves.length - shownMax} more`] : []),
    ...stuck.map(({ index, node, reason }) => `${index} on ${node}: ${reason}.`),
    ...braked.map((region) => `Too many nodes of region ${region} are away: nothing begins there.`),
  ]
}

const pollMs = 1_000

/** Until nothing of it is to be done any more. A worker must run. @param concerns  whether a move is a part of it. */
export async function awaitMoves(
  store: FleetStore,
  terminal: Pick<Terminal, 'remark'>,
  concerns: (move: { readonly index: string; readonly nodes: readonly string[] }) => boolean,
): Promise<RebalancePlan> {
  let shown = ''
  for (;;) {
    const fleet = await readFleet({ ...store, lanes: store.laneJournal, clock: systemClock })
    const plan = planRebalance(fleet)
    const waiting = plan.moves.filter((move) => concerns({ index: move.layout.index, nodes: nodesOf(move) })).length
    const open = (await store.moves.list({ isOpen: true }, 10_000)).filter(({ step }) => !isEnded(step))
    const underWay = fleet.open.filter((move) => concerns(move) && !move.isKept)
    if (waiting + underWay.length === 0) return plan
    const documents = open.reduce((sum, { progress }) => sum + (progress.documents ?? 0), 0)
    const line = `${underWay.length} moves under way, ${waiting} wait; ${documents} documents copied`
    if (line !== shown) terminal.remark(line)
    shown = line
    await systemClock.sleep(pollMs)
  }
}
