/** Compares all replicas of an index with each other, shard by shard, while they are read and written (P-30). */
import type { IndexStanding } from '../../journal/ports.ts'
import { shardClause } from '../../search/shard-clause.ts'
import { isRead, servedShards } from '../../topology/placement-states.ts'
import { type Comparison, type ComparisonContext, compareReplicas } from './comparison.ts'
import { type MoveDeps, placeOf, type Replica } from './move-context.ts'

export interface VerifiedPair extends Comparison {
  /** The one that is held to be right: the first that is read. */
  readonly reference: string
  readonly node: string
  readonly shards: readonly number[]
}

/** Which replica is compared with which, in what they both hold: each shard of each replica with the first that is read. */
export function pairsOf(replicas: readonly Replica[]): readonly (readonly [Replica, Replica, readonly number[]])[] {
  const holders = replicas.filter((replica) => isRead(replica) || replica.state === 'standby')
  const readers = holders.filter(isRead)
  const firstOf = (shard: number) => readers.find((reader) => servedShards(reader).includes(shard))
  return holders.flatMap((replica) =>
    readers.flatMap((reader): readonly (readonly [Replica, Replica, readonly number[]])[] => {
      if (reader === replica) return []
      const common = replica.shards.filter((shard) => firstOf(shard) === reader)
      return common.length === 0 ? [] : [[reader, replica, common]]
    }),
  )
}

/** Shards of another generation are other shards. */
export function readGeneration({ replicas, generation }: IndexStanding): readonly Replica[] {
  return replicas.filter((replica) => replica.generation === generation)
}

/** Replicas that are being filled are left out. @param onPair  told of each pair that was compared. */
export async function verifyReplicas(
  deps: Pick<MoveDeps, 'replicas' | 'catalogue' | 'engineOf' | 'clock'>,
  standing: IndexStanding,
  signal: AbortSignal,
  onPair: (pair: VerifiedPair) => void,
): Promise<readonly VerifiedPair[]> {
  const { index, primaryKey, spread } = standing
  const found: VerifiedPair[] = []
  for (const [reference, replica, shards] of pairsOf(readGeneration(standing))) {
    const filter = spread === null ? null : shardClause({ shards, isWhole: false }, spread.shards)
    const context: ComparisonContext = { ...deps, index, signal, filter }
    const [left, right] = [await placeOf(deps, reference), await placeOf(deps, replica)]
    const comparison = await compareReplicas(context, left, right, primaryKey, async () => undefined)
    const pair = { ...comparison, reference: reference.node, node: replica.node, shards }
    found.push(pair)
    onPair(pair)
  }
  return found
}
