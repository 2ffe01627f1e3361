/** Snapshots of single indexes as engines offer them (P-27), the embedded one or a build of Meilisearch with its routes. */
import type { EngineReply } from './engine.ts'

export interface SnapshotOffer {
  /** Whose formats these are. */
  readonly engine: string
  /** A snapshot can be restored by an engine of the same kind that reads the same format. */
  readonly indexFormat: number
  readonly freeBytes: number
  /** Where its files lie, as a path of its machine. */
  readonly folder: string
  /** It makes and takes the index's own file as well, for engines that reach each other's folders. */
  readonly hasRaw: boolean
  /** It takes parts to addresses and from there. */
  readonly hasAddresses: boolean
}

export interface EngineSnapshotJob {
  readonly id: string
  readonly state: 'waiting' | 'running' | 'succeeded' | 'failed'
  readonly error: { readonly code: string; readonly message: string } | null
}

export interface SnapshotFile {
  readonly name: string
  readonly byteCount: number
  /** When the snapshot was made, as the engine writes it: two files of one name that differ in it are different. */
  readonly madeAt: string
}

/** A part of a file. */
export interface SnapshotPart {
  readonly start: number
  readonly bytes: Uint8Array
  /** `Content-Digest` of the bytes (RFC 9530), as the engine that has the file computed it. */
  readonly digest: string
}

/** A part of a file that lies, sealed, where the engine can reach it (`sealPart`). */
export interface PlacedPart {
  readonly start: number
  /** Not included. */
  readonly end: number
  /** Where the engine may write or read it, for a while. */
  readonly address: string
  /** 32 bytes. */
  readonly key: Uint8Array
}

export interface EngineSnapshots {
  /** null = the engine has no such routes. */
  offer(signal: AbortSignal): Promise<EngineReply<SnapshotOffer | null>>
  /** Size of an index as it is stored. */
  indexBytes(uid: string, signal: AbortSignal): Promise<EngineReply<number>>
  /** Begins to make `name`. Twice is safe: what is there under this name, or being made, is not made again. */
  create(
    uid: string,
    order: { readonly name: string; readonly isCompressed: boolean; readonly isRaw: boolean },
    signal: AbortSignal,
  ): Promise<EngineReply<EngineSnapshotJob>>
  /** Jobs are forgotten at a restart: refused with `not_found`. */
  job(id: string, signal: AbortSignal): Promise<EngineReply<EngineSnapshotJob>>
  /** null = there is no whole file of this name. */
  find(name: string, signal: AbortSignal): Promise<EngineReply<SnapshotFile | null>>
  /**
   * Bytes `start` to `end`, the end not included, at most 16 MiB. What a break of the connection cut off is asked for again;
   * whether they have their digest is for whoever receives them to say.
   */
  read(name: string, start: number, end: number, signal: AbortSignal): Promise<EngineReply<SnapshotPart>>
  /**
   * Adds a part where it follows what the engine has; answers how much that is now. Without a part it only asks. Refused
   * with 422 when the part does not have its digest.
   */
  write(name: string, byteCount: number, part: SnapshotPart | null, signal: AbortSignal): Promise<EngineReply<number>>
  /** Puts a part of a file, at most 16 MiB, to its address. Refused with 502 when that is not reached, or refuses. */
  send(name: string, part: PlacedPart, signal: AbortSignal): Promise<EngineReply<'sent'>>
  /** As `write`, with what lies at the address of the part. Refused with 502 as `send`, with 422 when it is not that part. */
  fetch(name: string, byteCount: number, part: PlacedPart, signal: AbortSignal): Promise<EngineReply<number>>
  /** Takes the file from the folder of another engine; `false` = there is none that can be reached. Twice is safe. */
  link(name: string, folder: string, signal: AbortSignal): Promise<EngineReply<boolean>>
  /** Begins to restore `name` as a new index. The job fails with `index_already_exists` where there is one. */
  restore(name: string, uid: string, signal: AbortSignal): Promise<EngineReply<EngineSnapshotJob>>
  /** Twice is safe; takes an upload that is not whole as well. */
  remove(name: string, signal: AbortSignal): Promise<EngineReply<'removed'>>
}

const notOffered = async (): Promise<{ readonly kind: 'failed'; readonly reason: string }> => ({
  kind: 'failed',
  reason: 'the engine has no snapshots of single indexes',
})

/** Those of an engine that has none. */
export const noSnapshots: EngineSnapshots = {
  offer: async () => ({ kind: 'answered', value: null }),
  indexBytes: notOffered,
  create: notOffered,
  job: notOffered,
  find: notOffered,
  read: notOffered,
  write: notOffered,
  send: notOffered,
  fetch: notOffered,
  link: notOffered,
  restore: notOffered,
  remove: notOffered,
}
