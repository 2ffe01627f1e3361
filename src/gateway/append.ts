/** Appends a change to the journal and answers the summarised task (M-C2): the one way in which a request writes. */
import { ApiError, type ErrorBody } from '../api/errors.ts'
import { headerNames } from '../api/names.ts'
import { renderSummary } from '../api/task-view.ts'
import { taskKindOf } from '../api/tasks.ts'
import type { Operation } from '../journal/change.ts'
import type { AppendOutcome, AppendRequest } from '../journal/ports.ts'
import { unreachable } from '../lib/assert.ts'
import { type Answer, json } from './answer.ts'
import type { Call } from './exchange.ts'

export interface AppendParts {
  readonly uid: string | null
  readonly operation: Operation
  readonly payload?: AppendRequest['payload']
  readonly customMetadata?: string | null
  /** Default: as the key may. Resets of settings never create (M-A4). */
  readonly mayCreateIndex?: boolean
  readonly refusal?: ErrorBody | null
}

/** The request that `parts` come to for this caller. */
export function appendRequest(call: Call, parts: AppendParts): AppendRequest {
  return {
    project: call.principal.project.id,
    uid: parts.uid,
    operation: parts.operation,
    payload: parts.payload ?? null,
    customMetadata: parts.customMetadata ?? null,
    mayCreateIndex: parts.mayCreateIndex ?? call.principal.actions.has('indexes.create'),
    refusal: parts.refusal ?? null,
  }
}

/** @param status  202, or 200 on the few routes that answer so. */
export async function append(call: Call, parts: AppendParts, status = 202): Promise<Answer> {
  const request = appendRequest(call, parts)
  const outcome = await call.parts.journal.append(request)
  noteWrite(call, outcome)
  if (outcome.kind === 'stale') throw new Error('only document puts are checked against a state')
  return summary(request, outcome, status)
}

/** Counts a write's outcome; what is written under an `X-Miroir-Session` is read under it (C-30). */
export function noteWrite({ parts, principal, headers }: Call, outcome: AppendOutcome): void {
  if (outcome.kind === 'no-quorum') parts.spread.metrics.onNoQuorum()
  if (outcome.kind === 'appended' && outcome.degraded !== undefined) parts.spread.metrics.onDegradedWrite()
  const session = parts.spread.sessionOf(principal.project.id, headers.session)
  if (session === undefined || outcome.kind !== 'appended' || outcome.index === null) return
  parts.spread.replicas.sessions.wrote(session, outcome.index, outcome.position ?? 0)
}

/** @throws ApiError 503 when nothing was appended. */
export function summary(
  request: AppendRequest,
  outcome: Exclude<AppendOutcome, { kind: 'stale' }>,
  status = 202,
): Answer {
  switch (outcome.kind) {
    case 'appended':
      return json(
        status,
        renderSummary({
          uid: outcome.task,
          indexUid: request.uid,
          type: taskKindOf[request.operation.kind],
          enqueuedAt: outcome.enqueuedAt,
          customMetadata: request.customMetadata,
        }),
        outcome.degraded === undefined ? {} : { [headerNames.degraded]: outcome.degraded },
      )
    case 'no-quorum':
      throw new ApiError(
        'miroir_no_quorum',
        `Too few replicas of the index are alive${shardList(outcome.shards)}. Nothing was stored; try again.`,
      )
    case 'unavailable':
      throw storeAway(outcome.cause)
    default:
      return unreachable(outcome)
  }
}

function shardList(shards: readonly number[]): string {
  return shards.length === 0 ? '' : `: none for shard ${shards.join(', ')}`
}

export function storeAway(cause: unknown): ApiError {
  return new ApiError(
    'task_registry_unavailable',
    'Writes cannot be stored at the moment. Nothing was stored; try again.',
    { cause },
  )
}
