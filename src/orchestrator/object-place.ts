/** Where backups lie, and what copies go over, as configured. */
import { join, resolve } from 'node:path'
import type { Config } from '../config/config.ts'
import { assert } from '../lib/assert.ts'
import type { ObjectStore } from '../store/objects/object-store.ts'
import { openObjects } from '../store/objects/open-objects.ts'

export function openBackupObjects(config: Pick<Config, 'backups' | 'data'>): Promise<ObjectStore> {
  return openPlace(config, config.backups.target ?? join(resolve(config.data.dir), 'backups'))
}

/** Before: `moves.transferTarget` is set. */
export function openTransferObjects(config: Pick<Config, 'backups' | 'moves'>): Promise<ObjectStore> {
  const { transferTarget } = config.moves
  assert(transferTarget !== null, 'copies go over a store that is configured')
  return openPlace(config, transferTarget)
}

/** There is one S3 service of an installation. */
function openPlace({ backups }: Pick<Config, 'backups'>, target: string): Promise<ObjectStore> {
  const { s3Endpoint, s3Region, s3AccessKey, s3SecretKey } = backups
  return openObjects({
    target,
    ...{ endpoint: s3Endpoint, region: s3Region, accessKeyId: s3AccessKey },
    secretAccessKey: s3SecretKey?.reveal() ?? null,
  })
}
