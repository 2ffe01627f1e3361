/** What the store keeps of a key: the SHA-256 of its value, which is derived and never stored (M-G2). */
import { createHash, createHmac } from 'node:crypto'

/** @returns lower-case hex. */
export function keyHash(masterKey: string, uid: string): string {
  const value = createHmac('sha256', masterKey).update(uid.toLowerCase()).digest('hex')
  return createHash('sha256').update(value).digest('hex')
}
