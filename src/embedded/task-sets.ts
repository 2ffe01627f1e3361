/**
 * Which tasks have which status, kind, index and batch: bitmaps in memory for every filter of M-C6. They are saved now and
 * then, so that a start reads the tasks that waited then and those that came since, not all.
 */
import type { TaskFilter } from '../api/tasks.ts'
import { taskKindOf } from '../api/tasks.ts'
import { Bitmap } from '../lib/bitmap.ts'
import { BatchSets } from './batch-sets.ts'
import type { MetaEnv } from './meta-env.ts'
import type { TaskRecord } from './task-record.ts'
import { type TaskTime, TaskTimes } from './task-times.ts'

type SavedTable = MetaEnv['sets']

/** What was saved, and which tasks to read beyond it. */
export interface SavedSets {
  /** Tasks that had not ended. */
  readonly waiting: readonly number[]
  /** Every task below this number is saved, or waiting. */
  readonly nextTask: number
  /** Every batch below this number is saved. Batches may end in another order than they began. Absent = those up to the newest saved one. */
  readonly nextBatch?: number
}

interface SavedState extends SavedSets {
  readonly version: number
}

/** 2: batches have sets of their own. */
const stateVersion = 2
const stateKey = 'state'
const blockPrefix = 't:'
const prefixes = { all: 'a:', status: 's:', kind: 'k:', index: 'i:', canceler: 'c:' } as const

export class TaskSets {
  readonly all = Bitmap.of()
  readonly batches = new BatchSets()
  readonly #byStatus = new Map<string, Bitmap>()
  readonly #byKind = new Map<string, Bitmap>()
  readonly #byIndex = new Map<string, Bitmap>()
  readonly #byCanceler = new Map<string, Bitmap>()
  readonly #times = new TaskTimes()

  ofStatus(status: string): Bitmap {
    return this.#byStatus.get(status) ?? Bitmap.of()
  }

  ofKind(kind: string): Bitmap {
    return this.#byKind.get(kind) ?? Bitmap.of()
  }

  ofIndex(uid: string): Bitmap {
    return this.#byIndex.get(uid) ?? Bitmap.of()
  }

  /** Batches with a task of `tasks`. */
  batchesOf(tasks: Bitmap): Bitmap {
    const found = new Set<number>()
    for (const uid of tasks) {
      const batch = this.#times.get(uid, 'batchUid')
      if (!Number.isNaN(batch)) found.add(batch)
    }
    return Bitmap.from([...found])
  }

  /** @param tasksOf  tasks of a batch. */
  matching(filter: TaskFilter, tasksOf: (batch: number) => readonly number[]): Bitmap {
    let found = this.all.clone()
    const narrow = <T>(values: readonly T[] | undefined, bitmapOf: (value: T) => Bitmap | undefined) => {
      if (values !== undefined) found = found.and(Bitmap.union(values.map((value) => bitmapOf(value) ?? Bitmap.of())))
    }
    if (filter.uids !== undefined) found = found.and(Bitmap.from(filter.uids.filter(isNumber)))
    narrow(filter.batchUids, (uid) => Bitmap.from(tasksOf(uid)))
    narrow(filter.statuses, (status) => this.#byStatus.get(status))
    narrow(filter.types, (kind) => this.#byKind.get(kind))
    narrow(filter.indexUids, (uid) => this.#byIndex.get(uid))
    narrow(filter.canceledBy, (uid) => this.#byCanceler.get(String(uid)))
    const tests = timeTests(filter, this.#times)
    if (tests.length === 0) return found
    return Bitmap.fromSorted(found.toArray().filter((uid) => tests.every((test) => test(uid))))
  }

  note(record: TaskRecord): void {
    const { uid } = record
    this.all.add(uid)
    this.#times.set(uid, record)
    add(this.#byStatus, record.status, uid)
    add(this.#byKind, taskKindOf[record.operation.kind], uid)
    for (const name of indexesOf(record)) add(this.#byIndex, name, uid)
    if (record.canceledBy !== null) add(this.#byCanceler, String(record.canceledBy), uid)
  }

  forget(record: TaskRecord): void {
    const { uid } = record
    this.all.remove(uid)
    this.#times.delete(uid)
    remove(this.#byStatus, record.status, uid)
    remove(this.#byKind, taskKindOf[record.operation.kind], uid)
    for (const name of indexesOf(record)) remove(this.#byIndex, name, uid)
    if (record.canceledBy !== null) remove(this.#byCanceler, String(record.canceledBy), uid)
  }

  /** What to write so that `load` finds the ended tasks. The caller writes it before anything else changes. */
  save(table: SavedTable, nextTask: number, nextBatch: number): Promise<unknown>[] {
    const waiting = this.ofStatus('enqueued').or(this.ofStatus('processing'))
    const writes: Promise<unknown>[] = []
    const wanted = new Set<string>([stateKey])
    const put = (key: string, bitmap: Bitmap) => {
      const ended = bitmap.andNot(waiting)
      if (ended.isEmpty()) return
      wanted.add(key)
      writes.push(table.put(key, Buffer.from(ended.serialize())))
    }
    put(prefixes.all, this.all)
    for (const [name, bitmap] of this.#byStatus) put(prefixes.status + name, bitmap)
    for (const [name, bitmap] of this.#byKind) put(prefixes.kind + name, bitmap)
    for (const [name, bitmap] of this.#byIndex) put(prefixes.index + name, bitmap)
    for (const [name, bitmap] of this.#byCanceler) put(prefixes.canceler + name, bitmap)
    for (const [key, bitmap] of this.batches.saved()) {
      wanted.add(key)
      writes.push(table.put(key, Buffer.from(bitmap.serialize())))
    }
    for (const key of table.getKeys())
      if (!wanted.has(key) && !key.startsWith(blockPrefix)) writes.push(table.remove(key))
    for (const [number, bytes] of this.#times.changed())
      writes.push(
        bytes === null ? table.remove(blockPrefix + number) : table.put(blockPrefix + number, Buffer.from(bytes)),
      )
    const state: SavedState = { version: stateVersion, waiting: waiting.toArray(), nextTask, nextBatch }
    writes.push(table.put(stateKey, Buffer.from(JSON.stringify(state))))
    return writes
  }

  /** The ended tasks as they were saved; undefined = nothing was, or it does not hold any more. */
  load(table: SavedTable): SavedSets | undefined {
    const state = table.get(stateKey)
    if (state === undefined) return undefined
    const saved = JSON.parse(Buffer.from(state).toString('utf8')) as SavedState
    // Written by an earlier program: everything is read once.
    if (saved.version !== stateVersion) return undefined
    for (const { key, value } of table.getRange()) {
      // The bytes are valid until the next read, and bitmaps keep views of them.
      const bytes = Uint8Array.from(value)
      const name = key.slice(2)
      const bitmap = () => Bitmap.deserialize(bytes)
      if (this.batches.load(key, bitmap)) continue
      if (key.startsWith(blockPrefix)) this.#times.load(Number(name), bytes)
      else if (key.startsWith(prefixes.all)) addAll(this.all, bitmap())
      else if (key.startsWith(prefixes.status)) this.#byStatus.set(name, bitmap())
      else if (key.startsWith(prefixes.kind)) this.#byKind.set(name, bitmap())
      else if (key.startsWith(prefixes.index)) this.#byIndex.set(name, bitmap())
      else if (key.startsWith(prefixes.canceler)) this.#byCanceler.set(name, bitmap())
    }
    for (const uid of saved.waiting) this.#times.delete(uid)
    return saved
  }
}

function addAll(bitmap: Bitmap, more: Bitmap): void {
  for (const value of more) bitmap.add(value)
}

/** What was saved holds no longer: old tasks are changed. */
export const dropSaved = (table: SavedTable): Promise<unknown> => table.remove(stateKey)

/** Numbers beyond 32 bits name no task. */
const isNumber = (uid: number): boolean => Number.isInteger(uid) && uid >= 0 && uid <= 0xffffffff

/** A swap belongs to every index that it names, a rename to both names (M-C6). */
function indexesOf(record: TaskRecord): readonly string[] {
  const { operation, indexUid } = record
  if (operation.kind === 'index-swap') return operation.swaps.flatMap(({ indexes }) => indexes)
  if (indexUid === null) return []
  return operation.kind === 'index-update' && operation.uid !== null ? [indexUid, operation.uid] : [indexUid]
}

function add(map: Map<string, Bitmap>, key: string, uid: number): void {
  const known = map.get(key)
  if (known === undefined) map.set(key, Bitmap.of(uid))
  else known.add(uid)
}

function remove(map: Map<string, Bitmap>, key: string, uid: number): void {
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
