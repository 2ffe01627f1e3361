/** What the store knows of a node's disk, as rows. */
import type { NodeIdentity } from './ports.ts'

/** `since_epoch` and `marker` of the node, the proof of one of its placements. */
export interface DiskRow {
  readonly since_epoch: number
  readonly marker: string | null
  readonly proof_task: number | null
  readonly proof_mark: string | null
}

export function decodeDisk({ since_epoch, marker, proof_task: task, proof_mark: mark }: DiskRow): NodeIdentity {
  return { marker, sinceEpoch: since_epoch, proof: task === null || mark === null ? null : { task, mark } }
}
