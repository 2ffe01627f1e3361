/** What operators ask of moves, over HTTP and on the command line: edits of rows that workers look at, and nothing else. */
import { ApiError } from '../api/errors.ts'
import { keepMsDefault, type MovePlan, type OpenMoveDeps, openMove, planMove } from '../orchestrator/moves/open-move.ts'
import type { Move, MoveOptions, Moves } from '../store/moves.ts'
import type { Catalogue } from '../store/ports.ts'
import type { WantedMove } from '../topology/move-order.ts'
import { type MoveWish, moveSteps, stepAfter, wishesAt } from '../topology/move-steps.ts'
import { type IndexName, namedIndex, namedProject } from './named-index.ts'

export interface MoveOrdersDeps extends OpenMoveDeps {
  readonly catalogue: Pick<Catalogue, 'nodes' | 'snapshot' | 'findProject'>
  readonly moves: Moves
}

export interface OrderedIndexMove extends WantedMove, IndexName {
  /** What is left out is `keepMsDefault`, and as fast as nodes take it. */
  readonly options: Partial<MoveOptions>
}

export interface NamedMove {
  readonly move: Move
  /** Name of the index; null = it is deleted. */
  readonly uid: string | null
}

/** Each throws ApiError `miroir_not_found`, `miroir_conflict`, `miroir_invalid_request`, and `StoreUnavailable`. */
export interface MoveOrders {
  /** Newest first. */
  list(filter: {
    readonly project: string | null
    readonly isOpen: boolean | null
    readonly limit: number
  }): Promise<readonly NamedMove[]>
  /** By id, or by the name of its index while it is open. */
  find(idOrIndex: string): Promise<NamedMove>
  plan(order: OrderedIndexMove): Promise<MovePlan>
  open(order: OrderedIndexMove): Promise<NamedMove>
  setPaused(idOrIndex: string, isPaused: boolean): Promise<NamedMove>
  wish(idOrIndex: string, wish: MoveWish): Promise<NamedMove>
}

const openMax = 1_000

export const pastOf: Readonly<Record<MoveWish, string>> = { cancel: 'cancelled', undo: 'undone', close: 'closed' }

export function createMoveOrders(deps: MoveOrdersDeps): MoveOrders {
  const { catalogue, moves, replicas } = deps
  const named = async (move: Move): Promise<NamedMove> => ({
    move,
    uid: (await replicas.standing(move.index))?.uid ?? null,
  })
  const ordered = async ({ target, source, shard, options, ...rest }: OrderedIndexMove) => ({
    index: await namedIndex(catalogue, rest),
    target,
    ...(source === undefined ? {} : { source }),
    ...(shard === undefined ? {} : { shard }),
    options: { keepMs: keepMsDefault, bytesPerSecond: null, ...options },
  })
  const found = async (idOrIndex: string): Promise<Move> => {
    const isId = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(idOrIndex)
    const byId = isId ? await moves.get(idOrIndex.toLowerCase()) : undefined
    if (byId !== undefined) return byId
    const { indexes } = await catalogue.snapshot()
    const ids = new Set(indexes.flatMap(({ id, uid }) => (uid === idOrIndex ? [id] : [])))
    const open = ids.size === 0 ? [] : await moves.list({ isOpen: true }, openMax)
    const [first, ...others] = open.filter(({ index }) => ids.has(index))
    if (first === undefined) throw new ApiError('miroir_not_found', `There is no move \`${idOrIndex}\`.`)
    if (others.length > 0) throw invalid(`Several projects move a \`${idOrIndex}\`: say which move by its id.`)
    return first
  }
  const now = async (move: Move): Promise<Move> => (await moves.get(move.id)) ?? move
  return {
    async list({ project, isOpen, limit }) {
      const owner = project === null ? undefined : (await namedProject(catalogue, project)).id
      const filter = { ...(owner && { project: owner }), ...(isOpen === null ? {} : { isOpen }) }
      return Promise.all((await moves.list(filter, limit)).map(named))
    },
    find: async (idOrIndex) => named(await found(idOrIndex)),
    plan: async (order) => allowed(await planMove(deps, await ordered(order))),
    open: async (order) => named(allowed(await openMove(deps, await ordered(order)))),
    async setPaused(idOrIndex, isPaused) {
      const move = await found(idOrIndex)
      if (!(await moves.setPaused(move.id, isPaused))) throw conflict(`The move is ${(await now(move)).step}.`)
      return named(await now(move))
    },
    async wish(idOrIndex, wish) {
      const move = await found(idOrIndex)
      const steps = moveSteps.filter((step) => stepAfter(step, wish) !== undefined)
      const isTaken = await moves.wish(move.id, wish, steps)
      const after = await now(move)
      if (isTaken) return named(after)
      const others = wishesAt(after.step)
      const hint = others.length === 0 ? '' : `; possible: ${others.join(', ')}`
      throw conflict(`The move is ${after.step}: it cannot be ${pastOf[wish]} any more${hint}.`)
    },
  }
}

/** @throws ApiError `miroir_conflict` for what the state of the index does not allow. */
export function allowed<T extends object>(found: T | { readonly refusal: string }): T {
  if ('refusal' in found) throw conflict(found.refusal)
  return found
}

const conflict = (message: string): ApiError => new ApiError('miroir_conflict', message)
const invalid = (message: string): ApiError => new ApiError('miroir_invalid_request', message)
