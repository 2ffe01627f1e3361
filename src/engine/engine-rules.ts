/** The dynamic search rules of an engine (M-H), as whoever holds its master key writes them. */
import type { Clock } from '../lib/clock.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { type EnginePlace, engineCall } from './engine-call.ts'

/** Every call throws when the engine does not answer as an engine does. */
export interface EngineRules {
  /** Their names. Switches the feature on where it is off. */
  names(signal: AbortSignal): Promise<readonly string[]>
  /** Done when searches follow it. Rules that are there are overwritten, names that are not there are no fault. */
  change(puts: ReadonlyMap<string, JsonObject>, deletions: readonly string[], signal: AbortSignal): Promise<void>
}

const pageSize = 1_000
const taskPauseMs = 25
/** Tasks wait behind the batch that runs. */
const taskMsMax = 600_000

export function createEngineRules({ clock, ...place }: EnginePlace & { readonly clock: Clock }): EngineRules {
  const call = engineCall(place)

  async function write(method: 'PATCH' | 'DELETE', name: string, signal: AbortSignal, sent?: JsonObject) {
    const { status, answer } = await call(method, `/dynamic-search-rules/${name}`, signal, sent)
    const { taskUid } = answer
    if (typeof taskUid !== 'number') throw new Error(`its search rules: status ${status}`)
    return taskUid
  }

  async function finish(tasks: readonly number[], signal: AbortSignal): Promise<void> {
    const last = Math.max(...tasks)
    for (const deadlineAt = clock.monotonic() + taskMsMax; ; ) {
      const { status, answer } = await call('GET', `/tasks/${last}`, signal)
      // A task that was cleaned away has ended.
      if (status === 404 || answer.status === 'succeeded') return
      if (status !== 200 || answer.status === 'failed' || answer.status === 'canceled')
        throw new Error(`its search rules: a task ${String(answer.status ?? status)}`)
      if (clock.monotonic() > deadlineAt) throw new Error('its search rules: a task does not end')
      await clock.sleep(taskPauseMs, signal)
    }
  }

  return {
    async names(signal) {
      const names: string[] = []
      for (let isOn = false; ; ) {
        const sent = { offset: names.length, limit: pageSize }
        const { status, answer } = await call('POST', '/dynamic-search-rules', signal, sent)
        if (answer.code === 'feature_not_enabled' && !isOn) {
          isOn = true
          await call('PATCH', '/experimental-features', signal, { dynamicSearchRules: true })
          continue
        }
        if (status !== 200 || !Array.isArray(answer.results)) throw new Error(`its search rules: status ${status}`)
        const results: readonly Json[] = answer.results
        for (const one of results) if (isObject(one)) names.push(String(one.uid))
        if (results.length < pageSize) return names
      }
    },
    async change(puts, deletions, signal) {
      const tasks: number[] = []
      for (const [name, rule] of puts) tasks.push(await write('PATCH', name, signal, rule))
      for (const name of deletions) tasks.push(await write('DELETE', name, signal))
      if (tasks.length > 0) await finish(tasks, signal)
    },
  }
}
