/** Files are compared with their checksums before LMDB opens them. */
import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { ApiError } from '../../api/errors.ts'
import { LoadRefused } from '../engine-loading.ts'
import { dataName, FileDamaged, verifyPages } from './page-sums.ts'

/**
 * Larger files are checked while they already answer reads, so that a start does not wait for the disk: about a second of
 * one core per GB. Writes wait, so that nothing is ever built on a damaged page.
 */
const waitBytesMax = 256 * 2 ** 20

export class IndexChecks {
  readonly #takeOut: (folder: string) => Promise<void>
  /** Files as this process closed them, or checked them: not checked again while they stay so. */
  readonly #known = new Map<string, string>()
  readonly #damaged = new Map<string, ApiError>()
  readonly #running = new Map<string, Promise<void>>()

  /** @param takeOut  closes an index that was opened before its damage was found. */
  constructor(takeOut: (folder: string) => Promise<void>) {
    this.#takeOut = takeOut
  }

  /** @throws ApiError `invalid_store_file` when the file does not hold what was written. */
  async check(folder: string): Promise<void> {
    const damage = this.#damaged.get(folder)
    if (damage !== undefined) throw damage
    const { state, byteCount } = await fileState(folder)
    if (this.#known.get(folder) === state) return
    const checking = this.#verify(folder, state)
    if (byteCount <= waitBytesMax) return checking
    this.#running.set(folder, checking)
    const end = () => this.#running.delete(folder)
    checking.then(end, () => this.#takeOut(folder).finally(end))
  }

  /** Waits for the check of a file that is open already. @throws ApiError `invalid_store_file`. */
  async finish(folder: string): Promise<void> {
    await this.#running.get(folder)
  }

  /** The file was closed by this process, which wrote what it holds. */
  async noteClosed(folder: string): Promise<void> {
    if (!this.#damaged.has(folder)) this.#known.set(folder, (await fileState(folder)).state)
  }

  drop(folder: string): void {
    this.#known.delete(folder)
    this.#damaged.delete(folder)
  }

  async #verify(folder: string, state: string): Promise<void> {
    try {
      await verifyPages(folder)
      this.#known.set(folder, state)
    } catch (error) {
      if (!(error instanceof FileDamaged)) throw error
      const damage = new ApiError(
        'invalid_store_file',
        `The file of the index is damaged: ${join(basename(folder), error.message.slice(folder.length + 1))}. Nothing of it is served. Restore the index from a snapshot, or delete it and send its documents again.`,
        { cause: error },
      )
      this.#damaged.set(folder, damage)
      throw damage
    }
  }
}

async function fileState(folder: string): Promise<{ readonly state: string; readonly byteCount: number }> {
  const found = await stat(join(folder, dataName)).catch(() => undefined)
  if (found === undefined) return { state: '', byteCount: 0 }
  return { state: `${found.ino} ${found.size} ${found.mtimeMs}`, byteCount: found.size }
}

/** @throws LoadRefused when the file of tasks does not hold what was written. */
export async function checkTasks(folder: string): Promise<void> {
  try {
    await verifyPages(folder)
  } catch (error) {
    if (!(error instanceof FileDamaged)) throw error
    throw new LoadRefused(
      `The file of the engine's tasks is damaged: ${error.message}. Move the folder away and start from the latest snapshot (--import-snapshot) or dump (--import-dump).`,
      { cause: error },
    )
  }
}
