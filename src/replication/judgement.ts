/** What the end of its tasks means for a change (design 2, rule 3; NF-06, NF-16, NF-21, NF-22, NF-29). Pure. */
import type { ErrorBody } from '../api/errors.ts'
import type { EngineTask } from '../engine/engine.ts'
import { type Part, taskTypeOf } from './delivery.ts'
import { parseMark } from './mark.ts'
import { isNodeTrouble } from './node-trouble.ts'
import type { OpenChange } from './open-change.ts'

/** How often a lane goes back for a reason before it believes the node after all. */
const goneBackMax = {
  /** `internal` may pass, once (NF-21). */
  internal: 1,
  /** A count that stays short: then it is our count that is wrong. */
  'short-count': 3,
  /**
   * What succeeded before must succeed when it is repeated, unless the engine is another by now; then the index is built anew.
   * An index with one copy goes on without it in the end. Where others hold it, nobody goes on without it.
   */
  'failed-replay': 2,
}

export type GoBackReason =
  | 'cancelled'
  | 'node-trouble'
  | 'failed-batch'
  | 'failed-place'
  | 'refused-replay'
  | keyof typeof goneBackMax

export type Verdict =
  | { readonly kind: 'open' }
  /** It failed, and it is not known yet which other tasks were in its batch. */
  | { readonly kind: 'unsure' }
  | {
      readonly kind: 'done'
      readonly error: ErrorBody | null
      readonly tasks: readonly EngineTask[]
      /** false = the client's task ended before. */
      readonly isTold: boolean
      /** It failed, and some of it is on the node all the same. */
      readonly isPartial: boolean
      readonly batch: number | null
    }
  /** The lane goes back to `position` and delivers again, one by one up to `singleUntil`. */
  | {
      readonly kind: 'again'
      readonly position: number
      readonly singleUntil: number
      readonly reason: GoBackReason
      /** Wait before. */
      readonly isTrouble: boolean
    }

export interface JudgementView {
  /** `undefined` = still open. */
  readonly taskOf: (number: number) => EngineTask | undefined
  /** The replica has told that it was good. */
  readonly isApplied: boolean
  /** Other replicas hold what it does. */
  readonly isShared: boolean
  /** How often the lane went back for this change and reason. */
  readonly goneBack: (reason: GoBackReason) => number
  /** The tasks of the index around this change, read after it had ended; `undefined` = not read. */
  readonly around: readonly EngineTask[] | undefined
}

export function judge(entry: OpenChange, view: JudgementView): Verdict {
  const over = { kind: 'done', tasks: [], batch: null } as const
  if (entry.ends === null) return { ...over, error: null, isTold: false, isPartial: false }
  if (entry.ends !== undefined) {
    return { ...over, error: entry.ends.error, isTold: true, isPartial: entry.parts.length > 0 }
  }
  if (entry.numbers.some((number) => view.taskOf(number) === undefined)) return { kind: 'open' }
  const tasks: EngineTask[] = []
  let error: ErrorBody | null = null
  for (const { part, number } of entry.parts) {
    const task = view.taskOf(number)!
    tasks.push(task)
    const found = judgeTask(entry, part, task, view)
    if (found === 'good') continue
    if ('kind' in found) return found
    error ??= found.error
  }
  if (error === null && isShort(entry, tasks) && view.goneBack('short-count') < goneBackMax['short-count']) {
    const { position } = entry.item.change
    const isTrouble = view.goneBack('short-count') > 0
    return { kind: 'again', position, singleUntil: entry.bundle?.through ?? 0, reason: 'short-count', isTrouble }
  }
  // Any of several parts may be on the node, from this attempt or an earlier one.
  const isPartial = error !== null && entry.parts.length > 1
  return { kind: 'done', error, tasks, isTold: true, batch: tasks.at(-1)?.batchUid ?? null, isPartial }
}

function judgeTask(
  entry: OpenChange,
  part: Pick<Part, 'kind'>,
  task: EngineTask,
  view: JudgementView,
): 'good' | { readonly error: ErrorBody } | Verdict {
  const { position } = entry.item.change
  const again = (reason: GoBackReason, singleUntil: number, isTrouble: boolean): Verdict => ({
    kind: 'again',
    position,
    singleUntil,
    reason,
    isTrouble,
  })
  const mayGoBack = (reason: keyof typeof goneBackMax) => view.goneBack(reason) < goneBackMax[reason]
  if (task.status === 'succeeded') return 'good'
  if (task.status === 'canceled') return again('cancelled', 0, false)
  const { error } = task
  if (error === null || isNodeTrouble(error)) return again('node-trouble', 0, true)
  if (isAsWanted(part, error)) return 'good'
  // Which of its changes was refused shows one by one.
  if (entry.bundle !== null) return again('failed-batch', entry.bundle.through, false)
  if (view.around === undefined) return { kind: 'unsure' }
  const beside = view.around.filter(({ uid, batchUid }) => batchUid === task.batchUid && !entry.numbers.includes(uid))
  if (error.code === 'internal' && mayGoBack('internal')) return again('internal', position, false)
  // Where another task of the batch is good, this one failed by itself.
  if (beside.length === 0 || beside.some(({ status }) => status === 'succeeded')) {
    const isReplay = entry.item.change.status === 'succeeded' || view.isApplied
    if (isReplay && mayGoBack('failed-replay')) return again('failed-replay', position, true)
    return isReplay && view.isShared ? again('refused-replay', position, true) : { error }
  }
  const last = Math.max(position, ...beside.map((other) => parseMark(other.customMetadata)?.position ?? 0))
  return again('failed-batch', last, false)
}

/** The node says that it wrote fewer documents than were sent (NF-06). */
function isShort(entry: OpenChange, tasks: readonly EngineTask[]): boolean {
  let written = 0
  for (const { type, details } of tasks) {
    if (type !== taskTypeOf.put) continue
    if (typeof details?.indexedDocuments !== 'number') return false
    // A part is never empty. The sum alone would not tell: a document that stands in two parts is counted twice.
    if (details.indexedDocuments === 0) return true
    written += details.indexedDocuments
  }
  return written < entry.documents
}

/** A repeated create or delete finds the index as it should be (NF-29). */
function isAsWanted(part: Pick<Part, 'kind'>, error: ErrorBody): boolean {
  if (part.kind === 'create-index') return error.code === 'index_already_exists'
  const needsNone = part.kind === 'delete-index' || part.kind === 'delete' || part.kind === 'clear'
  return needsNone && error.code === 'index_not_found'
}
