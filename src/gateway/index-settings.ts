/**
 * Completed settings of indexes, as reads over shards and foreign keys need them. Remembered by the position that the route table shows, so
 * that searches ask the store only behind a change of settings, and go on with what they knew while it is away.
 */
import { LRUCache } from 'lru-cache'
import type { IndexSettings } from '../api/index-settings.ts'
import { completeSettings } from '../api/settings.ts'
import type { Journal } from '../journal/ports.ts'
import type { JsonObject } from '../lib/json.ts'
import type { IndexEntry, IndexId } from '../store/catalogue.ts'
import { StoreUnavailable } from '../store/ports.ts'

const rememberedMax = 5_000

interface Known {
  readonly position: number
  readonly folded: JsonObject
  readonly settings: IndexSettings
}

export class IndexSettingsReader {
  readonly #journal: Pick<Journal, 'completedSettings'>
  readonly #known = new LRUCache<IndexId, Known>({ max: rememberedMax })

  constructor(journal: Pick<Journal, 'completedSettings'>) {
    this.#journal = journal
  }

  /** The client's settings with every default. @throws StoreUnavailable when they were never seen. */
  async of(index: IndexEntry): Promise<IndexSettings> {
    return (await this.#read(index)).settings
  }

  /** What the client ever set, with secrets. */
  async folded(index: IndexEntry): Promise<JsonObject> {
    return (await this.#read(index)).folded
  }

  async #read({ id, settingsPosition: position }: IndexEntry): Promise<Known> {
    const known = this.#known.get(id)
    if (known?.position === position) return known
    try {
      const folded = position === 0 ? {} : await this.#journal.completedSettings(id)
      const fresh = { position, folded, settings: completeSettings(folded) }
      this.#known.set(id, fresh)
      return fresh
    } catch (error) {
      if (known === undefined || !(error instanceof StoreUnavailable)) throw error
      return known
    }
  }
}
