/** Which indexes exist and where. The map in memory follows what was committed. */
import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { IndexState } from './index-batch.ts'
import type { MetaEnv, RegistryEntry } from './meta-env.ts'
import type { IndexPlace } from './worker-messages.ts'

export class IndexRegistry {
  readonly #root: string
  readonly #entries = new Map<string, RegistryEntry>()

  constructor(root: string, meta: MetaEnv) {
    this.#root = root
    mkdirSync(root, { recursive: true })
    for (const { value } of meta.indexes.getRange()) this.#entries.set(value.uid, value)
    // Folders that no index names were made by a batch that a crash cut off, or belong to a deleted index.
    const used = new Set([...this.#entries.values()].map(({ folder }) => folder))
    for (const name of readdirSync(root))
      if (!used.has(name)) rmSync(join(root, name), { recursive: true, force: true })
  }

  get(uid: string): RegistryEntry | undefined {
    return this.#entries.get(uid)
  }

  /** Sorted by uid. */
  list(): readonly RegistryEntry[] {
    return [...this.#entries.values()].sort((left, right) => (left.uid < right.uid ? -1 : 1))
  }

  folderOf(entry: Pick<RegistryEntry, 'folder'>): string {
    return join(this.#root, entry.folder)
  }

  placeOf(uid: string): IndexPlace | undefined {
    const entry = this.#entries.get(uid)
    return entry === undefined ? undefined : { uid, folder: this.folderOf(entry) }
  }

  /** An index that does not exist until it is committed. */
  draft(uid: string, now: number): RegistryEntry {
    return { uid, folder: randomUUID(), primaryKey: null, createdAt: now, updatedAt: now }
  }

  /** After the commit. */
  apply(deleted: readonly string[], put: readonly RegistryEntry[]): void {
    for (const uid of deleted) this.#entries.delete(uid)
    for (const entry of put) this.#entries.set(entry.uid, entry)
  }

  removeFolder(entry: RegistryEntry): void {
    rmSync(this.folderOf(entry), { recursive: true, force: true })
  }
}

export const withState = (entry: RegistryEntry, state: IndexState): RegistryEntry => ({
  ...entry,
  primaryKey: state.primaryKey,
  createdAt: state.createdAt,
  updatedAt: state.updatedAt,
})
