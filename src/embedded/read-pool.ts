/** The search workers: a read goes to the least busy one; another is started only when all are busy. */
import { ApiError } from '../api/errors.ts'
import { startWorker } from '../lib/worker-entry.ts'
import { WorkerCalls } from './worker-calls.ts'
import type { IndexPlace, ReadRequest, SearchWorkerMessage, WorkerSettings } from './worker-messages.ts'

export interface ReadPoolOptions {
  readonly workersMax: number
  /** Reads that may be open at once. */
  readonly openMax: number
  readonly settings: WorkerSettings
}

const heapMbMax = 512
/** A third of it is what fills between two collections: with 2.7 MB instead of 11, a search takes 12 % more processor time. */
const youngMbMax = 32

export class ReadPool {
  readonly #workers: readonly WorkerCalls<Uint8Array>[]
  readonly #openMax: number

  constructor({ workersMax, openMax, settings }: ReadPoolOptions) {
    this.#openMax = openMax
    this.#workers = Array.from(
      { length: workersMax },
      () =>
        new WorkerCalls<Uint8Array>(() =>
          startWorker(import.meta.url, 'search-worker', {
            workerData: settings,
            resourceLimits: { maxOldGenerationSizeMb: heapMbMax, maxYoungGenerationSizeMb: youngMbMax },
          }),
        ),
    )
  }

  /** Starts one thread before it is needed. */
  warmUp(): void {
    this.#workers[0]?.start()
  }

  /** @throws ApiError what the read refuses, and `too_many_search_requests` (message 71). */
  read(request: ReadRequest, places: readonly IndexPlace[]): Promise<Uint8Array> {
    let openCount = 0
    let best: WorkerCalls<Uint8Array> | undefined
    for (const worker of this.#workers) {
      openCount += worker.openCount
      if (best === undefined || rank(worker) < rank(best)) best = worker
    }
    if (best === undefined || openCount >= this.#openMax)
      throw new ApiError(
        'too_many_search_requests',
        `Too many search requests running at the same time: ${this.#openMax}. Retry after 10s.`,
        { headers: { 'Retry-After': '10' } },
      )
    return best.call((call) => ({ kind: 'read', message: { call, request, places } }) satisfies SearchWorkerMessage)
  }

  /** All workers let go of an index's files. */
  async forget(folder: string): Promise<void> {
    await Promise.all(
      this.#workers
        .filter((worker) => worker.isStarted)
        .map((worker) => worker.call((call) => ({ kind: 'forget', folder, call }) satisfies SearchWorkerMessage)),
    )
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()))
  }
}

/** Starting a thread costs more than waiting for one short read. */
const rank = (worker: WorkerCalls<Uint8Array>): number => worker.openCount + (worker.isStarted ? 0 : 0.5)
