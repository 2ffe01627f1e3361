/** Parts of a file that lie for a while where others may read: each is sealed, and opens only as that part of that file. */
import { headerByteCount, sealingKey } from './seal.ts'

export interface FilePart {
  /** Of the file. */
  readonly name: string
  readonly start: number
  readonly bytes: Uint8Array
}

/** What a sealed part has more than its bytes. */
export const sealBytes = headerByteCount
/** Of the key of a file. */
export const partKeyBytes = 32

const contextOf = (name: string, start: number, byteCount: number) => `${name} ${start}-${start + byteCount}`

/** @param key  of `partKeyBytes`. */
export function sealPart(key: Uint8Array, { name, start, bytes }: FilePart): Buffer {
  return sealingKey(key).seal(bytes, contextOf(name, start, bytes.length))
}

/** The bytes. @throws SealBroken when they are of another part, or not what was sealed. */
export function openPart(key: Uint8Array, { name, start, bytes }: FilePart): Buffer {
  return sealingKey(key).open(bytes, contextOf(name, start, bytes.length - sealBytes))
}
