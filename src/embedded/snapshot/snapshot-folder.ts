/** Snapshot files by name, in one folder. A name shows a whole file or none. */
import { createReadStream, createWriteStream, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
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

const ending = '.fjsis'
const partialEnding = '.partial'
const namePattern = /^[A-Za-z0-9_-]{1,200}\.fjsis$/

export class SnapshotFolder {
  readonly #path: string

  /** Makes the folder; what a crash left half written goes. */
  constructor(path: string) {
    this.#path = path
    mkdirSync(path, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(path))
      if (name.endsWith(partialEnding)) rmSync(join(path, name), { recursive: true })
  }

  /** A folder for work in progress, removed at the next start. The caller removes it before. */
  draft(name: string): string {
    const path = join(this.#path, `${name}.copy${partialEnding}`)
    mkdirSync(path)
    return path
  }

  async list(): Promise<readonly StoredSnapshot[]> {
    const names = (await readdir(this.#path)).filter((name) => name.endsWith(ending)).sort()
    return Promise.all(names.map((name) => this.find(name)))
  }

  /** @throws ApiError `not_found`. */
  async find(name: string): Promise<StoredSnapshot> {
    const byteCount = await this.#size(name)
    const header = await readSnapshotHeader(createReadStream(this.#file(name))).catch(() => null)
    return { name, byteCount, header }
  }

  /** Bytes `start` to `end` of the file, the end included. @throws ApiError `not_found`. */
  async read(name: string, range?: { readonly start: number; readonly end: number }): Promise<Readable> {
    await this.#size(name)
    return createReadStream(this.#file(name), range)
  }

  /** Durable when it resolves; when the source fails, nothing stays. A file of the same name is replaced. */
  async write(name: string, source: AsyncIterable<Uint8Array>): Promise<void> {
    const path = this.#file(name)
    const draft = `${path}${partialEnding}`
    try {
      await pipeline(source, createWriteStream(draft, { mode: 0o600 }))
      await sync(draft)
      await rename(draft, path)
      await sync(this.#path)
    } catch (error) {
      await rm(draft, { force: true })
      throw error
    }
  }

  async remove(name: string): Promise<void> {
    await this.#size(name)
    await rm(this.#file(name))
  }

  async #size(name: string): Promise<number> {
    try {
      return (await stat(this.#file(name))).size
    } catch (error) {
      if (error instanceof ApiError) throw error
      throw new ApiError('not_found', `Snapshot \`${name}\` not found.`, { cause: error })
    }
  }

  #file(name: string): string {
    if (!namePattern.test(name))
      throw new ApiError(
        'bad_request',
        `\`${name}\` is not a name of a snapshot: letters, digits, \`-\`, \`_\`, then \`.fjsis\`.`,
      )
    return join(this.#path, name)
  }
}

export async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  await handle.sync().finally(() => handle.close())
}
