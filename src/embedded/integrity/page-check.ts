/** Compares an LMDB file with the checksums of its pages: before LMDB opens it, and slowly while it is open. */
import { existsSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { type Meta, newest, PageFault, readFreePages, readMetas, walkPages } from './page-file.ts'
import { dataName, FileDamaged, isAt, pageSum, readStart, readSums, type Sums, sumsName } from './page-sums.ts'

const readBytes = 2 ** 20
/** Damaged pages that are looked at one by one: beyond that the file is damaged anyway. */
const mismatchesMax = 10_000

/**
 * Compares the file in `folder` with its checksums. Run before LMDB opens it.
 *
 * @returns false when there is nothing to compare with.
 * @throws FileDamaged
 */
export async function verifyPages(folder: string): Promise<boolean> {
  const path = join(folder, dataName)
  if (!existsSync(path)) {
    if (existsSync(join(folder, sumsName))) throw new FileDamaged(`${path} is missing`)
    return false
  }
  const sums = await readSums(folder)
  const file = await open(path, 'r')
  try {
    return await verify(file, sums)
  } catch (error) {
    if (error instanceof PageFault) throw new FileDamaged(`${path}: ${error.message}`)
    throw error
  } finally {
    await file.close()
  }
}

async function verify(file: FileHandle, sums: Sums | undefined): Promise<boolean> {
  const { size } = await file.stat()
  // An environment that LMDB has not begun to fill.
  if (size === 0) return false
  const metas = readMetas(await readStart(file))
  const meta = newest(metas)
  if (sums === undefined) return false
  if (meta.pageBytes !== sums.pageBytes || meta.txn < sums.txn) throw new PageFault('a meta page is damaged')
  const mismatches = await mismatchesOf(file, sums)
  const isNewer = meta.txn > sums.txn
  if (!isNewer && (mismatches.has(0) || mismatches.has(1))) throw new PageFault('a meta page is damaged')
  mismatches.delete(0)
  mismatches.delete(1)
  if (isNewer) {
    const other = metas[meta === metas[0] ? 1 : 0]
    if (other.txn !== meta.txn - 1) throw new PageFault('a meta page is damaged')
    for (const page of await checkNewer(file, meta, sums)) mismatches.delete(page)
  }
  if (mismatches.size > 0) await dropFree(file, meta, mismatches)
  if (mismatches.size > 0) await checkUnused(file, meta, sums, mismatches)
  return true
}

/** A newer state has a newer root: a meta page that only says so is damaged. Answers the pages that are newer. */
async function checkNewer(file: FileHandle, meta: Meta, sums: Sums): Promise<ReadonlySet<number>> {
  let isRootNew = meta.mainRoot === undefined
  const newer = new Set<number>()
  await walkPages(file.fd, meta, (page, count, txn) => {
    if (page === meta.mainRoot) isRootNew = txn === meta.txn
    if (txn <= sums.txn) return false
    for (let each = page; each < page + count; each += 1) newer.add(each)
    return true
  })
  if (!isRootNew) throw new PageFault('a meta page is damaged')
  return newer
}

/** Pages that came free since may hold anything; what says so must be sound itself. */
async function dropFree(file: FileHandle, meta: Meta, mismatches: Set<number>): Promise<void> {
  const { pages, sources } = await readFreePages(file.fd, meta)
  for (const page of sources) if (mismatches.has(page)) return
  for (const page of mismatches) if (pages.has(page)) mismatches.delete(page)
}

/** A page that differs must be one that nothing refers to, or one of a later transaction. */
async function checkUnused(file: FileHandle, meta: Meta, sums: Sums, mismatches: ReadonlySet<number>): Promise<void> {
  await walkPages(file.fd, meta, (page, pageCount, txn) => {
    if (txn > sums.txn && meta.txn > sums.txn) return true
    for (let each = page; each < page + pageCount; each += 1)
      if (mismatches.has(each)) throw new PageFault(`page ${each} does not hold what was written into it`)
    return true
  })
}

async function mismatchesOf(file: FileHandle, sums: Sums): Promise<Set<number>> {
  const { pageBytes, values } = sums
  const found = new Set<number>()
  const blockPages = Math.max(1, readBytes / pageBytes)
  const read = async (from: number, block: Buffer) => {
    const page = nextSummed(values, from)
    const { bytesRead } = await file.read(block, 0, blockPages * pageBytes, page * pageBytes)
    return { page, bytes: block.subarray(0, bytesRead), spare: block }
  }
  // The next block is read while one is summed.
  let spare: Buffer = Buffer.allocUnsafe(blockPages * pageBytes)
  let next = read(0, Buffer.allocUnsafe(blockPages * pageBytes))
  for (;;) {
    const block = await next
    if (block.page >= values.length) return found
    next = read(block.page + blockPages, spare)
    spare = block.spare
    comparePages(sums, block.page, Math.min(block.page + blockPages, values.length), block.bytes, (page) => {
      if (found.size < mismatchesMax) found.add(page)
    })
  }
}

function nextSummed(values: Uint32Array, from: number): number {
  let page = from
  while (page < values.length && values[page] === 0) page += 1
  return page
}

/** Tells of the pages from `page` to before `end` that differ; those behind the end of `bytes` are gone, and differ. */
function comparePages(
  { pageBytes, values }: Sums,
  page: number,
  end: number,
  bytes: Buffer,
  tell: (page: number) => void,
): void {
  for (let each = page; each < end; each += 1) {
    if (values[each] === 0) continue
    const at = (each - page) * pageBytes
    if (at + pageBytes > bytes.length || values[each] !== pageSum(bytes.subarray(at, at + pageBytes))) tell(each)
  }
}

export type SlowCheck =
  | { readonly kind: 'sound'; readonly byteCount: number }
  /** It was written to since its sums were taken: nothing can be said. */
  | { readonly kind: 'changed'; readonly byteCount: number }

const slowBytes = 2 ** 18

/**
 * Compares a file that may be open and written to, a small block at a time. A page that is in use is not written before the
 * transaction that frees it is committed, which its meta page tells: as long as the newest transaction is the one of the
 * sums, every page that has a sum holds what was summed.
 *
 * @param pause  between two blocks, with the bytes that were read.
 * @throws FileDamaged
 */
export async function checkSlowly(folder: string, pause: (byteCount: number) => Promise<void>): Promise<SlowCheck> {
  const path = join(folder, dataName)
  const sums = await readSums(folder)
  if (sums === undefined) return { kind: 'changed', byteCount: 0 }
  const { pageBytes, values } = sums
  const blockPages = Math.max(1, slowBytes / pageBytes)
  const block = Buffer.allocUnsafe(blockPages * pageBytes)
  const file = await open(path, 'r')
  let byteCount = 0
  try {
    for (let page = nextSummed(values, 2); page < values.length; page = nextSummed(values, page + blockPages)) {
      const { bytesRead } = await file.read(block, 0, block.length, page * pageBytes)
      const differing: number[] = []
      const end = Math.min(page + blockPages, values.length)
      comparePages(sums, page, end, block.subarray(0, bytesRead), (each) => differing.push(each))
      byteCount += bytesRead
      // After the pages: a commit in between may have freed some, and another one written them.
      if (!(await isAt(file, sums))) return { kind: 'changed', byteCount }
      if (differing.length > 0)
        throw new FileDamaged(`${path}: page ${differing[0]} does not hold what was written into it`)
      await pause(bytesRead)
    }
    return { kind: 'sound', byteCount }
  } finally {
    await file.close()
  }
}
