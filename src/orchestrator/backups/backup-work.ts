/**
 * Makes one backup while the index is written to: settings as they are, then every document as it is when it is read, then
 * whatever the journal got meanwhile, up to one position. Carried out in this order the three come to exactly what the index
 * is at that position, since the journal's changes may be repeated (NF-20).
 *
 * Twice: safe. Parts that are there stay; documents in them are not read again.
 */
import { randomBytes } from 'node:crypto'
import { assert } from '../../lib/assert.ts'
import { documentId } from '../../replication/document-id.ts'
import type { Backup, BackupPart } from '../../store/backups.ts'
import type { ObjectStore } from '../../store/objects/object-store.ts'
import { isRead } from '../../topology/placement-states.ts'
import { documentsOf, isSame, isUndisturbed, sourceOf } from '../project-documents.ts'
import { type JobContext, JobFailure, keepRate, pollMs, projectOf } from './backup-context.ts'
import { deleteObjects, folderOf, manifestOf, PartWriter, readPart, writeManifest } from './backup-parts.ts'
import { journalSteps } from './journal-steps.ts'
import { pieceBytes, type ScriptStep } from './script-step.ts'

/** Times that it begins anew because settings changed, or a replica that was read was built anew. */
const attemptsMax = 5
/** In which the index completes no change. */
const standstillMsMax = 15 * 60_000

type Context = JobContext<Backup>

/** @throws JobFailure */
export async function makeBackup(context: Context): Promise<void> {
  const objects = await context.objects()
  const { state: begun, place } = context.job
  // Parts in a place that was configured before are out of reach.
  if (begun !== 'waiting' && begun !== 'done' && place !== objects.place)
    await again(context, '`backups.target` changed')
  const { ref } = await projectOf(context, context.job.project)
  const folder = context.job.folder ?? folderOf(ref, context.job)
  while (context.job.state !== 'done') {
    const { state } = context.job
    if (state === 'waiting') await begin(context, objects, folder)
    else if (state === 'copying') await copyDocuments(context, objects, folder)
    else await recordChanges(context, objects, folder, ref)
  }
}

async function begin(context: Context, objects: ObjectStore, folder: string): Promise<void> {
  const { job, lanes, keep, signal } = context
  // Of an attempt before.
  await deleteObjects(objects, folder, signal)
  // In this order: an index that has documents at this position has its primary key by now.
  const { completed, settings } = await lanes.completedSettings(job.index)
  const standing = await standingOf(context)
  const key = job.key ?? randomBytes(32)
  const writer = new PartWriter(objects, folder, key, 0)
  await writer.add({ kind: 'settings', settings }, 'documents', signal)
  const part = await writer.flush('documents', signal)
  assert(part !== undefined, 'settings fill a part')
  const { primaryKey, spread } = standing
  const found = { place: objects.place, folder, from: completed, primaryKey, spread, sources: [], key, failure: null }
  await keep({
    ...found,
    state: 'copying',
    parts: [part],
    byteCount: part.byteCount,
    documents: 0,
    documentCount: null,
  })
}

async function copyDocuments(context: Context, objects: ObjectStore, folder: string): Promise<void> {
  const { job, signal, keep, clock, catalogue, engineOf, history } = context
  const { key, from, primaryKey } = job
  assert(key !== null && from !== null, 'a backup that copies has begun')
  const before = await standingOf(context)
  // Parts of workers before are only as good as what they read.
  if (!isUndisturbed(job.sources, before.replicas)) return again(context, 'a replica was built anew while it was read')
  if (primaryKey !== null) {
    const there = new Set<string>()
    for (const part of job.parts) {
      for (const step of await readPart(objects, folder, key, part, signal)) addIds(there, step, primaryKey)
    }
    const writer = new PartWriter(objects, folder, key, job.parts.length)
    const nodes = new Map((await catalogue.nodes()).map((node) => [node.id, node]))
    const placements = before.replicas.filter((replica) => isRead(replica) && replica.applied >= from)
    // Written with the first part that has something of them, at the latest.
    const fresh = placements.filter((replica) => !job.sources.some((known) => isSame(known, replica)))
    await keep({ sources: [...job.sources, ...fresh.map(sourceOf)] })
    const index = { uid: job.uid, primaryKey, spread: before.spread }
    const source = { table: { node: (id: string) => nodes.get(id) }, engineOf }
    const listed = (count: number) => keep({ documentCount: there.size + count })
    const startedAt = clock.monotonic()
    let bytes = 0
    const took = async (part: BackupPart | undefined) => {
      if (part === undefined) return
      await keepPart(context, part)
      bytes += part.byteCount
      await keepRate(context, job.bytesPerSecond, bytes, startedAt)
    }
    const texts = documentsOf(source, { index, placements }, signal, { without: there, listed })
    for await (const step of putsOf(texts, primaryKey)) await took(await writer.add(step, 'documents', signal))
    await took(await writer.flush('documents', signal))
  }
  const after = await standingOf(context)
  if (!isUndisturbed(context.job.sources, after.replicas)) {
    return again(context, 'a replica was built anew while it was read')
  }
  // Nothing that was read can be of a later change.
  const position = after.head
  const appendedAt = (await history.appendedAt(job.index, position)) ?? 0
  await keep({ state: 'recording', position, takenAt: Math.max(clock.now(), appendedAt) })
}

async function recordChanges(context: Context, objects: ObjectStore, folder: string, ref: string): Promise<void> {
  const { job, signal, keep, lanes, history, secret } = context
  const { key, from, position } = job
  assert(key !== null && from !== null && position !== null, 'a backup that records has begun')
  await untilCompleted(context, position)
  // Documents were read under settings that they may not fit: the replay would begin with others.
  if (await history.isReshaped(job.index, from, position)) return again(context, 'its settings changed meanwhile')
  const parts = job.parts.filter(({ kind }) => kind === 'documents')
  const writer = new PartWriter(objects, folder, key, parts.length)
  for await (const { step } of journalSteps(lanes, job.index, from, position, signal)) {
    const part = await writer.add(step, 'changes', signal)
    if (part !== undefined) parts.push(part)
  }
  const last = await writer.flush('changes', signal)
  if (last !== undefined) parts.push(last)
  const byteCount = parts.reduce((sum, part) => sum + part.byteCount, 0)
  await keep({ parts, byteCount })
  await writeManifest(objects, folder, manifestOf(ref, { ...context.job, key }, secret), signal)
  await keep({ state: 'done', failure: null })
}

/** @throws JobFailure when the index stands still for long: others wait for their turn. */
async function untilCompleted(context: Context, position: number): Promise<void> {
  const { clock, signal } = context
  for (let reached = -1, since = clock.monotonic(); ; ) {
    const { completed } = await standingOf(context)
    if (completed >= position) return
    if (completed > reached) {
      reached = completed
      since = clock.monotonic()
    }
    if (clock.monotonic() - since > standstillMsMax) {
      throw new JobFailure(`the index stands still at position ${completed}; the backup needs position ${position}`)
    }
    await clock.sleep(pollMs, signal)
  }
}

async function again({ job, keep }: Context, why: string): Promise<void> {
  if (job.attempts + 1 >= attemptsMax) throw new JobFailure(`${why}, ${attemptsMax} times`)
  await keep({ state: 'waiting', attempts: job.attempts + 1, failure: `begins anew: ${why}` })
}

async function keepPart({ job, keep }: Context, part: BackupPart): Promise<void> {
  const parts = [...job.parts, part]
  const documents = parts.reduce((sum, { lines }) => sum + lines, 0)
  await keep({ parts, documents, byteCount: job.byteCount + part.byteCount })
}

async function standingOf({ replicas, job }: Context) {
  const standing = await replicas.standing(job.index)
  if (standing === undefined) throw new JobFailure('the index was deleted')
  return standing
}

/** Documents in pieces, each a change of its own. */
async function* putsOf(texts: AsyncIterable<string>, primaryKey: string): AsyncGenerator<ScriptStep> {
  let waiting: Buffer[] = []
  let size = 0
  const take = (): ScriptStep => {
    const lines = waiting.length
    const piece = { bytes: Buffer.concat(waiting), lines, isLast: true }
    waiting = []
    size = 0
    return { kind: 'put', merge: false, primaryKey, received: lines, distinct: lines, piece }
  }
  for await (const text of texts) {
    const line = Buffer.from(`${text}\n`)
    waiting.push(line)
    size += line.byteLength
    if (size >= pieceBytes) yield take()
  }
  if (waiting.length > 0) yield take()
}

function addIds(ids: Set<string>, step: ScriptStep, primaryKey: string): void {
  if (step.kind !== 'put') return
  for (const line of Buffer.from(step.piece.bytes).toString().split('\n')) {
    const id = line === '' ? undefined : documentId(JSON.parse(line), primaryKey)
    if (id !== undefined) ids.add(id)
  }
}
