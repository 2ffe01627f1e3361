/** Where the backups of an installation lie, as configured. */
import { join, resolve } from 'node:path'
import type { Config } from '../../config/config.ts'
import type { ObjectStore } from '../../store/objects/object-store.ts'
import { openObjects } from '../../store/objects/open-objects.ts'

/** What the secret is derived for under which manifests hold keys of parts. */
export const backupPurpose = 'backups'

export function openBackupObjects({ backups, data }: Pick<Config, 'backups' | 'data'>): Promise<ObjectStore> {
  const { target, s3Endpoint, s3Region, s3AccessKey, s3SecretKey } = backups
  return openObjects({
    target: target ?? join(resolve(data.dir), 'backups'),
    ...{ endpoint: s3Endpoint, region: s3Region, accessKeyId: s3AccessKey },
    secretAccessKey: s3SecretKey?.reveal() ?? null,
  })
}
