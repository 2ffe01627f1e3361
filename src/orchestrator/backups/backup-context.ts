/** What backups and restores work with. */
import type { Engine } from '../../engine/engine.ts'
import type { JournalHistory } from '../../journal/history.ts'
import type { Journal, LaneJournal, ReplicaJournal } from '../../journal/ports.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/random.ts'
import type { Backup, Backups } from '../../store/backups.ts'
import type { Node, Project, ProjectId } from '../../store/catalogue.ts'
import type { ObjectStore } from '../../store/objects/object-store.ts'
import type { Catalogue } from '../../store/ports.ts'
import { manifestName } from './backup-parts.ts'

export interface BackupDeps {
  readonly worker: string
  readonly backups: Backups
  readonly history: JournalHistory
  readonly journal: Pick<Journal, 'append' | 'stage' | 'discard' | 'writeState' | 'task'>
  readonly lanes: Pick<LaneJournal, 'read' | 'open' | 'completedSettings'>
  readonly replicas: Pick<ReplicaJournal, 'standing'>
  readonly catalogue: Pick<Catalogue, 'nodes' | 'projects' | 'snapshot'>
  /** Opened at the first use, and once. */
  readonly objects: () => Promise<ObjectStore>
  readonly engineOf: (node: Node) => Engine
  /** 32 bytes that follow from the installation's sealing key: manifests hold the keys of parts under it. */
  readonly secret: Buffer
  readonly clock: Clock
  readonly random: Random
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void }
}

/** A job that this process holds. */
export interface JobContext<Job> extends BackupDeps {
  readonly job: Job
  readonly signal: AbortSignal
  /** Runs what carries much: only a few jobs do so at once in one process. */
  inTurn<T>(work: () => Promise<T>): Promise<T>
  /** Writes how far it is. @throws when the job is no longer ours, or something else is wanted of it. */
  keep(change: Partial<Job>): Promise<void>
}

/** The job cannot be done, now or ever; the message is for operators. */
export class JobFailure extends Error {}

export const pollMs = 100

/** @throws JobFailure when it is gone. */
export async function projectOf(
  { catalogue }: { readonly catalogue: Pick<Catalogue, 'projects'> },
  id: ProjectId,
): Promise<Project> {
  const project = (await catalogue.projects()).find((one) => one.id === id)
  if (project === undefined) throw new JobFailure('the project is gone')
  return project
}

/**
 * The objects that lie in the configured place.
 *
 * @throws JobFailure when the backup was made in another one and is not here: copied as a whole, it may be.
 */
export async function objectsOf(
  { objects: open }: Pick<BackupDeps, 'objects'>,
  { id, place, folder }: Pick<Backup, 'id' | 'place' | 'folder'>,
): Promise<ObjectStore> {
  const objects = await open()
  if (place === null || folder === null || place === objects.place) return objects
  if ((await objects.find(manifestName(folder))) !== undefined) return objects
  throw new JobFailure(
    `backup ${id} lies in ${place}; \`backups.target\` names ${objects.place}, which does not have it`,
  )
}

/** Holds a job to its rate: waits until so many bytes since `startedAt` fit. */
export async function keepRate(
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
  bytesPerSecond: number | null,
  bytes: number,
  startedAt: number,
): Promise<void> {
  if (bytesPerSecond === null) return
  const dueMs = (bytes / bytesPerSecond) * 1_000 - (clock.monotonic() - startedAt)
  if (dueMs > 0) await clock.sleep(dueMs, signal)
}
