/** Secrets are compared by digest: equal lengths, and nothing to learn from how long a comparison took. */
import { createHash } from 'node:crypto'

export function tokenDigest(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
