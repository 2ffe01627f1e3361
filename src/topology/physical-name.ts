/** Physical names: what an index is called on a node (P-02). Made here, never taken apart: the catalogue maps back. */
import { createHash } from 'node:crypto'
import { indexUidBytesMax } from '../api/index-uid.ts'

/**
 * The name of one generation of an index on a node.
 *
 * @param ref         the project's reference: 12 characters, no underscore, so that it ends at the first one.
 * @param uid         the logical name.
 * @param generation  1 or more; the first generation carries no number.
 */
export function physicalName(ref: string, uid: string, generation: number): string {
  const plain = generation === 1 ? `${ref}_${uid}` : `${ref}__g${generation}_${uid}`
  if (plain.length <= indexUidBytesMax) return plain
  const digest = createHash('sha256').update(uid).digest('hex').slice(0, 32)
  return generation === 1 ? `${ref}_h${digest}` : `${ref}__g${generation}_h${digest}`
}
