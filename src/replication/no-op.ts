/** Settings changes that change nothing: the node would spend seconds on a large index for them all the same (NF-70). */
import { foldSettings } from '../api/settings.ts'
import type { LaneChange, LaneJournal } from '../journal/ports.ts'
import { isSameJson } from '../lib/json.ts'

/**
 * Folded onto what holds before it, it leaves everything as it is. Asked when all before it is applied, so that the fold
 * holds what succeeded and nothing else. A repeat, on a disk that lost what it had, is never one.
 */
export async function isNoOp(
  journal: Pick<LaneJournal, 'completedSettings'>,
  { change }: LaneChange,
): Promise<boolean> {
  const { operation, position, index } = change
  if (operation.kind !== 'settings' || change.status === 'succeeded') return false
  const { completed, settings } = await journal.completedSettings(index)
  return completed === position - 1 && isSameJson(foldSettings(settings, operation.settings), settings)
}
