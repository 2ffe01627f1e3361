/** The journal as gateways see it, in memory: decisions are those of the real one. */
import { rulesAfter } from '../api/search-rule.ts'
import { renderTask, type TaskFacts } from '../api/task-view.ts'
import { assert } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import { newId } from '../lib/ordered-id.ts'
import type { Random } from '../lib/random.ts'
import type { NodeId, ProjectId } from '../store/catalogue.ts'
import type { MemoryCatalogue } from '../store/memory-catalogue.ts'
import { type CreateIndex, decideAppend, type ProjectDraft } from './append-decision.ts'
import { batchView } from './batch-view.ts'
import { cancel, cancelledEnding, type Ending } from './completion.ts'
import { freeName, freshReplicas, newIndexState, newPlacements, placesFor } from './index-creation.ts'
import {
  beginDeletion,
  changeOf,
  completeSwaps,
  factsOf,
  type MemoryState,
  newPlacement,
  openChanges,
  projectIn,
  type StoredChange,
  type StoredPlacement,
  saveEndings,
  saveRewritten,
  standingsOf,
} from './memory-state.ts'
import type { PayloadStore } from './payload-store.ts'
import type { AppendOutcome, AppendRequest, Journal } from './ports.ts'
import { finishedDetails, ruleCounts } from './task-details.ts'
import { isAuthorised, matches, pageOf } from './task-filter.ts'
import { projectWork } from './work-waiter.ts'
import type { NewChange, WriteIndex } from './write-index.ts'

export interface MemoryDependencies {
  readonly state: MemoryState
  readonly memory: MemoryCatalogue
  readonly payloads: PayloadStore
  readonly clock: Clock
  readonly random: Random
  readonly wakeNode: (node: NodeId) => void
  readonly finished: Set<(project: ProjectId) => void>
}

export function openMemoryJournal(deps: MemoryDependencies): Journal {
  const { state, payloads, finished } = deps
  const factsIn = (project: ProjectId): readonly TaskFacts[] =>
    projectIn(state, project)
      .changes.filter(({ isHidden }) => !isHidden)
      .map(factsOf)
  const visible = (project: ProjectId, task: number): StoredChange | undefined => {
    const change = projectIn(state, project).changes[task]
    return change?.isHidden ? undefined : change
  }
  const viewBatch = (project: ProjectId, uid: number) => {
    const tasks = factsIn(project).filter(({ batchUid }) => batchUid === uid)
    return tasks.length === 0 ? undefined : batchView(uid, tasks)
  }
  return {
    append: async (request) => append(deps, request),
    stage: (bytes) => payloads.stage(bytes),
    discard: (payload) => payloads.discard(payload),
    open: (payload) => payloads.open(payload),
    async writeState(project, uid) {
      const index = indexNamed(state, project, uid)
      return index && { index: index.id, primaryKey: index.writePrimaryKey, settings: index.settings }
    },
    async completedSettings(index) {
      return state.indexes.get(index)?.state.settingsDone ?? {}
    },
    async task(project, task) {
      const change = visible(project, task)
      return change && renderTask(factsOf(change))
    },
    async tasks(project, query, authorised) {
      const matching = factsIn(project).filter((task) => matches(task, query.filter))
      const seen = matching.filter((task) => isAuthorised(task, authorised))
      const page = pageOf(
        seen.map(({ uid }) => uid),
        query,
      )
      const results = page.uids.flatMap((uid) => seen.filter((task) => task.uid === uid).map(renderTask))
      return { results, total: matching.length, from: results[0]?.uid ?? null, next: page.next }
    },
    async batches(project, query, authorised) {
      const matching = factsIn(project).filter((task) => matches(task, query.filter))
      const batchesOf = (tasks: readonly TaskFacts[]) => [...new Set(tasks.flatMap(({ batchUid }) => batchUid ?? []))]
      const page = pageOf(batchesOf(matching.filter((task) => isAuthorised(task, authorised))), query)
      const results = page.uids.flatMap((uid) => viewBatch(project, uid) ?? [])
      return { results, total: batchesOf(matching).length, from: results[0]?.uid ?? null, next: page.next }
    },
    batch: async (project, batch) => viewBatch(project, batch),
    matchingTasks: async (project, filter, authorised) =>
      factsIn(project)
        .filter((task) => matches(task, filter) && isAuthorised(task, authorised))
        .map(({ uid }) => uid),
    busyIndexes: async (project) =>
      [...state.indexes.values()]
        .filter((index) => index.state.project === project && index.state.completed < index.state.head)
        .flatMap((index) => index.state.readUid ?? [])
        .sort(),
    taskBytes: async (project) =>
      factsIn(project).reduce((sum, task) => sum + Buffer.byteLength(JSON.stringify(task)), 0),
    async change(project, task) {
      const change = visible(project, task)
      return change && changeOf(change)
    },
    async finishedAfter(project, cursor, limit) {
      const ended = projectIn(state, project)
        .changes.filter(({ finishSeq }) => finishSeq !== null && finishSeq > cursor)
        .sort((a, b) => (a.finishSeq ?? 0) - (b.finishSeq ?? 0))
        .slice(0, limit)
      return { tasks: ended.map((change) => renderTask(factsOf(change))), cursor: ended.at(-1)?.finishSeq ?? cursor }
    },
    async feedsBehind(consumer, limit) {
      return [...state.projects]
        .map(([project, { nextFinish }]) => {
          const cursor = state.cursors.get(`${consumer}:${project}`) ?? 0
          return { project, cursor, isBehind: nextFinish - 1 > cursor }
        })
        .filter(({ isBehind }) => isBehind)
        .slice(0, limit)
        .map(({ project, cursor }) => ({ project, cursor }))
    },
    async saveFeedCursor(consumer, project, cursor) {
      const key = `${consumer}:${project}`
      state.cursors.set(key, Math.max(cursor, state.cursors.get(key) ?? 0))
    },
    async onFinished(listener) {
      finished.add(listener)
      return async () => void finished.delete(listener)
    },
  }
}

function indexNamed(state: MemoryState, project: ProjectId, uid: string): WriteIndex | undefined {
  for (const { state: index } of state.indexes.values()) {
    if (index.project === project && index.writeUid === uid) return index
  }
  return undefined
}

function append(deps: MemoryDependencies, request: AppendRequest): AppendOutcome {
  const { state, memory, clock } = deps
  const now = clock.now()
  const project = draftOf(deps, request.project)
  const decision = decideAppend(project, request, {
    now,
    admission: 'available',
    spread: null,
    createIndex: creator(deps),
  })
  if (decision.kind !== 'append') return decision
  const { change } = decision
  for (const placement of decision.placements) {
    state.indexes.get(placement.index)?.placements.push(newPlacement(placement))
  }
  const stored = store(deps, project.id, change, now)
  carryOut(deps, project.id, change, stored, now)
  for (const node of decision.nodes) deps.wakeNode(node)
  if (change.index === null) deps.wakeNode(projectWork)
  if (stored.finishedAt !== null) for (const listener of deps.finished) listener(project.id)
  assert(memory.projects.has(project.id), 'a request names a project that exists')
  return {
    kind: 'appended',
    task: change.task,
    enqueuedAt: now,
    index: change.index?.id ?? null,
    position: change.position,
    ...(decision.degraded === undefined ? {} : { degraded: decision.degraded }),
  }
}

function draftOf(deps: MemoryDependencies, id: ProjectId): ProjectDraft {
  const { state, memory } = deps
  const known = memory.projects.get(id)
  assert(known !== undefined, 'a request names a project that exists')
  for (const index of state.indexes.values()) {
    if (index.state.project === id) Object.assign(index.state, { replicas: standingsOf(deps, index) })
  }
  return {
    id,
    ref: known.ref,
    nextTask: projectIn(state, id).changes.length,
    indexByName: (uid) => indexNamed(state, id, uid),
    // Names are read from the indexes themselves, which the decision edits: a swap needs both before either moves.
    setName: () => undefined,
  }
}

function creator({ state, memory, clock, random }: MemoryDependencies): CreateIndex {
  return (project, uid, spread) => {
    const placements = [...state.indexes.values()].flatMap((index) => index.placements)
    const rooms = [...memory.nodes.values()]
      .filter((one) => one.state === 'active')
      .map(({ id, group, seat }) => ({
        id,
        group,
        seat,
        load: placements.filter((one) => one.node === id && !one.isGone).length,
      }))
      .sort((a, b) => (a.id < b.id ? -1 : 1))
    const places = placesFor(rooms, spread)
    if (places.length === 0) return undefined
    const isOn = (name: string) => (one: StoredPlacement) =>
      one.physicalUid === name && places.some(({ node }) => node === one.node)
    const name = freeName(project, uid, (one) => placements.some(isOn(one)))
    const index = newIndexState(newId(clock, random), project, uid, spread, freshReplicas(name, places, rooms))
    state.indexes.set(index.id, {
      state: index,
      placements: [],
      changes: [],
      reports: new Map(),
      partials: new Map(),
    })
    return { index, placements: newPlacements(index.id, name, places) }
  }
}

function store({ state }: MemoryDependencies, project: ProjectId, change: NewChange, now: number): StoredChange {
  const { index, status, indexUid, operation, payload, customMetadata, refusal } = change
  const { task, position, byteCount, bytesThrough, primaryKey, mayCreate, naming, deliver, details } = change
  const stored: StoredChange = {
    ...{ project, task, position, indexUid, operation, payload, refusal, customMetadata },
    ...{ byteCount, bytesThrough, primaryKey, mayCreate, naming, deliver, details },
    index: index?.id ?? null,
    resolution: null,
    status: 'enqueued',
    error: null,
    batch: null,
    canceledBy: null,
    enqueuedAt: now,
    startedAt: null,
    finishedAt: null,
    finishSeq: null,
    isHidden: false,
    claim: null,
  }
  projectIn(state, project).changes.push(stored)
  if (index !== null) state.indexes.get(index.id)?.changes.push(stored)
  if (status === 'failed') saveEndings(state, project, [{ ...endingOf(change, now, 'failed'), error: refusal }], now)
  return stored
}

function endingOf(change: NewChange, now: number, status: 'succeeded' | 'failed', counts: object = {}): Ending {
  const details = finishedDetails(change.operation, change.details, status, { ...counts })
  return {
    task: change.task,
    status,
    error: null,
    details,
    startedAt: now,
    finishedAt: now,
    batchKey: `task:${change.task}`,
    canceledBy: null,
  }
}

/** What changes of a whole project do at once. */
function carryOut(
  deps: MemoryDependencies,
  project: ProjectId,
  change: NewChange,
  stored: StoredChange,
  now: number,
): void {
  const { state, memory } = deps
  if (change.index !== null || change.status === 'failed') return
  const { changes, waits, deletions } = projectIn(state, project)
  switch (change.operation.kind) {
    case 'index-swap': {
      const heads = new Map(change.naming.map(({ index }) => [index, state.indexes.get(index)?.state.head ?? 0]))
      for (const earlier of [...waits.values()].filter((one) => [...heads.keys()].some((id) => one.has(id)))) {
        for (const [id, position] of earlier) heads.set(id, Math.max(position, heads.get(id) ?? 0))
      }
      waits.set(change.task, heads)
      const { endings, renamed } = completeSwaps(state, project, now)
      saveEndings(state, project, endings, now)
      memory.record([...renamed].map(({ id }) => ({ entity: 'index', project, entityId: id })))
      break
    }
    case 'task-cancel': {
      const wanted = new Set(change.operation.tasks)
      const by = { task: change.task, now, batchKey: `task:${change.task}` }
      const endings: Ending[] = []
      const touched = new Set(change.operation.tasks.flatMap((task) => changes[task]?.index ?? []))
      for (const id of [...touched].sort()) {
        const index = state.indexes.get(id)
        if (index === undefined) continue
        const cancelled = cancel(index.state, openChanges(index), wanted, by)
        saveRewritten(index, cancelled.rewritten)
        endings.push(...cancelled.endings)
      }
      for (const task of [...wanted].sort((a, b) => a - b)) {
        const work = changes[task]
        const isWork = work?.index === null && work.status === 'enqueued' && work.operation.kind !== 'index-swap'
        if (work === undefined || work === stored || !isWork) continue
        deletions.delete(task)
        endings.push(cancelledEnding(work, by))
      }
      const count = { canceledTasks: endings.length }
      saveEndings(state, project, [...endings, endingOf(change, now, 'succeeded', count)], now)
      break
    }
    case 'task-delete': {
      const ending = beginDeletion(state, stored, change.operation.tasks, now)
      if (ending !== undefined) saveEndings(state, project, [ending], now)
      break
    }
    case 'rule-put':
    case 'rule-delete':
    case 'rules-clear': {
      const before = memory.projects.get(project)
      assert(before !== undefined, 'a request names a project that exists')
      memory.replaceProject({ ...before, searchRules: rulesAfter(before.searchRules, change.operation) })
      const counts = ruleCounts(change.operation, before.searchRules)
      saveEndings(state, project, [endingOf(change, now, 'succeeded', counts)], now)
      break
    }
    default:
      stored.claim = { owner: '', until: 0 }
  }
}
