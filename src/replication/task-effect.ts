/** What a task of a node did, as far as it shows. Pure. */
import type { EngineTask } from '../engine/engine.ts'
import { isObject, type Json } from '../lib/json.ts'
import { type Part, taskTypeOf } from './delivery.ts'

/** It left everything as it was. */
export function endedInVain({ status }: EngineTask): boolean {
  return status === 'failed' || status === 'canceled'
}

export function isPending({ status }: EngineTask): boolean {
  return status === 'enqueued' || status === 'processing'
}

/** It wrote or removed documents, or still may. */
export function changesDocuments(task: EngineTask): boolean {
  const { type, details } = task
  if (endedInVain(task)) return false
  return type === taskTypeOf.put || (type === taskTypeOf.delete && details?.providedIds !== 0)
}

/** The task is of the part's kind and, as far as tasks show it, sets nothing that the part would not set again. */
export function mayBeOf({ type, details }: EngineTask, part: Part): boolean {
  if (type !== taskTypeOf[part.kind]) return false
  return part.kind !== 'settings' || (details !== null && namesIn(details) === namesIn(part.settings))
}

/** Values are shown in the engine's own spelling, names as they were given. */
function namesIn(settings: Json): string {
  if (!isObject(settings)) return settings === null ? 'null' : ''
  const names = Object.keys(settings).sort()
  return `{${names.map((name) => `${name}:${namesIn(settings[name] ?? null)}`).join(',')}}`
}
