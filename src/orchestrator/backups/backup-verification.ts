/** Reads a backup whole and says what of it is not as its manifest says (P-30). */
import type { Backup } from '../../store/backups.ts'
import type { ObjectStore } from '../../store/objects/object-store.ts'
import { BackupUnusable, keyOf, readManifest, readPart } from './backup-parts.ts'

export interface VerifiedBackup {
  readonly id: string
  readonly parts: number
  readonly bytes: number
  /** One sentence each; none = it can be restored. */
  readonly faults: readonly string[]
}

/** Memory: one part. */
export async function verifyBackup(
  objects: ObjectStore,
  { id, folder, key: ownKey }: Backup,
  secret: Buffer,
  signal: AbortSignal,
  onPart: (done: number, all: number) => void,
): Promise<VerifiedBackup> {
  const faults: string[] = []
  const noted = async <T>(look: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await look()
    } catch (error) {
      if (!(error instanceof BackupUnusable)) throw error
      faults.push(error.message)
      return undefined
    }
  }
  const manifest = folder === null ? undefined : await noted(() => readManifest(objects, folder, signal))
  if (manifest === undefined || folder === null) return { id, parts: 0, bytes: 0, faults }
  let bytes = 0
  const key = ownKey ?? (await noted(async () => keyOf(manifest, secret)))
  for (const [at, part] of manifest.parts.entries()) {
    if (key !== undefined) await noted(() => readPart(objects, folder, key, part, signal))
    bytes += part.byteCount
    onPart(at + 1, manifest.parts.length)
  }
  return { id, parts: manifest.parts.length, bytes, faults }
}
