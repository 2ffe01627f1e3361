/** Where objects of an installation lie, as configured. */
import { join, resolve } from 'node:path'
import type { Config } from '../config/config.ts'
import type { ObjectStore } from '../store/objects/object-store.ts'
import { openObjects } from '../store/objects/open-objects.ts'

export function openBackupObjects(config: Pick<Config, 'backups' | 'data'>): Promise<ObjectStore> {
  return openPlace(config, config.backups.target ?? join(resolve(config.data.dir), 'backups'))
}

/** @param target  a folder, or a bucket of the S3 service that backups have: an installation has one. */
export function openPlace({ backups }: Pick<Config, 'backups'>, target: string): Promise<ObjectStore> {
  const { s3Endpoint, s3Region, s3AccessKey, s3SecretKey } = backups
  return openObjects({
    target,
    ...{ endpoint: s3Endpoint, region: s3Region, accessKeyId: s3AccessKey },
    secretAccessKey: s3SecretKey?.reveal() ?? null,
  })
}
