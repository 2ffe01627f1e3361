/**
 * Checksums of the pages of an LMDB file, in a file beside it: LMDB itself has none, and would read a damaged page as if
 * it were what was written, or crash.
 *
 * They are written when the index rests: pages are never changed in place, so only those written since the last time are
 * summed. Pages in no use have none, so that nobody reads them to compare them. What a crash left without sums, pages of later transactions, is told apart by the transaction's number that each
 * page carries, and believed.
 */
import { type FileHandle, open, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { type Meta, newest, PageFault, readFreePages, readMetas, walkPages } from './page-file.ts'

/** The file does not hold what was written into it. The message says where, for people. */
export class FileDamaged extends Error {
  override readonly name = 'FileDamaged'
}

export interface Sums {
  readonly txn: number
  readonly pageBytes: number
  /** CRC-32 by page; 0 = in no use when the others were summed. */
  readonly values: Uint32Array
}

export const dataName = 'data.mdb'
export const sumsName = 'pages.sum'
const magic = Buffer.from('FJSUM\x01\r\n', 'latin1')
const headBytes = 24

/** Never 0, which means that there is no sum. */
export const pageSum = (bytes: Buffer): number => crc32(bytes) || 1

/** Both meta pages; pages are not larger than the default. */
export async function readStart(file: FileHandle, pageBytes = 65_536): Promise<Buffer> {
  const bytes = Buffer.alloc(pageBytes * 2)
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0)
  return bytes.subarray(0, bytesRead)
}

class Interrupted extends Error {}

/**
 * Writes the checksums of the file in `folder`. Run while nobody writes to it. A crash leaves the sums of before, or none.
 *
 * @param isWanted  asked again and again; true = give up.
 * @returns false when it was given up.
 * @throws FileDamaged when its pages do not hang together.
 */
export function sealPages(folder: string, isWanted: () => boolean = () => false): Promise<boolean> {
  return seal(folder, isWanted, false)
}

/**
 * The same, of a file that may be written to: answers false when it was. A page in use is not written before the commit that
 * frees it, so what was read is of one state as long as no transaction was committed.
 */
export function sealOpenPages(folder: string, isWanted: () => boolean = () => false): Promise<boolean> {
  return seal(folder, isWanted, true)
}

async function seal(folder: string, isWanted: () => boolean, isOpen: boolean): Promise<boolean> {
  const path = join(folder, dataName)
  const file = await open(path, 'r')
  try {
    const start = await readStart(file)
    if (start.length === 0) return true
    const meta = newest(readMetas(start))
    const known = await readSums(folder)
    const before = known?.pageBytes === meta.pageBytes && known.txn <= meta.txn ? known : undefined
    if (before?.txn === meta.txn) return true
    const sums = await sumsOf(file, meta, start, before, isWanted).catch(async (error: unknown) => {
      if (isOpen && error instanceof PageFault && !(await isAt(file, meta))) throw new Interrupted()
      throw error
    })
    if (isOpen && !(await isAt(file, meta))) return false
    await writeSums(folder, sums)
    return true
  } catch (error) {
    if (error instanceof Interrupted) return false
    if (error instanceof PageFault) throw new FileDamaged(`${path}: ${error.message}`)
    throw error
  } finally {
    await file.close()
  }
}

async function sumsOf(
  file: FileHandle,
  meta: Meta,
  start: Buffer,
  before: Sums | undefined,
  isWanted: () => boolean,
): Promise<Sums> {
  const { pageBytes, txn: newestTxn } = meta
  const values = new Uint32Array(meta.lastPage + 1)
  if (before !== undefined) values.set(before.values.subarray(0, values.length))
  for (const page of (await readFreePages(file.fd, meta)).pages) values[page] = 0
  await walkPages(file.fd, meta, (page, pageCount, txn, bytes) => {
    if (isWanted()) throw new Interrupted()
    if (before !== undefined && txn <= before.txn) return false
    for (let each = 0; each < pageCount; each += 1)
      values[page + each] = pageSum(bytes.subarray(each * pageBytes, (each + 1) * pageBytes))
    return true
  })
  for (const page of [0, 1]) values[page] = pageSum(start.subarray(page * pageBytes, (page + 1) * pageBytes))
  return { txn: newestTxn, pageBytes, values }
}

/** Whether the file's newest transaction is this one. A meta page that is being written may not be readable. */
export async function isAt(file: FileHandle, { txn, pageBytes }: Pick<Sums, 'txn' | 'pageBytes'>): Promise<boolean> {
  try {
    return newest(readMetas(await readStart(file, pageBytes))).txn === txn
  } catch (error) {
    if (error instanceof PageFault) return false
    throw error
  }
}

async function writeSums(folder: string, { txn, pageBytes, values }: Sums): Promise<void> {
  const bytes = Buffer.alloc(headBytes + values.length * 4)
  magic.copy(bytes)
  bytes.writeUInt32LE(pageBytes, 8)
  bytes.writeUInt32LE(txn % 2 ** 32, 12)
  bytes.writeUInt32LE(Math.floor(txn / 2 ** 32), 16)
  Buffer.from(values.buffer, values.byteOffset, values.byteLength).copy(bytes, headBytes)
  bytes.writeUInt32LE(sumsSum(bytes), 20)
  const draft = join(folder, `${sumsName}.draft`)
  await writeFile(draft, bytes)
  await rename(draft, join(folder, sumsName))
}

const sumsSum = (bytes: Buffer): number => crc32(bytes.subarray(headBytes), crc32(bytes.subarray(0, 20)))

/** Undefined when there are none, or none that can be believed: they say nothing of the file then. */
export async function readSums(folder: string): Promise<Sums | undefined> {
  const bytes = await readFile(join(folder, sumsName)).catch(() => undefined)
  if (bytes === undefined || bytes.length < headBytes || !bytes.subarray(0, 8).equals(magic)) return undefined
  if (bytes.readUInt32LE(20) !== sumsSum(bytes)) return undefined
  const values = new Uint32Array((bytes.length - headBytes) / 4)
  Buffer.from(values.buffer).set(bytes.subarray(headBytes, headBytes + values.length * 4))
  return { txn: bytes.readUInt32LE(12) + bytes.readUInt32LE(16) * 2 ** 32, pageBytes: bytes.readUInt32LE(8), values }
}
