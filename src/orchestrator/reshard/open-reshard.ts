/** Starts a reshard, or says why not and what it would do. */
import { placesFor } from '../../journal/index-creation.ts'
import type { ReplicaJournal } from '../../journal/ports.ts'
import { newId } from '../../lib/ordered-id.ts'
import type { IndexEntry, Spread } from '../../store/catalogue.ts'
import type { Move, MoveOptions } from '../../store/moves.ts'
import { isRead } from '../../topology/placement-states.ts'
import type { OpenMoveDeps } from '../moves/open-move.ts'

export interface OpenReshardDeps extends Omit<OpenMoveDeps, 'replicas'> {
  readonly replicas: Pick<ReplicaJournal, 'standing' | 'loads'>
  /** Payloads of the journal are kept for as long as their index. */
  readonly keepsPayloads: boolean
}

export interface ReshardOrder {
  readonly index: Pick<IndexEntry, 'id' | 'uid' | 'project'>
  /** How it is to lie; null = plain. */
  readonly spread: Spread | null
  readonly options: Omit<MoveOptions, 'reshard'>
}

export interface ReshardPlan {
  readonly index: string
  /** Shards; null = plain. */
  readonly before: number | null
  readonly after: number | null
  /** `streamed`: documents are copied from the old replicas. `journal`: the new ones are built from the index's journal. */
  readonly copy: 'streamed' | 'journal'
  /** Where the new replicas go. */
  readonly places: readonly { readonly node: string; readonly shards: readonly number[] }[]
  /** Replicas that are read now, and stay until the move is closed. */
  readonly replicas: number
  /** Changes in the index's journal, and bytes of their payloads: a bound for what is copied of each shard. */
  readonly changes: number
  readonly payloadBytes: number
  readonly keepMs: number
}

type Refused = { readonly refusal: string }

export async function planReshard(deps: OpenReshardDeps, order: ReshardOrder): Promise<ReshardPlan | Refused> {
  const { catalogue, replicas, moves, keepsPayloads } = deps
  const { index, spread, options } = order
  const standing = await replicas.standing(index.id)
  if (standing === undefined) return { refusal: `the index \`${index.uid}\` was deleted` }
  const open = await moves.list({ isOpen: true, project: index.project }, listedMax)
  if (open.some((move) => move.index === index.id)) return { refusal: moveIsOpen(index) }
  const { spread: before } = standing
  if (isSameSpread(before, spread)) return { refusal: `\`${index.uid}\` lies so already` }
  if (before === null && !keepsPayloads) {
    const hint = 'clone it instead: `flapjack index clone UID NEW_UID --shards N`, and swap the two'
    return {
      refusal: `payloads are dropped after a time here, so that nothing can be built anew from the journal; ${hint}`,
    }
  }
  const loads = await replicas.loads()
  const rooms = (await catalogue.nodes())
    .filter(({ state }) => state === 'active')
    .map(({ id, group, seat }) => ({ id, group, seat, load: loads.get(id) ?? 0 }))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
  const places = placesFor(rooms, spread)
  if (places.length === 0) return { refusal: 'no node takes indexes; `flapjack node list`' }
  return {
    index: index.uid,
    before: before?.shards ?? null,
    after: spread?.shards ?? null,
    copy: before === null ? 'journal' : 'streamed',
    places,
    replicas: standing.replicas.filter(isRead).length,
    changes: standing.head,
    payloadBytes: standing.byteCount,
    keepMs: options.keepMs,
  }
}

export async function openReshard(deps: OpenReshardDeps, order: ReshardOrder): Promise<Move | Refused> {
  const plan = await planReshard(deps, order)
  if ('refusal' in plan) return plan
  const { moves, clock, random, replicas } = deps
  const { index, spread, options } = order
  const standing = await replicas.standing(index.id)
  const takes = (standing?.replicas ?? []).filter(isRead)
  const [first] = takes
  const [place] = plan.places
  if (first === undefined || place === undefined) return { refusal: 'no replica of it is read' }
  const move = await moves.open({
    ...{ id: newId(clock, random), project: index.project, index: index.id, kind: 'reshard' },
    takes: takes.map(({ node, physicalUid, shards }) => ({ node, physicalUid, shards })),
    ...{ source: first.node, target: place.node, options: { ...options, reshard: { spread } } },
    createdAt: clock.now(),
  })
  return move ?? { refusal: moveIsOpen(index) }
}

const listedMax = 1_000

function moveIsOpen({ uid }: ReshardOrder['index']): string {
  return `a move of \`${uid}\` is open; \`flapjack move list\` shows it, \`flapjack move close\` ends one that is only kept for the way back`
}

/** As the index lies, with another number of shards. @param defaults  of an index that was plain. */
export function spreadWith(
  own: Spread | null,
  defaults: Omit<Spread, 'shards'>,
  wanted: { readonly shards: number; readonly replicationFactor?: number },
): Spread {
  const { replicationFactor, exactTies } = own ?? defaults
  return { replicationFactor, exactTies, ...wanted }
}

export function isSameSpread(a: Spread | null, b: Spread | null): boolean {
  if (a === null || b === null) return a === b
  return a.shards === b.shards && a.replicationFactor === b.replicationFactor
}
