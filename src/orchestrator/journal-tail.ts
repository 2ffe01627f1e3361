/**
 * What a stretch of an index's journal came to, as changes that another index can take: plain puts and deletes by id, clears,
 * settings and the primary key. What failed or was cancelled is left out; so is what changes only names.
 */
import { type Operation, type Payload, type Resolution, wholeResolution } from '../journal/change.ts'
import type { LaneChange, LaneJournal } from '../journal/ports.ts'
import type { IndexId } from '../store/catalogue.ts'
import { WorkFailure } from './work-failure.ts'

export interface TailChange {
  /** In the journal that it is of. */
  readonly position: number
  readonly operation: Operation
  readonly payload: Payload | null
}

const changesPerPage = 100
const pageBytesMax = 8 * 1024 * 1024

/**
 * The changes of `(after, through]`, in order. Before: `through` is complete.
 *
 * @throws WorkFailure when payloads were dropped by then.
 */
export async function* tailOf(
  journal: Pick<LaneJournal, 'read'>,
  index: IndexId,
  after: number,
  through: number,
): AsyncGenerator<TailChange> {
  for (let position = after; position < through; ) {
    const page = await journal.read(index, position, changesPerPage, pageBytesMax)
    if (page.length === 0) throw new WorkFailure('The index was deleted meanwhile.')
    for (const item of page) {
      position = item.change.position
      if (position > through) return
      for (const change of cameTo(item)) yield { position, ...change }
    }
  }
}

type Came = Omit<TailChange, 'position'>

function cameTo(item: LaneChange): readonly Came[] {
  const { change, partials, primaryKey } = item
  const { operation, payload } = change
  if (change.status !== 'succeeded' || change.refusal !== null) return []
  const resolutions = wholeResolution(change.resolution, partials) ?? []
  switch (operation.kind) {
    case 'documents-put':
      if (operation.received === 0) return []
      if (operation.skipCreation) return resolutions.length === 0 ? dropped() : resolved(resolutions, primaryKey)
      return payload === null ? dropped() : [{ operation: { ...operation, primaryKey }, payload }]
    case 'documents-delete':
      if (operation.provided === 0) return []
      return payload === null ? dropped() : [{ operation, payload }]
    case 'documents-delete-by-filter':
    case 'documents-edit':
      return resolutions.length === 0 ? dropped() : resolved(resolutions, primaryKey)
    case 'documents-clear':
    case 'settings':
      return [{ operation, payload: null }]
    case 'index-update':
      return operation.primaryKey === null ? [] : [{ operation: { ...operation, uid: null }, payload: null }]
    default:
      return []
  }
}

function resolved(resolutions: readonly Resolution[], primaryKey: string | null): readonly Came[] {
  return resolutions.flatMap(
    ({ puts, merge, deletes, putCount, lineCount = putCount, deleteCount }): readonly Came[] => {
      const counts = { received: lineCount, distinct: putCount }
      const put = { kind: 'documents-put', merge, skipCreation: false, primaryKey, ...counts } as const
      return [
        ...(puts === null ? [] : [{ operation: put, payload: puts }]),
        ...(deletes === null
          ? []
          : [{ operation: { kind: 'documents-delete', provided: deleteCount } as const, payload: deletes }]),
      ]
    },
  )
}

function dropped(): never {
  throw new WorkFailure('The payloads of changes that are needed were dropped (`payload_retention`).')
}
