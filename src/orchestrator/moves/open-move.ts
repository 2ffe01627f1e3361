/** Starts a move, or says why not and what it would do. */

import { newId } from '../../journal/change-row.ts'
import type { ReplicaJournal } from '../../journal/ports.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/random.ts'
import type { IndexEntry } from '../../store/catalogue.ts'
import type { Move, MoveOptions, Moves } from '../../store/moves.ts'
import type { Catalogue } from '../../store/ports.ts'
import { orderMove, type WantedMove } from '../../topology/move-order.ts'

export interface MoveOrder extends WantedMove {
  readonly index: Pick<IndexEntry, 'id' | 'uid' | 'project'>
  readonly options: MoveOptions
}

export interface MovePlan {
  readonly index: string
  readonly source: string
  readonly target: string
  readonly shards: readonly number[]
  /** Changes in the index's journal, and bytes of their payloads: a bound for what is copied. */
  readonly changes: number
  readonly payloadBytes: number
  /** Other moves that are open on one of the nodes. */
  readonly ahead: number
  readonly keepMs: number
}

export interface OpenMoveDeps {
  readonly catalogue: Pick<Catalogue, 'nodes'>
  readonly replicas: Pick<ReplicaJournal, 'standing'>
  readonly moves: Pick<Moves, 'open' | 'list'>
  readonly clock: Clock
  readonly random: Random
}

/** How long an old replica is kept behind the switch, ms (P-31). */
export const keepMsDefault = 15 * 60_000
const listedMax = 1_000

type Refused = { readonly refusal: string }

export async function planMove(
  { catalogue, replicas, moves }: OpenMoveDeps,
  order: MoveOrder,
): Promise<MovePlan | Refused> {
  const standing = await replicas.standing(order.index.id)
  if (standing === undefined) return { refusal: `the index \`${order.index.uid}\` was deleted` }
  const open = await moves.list({ isOpen: true }, listedMax)
  if (open.some(({ index }) => index === order.index.id)) {
    return { refusal: `a move of \`${order.index.uid}\` is open; \`flapjack move list\` shows it` }
  }
  const ordered = orderMove(standing.spread, standing.replicas, await catalogue.nodes(), order)
  if ('refusal' in ordered) return ordered
  const { source, target } = ordered
  const own = new Set([source.node, target.id])
  return {
    index: order.index.uid,
    source: source.node,
    target: target.id,
    shards: source.shards,
    changes: standing.head,
    payloadBytes: standing.byteCount,
    ahead: open.filter((move) => own.has(move.source) || own.has(move.target)).length,
    keepMs: order.options.keepMs,
  }
}

export async function openMove(deps: OpenMoveDeps, order: MoveOrder): Promise<Move | Refused> {
  const plan = await planMove(deps, order)
  if ('refusal' in plan) return plan
  const { index, options } = order
  const { source, target } = plan
  const createdAt = deps.clock.now()
  const id = newId(deps.clock, deps.random)
  const move = await deps.moves.open({
    id,
    project: index.project,
    index: index.id,
    source,
    target,
    options,
    createdAt,
  })
  return move ?? { refusal: `a move of \`${index.uid}\` is open; \`flapjack move list\` shows it` }
}
