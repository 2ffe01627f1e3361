/** What foreign keys need of an index's settings; remembered for when the store is away, so that searches go on. */
import type { Journal } from '../journal/ports.ts'
import type { JsonObject } from '../lib/json.ts'
import type { IndexId } from '../store/catalogue.ts'
import { StoreUnavailable } from '../store/ports.ts'

const rememberedMax = 1_000

export class ForeignSettings {
  readonly #journal: Pick<Journal, 'completedSettings'>
  readonly #remembered = new Map<IndexId, JsonObject>()

  constructor(journal: Pick<Journal, 'completedSettings'>) {
    this.#journal = journal
  }

  /** `foreignKeys` and `displayedAttributes` as they are now. @throws StoreUnavailable when they were never seen. */
  async of(index: IndexId): Promise<JsonObject> {
    try {
      const { foreignKeys = [], displayedAttributes = ['*'] } = await this.#journal.completedSettings(index)
      const settings = { foreignKeys, displayedAttributes }
      this.#remembered.delete(index)
      this.#remembered.set(index, settings)
      if (this.#remembered.size > rememberedMax) this.#remembered.delete(this.#remembered.keys().next().value ?? index)
      return settings
    } catch (error) {
      const known = error instanceof StoreUnavailable ? this.#remembered.get(index) : undefined
      if (known === undefined) throw error
      return known
    }
  }
}
