/** Opens the object store that a configuration names: a folder, or a bucket of S3. */
import { resolve } from 'node:path'
import { openFolderObjects } from './folder-objects.ts'
import type { ObjectStore } from './object-store.ts'

export interface ObjectPlace {
  /** A folder, or `s3://bucket/prefix`. */
  readonly target: string
  readonly endpoint: string | null
  readonly region: string
  readonly accessKeyId: string | null
  readonly secretAccessKey: string | null
}

const bucketPattern = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/([\w.-]+(?:\/[\w.-]+)*))?\/?$/

export async function openObjects({ target, ...place }: ObjectPlace): Promise<ObjectStore> {
  const [, bucket, prefix = ''] = bucketPattern.exec(target) ?? []
  if (bucket === undefined) return openFolderObjects(resolve(target))
  const { endpoint, region, accessKeyId, secretAccessKey } = place
  const credentials = accessKeyId === null || secretAccessKey === null ? null : { accessKeyId, secretAccessKey }
  const { openS3Objects } = await import('./s3-objects.ts')
  return openS3Objects({ bucket, prefix, endpoint, region, credentials })
}
