/**
 * The tasks of the engine: durable in LMDB, with bitmaps in memory for every filter of M-C6 but times. A task is visible
 * once it is durable. Used by one thread.
 */

import type { TaskFilter, TaskPageQuery, TaskStatus } from '../api/tasks.ts'
import { taskKindOf } from '../api/tasks.ts'
import { Bitmap } from '../lib/bitmap.ts'
import type { BatchRecord } from './batch-record.ts'
import type { Page } from './core.ts'
import type { MetaEnv, RegistryEntry } from './meta-env.ts'
import { isEnded, type TaskRecord } from './task-record.ts'
import { type TaskTime, TaskTimes } from './task-times.ts'

/** Everything that one commit changes. */
export interface TaskCommit {
  readonly tasks: readonly TaskRecord[]
  readonly deletedTasks?: readonly number[]
  readonly batch?: BatchRecord
  readonly putIndexes?: readonly RegistryEntry[]
  readonly deletedIndexes?: readonly string[]
}

export class TaskStore {
  readonly #env: MetaEnv
  readonly #all = Bitmap.of()
  readonly #byStatus = new Map<string, Bitmap>()
  readonly #byKind = new Map<string, Bitmap>()
  readonly #byIndex = new Map<string, Bitmap>()
  readonly #byCanceler = new Map<number, Bitmap>()
  readonly #times = new TaskTimes()
  readonly #batchTasks = new Map<number, Bitmap>()
  /** Records that differ from what is stored: tasks of the running batch. */
  readonly #running = new Map<number, TaskRecord>()
  #runningBatch: BatchRecord | undefined
  #nextTask = 0
  #nextBatch = 0

  constructor(env: MetaEnv) {
    this.#env = env
    for (const { value } of env.tasks.getRange()) this.#note(value)
    for (const { value } of env.batches.getRange()) {
      this.#batchTasks.set(value.uid, Bitmap.from(value.tasks))
      this.#nextBatch = value.uid + 1
    }
    this.#nextTask = (this.#all.max() ?? -1) + 1
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
    return this.#all.size
  }

  get(uid: number): TaskRecord | undefined {
    return this.#running.get(uid) ?? (this.#all.has(uid) ? this.#env.tasks.get(uid) : undefined)
  }

  payload(uid: number): Uint8Array | undefined {
    return this.#env.payloads.get(uid)
  }

  /** Durable when it resolves. */
  async insert(record: TaskRecord, payload: Uint8Array | undefined): Promise<void> {
    await this.#write((writes) => {
      writes.push(this.#env.tasks.put(record.uid, record))
      if (payload !== undefined) writes.push(this.#env.payloads.put(record.uid, payload))
    })
    // A task of a dump comes with its number.
    this.#nextTask = Math.max(this.#nextTask, record.uid + 1)
    this.#note(record)
  }

  /** Tasks of the running batch show as such, in memory alone: after a crash they wait again. */
  start(records: readonly TaskRecord[], batch: BatchRecord): void {
    for (const record of records) {
      this.#forget(this.get(record.uid))
      this.#running.set(record.uid, record)
      this.#note(record)
    }
    this.#runningBatch = batch
    this.#batchTasks.set(batch.uid, Bitmap.from(batch.tasks))
  }

  /** The running batch was given up: its tasks are as they are stored. */
  stop(): void {
    const records = [...this.#running.values()]
    this.#running.clear()
    for (const record of records) {
      this.#forget(record)
      const stored = this.#env.tasks.get(record.uid)
      if (stored !== undefined) this.#note(stored)
    }
    if (this.#runningBatch !== undefined) this.#batchTasks.delete(this.#runningBatch.uid)
    this.#runningBatch = undefined
  }

  /** Writes what a batch came to, in one transaction. Durable when it resolves. */
  async commit(commit: TaskCommit): Promise<void> {
    const { batch, deletedTasks = [], putIndexes = [], deletedIndexes = [] } = commit
    const emptied = this.#emptiedBatches(deletedTasks)
    if (batch !== undefined) this.#nextBatch = Math.max(this.#nextBatch, batch.uid + 1)
    const before = [...commit.tasks.map(({ uid }) => uid), ...deletedTasks].map((uid) => this.get(uid))
    await this.#write((writes) => {
      const { tasks, payloads, batches, indexes, store } = this.#env
      for (const record of commit.tasks) {
        writes.push(tasks.put(record.uid, record))
        if (isEnded(record.status) && record.payload === null) writes.push(payloads.remove(record.uid))
      }
      for (const uid of deletedTasks) writes.push(tasks.remove(uid))
      for (const uid of emptied) writes.push(batches.remove(uid))
      if (batch !== undefined) writes.push(batches.put(batch.uid, batch))
      for (const uid of deletedIndexes) writes.push(indexes.remove(uid))
      for (const entry of putIndexes) writes.push(indexes.put(entry.uid, entry))
      writes.push(store.put('\0counters', [this.#nextTask, this.#nextBatch]))
    })
    for (const record of before) this.#forget(record)
    for (const record of commit.tasks) {
      this.#running.delete(record.uid)
      this.#note(record)
    }
    for (const uid of emptied) this.#batchTasks.delete(uid)
    if (batch !== undefined) {
      this.#batchTasks.set(batch.uid, Bitmap.from(batch.tasks))
      if (this.#runningBatch?.uid === batch.uid) this.#runningBatch = undefined
    }
  }

  /** Waiting tasks, oldest first. */
  get waiting(): Bitmap {
    return this.#byStatus.get('enqueued') ?? Bitmap.of()
  }

  ofIndex(uid: string): Bitmap {
    return this.#byIndex.get(uid) ?? Bitmap.of()
  }

  ofKind(kind: string): Bitmap {
    return this.#byKind.get(kind) ?? Bitmap.of()
  }

  ofStatus(status: TaskStatus): Bitmap {
    return this.#byStatus.get(status) ?? Bitmap.of()
  }

  matching(filter: TaskFilter): Bitmap {
    let found = this.#all.clone()
    const narrow = <T>(values: readonly T[] | undefined, bitmapOf: (value: T) => Bitmap | undefined) => {
      if (values !== undefined) found = found.and(Bitmap.union(values.map((value) => bitmapOf(value) ?? Bitmap.of())))
    }
    if (filter.uids !== undefined) found = found.and(Bitmap.from(filter.uids.filter(isNumber)))
    narrow(filter.batchUids, (uid) => this.#batchTasks.get(uid))
    narrow(filter.statuses, (status) => this.#byStatus.get(status))
    narrow(filter.types, (kind) => this.#byKind.get(kind))
    narrow(filter.indexUids, (uid) => this.#byIndex.get(uid))
    narrow(filter.canceledBy, (uid) => this.#byCanceler.get(uid))
    const tests = timeTests(filter, this.#times)
    if (tests.length === 0) return found
    return Bitmap.fromSorted(found.toArray().filter((uid) => tests.every((test) => test(uid))))
  }

  page(query: TaskPageQuery): Page<TaskRecord> {
    const matching = this.matching(query.filter)
    const { uids, next } = pageOf(matching, query)
    const results = uids.flatMap((uid) => this.get(uid) ?? [])
    return { results, total: matching.size, limit: query.limit, from: uids[0] ?? null, next }
  }

  batch(uid: number): BatchRecord | undefined {
    return this.#runningBatch?.uid === uid ? this.#runningBatch : this.#env.batches.get(uid)
  }

  /** Of all batches, ascending. */
  batchUids(): readonly number[] {
    return [...this.#batchTasks.keys()].sort((left, right) => left - right)
  }

  batchPage(query: TaskPageQuery): Page<BatchRecord> {
    const isFree = Object.keys(query.filter).length === 0
    const matching = isFree ? undefined : this.matching(query.filter)
    const uids = [...this.#batchTasks].flatMap(([uid, tasks]) =>
      matching === undefined || tasks.intersects(matching) ? [uid] : [],
    )
    const found = Bitmap.from(uids)
    const page = pageOf(found, query)
    const results = page.uids.flatMap((uid) => this.batch(uid) ?? [])
    return { results, total: found.size, limit: query.limit, from: page.uids[0] ?? null, next: page.next }
  }

  #emptiedBatches(deleted: readonly number[]): number[] {
    if (deleted.length === 0) return []
    const left = this.#all.andNot(Bitmap.from(deleted))
    const batches = new Set(deleted.map((uid) => this.get(uid)?.batchUid ?? null))
    return [...batches].flatMap((uid) =>
      uid !== null && this.#batchTasks.get(uid)?.intersects(left) === false ? [uid] : [],
    )
  }

  #note(record: TaskRecord): void {
    const { uid } = record
    this.#all.add(uid)
    this.#times.set(uid, record)
    add(this.#byStatus, record.status, uid)
    add(this.#byKind, taskKindOf[record.operation.kind], uid)
    for (const name of indexesOf(record)) add(this.#byIndex, name, uid)
    if (record.canceledBy !== null) add(this.#byCanceler, record.canceledBy, uid)
  }

  #forget(record: TaskRecord | undefined): void {
    if (record === undefined) return
    const { uid } = record
    this.#all.remove(uid)
    this.#times.delete(uid)
    remove(this.#byStatus, record.status, uid)
    remove(this.#byKind, taskKindOf[record.operation.kind], uid)
    for (const name of indexesOf(record)) remove(this.#byIndex, name, uid)
    if (record.canceledBy !== null) remove(this.#byCanceler, record.canceledBy, uid)
  }

  /** One transaction; durable when it resolves. */
  async #write(enter: (writes: Promise<unknown>[]) => void): Promise<void> {
    const writes: Promise<unknown>[] = []
    writes.push(this.#env.root.batch(() => enter(writes)))
    await Promise.all(writes)
    this.#env.root.resetReadTxn()
  }
}

/** Numbers beyond 32 bits name no task. */
const isNumber = (uid: number): boolean => Number.isInteger(uid) && uid >= 0 && uid <= 0xffffffff

/** A swap belongs to every index that it names, a rename to both names (M-C6). */
function indexesOf(record: TaskRecord): readonly string[] {
  const { operation, indexUid } = record
  if (operation.kind === 'index-swap') return operation.swaps.flatMap(({ indexes }) => indexes)
  if (indexUid === null) return []
  return operation.kind === 'index-update' && operation.uid !== null ? [indexUid, operation.uid] : [indexUid]
}

function add<K>(map: Map<K, Bitmap>, key: K, uid: number): void {
  const known = map.get(key)
  if (known === undefined) map.set(key, Bitmap.of(uid))
  else known.add(uid)
}

function remove<K>(map: Map<K, Bitmap>, key: K, uid: number): void {
  const known = map.get(key)
  known?.remove(uid)
  if (known?.isEmpty()) map.delete(key)
}

/** Bounds are exclusive; a task without the time does not match. */
function timeTests(filter: TaskFilter, times: TaskTimes): ((uid: number) => boolean)[] {
  const before = (bound: number | undefined, time: TaskTime) =>
    bound === undefined ? [] : [(uid: number) => times.get(uid, time) < bound]
  const after = (bound: number | undefined, time: TaskTime) =>
    bound === undefined ? [] : [(uid: number) => times.get(uid, time) > bound]
  return [
    ...before(filter.beforeEnqueuedAt, 'enqueuedAt'),
    ...after(filter.afterEnqueuedAt, 'enqueuedAt'),
    ...before(filter.beforeStartedAt, 'startedAt'),
    ...after(filter.afterStartedAt, 'startedAt'),
    ...before(filter.beforeFinishedAt, 'finishedAt'),
    ...after(filter.afterFinishedAt, 'finishedAt'),
  ]
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
