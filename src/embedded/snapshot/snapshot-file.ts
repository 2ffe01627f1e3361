/**
 * The file of a single-index snapshot, `.fjsis` (P-27): a magic number, then frames. Written and read as a stream, with one
 * chunk in memory at a time.
 *
 * A frame is its kind (one byte), the length of its body (four bytes), the CRC-32 of these five bytes and the body (four
 * bytes), and the body. In order: one header, for each section its chunks, compressed or not, and its end, the manifest, and
 * nothing behind it. Numbers are little-endian. Every bit of the file is covered by a checksum.
 */
import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { crc32, deflateRaw, inflateRaw } from 'node:zlib'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'

export const snapshotVersion = 1

/** What a snapshot is of. */
export interface SnapshotHeader {
  /** Name of the index when it was made; a snapshot can be restored under any. */
  readonly uid: string
  readonly primaryKey: string | null
  readonly documentCount: number
  /** The index is as it was after this task, and before every later one that changes it; null = no task of this engine. */
  readonly task: number | null
  /** Format of the tables inside; another one cannot be restored. */
  readonly indexFormat: number
  /** When the snapshot was made, milliseconds since 1970. */
  readonly madeAt: number
}

/** The file is no snapshot, or not one that we can read. The message says which part is wrong. */
export class SnapshotInvalid extends Error {
  override readonly name = 'SnapshotInvalid'
}

export interface SnapshotSection {
  readonly name: string
  readonly bytes: AsyncIterable<Uint8Array>
}

export type SnapshotPart =
  | { readonly kind: 'header'; readonly header: SnapshotHeader }
  | { readonly kind: 'chunk'; readonly section: string; readonly bytes: Uint8Array }
  | { readonly kind: 'end' }

const magic = Buffer.from('FJSIS\r\n\x1a', 'latin1')
const chunkBytesMax = 4 * 2 ** 20
/** A chunk that does not compress grows by a few bytes. */
const bodyBytesMax = chunkBytesMax + 64 * 1024
const frameHeadBytes = 9
const sectionsMax = 16
const frameKind = { header: 1, chunk: 2, sectionEnd: 3, manifest: 4, plainChunk: 5 } as const

const deflate = promisify<Uint8Array, { level: number }, Buffer>(deflateRaw)
const inflate = promisify<Uint8Array, { maxOutputLength: number }, Buffer>(inflateRaw)

/** The bytes of a snapshot. To compress takes more than ten times the processor time of all the rest. */
export async function* writeSnapshot(
  header: SnapshotHeader,
  sections: readonly SnapshotSection[],
  isCompressed = true,
): AsyncGenerator<Buffer> {
  const whole = createHash('sha256')
  const emit = (bytes: Buffer): Buffer => {
    whole.update(bytes)
    return bytes
  }
  yield emit(magic)
  yield emit(frame(frameKind.header, jsonBytes({ format: snapshotVersion, ...header })))
  const ends: JsonObject[] = []
  for (const { name, bytes } of sections) {
    const digest = createHash('sha256')
    let byteCount = 0
    for await (const piece of bytes) {
      for (let at = 0; at < piece.length; at += chunkBytesMax) {
        const chunk = piece.subarray(at, at + chunkBytesMax)
        digest.update(chunk)
        byteCount += chunk.length
        yield emit(
          isCompressed
            ? frame(frameKind.chunk, await deflate(chunk, { level: 1 }))
            : frame(frameKind.plainChunk, chunk),
        )
      }
    }
    const end = { name, byteCount, sha256: digest.digest('hex') }
    ends.push(end)
    yield emit(frame(frameKind.sectionEnd, jsonBytes(end)))
  }
  yield frame(frameKind.manifest, jsonBytes({ sections: ends, sha256: whole.copy().digest('hex') }))
}

/**
 * Reads a snapshot and checks all of it. What was yielded may only be believed once `end` came.
 *
 * @throws SnapshotInvalid
 */
export async function* readSnapshot(source: AsyncIterable<Uint8Array>): AsyncGenerator<SnapshotPart> {
  const bytes = new ByteQueue(source)
  const whole = createHash('sha256')
  const start = await bytes.take(magic.length)
  if (start === undefined || !start.equals(magic)) throw new SnapshotInvalid('The file is not a snapshot of an index.')
  whole.update(start)

  const first = await readFrame(bytes)
  if (first.kind !== frameKind.header) throw new SnapshotInvalid('The snapshot has no header.')
  yield { kind: 'header', header: readHeader(first.body) }
  whole.update(first.head).update(first.body)

  const ends: JsonObject[] = []
  let digest = createHash('sha256')
  let byteCount = 0
  for (;;) {
    const { kind, head, body } = await readFrame(bytes)
    if (kind === frameKind.chunk || kind === frameKind.plainChunk) {
      const chunk = kind === frameKind.plainChunk ? body : await unpacked(body)
      digest.update(chunk)
      byteCount += chunk.length
      whole.update(head).update(body)
      yield { kind: 'chunk', section: sectionName, bytes: chunk }
    } else if (kind === frameKind.sectionEnd) {
      const end = readJson(body, 'section end')
      if (end.byteCount !== byteCount || end.sha256 !== digest.digest('hex') || ends.length === sectionsMax)
        throw new SnapshotInvalid(`Section \`${String(end.name)}\` of the snapshot does not have its checksum.`)
      ends.push(end)
      digest = createHash('sha256')
      byteCount = 0
      whole.update(head).update(body)
    } else if (kind === frameKind.manifest) {
      const manifest = readJson(body, 'manifest')
      const isWhole = byteCount === 0 && ends.length > 0 && JSON.stringify(manifest.sections) === JSON.stringify(ends)
      if (!isWhole || manifest.sha256 !== whole.digest('hex'))
        throw new SnapshotInvalid('The manifest of the snapshot does not have the checksum of its sections.')
      if (!(await bytes.isAtEnd())) throw new SnapshotInvalid('Something stands behind the end of the snapshot.')
      yield { kind: 'end' }
      return
    } else throw new SnapshotInvalid(`The snapshot has a part of unknown kind ${kind}.`)
  }
}

function unpacked(body: Buffer): Promise<Buffer> {
  return inflate(body, { maxOutputLength: chunkBytesMax }).catch((cause: unknown) => {
    throw new SnapshotInvalid('A chunk of the snapshot cannot be unpacked.', { cause })
  })
}

/** The header alone. @throws SnapshotInvalid */
export async function readSnapshotHeader(source: AsyncIterable<Uint8Array>): Promise<SnapshotHeader> {
  for await (const part of readSnapshot(source)) if (part.kind === 'header') return part.header
  throw new SnapshotInvalid('The snapshot has no header.')
}

/** Version 1 has one section: the index's own file. */
export const sectionName = 'index'

function frame(kind: number, body: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(frameHeadBytes + body.length)
  bytes[0] = kind
  bytes.writeUInt32LE(body.length, 1)
  bytes.set(body, frameHeadBytes)
  bytes.writeUInt32LE(frameSum(bytes, body), 5)
  return bytes
}

const frameSum = (head: Buffer, body: Uint8Array): number => crc32(body, crc32(head.subarray(0, 5)))

async function readFrame(
  source: ByteQueue,
): Promise<{ readonly kind: number; readonly head: Buffer; readonly body: Buffer }> {
  const head = await source.take(frameHeadBytes)
  if (head === undefined) throw truncated()
  const length = head.readUInt32LE(1)
  if (length > bodyBytesMax) throw new SnapshotInvalid('A part of the snapshot has an impossible length.')
  const body = await source.take(length)
  if (body === undefined) throw truncated()
  if (frameSum(head, body) !== head.readUInt32LE(5))
    throw new SnapshotInvalid('A part of the snapshot does not have its checksum.')
  return { kind: head[0]!, head, body }
}

const truncated = (): SnapshotInvalid => new SnapshotInvalid('The snapshot ends too early: the file is cut off.')

const jsonBytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

function readJson(bytes: Buffer, what: string): JsonObject {
  try {
    const value = JSON.parse(bytes.toString('utf8')) as Json
    if (isObject(value)) return value
  } catch {
    // Said below.
  }
  throw new SnapshotInvalid(`The ${what} of the snapshot cannot be read.`)
}

function readHeader(bytes: Buffer): SnapshotHeader {
  const { format, uid, primaryKey, documentCount, task, indexFormat, madeAt } = readJson(bytes, 'header')
  if (typeof format === 'number' && format > snapshotVersion)
    throw new SnapshotInvalid(
      `The snapshot has format ${format}; this program reads formats up to ${snapshotVersion}. Restore it with a newer version.`,
    )
  if (
    format !== snapshotVersion ||
    typeof uid !== 'string' ||
    (typeof primaryKey !== 'string' && primaryKey !== null) ||
    typeof documentCount !== 'number' ||
    (typeof task !== 'number' && task !== null) ||
    typeof indexFormat !== 'number' ||
    typeof madeAt !== 'number'
  )
    throw new SnapshotInvalid('The header of the snapshot cannot be read.')
  return { uid, primaryKey, documentCount, task, indexFormat, madeAt }
}

/** Bytes of a stream in pieces of the wanted size. */
class ByteQueue {
  readonly #source: AsyncIterator<Uint8Array>
  #pieces: Uint8Array[] = []
  #byteCount = 0

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  /** Exactly so many bytes, or undefined when the stream ends before. */
  async take(byteCount: number): Promise<Buffer | undefined> {
    while (this.#byteCount < byteCount) if (!(await this.#pull())) return undefined
    const all = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces)
    const taken = Buffer.from(all.buffer, all.byteOffset, byteCount)
    const rest = all.subarray(byteCount)
    this.#pieces = rest.length === 0 ? [] : [rest]
    this.#byteCount = rest.length
    return taken
  }

  async isAtEnd(): Promise<boolean> {
    return this.#byteCount === 0 && !(await this.#pull())
  }

  async #pull(): Promise<boolean> {
    for (;;) {
      const { done, value } = await this.#source.next()
      if (done === true) return false
      if (value.length === 0) continue
      this.#pieces.push(value)
      this.#byteCount += value.length
      return true
    }
  }
}
