/** Starts a move, or says why not and what it would do. */

import type { ReplicaJournal } from '../../journal/ports.ts'
import { assert } from '../../lib/assert.ts'
import type { Clock } from '../../lib/clock.ts'
import { newId } from '../../lib/ordered-id.ts'
import type { Random } from '../../lib/random.ts'
import type { IndexEntry, NodeId } from '../../store/catalogue.ts'
import type { Move, MoveKind, MoveOptions, Moves, Take } from '../../store/moves.ts'
import type { Catalogue } from '../../store/ports.ts'
import { orderMove, type WantedMove } from '../../topology/move-order.ts'

export interface MoveOrder extends WantedMove {
  readonly index: Pick<IndexEntry, 'id' | 'uid' | 'project'>
  readonly options: MoveOptions
}

/** A move that was decided in every part. */
export interface DecidedMove {
  readonly index: Pick<IndexEntry, 'id' | 'uid' | 'project'>
  readonly kind: MoveKind
  /** At least one. */
  readonly takes: readonly Take[]
  /** Of a removal, the node of the first source. */
  readonly target: NodeId
  readonly options: MoveOptions
}

export interface MovePlan {
  readonly index: string
  readonly source: string
  readonly target: string
  /** The source's name of the index. */
  readonly physicalUid: string
  readonly shards: readonly number[]
  /** Changes in the index's journal, and bytes of their payloads: a bound for what is copied of all shards. */
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
    return {
      refusal: `a move of \`${order.index.uid}\` is open; \`flapjack move list\` shows it, \`flapjack move close\` ends one that is only kept for the way back`,
    }
  }
  const ordered = orderMove(standing.spread, standing.replicas, await catalogue.nodes(), order)
  if ('refusal' in ordered) return ordered
  const { source, target, shards } = ordered
  const own = new Set([source.node, target.id])
  return {
    index: order.index.uid,
    source: source.node,
    target: target.id,
    physicalUid: source.physicalUid,
    shards,
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
  const { source: node, physicalUid, shards, target } = plan
  return openDecided(deps, { index, kind: 'move', takes: [{ node, physicalUid, shards }], target, options })
}

/** Whoever decided looked at the index a moment before; the move's first step looks again. */
export async function openDecided(
  { moves, clock, random }: Pick<OpenMoveDeps, 'moves' | 'clock' | 'random'>,
  { index, kind, takes, target, options }: DecidedMove,
): Promise<Move | Refused> {
  const [first] = takes
  assert(first !== undefined, 'a move takes something')
  const move = await moves.open({
    ...{ id: newId(clock, random), project: index.project, index: index.id, kind, takes },
    ...{ source: first.node, target, options, createdAt: clock.now() },
  })
  return (
    move ?? {
      refusal: `a move of \`${index.uid}\` is open; \`flapjack move list\` shows it, \`flapjack move close\` ends one that is only kept for the way back`,
    }
  )
}
