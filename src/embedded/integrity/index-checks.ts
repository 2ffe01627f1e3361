/** Files are compared with their checksums before LMDB opens them. */
import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { ApiError } from '../../api/errors.ts'
import { checkSlowly, verifyPages } from './page-check.ts'
import { dataName, FileDamaged } from './page-sums.ts'

/**
 * Larger files are checked while they already answer reads, so that a start does not wait for the disk: about a second of
 * one core per GB. Writes wait, so that nothing is ever built on a damaged page.
 */
const waitBytesMax = 256 * 2 ** 20

/** What is read ahead of its first use after a start. */
const aheadBytesMax = 2 ** 30

export interface Damage {
  readonly folder: string
  readonly error: ApiError
  /** Milliseconds since 1970. */
  readonly foundAt: number
}

export interface IndexChecksDeps {
  readonly now: () => number
  /** Closes an index that was opened before its damage was found. */
  readonly takeOut: (folder: string) => Promise<void>
  /** Damage was found. Must not throw. */
  readonly onDamage: (damage: Damage) => void
}

interface RunningCheck {
  readonly done: Promise<void>
  readonly byteCount: number
}

export class IndexChecks {
  readonly #deps: IndexChecksDeps
  /** Files as this process closed them, or checked them: not checked again while they stay so. */
  readonly #known = new Map<string, string>()
  readonly #damaged = new Map<string, Damage>()
  readonly #running = new Map<string, RunningCheck>()
  #checkedBytes = 0

  constructor(deps: IndexChecksDeps) {
    this.#deps = deps
  }

  /** Bytes that were compared since the start. */
  get checkedBytes(): number {
    return this.#checkedBytes
  }

  get damaged(): readonly Damage[] {
    return [...this.#damaged.values()]
  }

  /**
   * For a file that is not open.
   *
   * @param isOpened  asked once more before the file is read.
   * @throws ApiError `invalid_store_file` when the file does not hold what was written.
   */
  async check(folder: string, isOpened: () => boolean = () => false): Promise<void> {
    const damage = this.#damaged.get(folder)
    if (damage !== undefined) throw damage.error
    const { state, byteCount } = await fileState(folder)
    if (this.#known.get(folder) === state || isOpened()) return
    const running = this.#running.get(folder) ?? this.#begin(folder, state, byteCount)
    if (running.byteCount <= waitBytesMax) await running.done
  }

  /** Waits for the check of a file that is open already. @throws ApiError `invalid_store_file`. */
  async finish(folder: string): Promise<void> {
    await this.#running.get(folder)?.done
  }

  /** Checks files before anybody asks for them, in this order, so that the first who does need not wait. */
  async checkAhead(folders: readonly string[], isOpened: (folder: string) => boolean): Promise<void> {
    let left = aheadBytesMax
    for (const folder of folders) {
      const { byteCount } = await fileState(folder)
      left -= byteCount
      if (left < 0) return
      // Larger ones do not keep anybody waiting.
      if (byteCount <= waitBytesMax) await this.check(folder, () => isOpened(folder)).catch(() => undefined)
    }
  }

  /** Compares a file that may be open, slowly. Damage is kept, and told. */
  async scrub(folder: string, pause: (byteCount: number) => Promise<void>): Promise<void> {
    if (this.#damaged.has(folder) || this.#running.has(folder)) return
    try {
      const { byteCount } = await checkSlowly(folder, pause)
      this.#checkedBytes += byteCount
    } catch (error) {
      if (!(error instanceof FileDamaged)) throw error
      this.#note(folder, error)
      await this.#deps.takeOut(folder)
    }
  }

  /** The file was closed by this process, which wrote what it holds. */
  async noteClosed(folder: string): Promise<void> {
    if (!this.#damaged.has(folder)) this.#known.set(folder, (await fileState(folder)).state)
  }

  drop(folder: string): void {
    this.#known.delete(folder)
    this.#damaged.delete(folder)
  }

  #begin(folder: string, state: string, byteCount: number): RunningCheck {
    const running = { done: this.#verify(folder, state, byteCount), byteCount }
    this.#running.set(folder, running)
    const end = () => this.#running.delete(folder)
    running.done.then(end, () => this.#deps.takeOut(folder).finally(end))
    return running
  }

  async #verify(folder: string, state: string, byteCount: number): Promise<void> {
    try {
      await verifyPages(folder)
      this.#known.set(folder, state)
      this.#checkedBytes += byteCount
    } catch (error) {
      if (!(error instanceof FileDamaged)) throw error
      throw this.#note(folder, error)
    }
  }

  #note(folder: string, cause: FileDamaged): ApiError {
    const error = new ApiError(
      'invalid_store_file',
      `The file of the index is damaged: ${join(basename(folder), cause.message.slice(folder.length + 1))}. Nothing of it is served. Restore the index from a snapshot, or delete it and send its documents again.`,
      { cause },
    )
    const damage = { folder, error, foundAt: this.#deps.now() }
    this.#damaged.set(folder, damage)
    this.#deps.onDamage(damage)
    return error
  }
}

async function fileState(folder: string): Promise<{ readonly state: string; readonly byteCount: number }> {
  const found = await stat(join(folder, dataName)).catch(() => undefined)
  if (found === undefined) return { state: '', byteCount: 0 }
  return { state: `${found.ino} ${found.size} ${found.mtimeMs}`, byteCount: found.size }
}
