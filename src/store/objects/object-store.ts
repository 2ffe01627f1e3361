/** Named pieces of bytes outside of the database: backups, and what goes from node to node by way of them. */

export interface ObjectInfo {
  readonly name: string
  readonly byteCount: number
}

/** Every method may throw `ObjectsUnavailable`. A name is text of `A-Z a-z 0-9 . _ -`, with `/` between its parts. */
export interface ObjectStore {
  /** For people; without secrets. */
  readonly place: string
  /**
   * Whole and durable when it resolves; until then nothing of it is seen under this name, and what stood there before stays.
   *
   * @param byteCount  of what comes, if it is known: very large objects need it.
   */
  put(
    name: string,
    bytes: Uint8Array | AsyncIterable<Uint8Array>,
    options?: { readonly byteCount?: number; readonly signal?: AbortSignal },
  ): Promise<ObjectInfo>
  /** @throws ObjectMissing, when the first byte is read. */
  get(name: string, options?: { readonly signal?: AbortSignal }): AsyncIterable<Uint8Array>
  /** `undefined` = there is no such object. */
  find(name: string): Promise<ObjectInfo | undefined>
  /** Those whose names begin so, in any order. */
  list(prefix: string): AsyncIterable<ObjectInfo>
  /** A missing object is no error. */
  delete(name: string): Promise<void>
  /** Makes an address at which whoever has it may read or write the object for so long; null = this store has none. */
  readonly presign: ((name: string, method: 'GET' | 'PUT', seconds: number) => Promise<string>) | null
  close(): void
}

export class ObjectMissing extends Error {
  override readonly name = 'ObjectMissing'
}

/** The store does not answer or refuses; what was asked may be asked again. */
export class ObjectsUnavailable extends Error {
  override readonly name = 'ObjectsUnavailable'
}

const namePattern = /^[\w.-]+(?:\/[\w.-]+)*$/

export function isObjectName(name: string): boolean {
  return namePattern.test(name) && name.length <= 900 && !name.split('/').some((part) => /^\.*$/.test(part))
}

export async function readWhole(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of bytes) chunks.push(chunk)
  return Buffer.concat(chunks)
}
