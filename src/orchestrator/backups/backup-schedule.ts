/** Which indexes are due for a backup, and which backups have had their time. Pure. */
import type { BackupMark, BackupPolicy } from '../../store/backups.ts'
import type { IndexEntry, IndexId } from '../../store/catalogue.ts'

/** After one that came to nothing, an index is tried again no sooner than this. */
export const failedPauseMs = 10 * 60_000

export function policyFor(policies: readonly BackupPolicy[], uid: string): BackupPolicy | undefined {
  return policies.find((policy) => policy.uid === uid) ?? policies.find((policy) => policy.uid === null)
}

/**
 * @param policies  of one project, with its indexes and backups.
 * @returns ids, the longest waiting first.
 */
export function dueIndexes(
  policies: readonly BackupPolicy[],
  indexes: readonly Pick<IndexEntry, 'id' | 'uid'>[],
  marks: readonly BackupMark[],
  now: number,
): readonly IndexId[] {
  const lastOf = new Map<IndexId, { good: number; any: number }>()
  for (const { index, state, createdAt } of marks) {
    const last = lastOf.get(index) ?? { good: 0, any: 0 }
    const isGood = state !== 'failed' && state !== 'deleting'
    lastOf.set(index, { good: isGood ? Math.max(last.good, createdAt) : last.good, any: Math.max(last.any, createdAt) })
  }
  return indexes
    .flatMap(({ id, uid }) => {
      const policy = policyFor(policies, uid)
      if (policy === undefined) return []
      const { good, any } = lastOf.get(id) ?? { good: 0, any: 0 }
      const isDue = now - good >= policy.everyMs && now - any >= Math.min(policy.everyMs, failedPauseMs)
      return isDue ? [{ id, good }] : []
    })
    .sort((a, b) => a.good - b.good || (a.id < b.id ? -1 : 1))
    .map(({ id }) => id)
}

/**
 * Backups that were made by the schedule and that neither their number nor their age keeps. The newest whole one of an index
 * stays whatever its age, and so does what people asked for.
 *
 * Where payloads are dropped after a time, two more stay: the newest that is older than that, from which the oldest moments
 * are restored, and the oldest that is younger, which takes its place one day; without it the journal would be kept for ever.
 *
 * @param nameOf  the index's name; `undefined` = it is gone: what the project's own policy says holds.
 * @param retainedMs  how long the journal keeps payloads at least; null = as long as the index is there.
 */
export function outlived(
  policies: readonly BackupPolicy[],
  nameOf: (index: IndexId) => string | undefined,
  marks: readonly BackupMark[],
  now: number,
  retainedMs: number | null,
): readonly string[] {
  const ofIndex = new Map<IndexId, BackupMark[]>()
  for (const mark of marks) {
    const isOurs = mark.isScheduled && (mark.state === 'done' || mark.state === 'failed')
    if (isOurs) ofIndex.set(mark.index, [...(ofIndex.get(mark.index) ?? []), mark])
  }
  return [...ofIndex].flatMap(([index, found]) => {
    const policy = policyFor(policies, nameOf(index) ?? '')
    if (policy === undefined) return []
    const whole = found.filter(({ state }) => state === 'done').sort((a, b) => b.createdAt - a.createdAt)
    const old = whole.filter(({ createdAt }, at) => {
      const isYoung = policy.keepMs !== null && now - createdAt < policy.keepMs
      return at >= Math.max(1, policy.keepCount) && !isYoung
    })
    const bases = retainedMs === null ? new Set<string>() : basesOf(marks, index, now - retainedMs)
    // One that failed tells nothing any more when a later one did not.
    const newest = whole[0]?.createdAt ?? 0
    const failed = found.filter(({ state, createdAt }) => state === 'failed' && createdAt < newest)
    return [...old, ...failed].map(({ id }) => id).filter((id) => !bases.has(id))
  })
}

/** Of the backups on either side of a time those that are nearest to it. */
function basesOf(marks: readonly BackupMark[], index: IndexId, time: number): ReadonlySet<string> {
  const taken = marks
    .flatMap((mark) => (mark.index === index && mark.state === 'done' ? [{ id: mark.id, at: mark.takenAt ?? 0 }] : []))
    .sort((a, b) => a.at - b.at)
  const nearest = [taken.findLast(({ at }) => at < time), taken.find(({ at }) => at >= time)]
  return new Set(nearest.flatMap((mark) => (mark === undefined ? [] : [mark.id])))
}
