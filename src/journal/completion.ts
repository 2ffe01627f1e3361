/**
 * What finished and cancelled changes do to an index. Pure, shared by the PostgreSQL journal and its twin in memory.
 */
import type { ErrorBody } from '../api/errors.ts'
import { foldSettings } from '../api/settings.ts'
import { assert } from '../lib/assert.ts'
import type { Json } from '../lib/json.ts'
import { notFound } from './append-decision.ts'
import { deliveredSettings } from './delivered-settings.ts'
import type { ChangeOutcome } from './ports.ts'
import { finishedDetails } from './task-details.ts'
import type { IndexState, OpenChange } from './write-index.ts'

/** How a task ends. */
export interface Ending {
  readonly task: number
  readonly status: 'succeeded' | 'failed' | 'canceled'
  readonly error: ErrorBody | null
  readonly details: Json
  readonly startedAt: number | null
  readonly finishedAt: number
  readonly batchKey: string
  readonly canceledBy: number | null
}

/** A name that the completion gives to an index. */
export interface NameGiven {
  readonly index: IndexState
  readonly uid: string
  readonly task: number
}

/** Tasks before `task` that show the name `from` show `to` from now on. */
export interface TaskRenaming {
  readonly task: number
  readonly from: string
  readonly to: string
}

export interface Completion {
  readonly endings: readonly Ending[]
  /** In order; see `giveName`. */
  readonly names: readonly NameGiven[]
  readonly renamings: readonly TaskRenaming[]
  /** Open changes whose `refusal` or `deliver` is another now. */
  readonly rewritten: readonly OpenChange[]
  /** Something that the route table shows has changed. */
  readonly isVisible: boolean
}

/**
 * Moves `completed` to `through` and ends the changes on the way.
 *
 * @param open  the index's changes behind `completed` that have not finished, ascending.
 * @param outcomes  by position; a refused change needs none.
 */
export function complete(
  index: IndexState,
  open: readonly OpenChange[],
  through: number,
  outcomes: ReadonlyMap<number, ChangeOutcome>,
  now: number,
): Completion {
  const endings: Ending[] = []
  const names: NameGiven[] = []
  const renamings: TaskRenaming[] = []
  let isVisible = false
  let mustRebuild = false
  for (const change of open) {
    if (change.position > through) break
    const outcome = outcomes.get(change.position)
    assert(change.refusal !== null || outcome !== undefined, `no outcome for position ${change.position}`)
    const isDone = change.refusal === null && outcome?.status === 'succeeded'
    const finishedAt = outcome?.finishedAt ?? now
    change.status = isDone ? 'succeeded' : 'failed'
    endings.push({
      task: change.task,
      status: change.status,
      error: isDone ? null : (change.refusal ?? outcome?.error ?? null),
      details: finishedDetails(change.operation, change.details, change.status, outcome?.details ?? null),
      startedAt: outcome?.startedAt ?? now,
      finishedAt,
      batchKey: outcome?.batchKey ?? `${index.id}:${change.position}`,
      canceledBy: null,
    })
    // A put or settings change on an unknown index leaves the index behind even when it fails, as Meilisearch does.
    const creates = change.mayCreate && (isDone || change.operation.kind !== 'index-create')
    if (creates && index.createdAt === null) {
      index.createdAt = finishedAt
      index.updatedAt = finishedAt
      names.push({ index, uid: change.indexUid, task: change.task })
      isVisible = true
    }
    if (isDone) {
      applySuccess(index, change, finishedAt)
      for (const { uid } of change.naming) {
        names.push({ index, uid, task: change.task })
        renamings.push({ task: change.task, from: change.indexUid, to: uid })
      }
      isVisible = true
    } else if (change.refusal === null) mustRebuild = true
  }
  index.completed = through
  const rewritten = mustRebuild ? rebuild(index, open) : []
  // Whoever was to create it was cancelled or failed: nobody will ever see it.
  if (index.createdAt === null && index.writeUid === null && index.completed === index.head) index.isGone = true
  return { endings, names, renamings, rewritten, isVisible: isVisible || index.isGone }
}

/** Effects of a success on what reads see. */
function applySuccess(index: IndexState, change: OpenChange, finishedAt: number): void {
  const { operation } = change
  if (operation.kind === 'settings') {
    index.settingsDone = foldSettings(index.settingsDone, operation.settings)
    index.settingsPosition = change.position
  }
  if (operation.kind === 'index-delete') index.isGone = true
  if (operation.kind === 'documents-put' || operation.kind === 'index-create') index.primaryKey ??= change.primaryKey
  if (operation.kind === 'index-update' && operation.primaryKey !== null) {
    index.primaryKey = operation.primaryKey
    // When the engine had to decide, writes learn of it only now.
    if (change.primaryKey !== operation.primaryKey) index.writePrimaryKey = operation.primaryKey
  }
  index.updatedAt = Math.max(index.updatedAt ?? 0, finishedAt)
}

/**
 * Cancels changes that were not sent yet. What took effect on names when it was appended (delete, rename) goes through.
 *
 * @param open  as for `complete`.
 */
export function cancel(
  index: IndexState,
  open: readonly OpenChange[],
  tasks: ReadonlySet<number>,
  by: { readonly task: number; readonly now: number; readonly batchKey: string },
): { readonly endings: readonly Ending[]; readonly rewritten: readonly OpenChange[] } {
  const endings: Ending[] = []
  for (const change of open) {
    if (!tasks.has(change.task) || change.status !== 'enqueued' || !isCancellable(change)) continue
    change.status = 'canceled'
    endings.push(cancelledEnding(change, by))
  }
  return { endings, rewritten: endings.length === 0 ? [] : rebuild(index, open) }
}

export function cancelledEnding(
  change: Pick<OpenChange, 'task' | 'operation' | 'details'>,
  by: { readonly task: number; readonly now: number; readonly batchKey: string },
): Ending {
  return {
    task: change.task,
    status: 'canceled',
    error: null,
    details: finishedDetails(change.operation, change.details, 'canceled', null),
    startedAt: by.now,
    finishedAt: by.now,
    batchKey: by.batchKey,
    canceledBy: by.task,
  }
}

function isCancellable({ operation, naming }: OpenChange): boolean {
  return operation.kind !== 'index-delete' && naming.length === 0
}

/**
 * What writes see, computed anew from what is completed and from the changes that are still to come: one of them was
 * cancelled or failed. Answers the changes that were rewritten.
 */
function rebuild(index: IndexState, open: readonly OpenChange[]): readonly OpenChange[] {
  const rewritten = new Set<OpenChange>()
  let exists = index.createdAt !== null
  index.settings = index.settingsDone
  index.settingsVersion += 1
  index.writePrimaryKey = index.primaryKey
  index.mayHoldDocuments = true
  for (const change of open) {
    if (isFinished(change) || change.refusal !== null) continue
    exists ||= change.mayCreate
    if (!exists) {
      change.refusal = notFound([change.indexUid])
      rewritten.add(change)
      continue
    }
    const { operation } = change
    if (operation.kind === 'settings') {
      // What was sent already cannot be taken back.
      if (change.status === 'enqueued') {
        change.deliver = deliveredSettings(index.settings, operation.settings)
        rewritten.add(change)
      }
      index.settings = foldSettings(index.settings, operation.settings)
    }
    if (operation.kind === 'documents-put' || operation.kind === 'index-create') {
      index.writePrimaryKey ??= change.primaryKey
    }
    if (operation.kind === 'index-update' && operation.primaryKey === change.primaryKey) {
      index.writePrimaryKey = change.primaryKey ?? index.writePrimaryKey
    }
  }
  if (!exists) index.writeUid = null
  return [...rewritten]
}

function isFinished({ status }: OpenChange): boolean {
  return status !== 'enqueued' && status !== 'processing'
}

/**
 * Gives a name to an index as reads see it. Changes of different indexes complete in any order, so a name that a later task
 * gave stays: to this index (it keeps the later name) and to another one (this index then has none).
 *
 * @param holder  the other index that has the name now, if any.
 */
export function giveName({ index, uid, task }: NameGiven, holder: IndexState | undefined): void {
  if (index.namedBy > task || index.isGone) return
  index.namedBy = task
  if (holder !== undefined && holder.namedBy > task) {
    index.readUid = null
    return
  }
  if (holder !== undefined) holder.readUid = null
  index.readUid = uid
}

/** An exchange renames tasks both ways, a rename one way. */
export function swapRenamings(task: number, operation: OpenChange['operation']): readonly TaskRenaming[] {
  if (operation.kind !== 'index-swap') return []
  return operation.swaps.flatMap(({ indexes: [left, right], rename }) => {
    const there = { task, from: left, to: right }
    return rename ? [there] : [there, { task, from: right, to: left }]
  })
}
