/** Keys and values of the server above the engine, in the database of the tasks. */
import type { Json } from '../lib/json.ts'
import type { EngineStore } from './core.ts'
import type { MetaEnv } from './meta-env.ts'

/** Keys that begin with NUL are the engine's own. */
export function storeOf(env: MetaEnv): EngineStore {
  return {
    get: (key) => env.store.get(key),
    list: (prefix) => {
      const entries: { key: string; value: Json }[] = []
      for (const { key, value } of env.store.getRange(prefix === '' ? {} : { start: prefix })) {
        if (!key.startsWith(prefix)) break
        if (!key.startsWith('\0')) entries.push({ key, value })
      }
      return entries
    },
    put: async (key, value) => {
      await env.write(() => env.store.put(key, value))
      env.root.resetReadTxn()
    },
    delete: async (key) => {
      const isKnown = env.store.get(key) !== undefined
      await env.write(() => env.store.remove(key))
      env.root.resetReadTxn()
      return isKnown
    },
  }
}
