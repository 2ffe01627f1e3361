/** A stretch of the journal as a script. */
import type { LaneJournal } from '../../journal/ports.ts'
import type { IndexId } from '../../store/catalogue.ts'
import { type TailChange, tailOf } from '../journal-tail.ts'
import { piecesOf, type ScriptStep } from './script-step.ts'

export interface PlacedStep {
  readonly position: number
  readonly step: ScriptStep
}

/** Everything up to `through` must be complete. @throws WorkFailure when payloads were dropped by then. */
export async function* journalSteps(
  journal: Pick<LaneJournal, 'read' | 'open'>,
  index: IndexId,
  after: number,
  through: number,
  signal: AbortSignal,
): AsyncGenerator<PlacedStep> {
  for await (const change of tailOf(journal, index, after, through)) {
    signal.throwIfAborted()
    for await (const step of stepsOf(journal, change)) yield { position: change.position, step }
  }
}

async function* stepsOf(
  { open }: Pick<LaneJournal, 'open'>,
  { operation, payload }: TailChange,
): AsyncGenerator<ScriptStep> {
  switch (operation.kind) {
    case 'documents-put': {
      const { merge, primaryKey, received, distinct } = operation
      if (payload === null) return
      for await (const piece of piecesOf(open(payload)))
        yield { kind: 'put', merge, primaryKey, received, distinct, piece }
      return
    }
    case 'documents-delete':
      if (payload === null) return
      for await (const piece of piecesOf(open(payload))) yield { kind: 'delete', provided: operation.provided, piece }
      return
    case 'documents-clear':
      yield { kind: 'clear' }
      return
    case 'settings':
      yield { kind: 'settings', settings: operation.settings }
      return
    case 'index-update':
      if (operation.primaryKey !== null) yield { kind: 'primary-key', primaryKey: operation.primaryKey }
      return
    default:
      // Nothing else comes to anything in another index.
      return
  }
}
