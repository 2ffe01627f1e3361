/** The one thread that writes indexes, as calls. */
import { assert } from '../lib/assert.ts'
import { startWorker } from '../lib/worker-entry.ts'
import type { IndexState } from './index-batch.ts'
import { WorkerCalls } from './worker-calls.ts'
import type { Adoption, IndexingMessage, IndexingValue, SentTask, WorkerSettings } from './worker-messages.ts'

const heapMbMax = 2048
const youngMbMax = 16

type BatchValue = Extract<IndexingValue, { readonly outcomes: unknown }>
type CompactionValue = Extract<IndexingValue, { readonly bytesAfter: unknown }>

export class IndexingThread {
  readonly #calls: WorkerCalls<IndexingValue>

  constructor(settings: WorkerSettings) {
    this.#calls = new WorkerCalls<IndexingValue>(() =>
      startWorker(import.meta.url, 'indexing-worker', {
        workerData: settings,
        resourceLimits: { maxOldGenerationSizeMb: heapMbMax, maxYoungGenerationSizeMb: youngMbMax },
      }),
    )
  }

  async run(folder: string, tasks: readonly SentTask[]): Promise<BatchValue | 'aborted'> {
    const value = await this.#calls.call((call) => ({ kind: 'batch', call, folder, tasks }) satisfies IndexingMessage)
    assert(value === 'aborted' || (value !== null && 'outcomes' in value), 'the answer of a batch')
    return value
  }

  async compact(folder: string, target: string): Promise<CompactionValue> {
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
