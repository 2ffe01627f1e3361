/** Past tasks follow their index to its new name (M-A3): also those that only mention it. */
import { Bitmap } from '../lib/bitmap.ts'
import { isObject, type Json } from '../lib/json.ts'
import type { TaskRecord } from './task-record.ts'
import type { TaskStore } from './task-store.ts'

/** Tasks that one commit renames: requests are answered in between. */
const pieceMax = 500

/**
 * Renames the tasks before task `by`, piece by piece, and answers the last piece, to be committed with the change itself.
 * After a crash it runs again: tasks know who renamed them, so that none is renamed twice.
 *
 * @param names  old name → new name.
 */
export async function renameTasks(
  store: TaskStore,
  names: ReadonlyMap<string, string>,
  by: number,
): Promise<readonly TaskRecord[]> {
  let piece: TaskRecord[] = []
  // A union is not changed by the commits.
  for (const uid of Bitmap.union([...names.keys()].map((name) => store.ofIndex(name)))) {
    if (uid >= by) break
    const record = store.get(uid)
    if (record === undefined || record.renamedBy === by) continue
    if (piece.length === pieceMax) {
      await store.commit({ tasks: piece })
      piece = []
    }
    piece.push({ ...renamedTask(record, names), renamedBy: by })
  }
  return piece
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
