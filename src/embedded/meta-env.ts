/** What the engine keeps beside its indexes: tasks, batches, the registry of indexes and the server's own map. */
import { mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { mkdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Database, open, type RootDatabase } from 'lmdb'
import type { Json } from '../lib/json.ts'
import type { BatchRecord } from './batch-record.ts'
import { dataName, sumsName } from './integrity/page-sums.ts'
import { sync } from './snapshot/snapshot-folder.ts'
import type { TaskRecord } from './task-record.ts'
import type { CompactionSizes } from './worker-messages.ts'

/** Where an index is and what lists show of it. */
export interface RegistryEntry {
  readonly uid: string
  /** Name of its folder, never used again. */
  readonly folder: string
  readonly primaryKey: string | null
  readonly createdAt: number
  readonly updatedAt: number
}

interface MetaTables {
  readonly root: RootDatabase
  readonly tasks: Database<TaskRecord, number>
  readonly payloads: Database<Uint8Array, number>
  readonly batches: Database<BatchRecord, number>
  readonly indexes: Database<RegistryEntry, string>
  readonly store: Database<Json, string>
  /** See `TaskSets`. */
  readonly sets: Database<Uint8Array, string>
}

/** Tables are asked for anew for each use: a compaction puts others in their place. */
export interface MetaEnv extends MetaTables {
  /** Runs what writes, one compaction after or before it. */
  write<T>(work: () => Promise<T>): Promise<T>
  /**
   * Writes what is in use into a new file, which takes the place of the old one. Reads go on, writes wait. Nothing else may
   * copy or look through the file meanwhile.
   */
  compact(): Promise<CompactionSizes>
}

const mapBytes = 16 * 2 ** 30

export function openMetaEnv(folder: string): MetaEnv {
  mkdirSync(folder, { recursive: true })
  // A crash may have cut a compaction off.
  rmSync(draftOf(folder), { recursive: true, force: true })
  return new CompactableEnv(folder)
}

class CompactableEnv implements MetaEnv {
  readonly #folder: string
  #tables: MetaTables
  #writeCount = 0
  #onWritten = () => {}
  #compaction: Promise<unknown> | undefined

  constructor(folder: string) {
    this.#folder = folder
    this.#tables = openTables(folder)
  }

  get root(): MetaTables['root'] {
    return this.#tables.root
  }

  get tasks(): MetaTables['tasks'] {
    return this.#tables.tasks
  }

  get payloads(): MetaTables['payloads'] {
    return this.#tables.payloads
  }

  get batches(): MetaTables['batches'] {
    return this.#tables.batches
  }

  get indexes(): MetaTables['indexes'] {
    return this.#tables.indexes
  }

  get store(): MetaTables['store'] {
    return this.#tables.store
  }

  get sets(): MetaTables['sets'] {
    return this.#tables.sets
  }

  async write<T>(work: () => Promise<T>): Promise<T> {
    while (this.#compaction !== undefined) await this.#compaction
    this.#writeCount += 1
    try {
      return await work()
    } finally {
      this.#writeCount -= 1
      if (this.#writeCount === 0) this.#onWritten()
    }
  }

  async compact(): Promise<CompactionSizes> {
    while (this.#compaction !== undefined) await this.#compaction
    const compaction = this.#compact()
    this.#compaction = compaction.catch(() => undefined)
    try {
      return await compaction
    } finally {
      this.#compaction = undefined
    }
  }

  async #compact(): Promise<CompactionSizes> {
    if (this.#writeCount > 0)
      await new Promise<void>((resolve) => {
        this.#onWritten = resolve
      })
    const folder = this.#folder
    const draft = draftOf(folder)
    const [data, copy] = [join(folder, dataName), join(draft, dataName)]
    const before = this.#tables
    try {
      await mkdir(draft, { recursive: true })
      await before.root.backup(draft, true)
      await sync(copy)
      const sizes = { bytesBefore: (await stat(data)).size, bytesAfter: (await stat(copy)).size }
      // In one turn, so that nobody sees a state between: sums of other pages would make the new file a damaged one.
      rmSync(join(folder, sumsName), { force: true })
      renameSync(copy, data)
      rmSync(join(folder, 'lock.mdb'), { force: true })
      this.#tables = openTables(folder)
      await sync(folder)
      await before.root.close()
      return sizes
    } finally {
      await rm(draft, { recursive: true, force: true })
    }
  }
}

const draftOf = (folder: string): string => `${folder}.compact`

function openTables(folder: string): MetaTables {
  const root = openRoot(folder, false)
  return {
    root,
    tasks: root.openDB({ name: 'tasks', encoding: 'json' }),
    payloads: root.openDB({ name: 'payloads', encoding: 'binary' }),
    batches: root.openDB({ name: 'batches', encoding: 'json' }),
    indexes: root.openDB({ name: 'indexes', encoding: 'json' }),
    store: root.openDB({ name: 'store', encoding: 'json' }),
    sets: root.openDB({ name: 'sets', encoding: 'binary' }),
  }
}

/** The payloads alone, read from another thread of the process that has the tasks open. */
export class PayloadReader {
  readonly #folder: string
  #open:
    | { readonly root: RootDatabase; readonly payloads: Database<Uint8Array, number>; readonly file: number }
    | undefined

  constructor(folder: string) {
    this.#folder = folder
  }

  read(uid: number): Uint8Array | undefined {
    // A compaction puts another file in the place of the one that is open.
    const file = statSync(join(this.#folder, dataName)).ino
    if (this.#open?.file !== file) {
      void this.close()
      const root = openRoot(this.#folder, true)
      this.#open = { root, payloads: root.openDB({ name: 'payloads', encoding: 'binary' }), file }
    }
    this.#open.root.resetReadTxn()
    return this.#open.payloads.getBinary(uid)
  }

  close(): Promise<void> {
    const { root } = this.#open ?? {}
    this.#open = undefined
    return root?.close() ?? Promise.resolve()
  }
}

const openRoot = (folder: string, readOnly: boolean): RootDatabase =>
  open({
    path: folder,
    maxDbs: 8,
    mapSize: mapBytes,
    noSubdir: false,
    overlappingSync: false,
    encoding: 'json',
    readOnly,
  })
