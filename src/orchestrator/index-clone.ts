/**
 * Makes a new index of what another one holds at one position of its journal, while that one is written to.
 *
 * Documents are read while writes go on, so that each shows some moment behind the position at which reading began; the
 * changes from there on are appended behind them. Puts, merges and deletions by id come to the same however often they are
 * repeated (NF-20), so that the new index ends as the old one was at the last of them.
 */

import type { Engine } from '../engine/engine.ts'
import type { LaneJournal, ReplicaJournal } from '../journal/ports.ts'
import type { Node } from '../store/catalogue.ts'
import { isRead } from '../topology/placement-states.ts'
import type { IndexRoute, RouteTable } from '../topology/route-table.ts'
import { type ImportDeps, type ImportedIndex, openImport } from './index-import.ts'
import { tailOf } from './journal-tail.ts'
import { documentsOf, isUndisturbed } from './project-documents.ts'
import { WorkFailure } from './work-failure.ts'

export interface CloneDeps extends ImportDeps {
  readonly lanes: Pick<LaneJournal, 'completedSettings' | 'read' | 'open'>
  readonly replicas: Pick<ReplicaJournal, 'standing'>
  readonly table: RouteTable
  readonly engineOf: (node: Node) => Engine
}

export interface Clone {
  /** Of the old index's journal: the new one began with what the old one held there. */
  readonly position: number
  /** Documents that were copied before the changes behind them. */
  readonly documents: number
  readonly changes: number
}

const pollMs = 50

/**
 * @param target  `primaryKey` and `settings` are the old index's.
 * @throws WorkFailure when the name is taken, or the old index is deleted meanwhile. What is there of the new one stays.
 */
export async function cloneIndex(
  deps: CloneDeps,
  source: IndexRoute,
  target: Omit<ImportedIndex, 'primaryKey' | 'settings'>,
  signal: AbortSignal,
  onProgress: (documents: number) => void,
): Promise<Clone> {
  const { lanes, clock } = deps
  const { id, primaryKey } = source.index
  const { completed, settings } = await lanes.completedSettings(id)
  const sources = (await standingOf(deps, id)).replicas.filter(isRead)
  const copy = await openImport(deps, { ...target, primaryKey, settings }, signal)
  let documents = 0
  await copy.put(documentsOf(deps, source, signal), (count) => {
    documents = count
    onProgress(count)
  })
  const { head: position, replicas } = await standingOf(deps, id)
  if (!isUndisturbed(sources, replicas)) throw new WorkFailure('A replica was built anew while it was read.')
  while ((await standingOf(deps, id)).completed < position) await clock.sleep(pollMs, signal)
  let changes = 0
  for await (const { operation, payload } of tailOf(lanes, id, completed, position)) {
    await copy.append(operation, payload && lanes.open(payload))
    changes += 1
  }
  await copy.settled()
  return { position, documents, changes }
}

async function standingOf({ replicas }: CloneDeps, index: string) {
  const standing = await replicas.standing(index)
  if (standing === undefined) throw new WorkFailure('The index was deleted meanwhile.')
  return standing
}
