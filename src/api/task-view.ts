/** Tasks in the shape that clients see (M-C2, M-C3). */
import type { Json } from '../lib/json.ts'
import { ApiError, type ErrorBody } from './errors.ts'
import type { SummarizedTask, TaskKind, TaskStatus, TaskView } from './tasks.ts'

/** Times in ms since 1970. */
export interface TaskFacts {
  readonly uid: number
  readonly batchUid: number | null
  readonly indexUid: string | null
  readonly status: TaskStatus
  readonly type: TaskKind
  readonly canceledBy: number | null
  /** null = the kind has none. */
  readonly details: Json
  readonly error: ErrorBody | null
  readonly enqueuedAt: number
  readonly startedAt: number | null
  readonly finishedAt: number | null
  readonly customMetadata: string | null
}

export function renderTask(task: TaskFacts): TaskView {
  const { startedAt, finishedAt } = task
  return {
    uid: task.uid,
    batchUid: task.batchUid,
    indexUid: task.indexUid,
    status: task.status,
    type: task.type,
    canceledBy: task.canceledBy,
    ...(task.details === null ? {} : { details: task.details }),
    error: task.error,
    duration: startedAt === null || finishedAt === null ? null : renderDuration(finishedAt - startedAt),
    enqueuedAt: renderTime(task.enqueuedAt),
    startedAt: startedAt === null ? null : renderTime(startedAt),
    finishedAt: finishedAt === null ? null : renderTime(finishedAt),
    ...(task.customMetadata === null ? {} : { customMetadata: task.customMetadata }),
  }
}

export function renderSummary(
  task: Pick<TaskFacts, 'uid' | 'indexUid' | 'type' | 'enqueuedAt' | 'customMetadata'>,
): SummarizedTask {
  return {
    taskUid: task.uid,
    indexUid: task.indexUid,
    status: 'enqueued',
    type: task.type,
    enqueuedAt: renderTime(task.enqueuedAt),
    ...(task.customMetadata === null ? {} : { customMetadata: task.customMetadata }),
  }
}

/** RFC 3339, UTC. */
export function renderTime(ms: number): string {
  return new Date(ms).toISOString()
}

/** ISO 8601: `PT0.033S`, `PT2S`, `P1DT3S`, `P1D`; fractions of 3, 6 or 9 digits. `ms` may carry a fraction. */
export function renderDuration(ms: number): string {
  const nanos = Math.max(0, Math.round(ms * 1e6))
  if (nanos === 0) return 'PT0S'
  const days = Math.floor(nanos / 86_400e9)
  const rest = nanos - days * 86_400e9
  const seconds = Math.floor(rest / 1e9)
  const fraction = rest % 1e9
  const date = days > 0 ? `${days}D` : ''
  if (rest === 0) return `P${date}`
  if (fraction === 0) return `P${date}T${seconds}S`
  const digits = fraction % 1e6 === 0 ? 3 : fraction % 1e3 === 0 ? 6 : 9
  const text = Math.round(fraction).toString().padStart(9, '0').slice(0, digits)
  return `P${date}T${seconds}.${text}S`
}

/** Message 62. */
export function taskNotFound(uid: number | string): ApiError {
  return new ApiError('task_not_found', `Task \`${uid}\` not found.`)
}

export function batchNotFound(uid: number | string): ApiError {
  return new ApiError('batch_not_found', `Batch \`${uid}\` not found.`)
}
