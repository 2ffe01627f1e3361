/** Whether replicas that a copy is compared with are as their lanes made them. */
import { isDisturbed, lateTasksMax } from '../../replication/late-requests.ts'
import { findDisk } from '../../replication/node-identity.ts'
import { answered, type Place, type StepContext } from './move-context.ts'

/** For so long a lane may mend what it has noticed. What it leaves alone for longer only looks so. */
const mendMsMax = 60_000

/**
 * A request that came late may have been executed on a source since its lane last looked (NF-43): what it lies over is gone
 * there until the lane delivers it again, and would be gone from the copy for ever.
 *
 * @throws when the disk of a source is a new one, or an older copy, that its lane has not met yet.
 */
export async function areInOrder(context: StepContext, sources: readonly Place[]): Promise<boolean> {
  const { move, keep, signal, clock } = context
  const isOne = async ({ engine, replica }: Place) => {
    const { diskMarker: marker, proof } = replica
    const disk = await findDisk(engine, (call) => call(signal), { marker, proof }, -1)
    if (disk.kind !== 'ours') throw new Error(`the disk of ${replica.node}: ${disk.reason}`)
    const reply = await engine.newestTasks(replica.physicalUid, lateTasksMax, undefined, signal)
    return !isDisturbed(answered('the tasks of the source', reply), replica.applied)
  }
  const { doubtUntil } = move.progress
  if ((await Promise.all(sources.map(isOne))).every(Boolean)) {
    if (doubtUntil !== undefined) await keep({ doubtUntil: undefined })
    return true
  }
  if (doubtUntil === undefined) await keep({ doubtUntil: clock.now() + mendMsMax })
  return doubtUntil !== undefined && clock.now() >= doubtUntil
}
