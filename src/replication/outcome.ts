/** What the client's task shows in the end, computed from the change and from what the node's tasks say. Pure. */

import type { ErrorBody } from '../api/errors.ts'
import type { EngineTask } from '../engine/engine.ts'
import { type Change, type OperationKind, wholeResolution } from '../journal/change.ts'
import type { ChangeOutcome, LaneChange } from '../journal/ports.ts'
import { unreachable } from '../lib/assert.ts'
import type { Json } from '../lib/json.ts'

export interface DeliveryResult {
  readonly error: ErrorBody | null
  /** The tasks of its parts, without empty marks. */
  readonly tasks: readonly EngineTask[]
  /** Largest number of removals that a delivery of this change reported; a repeat finds nothing left to remove. */
  readonly removed: number
  /** Name of the index on the node, which must not reach a client. */
  readonly physicalUid: string
  readonly batchKey: string
  readonly now: number
}

export function outcomeOf({ change, partials }: LaneChange, result: DeliveryResult): ChangeOutcome {
  const { error, tasks, now } = result
  const startedAt = Math.max(change.enqueuedAt, least(tasks.map((task) => task.startedAt)) ?? change.startedAt ?? now)
  const ended = tasks.map((task) => task.finishedAt).filter((at) => at !== null)
  return {
    position: change.position,
    status: error === null ? 'succeeded' : 'failed',
    error: error && publicError(error, result.physicalUid, change.indexUid),
    details: detailsOf(change, partials, error === null, result),
    isShare: countedByEngine.has(change.operation.kind),
    startedAt,
    finishedAt: Math.max(startedAt, ...(ended.length === 0 ? [now] : ended)),
    batchKey: result.batchKey,
  }
}

/** What they removed is known to the engine alone, each replica's to its own. */
const countedByEngine: ReadonlySet<OperationKind> = new Set(['documents-delete', 'documents-clear', 'index-delete'])

/** M-C1. Not the engine's: they depend on how tasks were batched (NF-16, NF-23), and on what a change was resolved to. */
function detailsOf(
  change: Change,
  partials: LaneChange['partials'],
  isDone: boolean,
  { removed, tasks }: DeliveryResult,
): Json | null {
  const { operation } = change
  const resolutions = wholeResolution(change.resolution, partials) ?? []
  const sumOf = (count: 'deleteCount' | 'putCount') =>
    isDone ? resolutions.reduce((sum, resolution) => sum + resolution[count], 0) : 0
  const resolvedDeletes = sumOf('deleteCount')
  const resolvedPuts = sumOf('putCount')
  switch (operation.kind) {
    case 'documents-put': {
      const written = operation.skipCreation ? resolvedPuts : operation.distinct
      return { receivedDocuments: operation.received, indexedDocuments: isDone ? written : 0 }
    }
    case 'documents-delete':
      return { providedIds: operation.provided, deletedDocuments: isDone ? removed : 0, originalFilter: null }
    case 'documents-delete-by-filter':
      return { providedIds: 0, deletedDocuments: resolvedDeletes, originalFilter: JSON.stringify(operation.filter) }
    case 'documents-clear':
    case 'index-delete':
      return { deletedDocuments: isDone ? removed : 0 }
    case 'documents-edit':
      return {
        editedDocuments: resolvedPuts,
        deletedDocuments: resolvedDeletes,
        originalFilter: operation.filter === null ? null : JSON.stringify(operation.filter),
        context: operation.context,
        function: operation.function,
      }
    case 'index-compact':
      return tasks[0]?.details ?? change.details
    case 'settings':
    case 'index-create':
    case 'index-update':
    case 'index-swap':
    case 'task-cancel':
    case 'task-delete':
    case 'dump':
    case 'snapshot':
    case 'export':
    case 'rule-put':
    case 'rule-delete':
    case 'rules-clear':
      return change.details
    default:
      return unreachable(operation)
  }
}

/** Removals that a document deletion, a clear or an index deletion reports. */
export function removedBy(tasks: readonly EngineTask[]): number {
  return tasks.reduce((sum, { details }) => {
    const removed = details?.deletedDocuments
    return sum + (typeof removed === 'number' ? removed : 0)
  }, 0)
}

function publicError(error: ErrorBody, physicalUid: string, indexUid: string | null): ErrorBody {
  return indexUid === null ? error : { ...error, message: error.message.replaceAll(physicalUid, indexUid) }
}

function least(times: readonly (number | null)[]): number | undefined {
  const known = times.filter((at) => at !== null)
  return known.length === 0 ? undefined : Math.min(...known)
}
