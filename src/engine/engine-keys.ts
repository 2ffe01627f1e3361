/** The keys of an engine (M-G), as whoever holds its master key makes them for others. */
import { isObject, type Json } from '../lib/json.ts'
import { type EnginePlace, engineCall } from './engine-call.ts'

export interface EngineKeyGrant {
  /** A UUID of version 4. The same one gives the same value for ever: it is derived from the master key and this. */
  readonly uid: string
  readonly name: string
  readonly actions: readonly string[]
  readonly indexes: readonly string[]
}

/** Every call throws when the engine does not answer as an engine does. */
export interface EngineKeys {
  /** Values by uid. `keyless`: it runs without a master key. `refused`: our key may not read keys. */
  list(signal: AbortSignal): Promise<ReadonlyMap<string, string> | 'keyless' | 'refused'>
  /** Answers its value, also when it is there already. */
  make(grant: EngineKeyGrant, signal: AbortSignal): Promise<string | 'refused'>
  /** Twice is safe. */
  remove(uid: string, signal: AbortSignal): Promise<void>
}

const pageSize = 1_000

export function createEngineKeys(place: EnginePlace & { readonly key: string }): EngineKeys {
  const call = engineCall(place)
  return {
    async list(signal) {
      const values = new Map<string, string>()
      for (;;) {
        const { status, answer } = await call('GET', `/keys?limit=${pageSize}&offset=${values.size}`, signal)
        if (status === 401 && answer.code === 'missing_master_key') return 'keyless'
        if (status === 401 || status === 403) return 'refused'
        if (status !== 200 || !Array.isArray(answer.results)) throw new Error(`its keys: status ${status}`)
        const results: readonly Json[] = answer.results
        for (const one of results) if (isObject(one)) values.set(String(one.uid), String(one.key))
        if (results.length < pageSize) return values
      }
    },
    async make({ uid, name, actions, indexes }, signal) {
      const wanted = { uid, name, description: 'Made by Flapjack.', actions, indexes, expiresAt: null }
      const made = await call('POST', '/keys', signal, wanted)
      if (made.status === 401 || made.status === 403) return 'refused'
      const found = made.status === 409 ? await call('GET', `/keys/${uid}`, signal) : made
      const { key: value } = found.answer
      if (typeof value !== 'string') throw new Error(`a key cannot be made: status ${made.status}`)
      return value
    },
    async remove(uid, signal) {
      const { status } = await call('DELETE', `/keys/${uid}`, signal)
      if (status !== 204 && status !== 404) throw new Error(`a key cannot be removed: status ${status}`)
    },
  }
}
