/** What of an index a lane is for: all of a plain one, or some shards of a spread one. */
import type { Placement, Spread } from '../store/catalogue.ts'
import { shardOfKey } from '../topology/rendezvous.ts'

export interface ShardView {
  /** How many the index has. */
  readonly shards: number
  readonly own: ReadonlySet<number>
  readonly exactTies: boolean
}

/** How a lane cuts changes into parts. */
export interface Cut {
  /** About how many bytes of documents are one task of the node: the same for all who read its marks. */
  readonly sliceBytes: number
  /**
   * Payloads that are not long go out in eight times larger slices, since every task costs the node something. Whoever reads
   * marks tells by the number of parts how a change was cut (`planSent`). Default false.
   */
  readonly isWide?: boolean
  /** null = the index is plain. */
  readonly view: ShardView | null
}

export function viewOf(spread: Spread | null, { shards }: Pick<Placement, 'shards'>): ShardView | null {
  return spread && { shards: spread.shards, own: new Set(shards), exactTies: spread.exactTies }
}

export function owns({ shards, own }: ShardView, id: string): boolean {
  return own.has(shardOfKey(id, shards))
}

/** Of many documents, about how many are the lane's. */
export function shareOf({ view }: Cut): number {
  return view === null ? 1 : view.own.size / view.shards
}
