/**
 * Runs waiting tasks, batch after batch (M-C5). Results become visible in one commit; after a crash, what was not
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
import type { RegistryEntry } from './meta-env.ts'
import { type TaskRecord, viewOf } from './task-record.ts'
import type { TaskCommit } from './task-store.ts'
import { nextTask } from './turn.ts'

export interface SchedulerDeps extends Omit<ExecutionDeps, 'endTasks'> {
  readonly limits: BatchLimits
  readonly clock: Clock
  /** Workers let go of a deleted index, then its folder goes. */
  readonly removeIndex: (entry: RegistryEntry) => Promise<void>
  /** The payload file of a task that has ended. */
  readonly removePayload: (name: string) => void
  readonly onFinished: (tasks: readonly TaskView[]) => void
}

const commitRetryMs = 1000

export class Scheduler {
  readonly #deps: SchedulerDeps
  #running: readonly number[] = []
  #wake: (() => void) | undefined
  #isStoring = false
  #isClosed = false
  #loop: Promise<void> | undefined
  readonly #waiters = new Set<(hasEnded: boolean) => void>()
  /** Whose batch ran last. */
  #lastIndex: string | null = null
  /** Work that waits for the time between two batches. */
  readonly #interludes: { readonly run: () => Promise<void>; readonly cancel: (reason: Error) => void }[] = []

  constructor(deps: SchedulerDeps) {
    this.#deps = deps
  }

  start(): void {
    this.#loop = this.#run()
  }

  /** A task was enqueued. */
  wake(): void {
    this.#wake?.()
  }

  /** Runs `work` while no batch does. */
  between<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) reject(new Error('the engine is closing'))
      else this.#interludes.push({ run: () => work().then(resolve, reject), cancel: reject })
      this.wake()
    })
  }

  /** Tasks of the batch that runs now. */
  get running(): readonly number[] {
    return this.#running
  }

  /** The batch is done and its results are being stored. */
  get isStoring(): boolean {
    return this.#isStoring
  }

  isIndexing(uid: string): boolean {
    return this.#running.some((task) => this.#deps.store.get(task)?.indexUid === uid)
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

  /** After this no batch begins; the running one is finished or, when it was aborted, given up. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#wake?.()
    await this.#loop
    for (const { cancel } of this.#interludes.splice(0)) cancel(new Error('the engine is closing'))
    for (const end of [...this.#waiters]) end(false)
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      for (const interlude of this.#interludes.splice(0)) await interlude.run()
      const batch = this.#nextBatch()
      if (batch !== undefined) await this.#runBatch(batch)
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      this.#wake = undefined
    }
  }

  #nextBatch(): Batch | undefined {
    const { store, registry, limits } = this.#deps
    const { waiting } = store
    if (waiting.isEmpty()) return undefined
    for (const { kind, take } of globalKinds) {
      const found = store.ofKind(taskKindOf[kind]).and(waiting)
      if (found.isEmpty()) continue
      if (take === 'all') return { uids: found.toArray(), strategy: isOfKind(kind) }
      const uid = take === 'newest' ? found.max()! : found.min()!
      return batchOf([this.#waitingTask(uid)], undefined, limits, waiting.size)
    }
    const next = nextTask(store, this.#lastIndex)
    const { indexUid } = this.#waitingTask(next)
    const tasks = indexUid === null ? [next] : store.ofIndex(indexUid).and(waiting)
    const index = indexUid === null ? undefined : registry.get(indexUid)
    return batchOf(this.#waitingTasks(tasks), index, limits, waiting.size)
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

  async #runBatch(batch: Batch): Promise<void> {
    const { store, clock } = this.#deps
    const uid = store.takeBatchUid()
    const startedAt = clock.now()
    const records = batch.uids.map((task): TaskRecord => {
      const record = store.get(task)
      assert(record !== undefined, `task ${task} waits and is not stored`)
      return { ...record, status: 'processing', batchUid: uid, startedAt }
    })
    store.start(records, batchRecord(uid, records, { startedAt, finishedAt: null }, batch.strategy))
    this.#running = batch.uids
    this.#lastIndex = records[0]?.indexUid ?? null
    const result = await this.#execute(records)
    if (result === 'aborted') {
      this.#running = []
      store.stop()
      return
    }
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
    this.#isStoring = true
    await this.#commit({
      tasks: [...finished, ...others],
      deletedTasks: result.deletedTasks ?? [],
      batch: tally.record(uid, { startedAt, finishedAt }, batch.strategy, result.sizes),
      putIndexes: result.putIndexes ?? [],
      deletedIndexes: goneNames,
    })
    this.#deps.registry.apply(goneNames, result.putIndexes ?? [])
    this.#isStoring = false
    this.#running = []
    for (const name of files) this.#deps.removePayload(name)
    const canceled = others.filter(({ status }) => status === 'canceled')
    this.#tell([...finished, ...canceled])
    for (const entry of [...deletedIndexes, ...(result.replacedIndexes ?? [])]) await this.#deps.removeIndex(entry)
  }

  async #execute(records: readonly TaskRecord[]): Promise<BatchResult | 'aborted'> {
    try {
      return await executeBatch(records, { ...this.#deps, endTasks: (others) => this.#endTasks(others) })
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
