/**
 * Runs waiting tasks in batches (M-C5): one of whatever kind, and beside it a small one of another index. Results become visible in one commit; after a crash, what was not
 * committed waits again, and the index itself remembers what it already did.
 */

import { ApiError, errorBody } from '../api/errors.ts'
import type { TaskView } from '../api/tasks.ts'
import { taskKindOf } from '../api/tasks.ts'
import { assert } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import { type Batch, type BatchLimits, batchOf, globalKinds, isOfKind, type WaitingTask } from './auto-batch.ts'
import { type BatchResult, type ExecutionDeps, executeBatch, failAll } from './batch-execution.ts'
import { BatchTally, batchRecord } from './batch-record.ts'
import type { EngineOperation } from './core.ts'
import type { Track } from './indexing-threads.ts'
import type { RegistryEntry } from './meta-env.ts'
import { type TaskRecord, viewOf } from './task-record.ts'
import type { TaskCommit } from './task-store.ts'
import { nextTask, reachesFar } from './turn.ts'

export interface SchedulerDeps extends Omit<ExecutionDeps, 'endTasks' | 'runInIndex'> {
  readonly limits: BatchLimits
  readonly clock: Clock
  readonly runInIndex: (track: Track, ...batch: Parameters<ExecutionDeps['runInIndex']>) => RunInIndexAnswer
  /** Workers let go of a deleted index, then its folder goes. */
  readonly removeIndex: (entry: RegistryEntry) => Promise<void>
  /** The payload file of a task that has ended. */
  readonly removePayload: (name: string) => void
  readonly onFinished: (tasks: readonly TaskView[]) => void
}

type RunInIndexAnswer = ReturnType<ExecutionDeps['runInIndex']>

/** A batch that is to begin. */
interface Start {
  readonly batch: Batch
  readonly track: Track
  /** Nothing runs beside it. */
  readonly isAlone: boolean
}

export interface RunningBatch {
  readonly uid: number
  readonly track: Track
  readonly tasks: readonly number[]
  readonly indexUid: string | null
  readonly isAlone: boolean
  /** It is done and its results are being stored. */
  isStoring: boolean
}

/** What the quick thread takes: at most about as long as a request. */
const quickLimits: BatchLimits = { tasksMax: 64, payloadBytesMax: 64 * 1024 }
const quickKinds: ReadonlySet<EngineOperation['kind']> = new Set(['documents-put', 'documents-delete', 'index-create'])
/** Indexes that are asked for a small batch while a large one runs. */
const quickLooksMax = 16

const commitRetryMs = 1000

export class Scheduler {
  readonly #deps: SchedulerDeps
  readonly #running = new Map<Track, RunningBatch>()
  #wake = () => {}
  #isClosed = false
  #loop: Promise<void> | undefined
  readonly #waiters = new Set<(hasEnded: boolean) => void>()
  /** Whose batch ran last on the thread. */
  readonly #lastIndexes: Record<Track, string | null> = { main: null, quick: null }
  readonly #ends = new Set<Promise<void>>()
  #failure: { readonly error: unknown } | undefined
  /** Work that waits for a time without batches. */
  readonly #interludes: { readonly run: () => Promise<void>; readonly cancel: (reason: Error) => void }[] = []

  constructor(deps: SchedulerDeps) {
    this.#deps = deps
  }

  start(): void {
    this.#loop = this.#run()
  }

  /** A task was enqueued. */
  wake(): void {
    this.#wake()
  }

  /** Runs `work` while no batch does. */
  between<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) reject(new Error('the engine is closing'))
      else this.#interludes.push({ run: () => work().then(resolve, reject), cancel: reject })
      this.wake()
    })
  }

  /** Batches that run now. */
  get running(): readonly RunningBatch[] {
    return [...this.#running.values()]
  }

  isIndexing(uid: string): boolean {
    const { store } = this.#deps
    return this.running.some(({ tasks }) =>
      tasks.some((task) => {
        const record = store.get(task)
        return record?.indexUid === uid && record.status === 'processing'
      }),
    )
  }

  /** Waits until some task has ended; `false` = none did within `timeoutMs`, the signal aborted or the engine is closing. */
  someTaskEnds(timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.#isClosed || signal?.aborted) return Promise.resolve(false)
    return new Promise((resolve) => {
      const end = (hasEnded: boolean) => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', giveUp)
        this.#waiters.delete(end)
        resolve(hasEnded)
      }
      const giveUp = () => end(false)
      const timer = setTimeout(giveUp, timeoutMs)
      signal?.addEventListener('abort', giveUp, { once: true })
      this.#waiters.add(end)
    })
  }

  /** After this no batch begins; those that run are finished or, when they were aborted, given up. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#wake()
    await this.#loop
    for (const { cancel } of this.#interludes.splice(0)) cancel(new Error('the engine is closing'))
    for (const end of [...this.#waiters]) end(false)
  }

  async #run(): Promise<void> {
    while (!this.#isClosed && this.#failure === undefined) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      if (this.#running.size === 0) for (const { run } of this.#interludes.splice(0)) await run()
      const start = this.#interludes.length > 0 ? undefined : this.#next()
      if (start === undefined) await woken
      else this.#begin(start)
    }
    await Promise.all(this.#ends)
    if (this.#failure !== undefined) throw this.#failure.error
  }

  #begin(start: Start): void {
    const end = this.#runBatch(start)
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => {
        this.#running.delete(start.track)
        this.#ends.delete(end)
        this.#wake()
      })
    this.#ends.add(end)
  }

  /** What can begin now beside what runs. */
  #next(): Start | undefined {
    const { store, registry, limits } = this.#deps
    const { waiting } = store
    const { running } = this
    if (waiting.isEmpty() || running.some(({ isAlone }) => isAlone)) return undefined
    const alone = this.#nextGlobal()
    if (alone !== undefined) return running.length > 0 ? undefined : { batch: alone, track: 'main', isAlone: true }
    const isFree = { main: !this.#running.has('main'), quick: !this.#running.has('quick') }
    if (!isFree.main && !isFree.quick) return undefined
    const busy = running.flatMap(({ indexUid }) => indexUid ?? [])
    for (let looks = 0; looks < quickLooksMax; looks += 1) {
      const next = nextTask(store, this.#lastIndexes[isFree.main ? 'main' : 'quick'], busy)
      if (next === undefined) return undefined
      const first = this.#waitingTask(next)
      const { indexUid } = first
      const tasks = indexUid === null ? [next] : store.ofIndex(indexUid).and(waiting)
      const index = indexUid === null ? undefined : registry.get(indexUid)
      const batch = (terms: BatchLimits) => batchOf(this.#waitingTasks(tasks), index, terms, waiting.size)
      if (reachesFar(first.kind)) return { batch: batch(limits), track: 'main', isAlone: true }
      if (isFree.quick && this.#isQuick(tasks)) return { batch: batch(limits), track: 'quick', isAlone: false }
      if (isFree.main) return { batch: batch(limits), track: 'main', isAlone: false }
      if (indexUid === null) return undefined
      busy.push(indexUid)
    }
    return undefined
  }

  #nextGlobal(): Batch | undefined {
    const { store, limits } = this.#deps
    const { waiting } = store
    for (const { kind, take } of globalKinds) {
      const found = store.ofKind(taskKindOf[kind]).and(waiting)
      if (found.isEmpty()) continue
      if (take === 'all') return { uids: found.toArray(), strategy: isOfKind(kind) }
      const uid = take === 'newest' ? found.max()! : found.min()!
      return batchOf([this.#waitingTask(uid)], undefined, limits, waiting.size)
    }
    return undefined
  }

  /** All that waits for the index is small. */
  #isQuick(tasks: Iterable<number>): boolean {
    let count = 0
    let byteCount = 0
    for (const uid of tasks) {
      const { kind, payloadBytes } = this.#waitingTask(uid)
      count += 1
      byteCount += payloadBytes
      if (count > quickLimits.tasksMax || byteCount > quickLimits.payloadBytesMax || !quickKinds.has(kind)) return false
    }
    return true
  }

  *#waitingTasks(uids: Iterable<number>): Generator<WaitingTask> {
    for (const uid of uids) yield this.#waitingTask(uid)
  }

  #waitingTask(uid: number): WaitingTask {
    const record = this.#deps.store.get(uid)
    assert(record !== undefined, `task ${uid} waits and is not stored`)
    const { operation, indexUid, allowIndexCreation, payload } = record
    return {
      uid,
      indexUid,
      kind: operation.kind,
      allowIndexCreation,
      primaryKey: operation.kind === 'documents-put' ? operation.primaryKey : null,
      payloadBytes: payload?.byteCount ?? 0,
    }
  }

  async #runBatch({ batch, track, isAlone }: Start): Promise<void> {
    const { store, clock } = this.#deps
    const uid = store.takeBatchUid()
    const startedAt = clock.now()
    const records = batch.uids.map((task): TaskRecord => {
      const record = store.get(task)
      assert(record !== undefined, `task ${task} waits and is not stored`)
      return { ...record, status: 'processing', batchUid: uid, startedAt }
    })
    store.start(records, batchRecord(uid, records, { startedAt, finishedAt: null }, batch.strategy))
    const indexUid = records[0]?.indexUid ?? null
    const running: RunningBatch = { uid, track, tasks: batch.uids, indexUid, isAlone, isStoring: false }
    this.#running.set(track, running)
    this.#lastIndexes[track] = indexUid
    const result = await this.#execute(records, track)
    if (result === 'aborted') return store.stop(uid)
    const finishedAt = clock.now()
    const finished = records.map((record): TaskRecord => {
      const { error, details } = result.results.get(record.uid) ?? {
        error: errorBody('internal', 'The batch ended without a result for this task.'),
        details: record.details,
      }
      return { ...record, status: error === null ? 'succeeded' : 'failed', error, details, finishedAt, payload: null }
    })
    const others = (result.otherTasks ?? []).map(
      (record): TaskRecord => (record.finishedAt === null ? record : { ...record, payload: null }),
    )
    const files = [...records, ...(result.otherTasks ?? [])].flatMap(({ payload }) =>
      payload?.kind === 'file' ? [payload.name] : [],
    )
    const deletedIndexes = result.deletedIndexes ?? []
    const goneNames = [...deletedIndexes.map((entry) => entry.uid), ...(result.renamedIndexes ?? [])]
    const tally = result.ended ?? new BatchTally()
    for (const record of finished) tally.add(record)
    running.isStoring = true
    await this.#commit({
      tasks: [...finished, ...others],
      deletedTasks: result.deletedTasks ?? [],
      batch: tally.record(uid, { startedAt, finishedAt }, batch.strategy, result.sizes),
      putIndexes: result.putIndexes ?? [],
      deletedIndexes: goneNames,
    })
    this.#deps.registry.apply(goneNames, result.putIndexes ?? [])
    for (const name of files) this.#deps.removePayload(name)
    const canceled = others.filter(({ status }) => status === 'canceled')
    this.#tell([...finished, ...canceled])
    for (const entry of [...deletedIndexes, ...(result.replacedIndexes ?? [])]) await this.#deps.removeIndex(entry)
  }

  async #execute(records: readonly TaskRecord[], track: Track): Promise<BatchResult | 'aborted'> {
    const { runInIndex, ...deps } = this.#deps
    try {
      return await executeBatch(records, {
        ...deps,
        runInIndex: (folder, tasks) => runInIndex(track, folder, tasks),
        endTasks: (others) => this.#endTasks(others),
      })
    } catch (error) {
      if (error instanceof ApiError) return failAll(records, error.body)
      const isFull = error instanceof Error && /ENOSPC|MDB_MAP_FULL|No space left/.test(error.message)
      const message = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
      return failAll(records, isFull ? errorBody('no_space_left_on_device', message) : errorBody('internal', message))
    }
  }

  async #endTasks(records: readonly TaskRecord[]): Promise<void> {
    const ended = records.map((record): TaskRecord => ({ ...record, payload: null }))
    await this.#deps.store.commit({ tasks: ended })
    for (const { payload } of records) if (payload?.kind === 'file') this.#deps.removePayload(payload.name)
    this.#tell(ended)
  }

  /** The batch is done and only its record is missing: it is written however long the disk refuses. */
  async #commit(commit: TaskCommit): Promise<void> {
    for (;;) {
      try {
        await this.#deps.store.commit(commit)
        return
      } catch (error) {
        if (this.#isClosed) throw error
        await this.#deps.clock.sleep(commitRetryMs)
      }
    }
  }

  #tell(records: readonly TaskRecord[]): void {
    for (const end of [...this.#waiters]) end(true)
    this.#deps.onFinished(records.map(viewOf))
  }
}
