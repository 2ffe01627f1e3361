/** Snapshot files by name, in one folder. A name shows a whole file or none. */
import { constants, createReadStream, createWriteStream, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { copyFile, link, open, readdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ApiError } from '../../api/errors.ts'
import { readSnapshotHeader, type SnapshotHeader } from './snapshot-file.ts'

export interface StoredSnapshot {
  readonly name: string
  readonly byteCount: number
  /** null = the file's beginning cannot be read. */
  readonly header: SnapshotHeader | null
}

/** Where an upload in parts stands. */
export interface UploadStanding {
  readonly name: string
  /** The file's bytes from its beginning that are here. */
  readonly receivedBytes: number
  readonly byteCount: number
}

const readBytes = 2 ** 20
const ending = '.fjsis'
const partialEnding = '.partial'
/** What was received of an upload in parts; unlike a draft it survives a restart. */
const uploadEnding = '.upload'
/** Beside a raw snapshot, which is the index's file as it is: what a container has in front. */
const headerEnding = '.header'
/** An upload that nobody goes on with is given up (P-29). */
const uploadMsMax = 24 * 3_600_000
/** Files that are made only to be brought elsewhere, and are removed by whoever does so. One that was forgotten goes. */
const transferBeginning = 'transfer-'
const transferMsMax = 7 * 24 * 3_600_000
const namePattern = /^[A-Za-z0-9_-]{1,200}\.fjsis$/

export class SnapshotFolder {
  /** Absolute. */
  readonly path: string
  /** One part after the other, by name. */
  readonly #uploads = new Map<string, Promise<unknown>>()

  /** Makes the folder; what a crash left half written goes, and what was forgotten. */
  constructor(path: string, now: number) {
    this.path = resolve(path)
    mkdirSync(path, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(path)) {
      const age = now - statSync(join(path, name)).mtimeMs
      const isForgotten =
        (name.endsWith(uploadEnding) && age > uploadMsMax) ||
        (name.startsWith(transferBeginning) && age > transferMsMax)
      if (name.endsWith(partialEnding) || isForgotten) rmSync(join(path, name), { recursive: true })
    }
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.path)
    return bavail * bsize
  }

  /** A folder for work in progress, removed at the next start. The caller removes it before. */
  draft(name: string): string {
    const path = join(this.path, `${name}.copy${partialEnding}`)
    mkdirSync(path)
    return path
  }

  async list(): Promise<readonly StoredSnapshot[]> {
    const names = (await readdir(this.path)).filter((name) => name.endsWith(ending)).sort()
    const found = await Promise.all(names.map((name) => this.findWhole(name)))
    return found.filter((file) => file !== undefined)
  }

  /** @throws ApiError `not_found`. */
  async find(name: string): Promise<StoredSnapshot> {
    const byteCount = await this.size(name)
    const read = (): Promise<SnapshotHeader> => readSnapshotHeader(createReadStream(this.#file(name)))
    const header = (await this.rawHeader(name)) ?? (await read().catch(() => null))
    return { name, byteCount, header }
  }

  /** `undefined` = there is no such file: it may be removed while others are looked at. */
  async findWhole(name: string): Promise<StoredSnapshot | undefined> {
    try {
      return await this.find(name)
    } catch (error) {
      if (error instanceof ApiError && error.code === 'not_found') return undefined
      throw error
    }
  }

  /** Bytes `start` to `end` of the file, the end included. @throws ApiError `not_found`. */
  async read(name: string, range?: { readonly start: number; readonly end: number }): Promise<Readable> {
    await this.size(name)
    return createReadStream(this.#file(name), { ...range, highWaterMark: readBytes })
  }

  /** The same at once, for a few megabytes. @throws ApiError `not_found`. */
  async readPart(name: string, { start, end }: { readonly start: number; readonly end: number }): Promise<Buffer> {
    await this.size(name)
    const handle = await open(this.#file(name), 'r')
    try {
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(end - start + 1), 0, end - start + 1, start)
      return buffer.subarray(0, bytesRead)
    } finally {
      await handle.close()
    }
  }

  /** What a raw snapshot is of; `undefined` = it is a container, or not there. */
  async rawHeader(name: string): Promise<SnapshotHeader | undefined> {
    const text = await readFile(`${this.#file(name)}${headerEnding}`, 'utf8').catch(() => undefined)
    // Of our own making, and only ever read on the machine where it was made.
    return text === undefined ? undefined : (JSON.parse(text) as SnapshotHeader)
  }

  /** Makes the file at `from` a raw snapshot, without a byte copied. Durable when it resolves. */
  async keepRaw(name: string, from: string, header: SnapshotHeader): Promise<void> {
    const path = this.#file(name)
    await writeFile(`${path}${headerEnding}`, JSON.stringify(header), { mode: 0o600 })
    await sync(`${path}${headerEnding}`)
    await sync(from)
    await rename(from, path)
    await sync(this.path)
  }

  /** A copy of a raw snapshot, made by the system, where it can without a byte copied. Durable when it resolves. */
  async copyRaw(name: string, to: string): Promise<void> {
    await copyFile(this.#file(name), to, constants.COPYFILE_FICLONE)
    await sync(to)
  }

  /** Durable when it resolves; when the source fails, nothing stays. A file of the same name is replaced. */
  async write(name: string, source: AsyncIterable<Uint8Array>): Promise<void> {
    const path = this.#file(name)
    const draft = `${path}${partialEnding}`
    try {
      await pipeline(source, createWriteStream(draft, { mode: 0o600 }))
      await sync(draft)
      await rm(`${path}${headerEnding}`, { force: true })
      await rename(draft, path)
      await sync(this.path)
    } catch (error) {
      await rm(draft, { force: true })
      throw error
    }
  }

  /**
   * Adds the next part of a file of `byteCount` bytes, in the order of their calls, and answers what is here now: a part that
   * does not begin where the file ends so far adds nothing. With the last one the name shows the file. What a power cut may
   * have taken from the middle shows in the checksums of the file when it is restored.
   *
   * @param part  `undefined` = only asks.
   */
  addPart(
    name: string,
    byteCount: number,
    part: { readonly start: number; readonly bytes: Uint8Array } | undefined,
  ): Promise<UploadStanding> {
    const path = this.#file(name)
    const adding = (this.#uploads.get(name) ?? Promise.resolve()).then(async () => {
      const whole = await stat(path).catch(() => undefined)
      if (whole !== undefined) return { name, receivedBytes: whole.size, byteCount: whole.size }
      const draft = `${path}${uploadEnding}`
      const handle = await open(draft, 'a', 0o600)
      try {
        const before = (await handle.stat()).size
        if (before > byteCount) throw new ApiError('bad_request', `${before} bytes of \`${name}\` are here already.`)
        const isNext = part !== undefined && part.start === before && before + part.bytes.length <= byteCount
        if (isNext) await handle.appendFile(part.bytes)
        const receivedBytes = before + (isNext ? part.bytes.length : 0)
        if (receivedBytes < byteCount) return { name, receivedBytes, byteCount }
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(draft, path)
      await sync(this.path)
      return { name, receivedBytes: byteCount, byteCount }
    })
    const settled = adding.catch(() => undefined)
    this.#uploads.set(name, settled)
    void settled.then(() => this.#uploads.get(name) === settled && this.#uploads.delete(name))
    return adding
  }

  /**
   * Makes the file of this name in the folder of another engine one of ours, without a byte copied where both lie on one disk.
   * A file that is here stays. @throws ApiError `not_found` when there is none that can be reached.
   */
  async link(name: string, folder: string): Promise<void> {
    const [from, to] = [join(folder, checkFileName(name)), this.#file(name)]
    // First, so that a raw file is never seen without it.
    const header = await readFile(`${from}${headerEnding}`).catch(() => undefined)
    if (header !== undefined) await writeFile(`${to}${headerEnding}`, header, { mode: 0o600 })
    const error = await link(from, to).then(() => undefined, codeOf)
    if (error === 'EXDEV') return this.write(name, createReadStream(from, { highWaterMark: readBytes }))
    if (error !== undefined && error !== 'EEXIST') throw new ApiError('not_found', `Snapshot \`${name}\` not found.`)
    await sync(this.path)
  }

  /** With what was received of it, if it is not whole. @throws ApiError `not_found`. */
  async remove(name: string): Promise<void> {
    const path = this.#file(name)
    await this.#uploads.get(name)
    const upload = `${path}${uploadEnding}`
    const isUpload = (await stat(upload).catch(() => undefined)) !== undefined
    await rm(upload, { force: true })
    await rm(`${path}${headerEnding}`, { force: true })
    if (isUpload) return rm(path, { force: true })
    await this.size(name)
    await rm(path)
  }

  /** @throws ApiError `not_found`. */
  async size(name: string): Promise<number> {
    try {
      return (await stat(this.#file(name))).size
    } catch (error) {
      if (error instanceof ApiError) throw error
      throw new ApiError('not_found', `Snapshot \`${name}\` not found.`, { cause: error })
    }
  }

  #file(name: string): string {
    return join(this.path, checkFileName(name))
  }
}

/** @throws ApiError `bad_request`. */
export function checkFileName(name: string): string {
  if (namePattern.test(name)) return name
  throw new ApiError(
    'bad_request',
    `\`${name}\` is not a name of a snapshot: letters, digits, \`-\`, \`_\`, then \`.fjsis\`.`,
  )
}

const codeOf = (error: unknown): string =>
  typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : ''

export async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  await handle.sync().finally(() => handle.close())
}
