/** Where backups of indexes lie, and how far back an index can be restored: fields of the section `backups`. */
import { duration, field, optional, placeOfObjects, secret, text, url } from './field.ts'

export const backupFields = {
  target: field(optional(placeOfObjects), null, {
    env: ['FLAPJACK_BACKUPS_TARGET'],
    initialText: '`backups` in the data folder',
    about:
      'Where [backups](backups.md) lie: a folder, or `s3://bucket/prefix` in S3 or in what speaks like it. A folder on the same disk as the data is lost with it. Processes that work on one database need the same one.',
  }),
  s3Endpoint: field(optional(url('http:', 'https:')), null, {
    env: ['FLAPJACK_BACKUPS_S3_ENDPOINT'],
    initialText: "Amazon's, of the region",
    about: 'Address of the S3 service, for others than Amazon.',
  }),
  s3Region: field(text, 'us-east-1', {
    env: ['FLAPJACK_BACKUPS_S3_REGION'],
    about: 'Region of the bucket.',
  }),
  s3AccessKey: field(optional(text), null, {
    env: ['FLAPJACK_BACKUPS_S3_ACCESS_KEY'],
    initialText: "as Amazon's clients find it: `AWS_ACCESS_KEY_ID`, profiles, the machine's role",
    about: 'Id of the key that may read, write, list and delete below the prefix.',
  }),
  s3SecretKey: field(optional(secret), null, {
    env: ['FLAPJACK_BACKUPS_S3_SECRET_KEY'],
    about: 'Secret of `backups.s3_access_key`.',
  }),
  restoreWindowMs: field(duration(0, 400 * 86_400_000), 86_400_000, {
    env: ['FLAPJACK_BACKUPS_RESTORE_WINDOW'],
    initialText: '24h',
    about:
      'How far back an index can be restored to any second, also one that was deleted: what was written is kept for so long at least, and with backups as far back as the last one before that. It costs the disk of these payloads.',
  }),
} as const
