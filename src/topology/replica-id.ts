/** Names a replica: by the physical index that it is, since a node may hold several of one index. Pure. */
import type { Placement } from '../store/catalogue.ts'

/** `node/physicalUid`. */
export type ReplicaId = string

export function replicaId({ node, physicalUid }: Pick<Placement, 'node' | 'physicalUid'>): ReplicaId {
  return `${node}/${physicalUid}`
}
