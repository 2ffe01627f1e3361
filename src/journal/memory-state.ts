/** What the twin in memory holds, and the steps that its two faces share. */
import type { TaskFacts } from '../api/task-view.ts'
import { taskKindOf } from '../api/tasks.ts'
import { assert } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import type { JsonObject } from '../lib/json.ts'
import type { IndexId, NodeId, Placement, ProjectId } from '../store/catalogue.ts'
import type { MemoryCatalogue, MemoryPlaces } from '../store/memory-catalogue.ts'
import type { WantedPlace } from '../topology/index-layout.ts'
import type { Change, PartialResolution } from './change.ts'
import { type Ending, giveName, type NameGiven, swapRenamings, type TaskRenaming } from './completion.ts'
import type { Report } from './joint-progress.ts'
import type { LaneProof, SettingsPrint } from './ports.ts'
import type { TurnRole } from './settings-turn.ts'
import { finishedDetails } from './task-details.ts'
import type { IndexState, NewPlacement, OpenChange, ReplicaStanding } from './write-index.ts'

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] }

export interface StoredChange extends Mutable<Change> {
  readonly byteCount: number
  readonly bytesThrough: number
  readonly primaryKey: string | null
  readonly mayCreate: boolean
  readonly naming: OpenChange['naming']
  deliver: JsonObject | null
  finishSeq: number | null
  isHidden: boolean
  /** For dumps and the like. */
  claim: { owner: string; until: number } | null
}

export interface StoredPlacement extends Mutable<Omit<Placement, 'hasLeftovers'>> {
  hasLeftovers?: boolean
  appliedBytes: number
  proof: LaneProof | null
  print: SettingsPrint | null
  turn: number
  /** null = no turn. */
  role: TurnRole | null
  turnedAt: number
  isGone: boolean
  /** The index is gone, and its node has not deleted its part of it. */
  mustDrop: boolean
}

export interface StoredIndex {
  readonly state: IndexState
  readonly placements: StoredPlacement[]
  /** Absent = anywhere. */
  wanted?: WantedPlace
  /** By position, from 1. */
  readonly changes: StoredChange[]
  /** What replicas say of changes that are not complete; by position. */
  readonly reports: Map<number, Report[]>
  /** What changes came to in some shards; by position. */
  readonly partials: Map<number, PartialResolution[]>
}

export interface StoredProject {
  readonly changes: StoredChange[]
  readonly batches: Map<string, number>
  nextFinish: number
  /** Waiting swaps: what each waits for. */
  readonly waits: Map<number, Map<IndexId, number>>
  /** Waiting deletions of tasks: the tasks that each waits for. */
  readonly deletions: Map<number, Set<number>>
}

export interface MemoryState {
  readonly indexes: Map<IndexId, StoredIndex>
  readonly projects: Map<ProjectId, StoredProject>
  readonly leases: Map<NodeId, { owner: string; epoch: number; until: number; trouble: string | null }>
  /** Nodes that do not answer their dispatcher, and since when. */
  readonly silent: Map<NodeId, number>
  readonly identities: Map<NodeId, { marker: string; sinceEpoch: number }>
  readonly cursors: Map<string, number>
}

export function emptyState(): MemoryState {
  return {
    indexes: new Map(),
    projects: new Map(),
    leases: new Map(),
    silent: new Map(),
    identities: new Map(),
    cursors: new Map(),
  }
}

export function projectIn(state: MemoryState, id: ProjectId): StoredProject {
  const known = state.projects.get(id)
  if (known !== undefined) return known
  const fresh: StoredProject = {
    changes: [],
    batches: new Map(),
    nextFinish: 1,
    waits: new Map(),
    deletions: new Map(),
  }
  state.projects.set(id, fresh)
  return fresh
}

export function placesOf(index: StoredIndex): MemoryPlaces {
  const { id, project, readUid: uid, primaryKey, createdAt, updatedAt, settingsPosition, spread } = index.state
  if (uid === null || createdAt === null) return { index: undefined, placements: [] }
  return {
    index: { id, project, uid, primaryKey, createdAt, updatedAt: updatedAt ?? createdAt, settingsPosition, spread },
    placements: index.placements
      .filter(({ isGone, generation }) => !isGone && generation === index.state.generation)
      .map(placementOf),
  }
}

/** The replicas of an index as they stand. */
export function standingsOf(
  {
    memory,
    state,
    clock,
  }: {
    readonly memory: Pick<MemoryCatalogue, 'nodes'>
    readonly state: MemoryState
    readonly clock: Pick<Clock, 'now'>
  },
  { state: index, placements }: StoredIndex,
): readonly ReplicaStanding[] {
  return placements
    .filter(({ isGone }) => !isGone)
    .map((placement) => {
      // Without a rest of fields: copying them costs more than all else here, and the simulator does little else.
      const { node, physicalUid, generation, shards, shed = [], hasLeftovers, turn, role, turnedAt } = placement
      const { state: standing, applied, revision } = placement
      const known = memory.nodes.get(node)
      const isSilent = index.spread !== null && state.silent.has(node)
      const isLive = known !== undefined && known.state !== 'lost' && !isSilent
      return {
        ...{ node, physicalUid, generation, shards, shed, state: standing, applied, revision },
        hasLeftovers: hasLeftovers === true,
        isCurrent: generation === index.generation,
        ...{ group: known?.group ?? 0, isLive },
        turn: role === null ? null : { position: turn, role, ageMs: clock.now() - turnedAt },
      }
    })
}

export function placementOf(placement: StoredPlacement): Placement {
  const { index, generation, shards, node, physicalUid, state, applied, revision, turn, shed = [] } = placement
  return {
    ...{ index, generation, shards, node, physicalUid, state, applied, revision },
    ...(turn === 0 ? {} : { turn }),
    ...(shed.length === 0 ? {} : { shed }),
    ...(placement.hasLeftovers ? { hasLeftovers: true } : {}),
  }
}

/** Of a replica that holds nothing. */
export const emptied = { applied: 0, appliedBytes: 0, proof: null, turn: 0, role: null, turnedAt: 0 } as const

export function newPlacement(placement: NewPlacement): StoredPlacement {
  return { ...placement, ...emptied, revision: 0, print: null, isGone: false, mustDrop: false }
}

export function changeOf(stored: StoredChange): Change {
  // Field by field: leaving some out of a copy costs ten times as much, and the simulator does little else.
  return {
    project: stored.project,
    task: stored.task,
    index: stored.index,
    position: stored.position,
    indexUid: stored.indexUid,
    operation: stored.operation,
    payload: stored.payload,
    refusal: stored.refusal,
    resolution: stored.resolution,
    customMetadata: stored.customMetadata,
    status: stored.status,
    error: stored.error,
    details: stored.details,
    batch: stored.batch,
    canceledBy: stored.canceledBy,
    enqueuedAt: stored.enqueuedAt,
    startedAt: stored.startedAt,
    finishedAt: stored.finishedAt,
  }
}

export function factsOf(stored: StoredChange): TaskFacts {
  return {
    uid: stored.task,
    batchUid: stored.batch,
    indexUid: stored.indexUid,
    status: stored.status,
    type: taskKindOf[stored.operation.kind],
    canceledBy: stored.canceledBy,
    details: stored.details,
    error: stored.error,
    enqueuedAt: stored.enqueuedAt,
    startedAt: stored.startedAt,
    finishedAt: stored.finishedAt,
    customMetadata: stored.customMetadata,
  }
}

/** Drafts of an index's changes that have not finished. */
export function openChanges(index: StoredIndex): OpenChange[] {
  return index.changes.slice(index.state.completed).flatMap((change) => {
    if (change.finishedAt !== null) return []
    const { task, position, indexUid, operation, primaryKey, mayCreate, naming, details } = change
    const { refusal, deliver, status } = change
    const draft = { task, operation, primaryKey, mayCreate, naming, details, refusal, deliver, status }
    return [{ ...draft, position: position ?? 0, indexUid: indexUid ?? '' }]
  })
}

export function saveRewritten(index: StoredIndex, rewritten: readonly OpenChange[]): void {
  for (const { position, refusal, deliver } of rewritten) {
    const change = index.changes[position - 1]
    if (change === undefined) continue
    change.refusal = refusal
    change.deliver = deliver
  }
}

export function saveEndings(state: MemoryState, project: ProjectId, endings: readonly Ending[], now: number): void {
  const stored = projectIn(state, project)
  for (const ending of endings) {
    const change = stored.changes[ending.task]
    if (change === undefined || change.finishedAt !== null) continue
    const batch = stored.batches.get(ending.batchKey) ?? stored.batches.size
    stored.batches.set(ending.batchKey, batch)
    change.status = ending.status
    change.error = ending.error
    change.details = ending.details
    change.startedAt = ending.startedAt
    change.finishedAt = ending.finishedAt
    change.canceledBy = ending.canceledBy
    change.batch = batch
    change.finishSeq = stored.nextFinish
    stored.nextFinish += 1
  }
  if (endings.length === 0 || stored.deletions.size === 0) return
  saveEndings(state, project, endDeletions(stored, endings, now), now)
}

/** Starts a deletion of tasks. Answers its ending, or `undefined` = it waits for tasks that an engine works on. */
export function beginDeletion(
  state: MemoryState,
  deletion: StoredChange,
  doomed: readonly number[],
  now: number,
): Ending | undefined {
  const project = projectIn(state, deletion.project)
  const awaited = doomed.filter((task) => {
    const change = project.changes[task]
    if (change === undefined || task >= deletion.task || change.finishedAt !== null) return false
    const index = change.index === null ? undefined : state.indexes.get(change.index)
    return change.status === 'processing' || (index !== undefined && openChanges(index)[0]?.task === task)
  })
  if (awaited.length === 0) return endDeletion(project, deletion, now)
  project.deletions.set(deletion.task, new Set(awaited))
  return undefined
}

/** Carries out the deletions that waited for nothing but these tasks. */
function endDeletions(project: StoredProject, ended: readonly Ending[], now: number): readonly Ending[] {
  const endings: Ending[] = []
  for (const [task, awaited] of [...project.deletions].sort(([a], [b]) => a - b)) {
    for (const ending of ended) awaited.delete(ending.task)
    const deletion = project.changes[task]
    if (awaited.size > 0 || deletion === undefined) continue
    project.deletions.delete(task)
    endings.push(endDeletion(project, deletion, now))
  }
  return endings
}

function endDeletion({ changes }: StoredProject, deletion: StoredChange, now: number): Ending {
  const { operation, task } = deletion
  assert(operation.kind === 'task-delete', 'only deletions name tasks to delete')
  const named = [...new Set(operation.tasks)].filter((one) => one < task).flatMap((one) => changes[one] ?? [])
  const ended = named.filter((one) => one.finishedAt !== null && !one.isHidden)
  for (const one of ended) one.isHidden = true
  return {
    task,
    status: 'succeeded',
    error: null,
    details: finishedDetails(operation, deletion.details, 'succeeded', { deletedTasks: ended.length }),
    startedAt: now,
    finishedAt: now,
    batchKey: `task:${task}`,
    canceledBy: null,
  }
}

/** Answers the indexes whose name changed. */
export function giveNames(state: MemoryState, names: readonly NameGiven[]): ReadonlySet<IndexState> {
  const renamed = new Set<IndexState>()
  for (const name of names) {
    const holder = [...state.indexes.values()]
      .map((index) => index.state)
      .find((one) => one.project === name.index.project && one.readUid === name.uid && one !== name.index)
    giveName(name, holder)
    renamed.add(name.index)
    if (holder !== undefined) renamed.add(holder)
  }
  return renamed
}

/** Completes the swaps that wait for nothing any more. Answers their endings and the indexes that changed. */
export function completeSwaps(
  state: MemoryState,
  project: ProjectId,
  now: number,
): { readonly endings: readonly Ending[]; readonly renamed: ReadonlySet<IndexState> } {
  const stored = projectIn(state, project)
  const endings: Ending[] = []
  const renamed = new Set<IndexState>()
  for (const [task, waits] of [...stored.waits].sort(([a], [b]) => a - b)) {
    if ([...waits].some(([id, position]) => (state.indexes.get(id)?.state.completed ?? 0) < position)) continue
    stored.waits.delete(task)
    const swap = stored.changes[task]
    if (swap === undefined || swap.operation.kind !== 'index-swap') continue
    const names = swap.naming.flatMap(({ index, uid }) => {
      const found = state.indexes.get(index)?.state
      return found === undefined ? [] : [{ index: found, uid, task }]
    })
    for (const { index } of names) if (index.namedBy < task) index.readUid = null
    for (const index of giveNames(state, names)) renamed.add(index)
    renameTasks(stored, swapRenamings(task, swap.operation))
    const details = finishedDetails(swap.operation, swap.details, 'succeeded', null)
    endings.push({
      task,
      status: 'succeeded',
      error: null,
      details,
      startedAt: now,
      finishedAt: now,
      batchKey: `task:${task}`,
      canceledBy: null,
    })
  }
  return { endings, renamed }
}

export function renameTasks(project: StoredProject, renamings: readonly TaskRenaming[]): void {
  for (const task of new Set(renamings.map((renaming) => renaming.task))) {
    const names = new Map(renamings.filter((one) => one.task === task).map(({ from, to }) => [from, to]))
    for (const change of project.changes.slice(0, task)) {
      change.indexUid = names.get(change.indexUid ?? '') ?? change.indexUid
    }
  }
}
