/** Keys and values of the server above the engine, in the database of the tasks. */
import type { Json } from '../lib/json.ts'
import type { EngineStore } from './core.ts'
import type { MetaEnv } from './meta-env.ts'

/** Keys that begin with NUL are the engine's own. */
export function storeOf({ root, store }: MetaEnv): EngineStore {
  return {
    get: (key) => store.get(key),
    list: (prefix) => {
      const entries: { key: string; value: Json }[] = []
      for (const { key, value } of store.getRange(prefix === '' ? {} : { start: prefix })) {
        if (!key.startsWith(prefix)) break
        if (!key.startsWith('\0')) entries.push({ key, value })
      }
      return entries
    },
    put: async (key, value) => {
      await store.put(key, value)
      root.resetReadTxn()
    },
    delete: async (key) => {
      const isKnown = store.get(key) !== undefined
      await store.remove(key)
      root.resetReadTxn()
      return isKnown
    },
  }
}
