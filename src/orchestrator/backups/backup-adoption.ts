/** Takes over backups that another installation made, or that this one made before its database was lost. */
import type { Backup, Backups } from '../../store/backups.ts'
import type { Project } from '../../store/catalogue.ts'
import type { ObjectStore } from '../../store/objects/object-store.ts'
import { BackupUnusable, keyOf, manifestName, readManifest } from './backup-parts.ts'

export interface Adoption {
  /** Ids. */
  readonly adopted: readonly string[]
  /** Those that this installation has already. */
  readonly known: readonly string[]
  /** One sentence each: manifests that cannot be read. */
  readonly faults: readonly string[]
}

/**
 * @param ref  reference of the project whose they were (P-02).
 * @param project  whose they become.
 */
export async function adoptBackups(
  {
    objects,
    backups,
    secret,
  }: { readonly objects: ObjectStore; readonly backups: Pick<Backups, 'adopt'>; readonly secret: Buffer },
  ref: string,
  project: Project,
  signal: AbortSignal,
): Promise<Adoption> {
  const found = { adopted: [] as string[], known: [] as string[], faults: [] as string[] }
  for await (const { name } of objects.list(`${ref}/`)) {
    const folder = name.slice(0, name.lastIndexOf('/'))
    if (name !== manifestName(folder)) continue
    try {
      const backup = await readBackup(objects, folder, project, secret, signal)
      const isNew = await backups.adopt(backup)
      found[isNew ? 'adopted' : 'known'].push(backup.id)
    } catch (error) {
      if (!(error instanceof BackupUnusable)) throw error
      found.faults.push(error.message)
    }
  }
  return found
}

async function readBackup(
  objects: ObjectStore,
  folder: string,
  project: Project,
  secret: Buffer,
  signal: AbortSignal,
): Promise<Backup> {
  const manifest = await readManifest(objects, folder, signal)
  const { id, index, uid, primaryKey, spread, from, position, takenAt, createdAt, documents, parts } = manifest
  return {
    ...{ id, project: project.id, index, uid, state: 'done', position, takenAt, key: keyOf(manifest, secret) },
    ...{ createdAt, updatedAt: createdAt, finishedAt: createdAt, isScheduled: false, bytesPerSecond: null },
    ...{
      place: objects.place,
      folder,
      from,
      primaryKey,
      spread,
      sources: [],
      parts,
      documents,
      documentCount: documents,
    },
    ...{ byteCount: parts.reduce((sum, part) => sum + part.byteCount, 0), attempts: 0, failure: null },
  }
}
