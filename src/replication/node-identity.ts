/**
 * Is the disk of a node the one that we wrote to (NF-31)? An empty, replaced or older disk answers reads and takes writes as
 * if nothing had happened; only what we left on it tells.
 *
 * Three things must agree: the marker key with the text that we chose, no task number below one that we know, and our mark
 * on the task that proves the newest position.
 */
import type { Engine, EngineReply, EngineTask } from '../engine/engine.ts'
import type { LaneProof, NodeIdentity } from '../journal/ports.ts'

export type DiskFinding =
  | { readonly kind: 'ours'; readonly newest: number }
  | { readonly kind: 'stranger'; readonly reason: string }
  /** The node did not answer. */
  | { readonly kind: 'silent'; readonly reason: string }

type Ask = <T>(call: (signal: AbortSignal) => Promise<EngineReply<T>>) => Promise<EngineReply<T>>

/** How the marker of a node begins that has no keys, or whose key may not manage them: there, only the proof tells. */
export const keylessMarker = 'keyless'

export async function findDisk(
  engine: Engine,
  ask: Ask,
  identity: Pick<NodeIdentity, 'marker' | 'proof'>,
  knownNumber: number,
): Promise<DiskFinding> {
  const { proof } = identity
  // At once: lanes wait for it before they record what a change comes to.
  const [marker, newest, proven] = await Promise.all([
    ask((signal) => engine.readMarker(signal)),
    newestNumber(engine, ask),
    proof && ask((signal) => engine.tasks([proof.task], signal)),
  ])
  if (marker.kind === 'failed' || marker.kind === 'unknown') return { kind: 'silent', reason: marker.reason }
  if (identity.marker === null) return { kind: 'stranger', reason: 'new' }
  const isOurs =
    marker.kind === 'refused'
      ? identity.marker.startsWith(keylessMarker)
      : marker.value?.description === identity.marker
  if (!isOurs) return { kind: 'stranger', reason: 'marker' }
  if (newest.kind !== 'answered') return { kind: 'silent', reason: newest.reason }
  if (newest.value < Math.max(knownNumber, proof?.task ?? -1)) return { kind: 'stranger', reason: 'older tasks' }
  if (proof !== null && proven !== null && !holds(proof, proven, newest.value))
    return { kind: 'stranger', reason: 'other tasks' }
  return { kind: 'ours', newest: newest.value }
}

/** -1 on a node without any task. */
export async function newestNumber(
  engine: Engine,
  ask: Ask,
): Promise<Exclude<EngineReply<number>, { readonly kind: 'refused' }>> {
  const reply = await ask((signal) => engine.newestTasks(undefined, 1, undefined, signal))
  if (reply.kind === 'answered') return { kind: 'answered', value: reply.value[0]?.uid ?? -1 }
  return reply.kind === 'refused' ? { kind: 'failed', reason: reply.error.message } : reply
}

/** A task that was deleted proves nothing, and newer ones exist: numbers are not used again while they are on the disk. */
function holds(proof: LaneProof, reply: EngineReply<readonly EngineTask[]>, newest: number): boolean {
  if (reply.kind !== 'answered') return true
  const task = reply.value[0]
  return task === undefined ? newest > proof.task : task.customMetadata === proof.mark
}
