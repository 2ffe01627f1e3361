/**
 * The indexes that this process has open. Threads share LMDB's handle of an index, and the first to open it decides
 * whether it can be written; opening it for writing waits for the transaction that runs. So the main thread opens an index
 * for writing before any worker touches it, and search threads open it for reading alone: a search never waits for a batch.
 *
 * An index that nobody used for a while is closed everywhere. LMDB then frees the pages that it keeps for the next batch,
 * and the address space that the index maps.
 */
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { assert } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import { type IndexEnv, openIndexEnv } from './index-env.ts'
import { type Damage, IndexChecks } from './integrity/index-checks.ts'
import { sync } from './snapshot/snapshot-folder.ts'

export interface OpenIndexesOptions {
  readonly clock: Clock
  /** Quiet time after which an index is closed. */
  readonly restMs: number
  /** All workers let go of the index's files. */
  readonly forgetInWorkers: (folder: string) => Promise<void>
  /** Indexes were closed because nobody used them. */
  readonly onRest: () => void
  /** See `IndexChecks`. */
  readonly onDamage: (damage: Damage) => void
}

interface OpenIndex {
  readonly env: IndexEnv
  userCount: number
  usedAt: number
  closing: Promise<void> | undefined
  /** Copies of its file that are being made: it stays open for them, even when it is deleted. */
  readonly copies: Set<Promise<unknown>>
}

/** Each maps 64 GiB of the 128 TiB that a process can address. */
const openMax = 1000

export class OpenIndexes {
  readonly #options: OpenIndexesOptions
  readonly #open = new Map<string, OpenIndex>()
  readonly #opening = new Map<string, Promise<OpenIndex>>()
  readonly #checks: IndexChecks
  readonly #sweeper: NodeJS.Timeout
  #isClosed = false

  constructor(options: OpenIndexesOptions) {
    this.#options = options
    this.#checks = new IndexChecks({
      now: () => options.clock.now(),
      takeOut: (folder) => this.forget(folder),
      onDamage: options.onDamage,
    })
    this.#sweeper = setInterval(() => this.#closeUnused(), options.restMs / 4)
    this.#sweeper.unref()
  }

  get count(): number {
    return this.#open.size
  }

  get checks(): Pick<IndexChecks, 'scrub' | 'checkedBytes' | 'damaged'> {
    return this.#checks
  }

  /** Runs `work` while the indexes are open. Many at once are opened turn by turn. @throws ApiError `invalid_store_file`. */
  async use<T>(folders: readonly string[], work: () => Promise<T>, access: 'read' | 'write' = 'read'): Promise<T> {
    const used: OpenIndex[] = []
    try {
      for (const folder of folders) {
        const known = this.#open.get(folder)
        if (known !== undefined && known.closing === undefined) {
          known.userCount += 1
          used.push(known)
          continue
        }
        if (used.length > 0) await new Promise((resolve) => setImmediate(resolve))
        used.push(await this.#openOne(folder))
      }
      if (access === 'write') for (const folder of folders) await this.#checks.finish(folder)
      return await work()
    } finally {
      const now = this.#options.clock.monotonic()
      for (const index of used) {
        index.userCount -= 1
        index.usedAt = now
      }
    }
  }

  /** Checks files before they are opened for the first time, as far as they are still to be opened and nothing closes. */
  checkAhead(folders: readonly string[]): Promise<void> {
    return this.#checks.checkAhead(
      folders,
      (folder) => this.#isClosed || this.#open.has(folder) || this.#opening.has(folder),
    )
  }

  /**
   * Copies the index's file, without its free pages, into the folder `target`, which exists. The copy holds what was
   * committed when it began; reads and writes go on meanwhile.
   */
  async copy(folder: string, target: string): Promise<void> {
    await this.use([folder], async () => {
      const index = this.#open.get(folder)
      assert(index !== undefined, 'an index in use is open')
      const copying = index.env.root.backup(target, true)
      index.copies.add(copying)
      await copying.finally(() => index.copies.delete(copying))
    })
  }

  /** Closes an index for good, or until it is used again. */
  async forget(folder: string): Promise<void> {
    // One that is being opened would otherwise be left open, without a folder.
    await this.#opening.get(folder)?.catch(() => undefined)
    const index = this.#open.get(folder)
    if (index === undefined) return
    index.closing ??= Promise.allSettled(index.copies)
      .then(() => this.#options.forgetInWorkers(folder))
      .then(() => index.env.root.close())
      .then(() => this.#checks.noteClosed(folder))
      .finally(() => this.#open.delete(folder))
    await index.closing
  }

  /** The index's folder is gone. */
  drop(folder: string): void {
    this.#checks.drop(folder)
  }

  /** Closes all, as if nobody had used them for long. Before the workers end. */
  async rest(): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled([...this.#open.keys()].map((folder) => this.forget(folder)))
  }

  /** After the workers have ended. */
  async close(): Promise<void> {
    clearInterval(this.#sweeper)
    for (const { copies } of this.#open.values()) await Promise.allSettled(copies)
    for (const index of this.#open.values()) await (index.closing ?? index.env.root.close())
    this.#open.clear()
  }

  async #openOne(folder: string): Promise<OpenIndex> {
    for (;;) {
      const known = this.#open.get(folder)
      if (known?.closing !== undefined) {
        await known.closing
        continue
      }
      if (known !== undefined) {
        known.userCount += 1
        return known
      }
      const opening = this.#opening.get(folder) ?? this.#checkAndOpen(folder)
      this.#opening.set(folder, opening)
      const index = await opening.finally(() => this.#opening.delete(folder))
      if (index.closing !== undefined) continue
      index.userCount += 1
      return index
    }
  }

  /** @throws ApiError `invalid_store_file`. */
  async #checkAndOpen(folder: string): Promise<OpenIndex> {
    await this.#checks.check(folder)
    const isNew = !existsSync(folder)
    if (this.#open.size >= openMax) this.#closeLongestUnused()
    const index: OpenIndex = {
      env: openIndexEnv(folder, 'write'),
      userCount: 0,
      usedAt: this.#options.clock.monotonic(),
      closing: undefined,
      copies: new Set(),
    }
    this.#open.set(folder, index)
    // LMDB syncs what is in its file; that there is one must outlast a power cut as well.
    if (isNew) for (const path of [folder, dirname(folder)]) await sync(path)
    return index
  }

  #closeUnused(): void {
    const before = this.#options.clock.monotonic() - this.#options.restMs
    const unused = [...this.#open].filter(
      ([, { userCount, usedAt, closing }]) => userCount === 0 && usedAt <= before && closing === undefined,
    )
    if (unused.length === 0) return
    void Promise.allSettled(unused.map(([folder]) => this.forget(folder))).then(() => this.#options.onRest())
  }

  #closeLongestUnused(): void {
    let oldest: [string, OpenIndex] | undefined
    for (const entry of this.#open) {
      const [, { userCount, usedAt, closing }] = entry
      if (userCount > 0 || closing !== undefined) continue
      if (oldest === undefined || usedAt < oldest[1].usedAt) oldest = entry
    }
    if (oldest === undefined) return
    assert(oldest[1].userCount === 0, 'an index in use stays open')
    void this.forget(oldest[0]).catch(() => undefined)
  }
}
