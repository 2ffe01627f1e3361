/**
 * Copies an index as it is stored (P-27): a snapshot on the source while writes go on there, its file to the target, restored
 * there under the replica's name. Order of documents and ties are those of the source; nothing is indexed anew.
 *
 * Before: the source's `applied` is read and kept; a snapshot that is asked for later holds all of it. During: the file goes
 * over in parts; how much of it the target has is asked of the target. After: what the snapshot holds beyond `from` the new
 * lane delivers again, which comes to the same (NF-20).
 *
 * A snapshot holds settings with their secrets, as both engines store them. Its files go with the copy, or with the move.
 */
import type { Engine } from '../../engine/engine.ts'
import type { EngineSnapshotJob } from '../../engine/engine-snapshots.ts'
import type { Move } from '../../store/moves.ts'
import { answered, MoveFailure, type Place, replicaOf, type StepContext } from './move-context.ts'
import { dropParts, placedWay } from './placed-way.ts'
import { straightWay, transferFile } from './snapshot-transfer.ts'

/** Free bytes that are asked for on the target, to the size of the index: the file, and what it is unpacked to (P-29). */
const spaceFactor = 2.2
const jobPollMs = 20
const jobPollMsMax = 500
/** Files that came over with a wrong checksum before the move is given up. */
const corruptMax = 3

/** Both engines make and read the same snapshots, and the source has something to make one of. */
export async function canCopySnapshot({ signal }: StepContext, source: Place, target: Place): Promise<boolean> {
  const [from, to] = await Promise.all([source.engine.snapshots.offer(signal), target.engine.snapshots.offer(signal)])
  const [made, read] = [answered('its snapshots', from), answered('its snapshots', to)]
  if (made === null || read === null) return false
  if (made.engine !== read.engine || made.indexFormat !== read.indexFormat) return false
  const size = await source.engine.snapshots.indexBytes(source.replica.physicalUid, signal)
  return size.kind !== 'refused'
}

/** Engines remove files of this name that nobody removed. */
const fileName = ({ id, progress }: Move): string => `transfer-${id}-${progress.attempts ?? 0}.fjsis`

/**
 * Twice: safe; what is there of the snapshot, of the file and of the index is used. Answers `lost` when the source is not the
 * one any more whose `applied` was kept.
 *
 * @throws MoveFailure when the target has no space for it, or the file does not come over whole.
 */
export async function copySnapshot(context: StepContext, source: Place, target: Place): Promise<'done' | 'lost'> {
  const { move, keep, replicas } = context
  const { applied, revision } = source.replica
  if (move.progress.from === undefined) {
    await checkSpace(context, source, target)
    await keep({ from: applied, sourceRevision: revision, copyStartedAt: context.clock.now(), bytes: 0 })
  }
  if (context.move.progress.trueFrom === undefined) {
    const isOurs = async () => {
      const standing = await replicas.standing(move.index)
      const now = standing && replicaOf(standing, source.replica)
      return now !== undefined && now.revision === context.move.progress.sourceRevision
    }
    const name = fileName(move)
    for (let isThere = false; !isThere; ) {
      if (!(await isOurs())) return 'lost'
      await makeSnapshot(context, source, target, name)
      // A disk that was replaced before the snapshot was made may have held less.
      if (!(await isOurs())) return 'lost'
      isThere = await bringOver(context, source, target, name)
    }
    await restore(context, source, target, name)
    await keep({ trueFrom: (await replicas.standing(move.index))?.head ?? 0 })
  }
  await dropSnapshots(context)
  return 'done'
}

/** Removes the files of a copy from both nodes, and what lies between them. A node that cannot be reached removes them by itself, days later. */
export async function dropSnapshots(context: StepContext): Promise<void> {
  const { move, catalogue, engineOf, signal, transfers } = context
  if (move.progress.copy !== 'snapshot') return
  if (transfers !== undefined) await dropParts(await transfers(), fileName(move))
  const nodes = (await catalogue.nodes()).filter(({ id }) => id === move.source || id === move.target)
  await Promise.all(nodes.map((node) => engineOf(node).snapshots.remove(fileName(move), signal)))
}

async function checkSpace({ signal }: StepContext, source: Place, target: Place): Promise<void> {
  const size = answered('its size', await source.engine.snapshots.indexBytes(source.replica.physicalUid, signal))
  const offer = answered('its space', await target.engine.snapshots.offer(signal))
  const wanted = Math.ceil(size * spaceFactor)
  if (offer === null || offer.freeBytes >= wanted) return
  throw new MoveFailure(
    `insufficient_space: ${target.replica.node} has ${offer.freeBytes} bytes free; the copy may take ${wanted}`,
  )
}

/** Both are on this machine, and nobody asked to go easy on it. */
function isNear({ move }: StepContext, source: Place, target: Place): boolean {
  const isRemote = source.engine.capabilities.isRemote || target.engine.capabilities.isRemote
  return !isRemote && move.options.bytesPerSecond === null
}

async function makeSnapshot(context: StepContext, source: Place, target: Place, name: string): Promise<void> {
  const { move, keep, signal } = context
  const { snapshots } = source.engine
  // On one machine there is nothing to be won: to compress takes longer than all the rest, and checksums half of that.
  const order = { name, isCompressed: !isNear(context, source, target), isRaw: await isRaw(context, source, target) }
  const { error } = await ended(context, source.engine, () =>
    snapshots.create(source.replica.physicalUid, order, signal),
  )
  if (error !== null) {
    const text = `${move.source} makes no snapshot: ${error.message}`
    throw error.code === 'no_space_left_on_device' ? new MoveFailure(`insufficient_space: ${text}`) : new Error(text)
  }
  const file = answered('the snapshot', await snapshots.find(name, signal))
  if (file === null) throw new Error(`the snapshot on ${move.source} is gone`)
  if (move.progress.snapshotAt !== undefined && move.progress.snapshotAt !== file.madeAt) {
    // It was lost and made anew: parts of the other one are of no use.
    answered('a file to be removed', await target.engine.snapshots.remove(name, signal))
  }
  await keep({ snapshotAt: file.madeAt, byteCount: file.byteCount })
}

/** The index's own file will do, which is linked or not taken at all. */
async function isRaw(context: StepContext, source: Place, target: Place): Promise<boolean> {
  if (context.move.progress.isFar === true || !isNear(context, source, target)) return false
  const offers = await Promise.all([source, target].map(({ engine }) => engine.snapshots.offer(context.signal)))
  return offers.every((offer) => answered('its snapshots', offer)?.hasRaw === true)
}

/** `false` = the other engine does not reach the files of this one: another kind of snapshot is to be made. */
async function bringOver(context: StepContext, source: Place, target: Place, name: string): Promise<boolean> {
  const { keep, move, clock, signal, transfers } = context
  if (isNear(context, source, target)) {
    const offer = answered('its snapshots', await source.engine.snapshots.offer(signal))
    const isLinked =
      offer !== null && offer.folder !== '' && (await target.engine.snapshots.link(name, offer.folder, signal))
    if (isLinked && answered('a file', isLinked)) {
      await keep({ bytes: context.move.progress.byteCount })
      return true
    }
    if (await isRaw(context, source, target)) {
      await keep({ isFar: true })
      answered('a file', await source.engine.snapshots.remove(name, signal))
      return false
    }
  }
  const byteCount = context.move.progress.byteCount ?? 0
  const ends = { source: source.engine.snapshots, target: target.engine.snapshots, name, byteCount, signal }
  const { bytesPerSecond } = move.options
  const transfer = { byteCount, bytesPerSecond, clock, signal, onProgress: (bytes: number) => keep({ bytes }) }
  if (transfers === undefined) await transferFile({ ...transfer, way: straightWay(ends) })
  else await transferFile({ ...transfer, way: await placedWay(ends, await transfers()) })
  return true
}

async function restore(context: StepContext, source: Place, target: Place, name: string): Promise<void> {
  const { keep, move, signal } = context
  const { snapshots } = target.engine
  const uid = target.replica.physicalUid
  const { error } = await ended(context, target.engine, () => snapshots.restore(name, uid, signal))
  // The name is this replica's alone: the index came with a restore whose end nobody saw.
  if (error === null || error.code === 'index_already_exists') return
  if (error.code === 'no_space_left_on_device') throw new MoveFailure(`insufficient_space: ${error.message}`)
  if (error.code !== 'snapshot_invalid')
    throw new Error(`${move.target} does not restore the snapshot: ${error.message}`)
  const corrupt = (move.progress.corrupt ?? 0) + 1
  await keep({ corrupt })
  if (corrupt >= corruptMax) throw new MoveFailure(`transfer_corrupt: ${error.message}`)
  for (const place of [target, source]) answered('a file', await place.engine.snapshots.remove(name, signal))
  throw new Error(`the snapshot did not come over whole: ${error.message}`)
}

/** Begins a job and waits for its end. An engine that restarted has forgotten it: the step is begun again. */
async function ended(
  { clock, signal }: StepContext,
  { snapshots }: Engine,
  begin: () => ReturnType<Engine['snapshots']['job']>,
): Promise<EngineSnapshotJob> {
  const reply = await begin()
  if (reply.kind === 'refused') return { id: '', state: 'failed', error: reply.error }
  let job = answered('a snapshot', reply)
  for (
    let pause = jobPollMs;
    job.state === 'waiting' || job.state === 'running';
    pause = Math.min(jobPollMsMax, pause * 2)
  ) {
    await clock.sleep(pause, signal)
    job = answered('a snapshot', await snapshots.job(job.id, signal))
  }
  return job
}
