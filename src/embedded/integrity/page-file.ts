/**
 * The pages of an LMDB file, read without LMDB: which pages its newest state is made of. Format: `MDB_page`, `MDB_meta`
 * and `MDB_node` in `mdb.c` of LMDB 0.9.90, which the package `lmdb` bundles. Every number that is read is checked before
 * it is used, so a damaged file gives `PageFault`, never a crash.
 */
import { readSync } from 'node:fs'

export class PageFault extends Error {
  override readonly name = 'PageFault'
}

export interface Meta {
  readonly pageBytes: number
  readonly txn: number
  /** Pages 0 to this one may be in use. */
  readonly lastPage: number
  /** Of the free pages' tree and of the main tree; undefined = empty. */
  readonly roots: readonly (number | undefined)[]
  readonly mainRoot: number | undefined
}

const headBytes = 24
const flag = { branch: 1, leaf: 2, overflow: 4, meta: 8 } as const
const nodeFlag = { bigData: 1, subTree: 2 } as const
const nodeHeadBytes = 8
const treeBytes = 48
const magic = 0xbeefc0de
const noPage = 0xffff_ffff_ffff_ffffn
/** Pages that are read in one turn of the event loop. */
const turnPages = 256
/** Far above any tree: branch pages hold many keys. */
const depthMax = 64
const treesMax = 64

/** The two meta pages at the start of a file. @throws PageFault */
export function readMetas(bytes: Buffer): readonly [Meta, Meta] {
  const first = readMeta(bytes, 0)
  return [first, readMeta(bytes, first.pageBytes)]
}

/** What LMDB opens: the newer of the two. */
export const newest = ([even, odd]: readonly [Meta, Meta]): Meta => (even.txn < odd.txn ? odd : even)

function readMeta(bytes: Buffer, at: number): Meta {
  const start = at + headBytes
  if (start + 144 > bytes.length) throw new PageFault('the file is too short')
  if ((bytes.readUInt16LE(at + 18) & flag.meta) === 0 || bytes.readUInt32LE(start) !== magic)
    throw new PageFault('a meta page cannot be read')
  const pageBytes = bytes.readUInt32LE(start + 24)
  if (pageBytes < 512 || pageBytes > 65_536 || (pageBytes & (pageBytes - 1)) !== 0)
    throw new PageFault('a meta page cannot be read')
  const rootOf = (tree: number) => pageNumber(bytes, start + 24 + tree * treeBytes + 40)
  const lastPage = Number(bytes.readBigUInt64LE(start + 120))
  const txn = Number(bytes.readBigUInt64LE(start + 128))
  return { pageBytes, txn, lastPage, roots: [rootOf(0), rootOf(1)], mainRoot: rootOf(1) }
}

function pageNumber(bytes: Buffer, at: number): number | undefined {
  const value = bytes.readBigUInt64LE(at)
  return value === noPage ? undefined : Number(value)
}

/** Told of each page once it is reached; answers whether what it points to is to be walked as well. */
export type Visit = (page: number, pageCount: number, txn: number, bytes: Buffer) => boolean

/**
 * Walks the trees of `meta` in the open file. Overflow pages are told with their number, the others one by one.
 *
 * @throws PageFault where a page cannot be what points to it.
 */
export async function walkPages(file: number, meta: Meta, visit: Visit): Promise<void> {
  const walk = new Walk(file, meta, visit)
  for (const root of meta.roots) if (root !== undefined) await walk.tree(root, 0)
}

/** Pages that are in no use, as the file itself says. */
export interface FreePages {
  readonly pages: ReadonlySet<number>
  /** Where that is written. */
  readonly sources: ReadonlySet<number>
}

/**
 * Reads the lists of free pages: few pages, beside all others. A list is a count and as many entries: 0 = nothing, a page's
 * number, or a negative length before the first number of a run (`mdb_midl_insert` in `midl.c` of the same LMDB).
 *
 * @throws PageFault where a page or a list cannot be what points to it.
 */
export async function readFreePages(file: number, meta: Meta): Promise<FreePages> {
  const pages = new Set<number>()
  const sources = new Set<number>()
  const [root] = meta.roots
  const walk = new Walk(file, meta, (page, pageCount, _txn, bytes) => {
    for (let each = page; each < page + pageCount; each += 1) sources.add(each)
    const flags = bytes.readUInt16LE(18)
    if (flags & flag.overflow) readList(bytes.subarray(headBytes), page, meta, pages)
    else if (flags & flag.leaf)
      for (const node of nodes(bytes, page)) {
        if (bytes.readUInt16LE(node + 4) & nodeFlag.bigData) continue
        readList(bytes.subarray(node + nodeHeadBytes + bytes.readUInt16LE(node + 6)), page, meta, pages)
      }
    return true
  })
  if (root !== undefined) await walk.tree(root, 0)
  return { pages, sources }
}

function readList(bytes: Buffer, page: number, { lastPage }: Meta, pages: Set<number>): void {
  const at = (place: number): number => {
    if ((place + 1) * 8 > bytes.length) throw new PageFault(`page ${page} is damaged`)
    return Number(bytes.readBigInt64LE(place * 8))
  }
  const count = at(0)
  for (let place = 1; place <= count; place += 1) {
    const entry = at(place)
    if (entry === 0) continue
    const [first, length] = entry > 0 ? [entry, 1] : [at(++place), -entry]
    if (first < 2 || first + length - 1 > lastPage) throw new PageFault(`page ${page} is damaged`)
    for (let each = first; each < first + length; each += 1) pages.add(each)
  }
}

class Walk {
  readonly #file: number
  readonly #meta: Meta
  readonly #visit: Visit
  readonly #seen: Uint8Array
  #treeCount = 0
  #readCount = 0

  constructor(file: number, meta: Meta, visit: Visit) {
    this.#file = file
    this.#meta = meta
    this.#visit = visit
    this.#seen = new Uint8Array(Math.ceil((meta.lastPage + 1) / 8))
  }

  async tree(page: number, depth: number): Promise<void> {
    if (depth > depthMax) throw new PageFault(`page ${page} lies too deep`)
    this.#mark(page, 1)
    this.#readCount += 1
    if (this.#readCount % turnPages === 0) await new Promise((resolve) => setImmediate(resolve))
    const bytes = this.#read(page, 1)
    const { kind, txn } = pageHead(bytes, page)
    if (!this.#visit(page, 1, txn, bytes)) return
    if (kind === 'branch') {
      for (const child of branchPages(bytes, page)) await this.tree(child, depth + 1)
      return
    }
    for (const found of leafPages(bytes, page)) {
      if (found.kind === 'overflow') this.#overflow(found.page, found.pageCount)
      else {
        this.#treeCount += 1
        if (this.#treeCount > treesMax) throw new PageFault('the file has too many tables')
        await this.tree(found.page, depth + 1)
      }
    }
  }

  #overflow(page: number, pageCount: number): void {
    this.#mark(page, pageCount)
    const bytes = this.#read(page, pageCount)
    const isOverflow = (bytes.readUInt16LE(18) & flag.overflow) !== 0
    if (!isOverflow || bytes.readBigUInt64LE(0) !== BigInt(page) || bytes.readUInt32LE(20) < pageCount)
      throw new PageFault(`page ${page} is not what points to it`)
    this.#visit(page, pageCount, Number(bytes.readBigUInt64LE(8)), bytes)
  }

  #mark(page: number, pageCount: number): void {
    if (page < 2 || pageCount < 1 || page + pageCount - 1 > this.#meta.lastPage)
      throw new PageFault(`page ${page} lies outside of the file`)
    for (let each = page; each < page + pageCount; each += 1) {
      if ((this.#seen[each >>> 3]! >>> (each & 7)) & 1) throw new PageFault(`page ${each} is used twice`)
      this.#seen[each >>> 3]! |= 1 << (each & 7)
    }
  }

  #read(page: number, pageCount: number): Buffer {
    const { pageBytes } = this.#meta
    const bytes = Buffer.allocUnsafe(pageBytes * pageCount)
    if (readSync(this.#file, bytes, 0, bytes.length, page * pageBytes) < bytes.length)
      throw new PageFault(`the file ends before page ${page + pageCount - 1}`)
    return bytes
  }
}

function pageHead(bytes: Buffer, page: number): { readonly kind: 'branch' | 'leaf'; readonly txn: number } {
  const flags = bytes.readUInt16LE(18)
  const kind = flags & flag.branch ? 'branch' : flags & flag.leaf ? 'leaf' : undefined
  if (kind === undefined || bytes.readBigUInt64LE(0) !== BigInt(page))
    throw new PageFault(`page ${page} is not what points to it`)
  return { kind, txn: Number(bytes.readBigUInt64LE(8)) }
}

function* nodes(bytes: Buffer, page: number): Generator<number> {
  const lower = bytes.readUInt16LE(20)
  if (lower % 2 !== 0 || headBytes + lower > bytes.length) throw new PageFault(`page ${page} is damaged`)
  for (let at = headBytes; at < headBytes + lower; at += 2) {
    const node = bytes.readUInt16LE(at) + headBytes
    if (node + nodeHeadBytes > bytes.length) throw new PageFault(`page ${page} is damaged`)
    yield node
  }
}

function* branchPages(bytes: Buffer, page: number): Generator<number> {
  for (const node of nodes(bytes, page)) yield bytes.readUInt32LE(node) + bytes.readUInt16LE(node + 4) * 2 ** 32
}

type LeafPage =
  | { readonly kind: 'overflow'; readonly page: number; readonly pageCount: number }
  | { readonly kind: 'tree'; readonly page: number }

function* leafPages(bytes: Buffer, page: number): Generator<LeafPage> {
  for (const node of nodes(bytes, page)) {
    const flags = bytes.readUInt16LE(node + 4)
    if ((flags & (nodeFlag.bigData | nodeFlag.subTree)) === 0) continue
    const data = node + nodeHeadBytes + bytes.readUInt16LE(node + 6)
    if (data + (flags & nodeFlag.bigData ? 24 : treeBytes) > bytes.length)
      throw new PageFault(`page ${page} is damaged`)
    if (flags & nodeFlag.bigData) {
      const pageCount = Number(bytes.readBigUInt64LE(data + 16))
      yield { kind: 'overflow', page: Number(bytes.readBigUInt64LE(data)), pageCount }
    } else {
      const root = pageNumber(bytes, data + 40)
      if (root !== undefined) yield { kind: 'tree', page: root }
    }
  }
}
