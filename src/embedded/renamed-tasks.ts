/** Past tasks follow their index to its new name (M-A3): also those that only mention it. */
import { isObject, type Json } from '../lib/json.ts'
import type { TaskRecord } from './task-record.ts'
import type { TaskStore } from './task-store.ts'

/** @param names  old name → new name. @param before  tasks from this number on keep what they say. */
export function renamedTasks(store: TaskStore, names: ReadonlyMap<string, string>, before: number): TaskRecord[] {
  const uids = new Set<number>()
  for (const name of names.keys()) for (const uid of store.ofIndex(name)) if (uid < before) uids.add(uid)
  return [...uids].flatMap((uid) => {
    const record = store.get(uid)
    return record === undefined ? [] : [renamedTask(record, names)]
  })
}

function renamedTask(record: TaskRecord, names: ReadonlyMap<string, string>): TaskRecord {
  const rename = (name: string): string => names.get(name) ?? name
  const { operation, indexUid } = record
  if (operation.kind !== 'index-swap') return indexUid === null ? record : { ...record, indexUid: rename(indexUid) }
  const swaps = operation.swaps.map(({ indexes: [left, right], rename: isRename }) => ({
    indexes: [rename(left), rename(right)] as const,
    rename: isRename,
  }))
  const details: Json =
    record.details !== null && isObject(record.details) ? { ...record.details, swaps } : record.details
  return { ...record, operation: { ...operation, swaps }, details }
}
