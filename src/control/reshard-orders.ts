/** What operators ask of reshards over HTTP (C-26): rows that workers look at, and nothing else. */
import { keepMsDefault } from '../orchestrator/moves/open-move.ts'
import {
  type OpenReshardDeps,
  openReshard,
  planReshard,
  type ReshardOrder,
  type ReshardPlan,
  spreadWith,
} from '../orchestrator/reshard/open-reshard.ts'
import type { IndexId, Spread } from '../store/catalogue.ts'
import type { Move, Moves } from '../store/moves.ts'
import type { Catalogue } from '../store/ports.ts'
import { allowed } from './move-orders.ts'
import { type IndexName, namedIndex } from './named-index.ts'

export interface ReshardOrdersDeps extends OpenReshardDeps {
  readonly catalogue: Pick<Catalogue, 'nodes' | 'snapshot' | 'findProject'>
  readonly moves: Moves
  /** Of an index that was plain. */
  readonly defaults: Omit<Spread, 'shards'>
}

export interface OrderedReshard extends IndexName {
  /** null = plain. */
  readonly shards: number | null
  /** As before when left out. */
  readonly replicationFactor?: number
  /** Documents of the index's mean size; null = as fast as nodes take them. */
  readonly documentsPerSecond: number | null
  /** Outside of the times of day for moves as well, and before others. */
  readonly isUrgent: boolean
}

/** Each throws ApiError `miroir_not_found`, `miroir_conflict`, `miroir_invalid_request`, and `StoreUnavailable`. */
export interface ReshardOrders {
  plan(order: OrderedReshard): Promise<ReshardPlan>
  open(order: OrderedReshard): Promise<Move>
  /** The newest one of an index, open or ended. */
  newest(name: IndexName): Promise<Move | undefined>
}

const listedMax = 1_000
const bytesPerSecondMin = 1_024

export function createReshardOrders(deps: ReshardOrdersDeps): ReshardOrders {
  const { catalogue, moves, replicas, defaults } = deps
  const bytesOf = async (index: IndexId, documents: number) => {
    const standing = await replicas.standing(index)
    const meanBytes = standing === undefined ? 0 : standing.byteCount / Math.max(1, standing.head)
    return Math.max(bytesPerSecondMin, Math.ceil(documents * meanBytes))
  }
  const ordered = async ({ shards, replicationFactor, documentsPerSecond, isUrgent, ...name }: OrderedReshard) => {
    const index = await namedIndex(catalogue, name)
    const factor = replicationFactor === undefined ? {} : { replicationFactor }
    const order: ReshardOrder = {
      index,
      spread: shards === null ? null : spreadWith(index.spread, defaults, { shards, ...factor }),
      options: {
        keepMs: keepMsDefault,
        bytesPerSecond: documentsPerSecond === null ? null : await bytesOf(index.id, documentsPerSecond),
        ...(isUrgent ? { priority: 'urgent' } : {}),
      },
    }
    return order
  }
  return {
    plan: async (order) => allowed(await planReshard(deps, await ordered(order))),
    open: async (order) => allowed(await openReshard(deps, await ordered(order))),
    async newest(name) {
      const { id, project } = await namedIndex(catalogue, name)
      return (await moves.list({ project }, listedMax)).find(({ index, kind }) => index === id && kind === 'reshard')
    },
  }
}
