/** Names of indexes on nodes (P-02). Opaque: the placement row is the only way back. Pure. */
import { createHash } from 'node:crypto'

const physicalUidBytesMax = 400

/**
 * The `n`-th candidate for the physical name of a logical one: `<ref>_<uid>`, then `<ref>__g<n>_<uid>`; a hash stands for
 * names that would be too long.
 *
 * @param ref  the project's reference.
 * @param n  1 or more; raised while the name was ever used on the node.
 */
export function physicalUid(ref: string, uid: string, n: number): string {
  const prefix = n === 1 ? `${ref}_` : `${ref}__g${n}_`
  const plain = `${prefix}${uid}`
  if (Buffer.byteLength(plain) <= physicalUidBytesMax) return plain
  return `${prefix}h${createHash('sha256').update(uid).digest('hex').slice(0, 32)}`
}
