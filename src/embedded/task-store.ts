/** The tasks of the engine, durable in LMDB. A task is visible once it is durable. Used by one thread. */

import type { TaskFilter, TaskPageQuery } from '../api/tasks.ts'
import { Bitmap } from '../lib/bitmap.ts'
import type { BatchRecord } from './batch-record.ts'
import type { Page } from './core.ts'
import type { MetaEnv, RegistryEntry } from './meta-env.ts'
import { isEnded, type TaskRecord } from './task-record.ts'
import { dropSaved, TaskSets } from './task-sets.ts'

/** Everything that one commit changes. */
export interface TaskCommit {
  readonly tasks: readonly TaskRecord[]
  readonly deletedTasks?: readonly number[]
  readonly batch?: BatchRecord
  readonly putIndexes?: readonly RegistryEntry[]
  readonly deletedIndexes?: readonly string[]
}

/** Changed tasks after which the sets are saved: the most that a start after a crash reads one by one. */
const unsavedMax = 10_000

export class TaskStore {
  readonly #env: MetaEnv
  readonly #sets = new TaskSets()
  /** Records that differ from what is stored: tasks of running batches. */
  readonly #running = new Map<number, TaskRecord>()
  readonly #runningBatches = new Map<number, BatchRecord>()
  /** Tasks that are being stored. */
  readonly #inserting = new Set<number>()
  #writeCount = 0
  #unsavedCount = 0
  #nextTask = 0
  #nextBatch = 0

  constructor(env: MetaEnv) {
    this.#env = env
    const saved = this.#sets.load(env.sets)
    for (const uid of saved?.waiting ?? []) {
      const record = env.tasks.get(uid)
      if (record !== undefined) this.#sets.note(record)
    }
    for (const { value } of env.tasks.getRange({ start: saved?.nextTask ?? 0 })) this.#sets.note(value)
    const nextBatch = saved?.nextBatch ?? this.#sets.batches.all.max()
    for (const { value } of env.batches.getRange(
      saved === undefined || nextBatch === undefined ? {} : { start: nextBatch },
    ))
      this.#sets.batches.note(value)
    this.#nextTask = (this.#sets.all.max() ?? -1) + 1
    this.#nextBatch = (this.#sets.batches.all.max() ?? -1) + 1
    // Numbers are never given twice, even when the newest tasks were deleted.
    const counters = env.store.get('\0counters')
    if (Array.isArray(counters)) {
      this.#nextTask = Math.max(this.#nextTask, Number(counters[0]))
      this.#nextBatch = Math.max(this.#nextBatch, Number(counters[1]))
    }
  }

  takeTaskUid(): number {
    return this.#nextTask++
  }

  takeBatchUid(): number {
    return this.#nextBatch++
  }

  get size(): number {
    return this.#sets.all.size
  }

  get(uid: number): TaskRecord | undefined {
    return this.#running.get(uid) ?? (this.#sets.all.has(uid) ? this.#env.tasks.get(uid) : undefined)
  }

  payload(uid: number): Uint8Array | undefined {
    return this.#env.payloads.get(uid)
  }

  /** Durable when it resolves. */
  async insert(record: TaskRecord, payload: Uint8Array | undefined): Promise<void> {
    // A task of a dump comes with its number.
    this.#nextTask = Math.max(this.#nextTask, record.uid + 1)
    this.#inserting.add(record.uid)
    try {
      await this.#write((writes) => {
        writes.push(this.#env.tasks.put(record.uid, record))
        if (payload !== undefined) writes.push(this.#env.payloads.put(record.uid, payload))
      })
      this.#sets.note(record)
    } finally {
      this.#inserting.delete(record.uid)
    }
  }

  /** Tasks of a running batch show as such, in memory alone: after a crash they wait again. */
  start(records: readonly TaskRecord[], batch: BatchRecord): void {
    for (const record of records) {
      this.#forget(this.get(record.uid))
      this.#running.set(record.uid, record)
      this.#sets.note(record)
    }
    this.#runningBatches.set(batch.uid, batch)
    this.#sets.batches.note(batch)
  }

  /** A running batch was given up: its tasks are as they are stored. */
  stop(uid: number): void {
    const batch = this.#runningBatches.get(uid)
    for (const record of [...this.#running.values()].filter(({ batchUid }) => batchUid === uid)) {
      this.#running.delete(record.uid)
      this.#forget(record)
      const stored = this.#env.tasks.get(record.uid)
      if (stored !== undefined) this.#sets.note(stored)
    }
    if (batch !== undefined) this.#sets.batches.forget(batch)
    this.#runningBatches.delete(uid)
  }

  /** Writes what a batch came to, in one transaction. Durable when it resolves. */
  async commit(commit: TaskCommit): Promise<void> {
    const { batch, deletedTasks = [], putIndexes = [], deletedIndexes = [] } = commit
    const emptied = this.#emptiedBatches(deletedTasks)
    if (batch !== undefined) this.#nextBatch = Math.max(this.#nextBatch, batch.uid + 1)
    const before = [...commit.tasks.map(({ uid }) => uid), ...deletedTasks].map((uid) => this.get(uid))
    const changesOld = before.some((record) => record !== undefined && isEnded(record.status))
    await this.#write((writes) => {
      const { tasks, payloads, batches, indexes, store, sets } = this.#env
      for (const record of commit.tasks) {
        writes.push(tasks.put(record.uid, record))
        if (isEnded(record.status) && record.payload === null) writes.push(payloads.remove(record.uid))
      }
      for (const uid of deletedTasks) writes.push(tasks.remove(uid))
      for (const { uid } of emptied) writes.push(batches.remove(uid))
      if (batch !== undefined) writes.push(batches.put(batch.uid, batch))
      for (const uid of deletedIndexes) writes.push(indexes.remove(uid))
      for (const entry of putIndexes) writes.push(indexes.put(entry.uid, entry))
      writes.push(store.put('\0counters', [this.#nextTask, this.#nextBatch]))
      if (changesOld) writes.push(dropSaved(sets))
    })
    for (const record of before) this.#forget(record)
    for (const record of commit.tasks) {
      this.#running.delete(record.uid)
      this.#sets.note(record)
    }
    for (const each of emptied) this.#sets.batches.forget(each)
    if (batch !== undefined) {
      const running = this.#runningBatches.get(batch.uid)
      if (running !== undefined) this.#sets.batches.forget(running)
      this.#runningBatches.delete(batch.uid)
      this.#sets.batches.note(batch)
    }
    this.#unsavedCount += commit.tasks.length + deletedTasks.length
    if (this.#unsavedCount >= unsavedMax) await this.save()
  }

  /** So that the next start need not read all tasks. Not while something is being written, which it might not see. */
  async save(): Promise<void> {
    if (this.#writeCount > 0) return
    this.#unsavedCount = 0
    const nextTask = Math.min(this.#nextTask, ...this.#inserting)
    await this.#write((writes) => {
      // A batch that runs may never end as it is.
      const running = [...this.#runningBatches.values()]
      for (const batch of running) this.#sets.batches.forget(batch)
      const nextBatch = Math.min(this.#nextBatch, ...running.map(({ uid }) => uid))
      writes.push(...this.#sets.save(this.#env.sets, nextTask, nextBatch))
      for (const batch of running) this.#sets.batches.note(batch)
    })
  }

  /** Waiting tasks, oldest first. */
  get waiting(): Bitmap {
    return this.#sets.ofStatus('enqueued')
  }

  ofIndex(uid: string): Bitmap {
    return this.#sets.ofIndex(uid)
  }

  ofKind(kind: string): Bitmap {
    return this.#sets.ofKind(kind)
  }

  matching(filter: TaskFilter): Bitmap {
    return this.#sets.matching(filter, (uid) => this.batch(uid)?.tasks ?? [])
  }

  page(query: TaskPageQuery): Page<TaskRecord> {
    const matching = this.matching(query.filter)
    // As in the reference, swaps count for the indexes that they name, but are not listed with them.
    const isByIndex = query.filter.indexUids !== undefined
    const listed = isByIndex ? matching.andNot(this.ofKind('indexSwap')) : matching
    const { uids, next } = pageOf(listed, query)
    const results = uids.flatMap((uid) => this.get(uid) ?? [])
    return { results, total: matching.size, limit: query.limit, from: uids[0] ?? null, next }
  }

  batch(uid: number): BatchRecord | undefined {
    return this.#runningBatches.get(uid) ?? this.#env.batches.get(uid)
  }

  /** Of all batches, ascending. */
  batchUids(): readonly number[] {
    return this.#sets.batches.all.toArray()
  }

  batchPage(query: TaskPageQuery): Page<BatchRecord> {
    const { statuses: _statuses, types: _types, indexUids, ...ofTasks } = query.filter
    const { batches } = this.#sets
    const ofBatches = batches.matching(query.filter)
    const found =
      Object.keys(ofTasks).length === 0 ? ofBatches : ofBatches.and(this.#sets.batchesOf(this.matching(ofTasks)))
    // As with tasks: swaps count, but are not listed by index.
    const page = pageOf(indexUids === undefined ? found : found.andNot(batches.ofNoIndex()), query)
    const results = page.uids.flatMap((uid) => this.batch(uid) ?? [])
    return { results, total: found.size, limit: query.limit, from: page.uids[0] ?? null, next: page.next }
  }

  #emptiedBatches(deleted: readonly number[]): BatchRecord[] {
    if (deleted.length === 0) return []
    const left = this.#sets.all.andNot(Bitmap.from(deleted))
    const batches = new Set(deleted.map((uid) => this.get(uid)?.batchUid ?? null))
    return [...batches].flatMap((uid) => {
      const batch = uid === null ? undefined : this.batch(uid)
      return batch?.tasks.every((task) => !left.has(task)) ? [batch] : []
    })
  }

  #forget(record: TaskRecord | undefined): void {
    if (record !== undefined) this.#sets.forget(record)
  }

  /** One transaction; durable when it resolves. */
  async #write(enter: (writes: Promise<unknown>[]) => void): Promise<void> {
    this.#writeCount += 1
    try {
      await this.#env.write(async () => {
        const writes: Promise<unknown>[] = []
        writes.push(this.#env.root.batch(() => enter(writes)))
        await Promise.all(writes)
      })
    } finally {
      this.#writeCount -= 1
    }
    this.#env.root.resetReadTxn()
  }
}

function pageOf(
  matching: Bitmap,
  { limit, from, reverse }: TaskPageQuery,
): { readonly uids: readonly number[]; readonly next: number | null } {
  const all = matching.toArray()
  if (!reverse) all.reverse()
  const start = from === undefined ? 0 : all.findIndex((uid) => (reverse ? uid >= from : uid <= from))
  if (start < 0) return { uids: [], next: null }
  return { uids: all.slice(start, start + limit), next: all[start + limit] ?? null }
}
