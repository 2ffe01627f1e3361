/** One thread that writes indexes, as calls. */
import { assert } from '../lib/assert.ts'
import { startWorker } from '../lib/worker-entry.ts'
import { type IndexingPlace, SharedProgress } from './batch-progress.ts'
import type { IndexState } from './index-batch.ts'
import { WorkerCalls } from './worker-calls.ts'
import type {
  Adoption,
  CompactionSizes,
  IndexingMessage,
  IndexingSettings,
  IndexingValue,
  SentTask,
  SizedOutcome,
  WorkerSettings,
} from './worker-messages.ts'

const heapMbMax = 2048
/** A third of it is what fills between two collections: with 5 MB instead of 16, indexing takes 7 % more processor time. */
const youngMbMax = 48

export class IndexingThread {
  readonly #calls: WorkerCalls<IndexingValue>
  readonly #abort = new Int32Array(new SharedArrayBuffer(4))
  readonly #progress = new SharedProgress()

  constructor(settings: WorkerSettings) {
    const workerData: IndexingSettings = {
      ...settings,
      abort: this.#abort.buffer as SharedArrayBuffer,
      progress: this.#progress.buffer,
    }
    this.#calls = new WorkerCalls<IndexingValue>(() =>
      startWorker(import.meta.url, 'indexing-worker', {
        workerData,
        resourceLimits: { maxOldGenerationSizeMb: heapMbMax, maxYoungGenerationSizeMb: youngMbMax },
      }),
    )
  }

  /** How far the running batch is. */
  get place(): IndexingPlace {
    return this.#progress.place
  }

  /** Before a batch, so that an `abort` from here on is one of this batch. */
  begin(): void {
    Atomics.store(this.#abort, 0, 0)
    this.#progress.begin('config')
  }

  async run(folder: string, tasks: readonly SentTask[]): Promise<SizedOutcome | 'aborted'> {
    const value = await this.#calls.call((call) => ({ kind: 'batch', call, folder, tasks }) satisfies IndexingMessage)
    assert(value === 'aborted' || (value !== null && 'outcomes' in value), 'the answer of a batch')
    return value
  }

  /** The running batch is given up. */
  abort(): void {
    Atomics.store(this.#abort, 0, 1)
  }

  async compact(folder: string, target: string): Promise<CompactionSizes> {
    const value = await this.#calls.call(
      (call) => ({ kind: 'compact', call, folder, target }) satisfies IndexingMessage,
    )
    assert(value !== null && value !== 'aborted' && 'bytesAfter' in value, 'the answer of a compaction')
    return value
  }

  async adopt(folder: string, adoption: Adoption): Promise<IndexState> {
    const value = await this.#calls.call(
      (call) => ({ kind: 'adopt', call, folder, adoption }) satisfies IndexingMessage,
    )
    assert(value !== null && value !== 'aborted' && 'outcomes' in value, 'the answer of an adoption')
    return value.index
  }

  /** Another thread writes to the index from now on, and keeps its checksums up to date. */
  async handOver(folder: string): Promise<void> {
    if (this.#calls.isStarted)
      await this.#calls.call((call) => ({ kind: 'hand-over', call, folder }) satisfies IndexingMessage)
  }

  async forget(folder: string): Promise<void> {
    if (this.#calls.isStarted)
      await this.#calls.call((call) => ({ kind: 'forget', call, folder }) satisfies IndexingMessage)
  }

  /** Ends the thread until the next call. */
  rest(): void {
    this.#calls.rest()
  }

  close(): Promise<void> {
    return this.#calls.close()
  }
}
